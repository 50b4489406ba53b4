//! Other TOML files, read with the care that an experiment file gets.

use plugin_api::schemars::{JsonSchema, schema_for};
use serde::de::DeserializeOwned;

use super::check::check;
use super::diagnostic::{Diagnostic, Place};
use super::inherit::Reader;
use super::problems::Diagnostics;

/// What a file says, by the schema of its type; `name` is how problems name the file.
///
/// # Errors
/// All problems that were found, each at its place; an unknown key is one.
pub fn read_typed<T: DeserializeOwned + JsonSchema>(
    name: &str,
    text: String,
) -> Result<T, Diagnostics> {
    let mut reader = Reader::default();
    let root = reader.parse(name, text, Default::default());
    let mut problems = reader.problems;
    if problems.is_empty() {
        for problem in check(&root, &schema_for!(T).to_value()) {
            problems.push(problem);
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    serde_json::from_value(root.to_json()).map_err(|error| {
        // The schema is derived from the type, so it should have reported this.
        let message = format!("failed to read the file: {error}");
        problems.push(Diagnostic::new(Some(&Place::whole(0)), message));
        problems
    })
}
