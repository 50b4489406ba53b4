//! The experiment that a run keeps: the only reader of `experiment.toml` in a run's folder.

use std::path::Path;

use plugin_api::schemars::schema_for;

use super::Experiment;
use super::check::check;
use super::diagnostic::{Diagnostic, Place};
use super::inherit::Reader;
use super::load::{check_components, check_meaning};
use super::problems::Diagnostics;
use super::tree::{Node, Tree};
use super::{files, registries};
use crate::store::{self, StoreError};

/// Reads `experiment.toml` of a run, of whatever origin: it is checked as any experiment file is, but
/// for its plugins, which need not be here. Of the files that its model names, the copies in the run's folder
/// are taken.
///
/// # Errors
/// Names the file, and the line and key of the first problem.
pub fn read_stored(path: &Path) -> Result<Experiment, StoreError> {
    let mut experiment = stored(&store::read(path)?).map_err(|reason| StoreError::Damaged {
        path: path.to_owned(),
        reason,
    })?;
    if let Some(folder) = path.parent() {
        files::take_copies(&mut experiment.model, folder);
    }
    Ok(experiment)
}

/// As [`read_stored`], of the file's bytes.
///
/// # Errors
/// The first problem with its line and key, and how many there are.
pub fn stored(text: &[u8]) -> Result<Experiment, String> {
    let text = str::from_utf8(text).map_err(|error| error.to_string())?;
    let mut reader = Reader::default();
    let mut root = reader.parse("experiment.toml", text.to_owned(), Default::default());
    let mut problems = reader.problems;
    unfold(&mut root);
    if problems.is_empty() {
        // What it was based on is merged in: `base` is no key of it.
        for problem in check(&root, &schema_for!(Experiment).to_value()) {
            problems.push(problem);
        }
        check_components(
            &root,
            &registries::schema,
            &registries::known,
            &mut problems,
        );
        check_meaning(&root, &mut problems);
        problems.settle();
    }
    if problems.is_empty() {
        match serde_json::from_value(root.to_json()) {
            Ok(experiment) => return Ok(experiment),
            // The schema also describes `strategy = "plugin"`, which only the plugin can write out.
            Err(error) => {
                let strategy = root.at(&["strategy"]).map(|it| it.place.clone());
                let place = strategy.unwrap_or(Place::whole(0));
                let message = format!("failed to read the experiment: {error}");
                problems.push(Diagnostic::new(Some(&place), message));
            }
        }
    }
    Err(said(&problems))
}

/// Brings the parts of a strategy into their long form, as whoever reads an experiment file may write
/// them by hand.
fn unfold(root: &mut Node) {
    let strategy = root.table_mut().and_then(|table| table.get_mut("strategy"));
    let Some(table) = strategy.and_then(Node::table_mut) else {
        return;
    };
    let long = |part: &mut Node| {
        if let Tree::Text(component) = &part.value {
            *part = Node::singleton("use", component, &part.place);
        }
    };
    for key in ["score", "mask", "rewind", "update"] {
        if let Some(part) = table.get_mut(key) {
            long(part);
        }
    }
    for key in ["rewind", "update"] {
        let Some(listed) = table.get_mut(key) else {
            continue;
        };
        if let Tree::Table(_) = listed.value {
            listed.value = Tree::List(vec![listed.clone()]);
        }
        if let Tree::List(parts) = &mut listed.value {
            parts.iter_mut().for_each(long);
        }
    }
}

/// The first problem in one line, with its line and key.
fn said(problems: &Diagnostics) -> String {
    let Some(problem) = problems.iter().next() else {
        return "it is no experiment".to_owned();
    };
    let mut said = String::new();
    if let Some(line) = problems.to_json()[0]["line"].as_u64() {
        said = format!("line {line}: ");
    }
    said += &problem.message;
    if !problem.key.is_empty() && !problem.message.contains(&problem.key) {
        said += &format!(" (key `{}`)", problem.key);
    }
    if !problem.label.is_empty() {
        said += &format!(": {}", problem.label);
    }
    match problems.len() {
        1 => said,
        count => format!("{said}; and {} more problems", count - 1),
    }
}
