//! From an experiment file to everything that a run needs.

use std::collections::BTreeMap;
use std::rc::Rc;

use tch::Device;

use super::args::ExperimentArgs;
use super::catalog::HostCatalog;
use super::exit::{Exit, Failure};
use crate::data::{self, DataContext};
use crate::experiment::{self, Identity, Loaded};
use crate::levels::Seed;
use crate::model::{self, InputSpec};
use crate::registry;
use crate::strategy::{MakeError, Plugin, Strategy};
use crate::trainer::Trainer;

/// Everything that a run needs.
pub struct Assembled {
    /// The experiment file.
    pub loaded: Loaded,
    /// What tells this experiment from others.
    pub identity: Identity,
    /// What tells its dense level from others.
    pub dense: Identity,
    /// The plugins that the strategy uses.
    pub plugins: BTreeMap<String, Rc<Plugin>>,
    /// Network, data and training.
    pub trainer: Trainer,
    /// The repetitions.
    pub seeds: Vec<Seed>,
}

/// Reads the experiment file alone, with what the command line changes in it.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load(args: &ExperimentArgs, catalog: &HostCatalog) -> Result<Loaded, Failure> {
    let mut set = args.set.clone();
    if let Some(seeds) = &args.seeds {
        set.push(format!("seeds={:?}", seeds.0));
    }
    Ok(experiment::load(&args.file, &set, catalog)?)
}

/// Reads the experiment file, the data and the plugins.
///
/// # Errors
/// Everything that is wrong with one of them.
pub fn assemble(args: &ExperimentArgs, device: Device) -> Result<Assembled, Failure> {
    let catalog = HostCatalog::new();
    let loaded = load(args, &catalog)?;
    let experiment = &loaded.experiment;
    let plugins = catalog
        .plugins_of(experiment)
        .map_err(|error| Failure::new(Exit::Plugin, error))?;
    let strategies: Result<Vec<Strategy>, MakeError> = experiment
        .seeds
        .iter()
        .map(|_| {
            Strategy::new(&experiment.strategy, |name| {
                catalog.load(name, experiment.plugins.get(name))
            })
        })
        .collect();
    let strategies = strategies.map_err(|error| Failure::new(Exit::Plugin, error))?;
    let context = DataContext {
        data_dir: args.data_dir.clone(),
        device,
    };
    let data = data::load(&experiment.data.name, &experiment.data.options, &context)
        .map_err(Failure::bad_input)?;
    let identity = experiment::identity(&loaded, &data.checksum, None);
    let dense = experiment::dense_identity(&loaded, &data.checksum, None);
    let named = &experiment.model;
    let input = InputSpec {
        shape: data.input_shape.clone(),
        classes: data.classes,
    };
    let model = registry::find(model::MODELS, &named.name)
        .ok_or_else(|| Failure::bad_input(format!("no model is called `{}`", named.name)))?;
    let network = (model.build)(&named.options, &input).map_err(Failure::bad_input)?;
    let trainer = Trainer::new(network, &experiment.train, data, device)
        .and_then(|trainer| trainer.excluding(&experiment.prune.exclude))
        .map_err(Failure::bad_input)?;
    let seeds = experiment
        .seeds
        .iter()
        .zip(strategies)
        .map(|(&seed, strategy)| Seed { seed, strategy })
        .collect();
    Ok(Assembled {
        identity,
        dense,
        plugins,
        trainer,
        seeds,
        loaded,
    })
}
