//! An experiment file with everything that it names.

use std::collections::BTreeMap;
use std::rc::Rc;

use tch::Device;

use super::{HostCatalog, OpenError, Setting};
use crate::data::{self, DataContext, DataError, Dataset};
use crate::experiment::{self, Diagnostics, Identity, Loaded, Part, Remark, file_name};
use crate::levels::{self, Course, Length, Seed, Untaught};
use crate::model::ModelError;
use crate::strategy::{MakeError, Plugin, Strategy};
use crate::trainer::{TrainError, Trainer};

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
                let strategy = Strategy::new(&experiment.strategy, |part| {
                    catalog.load_part(part, &experiment.plugins)
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

    /// What is wrong with the data, at its place in the file if it is an option's.
    pub fn diagnose_data(&self, error: DataError) -> OpenError {
        match error.key() {
            Some(key) => {
                let remark = Remark::impossible(key, error);
                OpenError::Experiment(self.loaded.diagnose([remark]))
            }
            None => error.into(),
        }
    }

    /// What tells this experiment on these data from others.
    pub fn identities(&self, data: &Dataset) -> Identities {
        Identities {
            own: experiment::identity(&self.loaded, &data.checksum, None),
            dense: experiment::dense_identity(&self.loaded, &data.checksum, None),
        }
    }

    /// The experiment's network and how it is trained on these data, with the updates of the strategy.
    ///
    /// # Errors
    /// If data, network and training do not fit together: what is wrong, at its place in the file.
    pub fn trainer(&self, data: Dataset, device: Device) -> Result<Trainer, Diagnostics> {
        let experiment = &self.loaded.experiment;
        let trainer = Trainer::of(experiment, data, device).map(|trainer| {
            let first = self.seeds.first();
            trainer.updated_by(first.map_or(&[], |seed| seed.strategy.updates()))
        });
        trainer.map_err(|error| {
            let key = match &error {
                TrainError::UnknownLayer { name, .. } => {
                    let at = experiment.prune.exclude.iter().position(|it| it == name);
                    format!("prune.exclude.{}", at.unwrap_or_default())
                }
                TrainError::UnknownParameter { name, .. } => {
                    let at = experiment.prune.include.iter().position(|it| it == name);
                    format!("prune.include.{}", at.unwrap_or_default())
                }
                TrainError::SingleNumber { .. } => "prune.include".to_owned(),
                TrainError::NothingToPrune { .. } => "prune.exclude".to_owned(),
                TrainError::LoneSample { .. } | TrainError::Shards { .. } => {
                    "train.batch_size".to_owned()
                }
                TrainError::NotSynchronised => "train.sync_batch_norm".to_owned(),
                TrainError::NotCompact(_) => "train.compact".to_owned(),
                TrainError::Targets { .. } => "train.loss".to_owned(),
                TrainError::Metric { at, .. } => format!("train.metrics.{at}"),
                TrainError::Options { area, .. } => format!("train.{area}"),
                TrainError::Empty(_) => "data".to_owned(),
                TrainError::Model(
                    ModelError::Archive(_)
                    | ModelError::Imported { .. }
                    | ModelError::Outputs { .. }
                    | ModelError::Input { model: "pt2", .. },
                ) => "model.file".to_owned(),
                TrainError::Model(ModelError::Weights { .. } | ModelError::Misfit { .. }) => {
                    "model.weights".to_owned()
                }
                TrainError::Model(ModelError::Head { .. } | ModelError::FixedHead { .. }) => {
                    "model.replace_head".to_owned()
                }
                TrainError::Model(ModelError::Unfit { option, .. }) => format!("model.{option}"),
                _ => "model".to_owned(),
            };
            self.loaded.diagnose([Remark::impossible(key, error)])
        })
    }

    /// The trainer with its teacher, where the loss has one. Without `must_be_there` a teacher that is yet to be
    /// trained is left out.
    ///
    /// # Errors
    /// What of the teacher's run is missing or does not fit, at its place in the file.
    pub fn taught(&self, trainer: Trainer, must_be_there: bool) -> Result<Trainer, Diagnostics> {
        let experiment = &self.loaded.experiment;
        let seeds: Vec<u64> = self.seeds.iter().map(|seed| seed.seed).collect();
        match levels::teacher(experiment, &trainer, &seeds) {
            Ok(None) => Ok(trainer),
            Ok(Some(teacher)) => Ok(trainer.taught_by(teacher)),
            Err(Untaught::Missing(reason)) if !must_be_there => {
                log::warn!("the teacher: {reason}");
                Ok(trainer)
            }
            Err(error) => {
                let remark = Remark::impossible("train.loss.run", error);
                Err(self.loaded.diagnose([remark]))
            }
        }
    }

    /// How long each level is, as far as that is known before anything trains.
    ///
    /// # Errors
    /// Why the components cannot be made.
    pub fn lengths(&self, course: &Course<'_>) -> Result<Vec<Length>, MakeError> {
        let seed = self.seeds.first().map_or(0, |first| first.seed);
        Ok(course.lengths(seed, &mut self.strategy()?))
    }

    /// The components of the experiment's strategy once more.
    ///
    /// # Errors
    /// Why they cannot be made.
    pub fn strategy(&self) -> Result<Strategy, MakeError> {
        let plugin = |part: &Part| {
            let own = &self.plugins[part.names().0];
            let script = own.named_script(part).map(|(_, path)| file_name(path));
            Rc::clone(script.map_or(own, |name| &self.plugins[&name]))
        };
        Strategy::new(&self.loaded.experiment.strategy, |part| Ok(plugin(part)))
    }
}

/// Data of the declared shape in place of data that are missing or need not be read. A folder of
/// which nothing is declared is read.
///
/// # Errors
/// If such a folder is missing or damaged.
pub fn stand_in(read: &Read, setting: &Setting) -> Result<Dataset, OpenError> {
    let named = &read.loaded.experiment.data;
    match data::declared(&named.name, &named.options) {
        Ok(declared) => Ok(declared.stand_in(setting.device)),
        Err(undeclared @ DataError::Undeclared { .. }) => {
            let here = read.data(setting);
            here.map_err(|error| match error.is_missing() {
                true => undeclared.into(),
                false => read.diagnose_data(error),
            })
        }
        Err(error) => Err(read.diagnose_data(error)),
    }
}
