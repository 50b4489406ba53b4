//! An experiment file with everything that it names.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::{HostCatalog, OpenError, Setting};
use crate::data::{self, DataContext, DataError, Dataset};
use crate::experiment::{self, Identity, Loaded};
use crate::levels::Seed;
use crate::strategy::{MakeError, Plugin, Strategy};

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

impl Read {
    /// Makes the strategy of each seed of an experiment.
    ///
    /// # Errors
    /// Why a plugin cannot be used.
    pub fn new(loaded: Loaded, catalog: &HostCatalog) -> Result<Self, OpenError> {
        let experiment = &loaded.experiment;
        let plugins = catalog.plugins_of(experiment)?;
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
            seeds: seeds?,
            loaded,
        })
    }

    /// The experiment's data, on the device.
    ///
    /// # Errors
    /// If they are missing or damaged.
    pub fn data(&self, setting: &Setting) -> Result<Dataset, DataError> {
        let context = DataContext {
            data_dir: setting.data_dir.clone(),
            device: setting.device,
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
}
