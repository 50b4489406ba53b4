//! Components of the host that an experiment file chooses by name: datasets, models, optimizers, schedules.

use plugin_api::schemars::Schema;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// Options of a named component, as the experiment file gives them.
pub type Options = Map<String, Value>;

/// One component: adding one is a file and a line in its area's list.
pub struct Entry<Build> {
    /// Name in the experiment file.
    pub name: &'static str,
    /// One sentence for listings.
    pub summary: &'static str,
    /// JSON Schema of its options, which the experiment file is checked against.
    pub schema: fn() -> Schema,
    /// Makes it from checked options.
    pub build: Build,
}

/// The entry called `name`.
pub fn find<'a, Build>(entries: &'a [Entry<Build>], name: &str) -> Option<&'a Entry<Build>> {
    entries.iter().find(|entry| entry.name == name)
}

/// Options as their struct. The experiment file was checked against the schema before, so an error
/// here means that the schema admits what the struct does not.
///
/// # Errors
/// Serde's message.
pub fn parse<T: DeserializeOwned>(options: &Options) -> Result<T, serde_json::Error> {
    serde_json::from_value(Value::Object(options.clone()))
}
