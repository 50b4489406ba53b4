//! What the reader must know about the host's components and the plugins to check an experiment.

use std::path::Path;

use plugin_api::schemars::Schema;
use serde_json::Value;

use super::{Loaded, Part, PluginSource, Strategy};

/// An area of the host's registered components.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Datasets, chosen by `[data]`.
    Data,
    /// Networks, chosen by `[model]`.
    Model,
    /// Optimizers, chosen by `train.optimizer`.
    Optimizer,
    /// Learning-rate schedules, chosen by `train.schedule`.
    Schedule,
}

impl Kind {
    /// The word for one of them in messages.
    pub fn noun(self) -> &'static str {
        match self {
            Self::Data => "dataset",
            Self::Model => "model",
            Self::Optimizer => "optimizer",
            Self::Schedule => "schedule",
        }
    }
}

/// A place in the strategy that a plugin's component can fill.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Slot {
    /// Which weights matter.
    Score,
    /// Which weights survive.
    Mask,
    /// What is reset before training goes on.
    Rewind,
    /// What becomes of the weights at each step.
    Update,
}

impl Slot {
    /// Its key under `[strategy]`, which is also the word for it in messages.
    pub fn noun(self) -> &'static str {
        match self {
            Self::Score => "score",
            Self::Mask => "mask",
            Self::Rewind => "rewind",
            Self::Update => "update",
        }
    }
}

/// One component of a plugin.
#[derive(Clone, Debug, PartialEq)]
pub struct ComponentInfo {
    /// Where in a strategy it can stand.
    pub slot: Slot,
    /// Its name within the plugin, the right side of `plugin/component`.
    pub name: String,
    /// JSON Schema of its options.
    pub schema: Value,
}

/// What a loaded plugin says about itself.
#[derive(Clone, Debug, PartialEq)]
pub struct PluginInfo {
    /// Its version: part of an experiment's identity.
    pub version: String,
    /// The digest of its file: part of the dense level's identity where it acts there.
    pub digest: String,
    /// Its components.
    pub components: Vec<ComponentInfo>,
    /// The strategy that `strategy = "<plugin>"` stands for.
    pub default: Option<Strategy>,
}

/// Another run that an experiment names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunTarget {
    /// Its folder, as plugins and points name it.
    pub folder: String,
    /// What it computes: its experiment's identity.
    pub identity: String,
}

/// The components that an experiment file may name.
pub trait Catalog {
    /// The JSON Schema of a registered component's options; none if there is no such component.
    fn schema(&self, kind: Kind, name: &str) -> Option<Schema>;

    /// The names of all registered components of this kind.
    fn known(&self, kind: Kind) -> Vec<String>;

    /// Loads a plugin: from its source if the experiment file gives one (its path is absolute
    /// then), else from the places where the host looks for plugins.
    ///
    /// # Errors
    /// What to tell the user if the plugin cannot be loaded.
    fn plugin(&self, name: &str, source: Option<&PluginSource>) -> Result<PluginInfo, String>;

    /// Asks a component whether it takes these options, which fit its schema already.
    ///
    /// # Errors
    /// What to tell the user if it does not.
    fn validate(&self, _slot: Slot, _part: &Part) -> Result<(), String> {
        Ok(())
    }

    /// The JSON Schema of a part's options where they follow from a file that one of them names, in which case the part
    /// has the options that its plugin's schema describes; none if they are those of the plugin.
    ///
    /// # Errors
    /// What to tell the user if the file cannot be used.
    fn script(&self, _slot: Slot, _part: &Part) -> Result<Option<Value>, String> {
        Ok(None)
    }

    /// The names of the plugins that the host finds without being told where they are.
    fn known_plugins(&self) -> Vec<String>;

    /// Whether a plugin is among them, without looking at the others.
    fn knows_plugin(&self, name: &str) -> bool {
        self.known_plugins().iter().any(|known| known == name)
    }

    /// Finds the run that an experiment names; `folder` is that of the file that names it.
    ///
    /// # Errors
    /// What to tell the user if there is no such run.
    fn run(&self, name: &str, _folder: &Path) -> Result<RunTarget, String> {
        Ok(RunTarget {
            folder: name.to_owned(),
            identity: name.to_owned(),
        })
    }

    /// The run of a checked experiment, whether or not it exists yet.
    ///
    /// # Errors
    /// What to tell the user if it cannot be said.
    fn run_of(&self, loaded: &Loaded) -> Result<RunTarget, String> {
        Ok(RunTarget {
            folder: loaded.experiment.name.clone(),
            identity: loaded.text.clone(),
        })
    }
}
