//! From an experiment file to everything that a run needs.

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

use tch::Device;

use super::args::ExperimentArgs;
use super::catalog::HostCatalog;
use super::exit::{Exit, Failure};
use super::program;
use crate::data::{self, DataContext, DataError, Dataset};
use crate::experiment::{self, Identity, Loaded};
use crate::levels::Seed;
use crate::strategy::{MakeError, Plugin, Strategy};
use crate::trainer::Trainer;

/// An experiment with its plugins, before any data are read.
pub struct Read {
    /// The experiment file.
    pub loaded: Loaded,
    /// The plugins that the strategy uses.
    pub plugins: BTreeMap<String, Rc<Plugin>>,
    /// The repetitions.
    pub seeds: Vec<Seed>,
}

/// What the data's contents decide.
pub struct Identities {
    /// What tells this experiment from others.
    pub own: Identity,
    /// What tells its dense level from others.
    pub dense: Identity,
}

/// What the command line changes in an experiment file.
pub fn overrides(args: &ExperimentArgs) -> Vec<String> {
    let mut set = args.set.clone();
    if let Some(seeds) = &args.seeds {
        set.push(format!("seeds={:?}", seeds.0));
    }
    set
}

/// Reads the experiment file and makes the strategy of each seed; `runs` is where runs are kept.
///
/// # Errors
/// Everything that is wrong with them.
pub fn read(args: &ExperimentArgs, runs: &Path) -> Result<Read, Failure> {
    let catalog = HostCatalog::new(args, runs);
    let loaded = experiment::load(&args.file, &overrides(args), &catalog)?;
    Read::new(loaded, &catalog)
}

impl Read {
    /// Makes the strategy of each seed of an experiment.
    ///
    /// # Errors
    /// Why a plugin cannot be used.
    pub fn new(loaded: Loaded, catalog: &HostCatalog) -> Result<Self, Failure> {
        let experiment = &loaded.experiment;
        let plugins = catalog
            .plugins_of(experiment)
            .map_err(|error| Failure::new(Exit::Plugin, error))?;
        let seeds: Result<Vec<Seed>, MakeError> = (experiment.seeds.iter())
            .map(|&seed| {
                let strategy = Strategy::new(&experiment.strategy, |name| {
                    catalog.load(name, experiment.plugins.get(name))
                })?;
                Ok(Seed { seed, strategy })
            })
            .collect();
        Ok(Self {
            plugins,
            seeds: seeds.map_err(|error| Failure::new(Exit::Plugin, error))?,
            loaded,
        })
    }

    /// The experiment's data, on the device.
    ///
    /// # Errors
    /// If they are missing or damaged.
    pub fn data(&self, args: &ExperimentArgs, device: Device) -> Result<Dataset, DataError> {
        let context = DataContext {
            data_dir: args.data.data_dir.clone(),
            device,
        };
        let named = &self.loaded.experiment.data;
        data::load(&named.name, &named.options, &context)
    }

    /// What tells this experiment on these data from others.
    pub fn identities(&self, data: &Dataset) -> Identities {
        Identities {
            own: experiment::identity(&self.loaded, &data.checksum, None),
            dense: experiment::dense_identity(&self.loaded, &data.checksum, None),
        }
    }

    /// The experiment's network and how it is trained on these data.
    ///
    /// # Errors
    /// If data, network and training do not fit together.
    pub fn trainer(&self, data: Dataset, device: Device) -> Result<Trainer, Failure> {
        Trainer::of(&self.loaded.experiment, data, device).map_err(Failure::bad_input)
    }
}

/// What is wrong with the data, with the commands under the name that this program was called by.
pub fn data_failure(error: &DataError) -> String {
    let called = format!("`{} data fetch", program::name());
    error.to_string().replace("`host data fetch", &called)
}
