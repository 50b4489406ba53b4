//! What the host's registries say of the components that an experiment file may name.

use plugin_api::schemars::Schema;

use super::Kind;
use crate::registry::{Entry, find};
use crate::{data, model, optimizer, schedule};

/// The schema of a component's options.
pub fn schema(kind: Kind, name: &str) -> Option<Schema> {
    fn of<Build>(entries: &[Entry<Build>], name: &str) -> Option<Schema> {
        find(entries, name).map(|entry| (entry.schema)())
    }
    match kind {
        Kind::Data => find(data::DATASETS, name).map(data::schema),
        Kind::Model => of(model::MODELS, name).map(model::with_start),
        Kind::Optimizer => of(optimizer::OPTIMIZERS, name),
        Kind::Schedule => of(schedule::SCHEDULES, name),
    }
}

/// The names of all components of a kind.
pub fn known(kind: Kind) -> Vec<String> {
    fn of<Build>(entries: &[Entry<Build>]) -> Vec<String> {
        entries.iter().map(|entry| entry.name.to_owned()).collect()
    }
    match kind {
        Kind::Data => of(data::DATASETS),
        Kind::Model => of(model::MODELS),
        Kind::Optimizer => of(optimizer::OPTIMIZERS),
        Kind::Schedule => of(schedule::SCHEDULES),
    }
}
