//! The experiment that a run keeps.

use toml::de::DeTable;

use super::Experiment;
use super::check::check;
use super::diagnostic::Place;
use super::load::schema;
use super::problems::Diagnostics;
use super::tree::{Node, Planter, Tree};

/// Reads `experiment.toml` of a run: a file in full, as it was resolved. Its bounds are checked like
/// those of any experiment file, since a run may come from anywhere; its plugins are not looked at.
///
/// # Errors
/// The first problem.
pub fn stored(text: &[u8]) -> Result<Experiment, String> {
    let text = str::from_utf8(text).map_err(|error| error.to_string())?;
    let table = DeTable::parse(text).map_err(|error| error.message().to_owned())?;
    let mut problems = Diagnostics::default();
    let mut planter = Planter {
        file: 0,
        offset: 0,
        problems: &mut problems,
    };
    let root = Node {
        place: Place::whole(0),
        value: Tree::Table(planter.table(table.get_ref())),
    };
    for problem in check(&root, &schema()) {
        problems.push(problem);
    }
    problems.settle();
    if let Some(problem) = problems.iter().next() {
        return Err(problem.message.clone());
    }
    serde_json::from_value(root.to_json()).map_err(|error| error.to_string())
}
