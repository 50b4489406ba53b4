//! The experiment file.
//!
//! [`load()`] reads a file with its bases and overrides into an [`Experiment`] or reports every
//! problem it finds, each at its place. [`identity()`] is what tells one experiment from another.

mod catalog;
mod check;
mod choice;
mod claim;
mod config;
mod density;
mod described;
mod diagnostic;
mod encoding;
mod files;
mod identity;
mod inherit;
mod load;
mod loss;
mod neuron;
mod overrides;
mod problems;
mod references;
pub mod registries;
mod remark;
mod review;
mod scalar;
mod script;
mod stored;
mod strategy;
mod sweep;
mod text;
mod tree;
mod typed;

#[cfg(test)]
mod tests;

pub use catalog::{Catalog, ComponentInfo, Kind, PluginInfo, RunTarget, Slot};
pub use claim::{Claim, Measure};
pub use config::{
    Collapse, Experiment, LevelEnd, Named, Part, PluginSource, Precision, Prune, Strategy, Train,
};
pub use diagnostic::{Category, Diagnostic, Severity};
pub use files::{NamedFile, files_of};
pub use identity::{Identity, dense_identity, identity};
pub use load::{Loaded, load, schema};
pub use loss::{Distillation, Metric, PlainLoss, TrainLoss};
pub use neuron::{NeuronFile, load_neuron, neuron_schema};
pub use problems::Diagnostics;
pub use remark::Remark;
pub use review::{density_key, review};
pub use script::{file_name, option_of};
pub use stored::{read_stored, stored};
pub use sweep::{CellFile, Distinct, FileKind, PartFile, Stop, SweepFile, kind_of, load_sweep};
pub use typed::read_typed;
