//! Experiment files that simulate the single hidden neuron instead of training a network.

use std::path::Path;

use plugin_api::schemars::{self, JsonSchema, schema_for};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::check::check;
use super::config::MOST_NAME;
use super::diagnostic::{Diagnostic, Place};
use super::inherit::Reader;
use super::load::with_base;
use super::problems::Diagnostics;
use super::strategy::Plugins;
use super::{Catalog, overrides};
use crate::neuron::Settings;

/// An experiment file with the table `[neuron]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NeuronFile {
    /// First part of the folder's name.
    #[schemars(regex(pattern = "^[A-Za-z0-9][A-Za-z0-9._-]*$"), length(max = MOST_NAME))]
    pub name: String,
    /// Settings of the simulation.
    pub neuron: Settings,
}

/// The JSON Schema of such a file.
pub fn neuron_schema() -> Value {
    with_base(schema_for!(NeuronFile))
}

/// Reads such a file, with the files it is based on and `--set` overrides (`key=value`).
///
/// # Errors
/// All problems that were found.
pub fn load_neuron(
    path: &Path,
    overrides: &[String],
    catalog: &dyn Catalog,
) -> Result<NeuronFile, Diagnostics> {
    let mut reader = Reader::default();
    let Some(mut root) = reader.read(path) else {
        return Err(reader.problems);
    };
    let overrides = overrides::parse(overrides, &mut reader);
    if !reader.problems.is_empty() {
        return Err(reader.problems);
    }
    let mut plugins = Plugins::new(catalog);
    for change in overrides {
        change.apply(&mut root, &mut plugins, &mut reader);
    }
    let mut problems = reader.problems;
    for problem in check(&root, &neuron_schema()) {
        problems.push(problem);
    }
    problems.settle();
    if !problems.is_empty() {
        return Err(problems);
    }
    let refuse = |place: &Place, message: String| {
        let mut problems = problems.clone();
        problems.push(Diagnostic::new(Some(place), message));
        problems
    };
    // The schema is derived from the type, so it should have reported what serde refuses.
    let file: NeuronFile = serde_json::from_value(root.to_json()).map_err(|error| {
        refuse(
            &Place::whole(0),
            format!("failed to read the file: {error}"),
        )
    })?;
    file.neuron.check().map_err(|error| {
        let node = root.at(&["neuron", error.name]);
        let place = node
            .or(root.at(&["neuron", "update", error.name]))
            .or(root.at(&["neuron"]))
            .map_or(Place::whole(0), |it| it.place.clone());
        refuse(
            &place,
            format!("`neuron.{}` cannot be simulated: {error}", error.name),
        )
    })?;
    Ok(file)
}
