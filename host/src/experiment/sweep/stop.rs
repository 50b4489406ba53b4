//! `[sweep.stop]`: at which levels cells that are behind end.

use std::collections::BTreeMap;

use plugin_api::schemars::{self, JsonSchema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::expand::Part;
use super::{CellFile, PartFile};
use crate::experiment::Diagnostics;
use crate::experiment::diagnostic::{Diagnostic, Place};
use crate::experiment::tree::{Node, Tree};

/// A cell ends at a level of these, its rungs, if its validation accuracy is behind the best one's there: if the interval
/// of their difference over seeds lies wholly below 0. All cells come to a rung before one goes on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stop {
    /// The rungs: levels at whose ends the cells are compared. Either these or `every`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minItems" = 1, "uniqueItems" = true, "items" = { "type": "integer", "minimum": 0 }))]
    pub at: Option<Vec<u64>>,
    /// A rung at every so many levels after the dense one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub every: Option<u64>,
    /// Confidence of the interval.
    #[serde(default = "usual")]
    #[schemars(extend("minimum" = 0.5, "exclusiveMaximum" = 1.0))]
    pub confidence: f64,
    /// Keys of the grid: only cells with the same values of them are compared.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub within: Vec<String>,
}

fn usual() -> f64 {
    0.95
}

impl Stop {
    /// The rungs before this last level, ascending.
    pub fn rungs(&self, last: u64) -> Vec<u64> {
        let every = self.every.map(|it| it.max(1) as usize);
        let steps = every.map(|it| (it as u64..last).step_by(it));
        let listed = self.at.iter().flatten().copied();
        let mut rungs: Vec<u64> = listed.chain(steps.into_iter().flatten()).collect();
        rungs.retain(|&rung| rung < last);
        rungs.sort_unstable();
        rungs.dedup();
        rungs
    }

    /// The values of a cell by which it is compared with those alone that have the same.
    pub fn apart<'a>(&self, values: &'a BTreeMap<String, Value>) -> BTreeMap<&'a str, &'a Value> {
        let own = |key: &&String| self.within.contains(key);
        let values = values.iter().filter(|(key, _)| own(key));
        values.map(|(key, value)| (key.as_str(), value)).collect()
    }
}

/// What cannot be compared as the parts' rules say.
pub(super) fn check_all(parts: &[Part], files: &[PartFile]) -> Diagnostics {
    let mut problems = Diagnostics::default();
    for (part, file) in parts.iter().zip(files) {
        let Some((rule, node)) = &part.stop else {
            continue;
        };
        let mut own = Diagnostics::default();
        own.files = part.reader.problems.files.clone();
        for problem in check(rule, node, &file.cells) {
            own.push(problem);
        }
        problems.absorb(own);
    }
    problems
}

/// What cannot be compared of these cells as `[sweep.stop]` says.
fn check(stop: &Stop, node: &Node, cells: &[CellFile]) -> Vec<Diagnostic> {
    let mut problems = Vec::new();
    let at = |key: &str| node.at(&[key]).map_or(&node.place, |it| &it.place);
    let mut refuse = |place: &Place, message: String, label: &str| {
        problems.push(Diagnostic::new(Some(place), message).label(label));
    };
    match (&stop.at, stop.every) {
        (None, None) => refuse(
            &node.place,
            "`sweep.stop` names no level".to_owned(),
            "expected `at`, such as `at = [3, 6]`, or `every = 3`",
        ),
        (Some(_), Some(_)) => refuse(
            at("every"),
            "`sweep.stop` has both `at` and `every`".to_owned(),
            "expected one of the two",
        ),
        _ => {}
    }
    let last = cells.iter().map(|it| it.loaded.experiment.last_level());
    let last = last.max().unwrap_or(0);
    let too_late =
        format!("expected less than {last}, the last level, after which nothing is left to stop");
    let listed = match node.at(&["at"]).map(|it| &it.value) {
        Some(Tree::List(levels)) => levels.iter().collect(),
        _ => Vec::new(),
    };
    for (level, node) in stop.at.iter().flatten().zip(listed) {
        if *level >= last {
            let message =
                format!("`sweep.stop.at` has level {level}, and no cell goes on after it");
            refuse(&node.place, message, &too_late);
        }
    }
    if let Some(every) = stop.every.filter(|every| *every >= last) {
        let message = format!("`sweep.stop.every` is {every}, and no cell has so many levels");
        refuse(at("every"), message, &too_late);
    }
    if cells.len() < 2 {
        let message = "`sweep.stop` has nothing to compare: the sweep has one cell".to_owned();
        refuse(&node.place, message, "expected methods or a grid");
    }
    if let Some(cell) = cells.iter().find(|it| it.loaded.experiment.seeds.len() < 2) {
        let message = format!(
            "`{}` has one seed, and one value has no interval",
            cell.name
        );
        refuse(
            &node.place,
            message,
            "`sweep.stop` compares over seeds: expected at least 2 in `seeds`",
        );
    }
    if let Some(cell) = cells.iter().find(|it| !is_validated(it)) {
        let message = format!(
            "`{}` has no validation samples, by which `sweep.stop` compares",
            cell.name
        );
        refuse(
            &node.place,
            message,
            "expected `validation` in [data], such as `validation = 0.1`",
        );
    }
    let keys = cells.first().map(|it| &it.values);
    let listed = match node.at(&["within"]).map(|it| &it.value) {
        Some(Tree::List(keys)) => keys.iter().collect(),
        _ => Vec::new(),
    };
    for (key, node) in stop.within.iter().zip(listed) {
        if keys.is_some_and(|keys| !keys.contains_key(key)) {
            let message =
                format!("`sweep.stop.within` names `{key}`, which the grid does not vary");
            problems.push(
                Diagnostic::new(Some(&node.place), message)
                    .label("expected a key of [sweep.grid]")
                    .known(key, keys.into_iter().flat_map(BTreeMap::keys)),
            );
        }
    }
    problems
}

fn is_validated(cell: &CellFile) -> bool {
    let options = &cell.loaded.experiment.data.options;
    options.get("validation").is_some_and(|it| !it.is_null())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stop(text: &str) -> Stop {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn rungs_are_the_listed_levels_or_every_so_many_before_the_last() {
        assert_eq!(stop("at = [6, 0, 3, 9]").rungs(9), [0, 3, 6]);
        assert_eq!(stop("every = 3").rungs(9), [3, 6]);
        assert_eq!(stop("every = 3").rungs(10), [3, 6, 9]);
        assert!(stop("every = 3").rungs(3).is_empty());
        assert_eq!(stop("every = 1").confidence, 0.95);
    }

    #[test]
    fn cells_are_apart_by_the_values_of_the_named_keys_alone() {
        let values = [("a", 1), ("b", 2)].map(|(key, value)| (key.to_owned(), value.into()));
        let values = BTreeMap::from(values);
        let apart = stop("every = 1\nwithin = [\"b\"]").apart(&values);
        assert_eq!(apart, [("b", &Value::from(2))].into());
    }
}
