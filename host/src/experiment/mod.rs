//! The experiment file.

mod config;

pub use config::{
    Collapse, Experiment, Named, Part, PluginSource, Precision, Prune, Strategy, Train,
};
