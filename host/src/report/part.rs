//! Runs that belong together: a part of a sweep, or the runs that were given.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::chart::SERIES;
use super::results::Results;
use super::theory::Simulation;
use crate::experiment::Claim;
use crate::records::{
    Stopped, SweepPart, SweepRecord, name_in_sweep, stopped_beside, stopped_cells, tidy,
};

/// Runs that are shown in the same figures.
#[derive(Debug)]
pub struct Part {
    /// Its name, unique in the report.
    pub name: String,
    /// What it is about.
    pub title: String,
    /// Its runs.
    pub cells: Vec<Cell>,
    /// What is claimed of them.
    pub claims: Vec<Claim>,
    /// A simulation of the hidden neuron.
    pub neuron: Option<Simulation>,
    /// Places of methods in the palette, where they are not simply those among the part's methods.
    pub ranks: BTreeMap<String, usize>,
}

/// One run under the name of its method.
#[derive(Debug)]
pub struct Cell {
    /// Unique within the part.
    pub name: String,
    /// Name of the method.
    pub method: String,
    /// The grid's values, by key.
    pub values: BTreeMap<String, Value>,
    /// What it left.
    pub results: Results,
    /// Behind whom its sweep stopped it, if it did.
    pub stopped: Option<Stopped>,
}

/// The cells with the same values of the grid.
pub struct Combination<'a> {
    /// The values in words; empty without a grid.
    pub label: String,
    /// The values.
    pub values: &'a BTreeMap<String, Value>,
    /// The cells, in the part's order.
    pub cells: Vec<&'a Cell>,
}

impl Combination<'_> {
    /// The cell of a method.
    pub fn cell(&self, method: &str) -> Option<&Cell> {
        self.cells.iter().copied().find(|it| it.method == method)
    }
}

impl Part {
    /// The parts of a sweep that lies in this folder.
    pub fn all_of_sweep(folder: &Path, record: &SweepRecord) -> Vec<Self> {
        let mut stopped = stopped_cells(folder);
        let parts = record.parts.iter();
        let each = parts.map(|part| Self::of_sweep(folder, record.parts.len(), part, &mut stopped));
        each.collect()
    }

    fn of_sweep(
        folder: &Path,
        parts: usize,
        part: &SweepPart,
        stopped: &mut BTreeMap<String, Stopped>,
    ) -> Self {
        let cells = part.cells.iter().map(|cell| Cell {
            stopped: stopped.remove(&name_in_sweep(parts, &part.name, &cell.name)),
            name: cell.name.clone(),
            method: cell.method.clone(),
            values: cell.values.clone(),
            results: Results::read(&cell.folder(folder), Some(&cell.seeds)),
        });
        Self {
            name: part.name.clone(),
            title: part.title.clone(),
            cells: cells.collect(),
            claims: part.claims.clone(),
            neuron: (part.neuron.as_ref()).map(|it| Simulation::read(&tidy(&folder.join(it)))),
            ranks: BTreeMap::new(),
        }
    }

    /// Runs that were given by their folders; a name that two of them share gives way to the
    /// folders' names.
    pub fn of_runs(folders: &[PathBuf]) -> Self {
        let mut cells: Vec<Cell> = (folders.iter())
            .map(|folder| {
                let results = Results::read(folder, None);
                let name = name_of(folder);
                let method = results.experiment.as_ref().map(|it| it.name.clone());
                Cell {
                    stopped: stopped_beside(folder),
                    method: method.unwrap_or_else(|| name.clone()),
                    name,
                    values: BTreeMap::new(),
                    results,
                }
            })
            .collect();
        let methods: Vec<String> = cells.iter().map(|it| it.method.clone()).collect();
        for cell in &mut cells {
            if methods.iter().filter(|it| **it == cell.method).count() > 1 {
                cell.method.clone_from(&cell.name);
            }
        }
        Self {
            name: "runs".to_owned(),
            title: match cells.as_slice() {
                [only] => only.method.clone(),
                _ => "The runs".to_owned(),
            },
            cells,
            claims: Vec::new(),
            neuron: None,
            ranks: BTreeMap::new(),
        }
    }

    /// Names of the methods, in the order of the cells.
    pub fn methods(&self) -> Vec<&str> {
        let mut seen = BTreeSet::new();
        let all = self.cells.iter().map(|cell| cell.method.as_str());
        all.filter(|method| seen.insert(*method)).collect()
    }

    /// The cells that were stopped, each in a line.
    pub fn stops(&self) -> Vec<String> {
        let each = self.cells.iter();
        each.filter_map(|it| Some(format!("{} was {}", it.name, it.stopped.as_ref()?)))
            .collect()
    }

    /// Place of a method in the palette.
    pub fn rank(&self, method: &str) -> usize {
        let place = || self.methods().iter().position(|it| *it == method);
        let known = self.ranks.get(method).copied();
        known.or_else(place).unwrap_or(0)
    }

    /// The cells by the grid's values, in the order of the file.
    pub fn combinations(&self) -> Vec<Combination<'_>> {
        let mut combinations: Vec<Combination<'_>> = Vec::new();
        for cell in &self.cells {
            match (combinations.iter_mut()).find(|it| *it.values == cell.values) {
                Some(known) => known.cells.push(cell),
                None => combinations.push(Combination {
                    label: label(&cell.values),
                    values: &cell.values,
                    cells: vec![cell],
                }),
            }
        }
        combinations
    }

    /// Number of the last level that some run reached.
    pub fn last_level(&self) -> Option<u64> {
        let levels = self.cells.iter().map(|cell| cell.results.levels());
        levels.max()?.checked_sub(1)
    }

    /// Three levels to look at closely: a third of the way, two thirds, and the last.
    pub fn chosen_levels(&self) -> Vec<u64> {
        let Some(last) = self.last_level().filter(|&last| last > 0) else {
            return Vec::new();
        };
        let mut chosen = vec![last.div_ceil(3), (2 * last).div_ceil(3), last];
        chosen.dedup();
        chosen
    }
}

/// Gives a method the same colour in every part, as far as a part's methods keep different ones.
pub fn agree_on_colours<'a>(parts: impl Iterator<Item = &'a mut Part>) {
    // In the order of agreement: of two methods with one colour the earlier keeps it.
    let mut agreed: Vec<(String, usize)> = Vec::new();
    for part in parts {
        let methods: Vec<String> = part.methods().into_iter().map(str::to_owned).collect();
        let mut ranks: BTreeMap<String, usize> = BTreeMap::new();
        for (method, rank) in &agreed {
            // Beyond the palette's end colours come again, so places there are kept close.
            let fits = *rank < methods.len().max(SERIES.len());
            if fits && methods.contains(method) && !ranks.values().any(|it| it == rank) {
                ranks.insert(method.clone(), *rank);
            }
        }
        for method in methods {
            if ranks.contains_key(&method) {
                continue;
            }
            let taken = |rank: &usize| ranks.values().any(|it| it == rank);
            let free = (0..).find(|rank| !taken(rank)).unwrap_or(0);
            ranks.insert(method.clone(), free);
            if !agreed.iter().any(|it| it.0 == method) {
                agreed.push((method, free));
            }
        }
        part.ranks = ranks;
    }
}

/// The values of a grid in words: `model.hidden = [32, 32], train.epochs = 5`.
pub fn label(values: &BTreeMap<String, Value>) -> String {
    let each = values.iter().map(|(key, value)| {
        let value = value.as_str().map_or_else(|| plain(value), str::to_owned);
        format!("{key} = {value}")
    });
    each.collect::<Vec<_>>().join(", ")
}

/// A value as it stands in an experiment file, more or less.
fn plain(value: &Value) -> String {
    match value {
        Value::Array(list) => {
            let list: Vec<String> = list.iter().map(plain).collect();
            format!("[{}]", list.join(", "))
        }
        other => other.to_string(),
    }
}

/// A folder's own name.
pub fn name_of(folder: &Path) -> String {
    let name = folder
        .file_name()
        .map(|it| it.to_string_lossy().into_owned());
    name.unwrap_or_else(|| folder.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_named_as_in_a_file() {
        let values = [("a.b", json!([32, 32])), ("c", json!("erk"))];
        let values = values.map(|(key, value)| (key.to_owned(), value));
        assert_eq!(label(&values.into()), "a.b = [32, 32], c = erk");
    }

    #[test]
    fn a_method_has_one_colour_in_all_parts_and_no_other_method_of_a_part_has_it() {
        use super::super::testing::Desk;
        let desk = Desk::new();
        let part = |methods: &[&str]| {
            let mut part = desk.part();
            let cells = part.cells.iter_mut().zip(methods);
            cells.for_each(|(cell, method)| cell.method = (*method).to_owned());
            part.cells.truncate(methods.len());
            part
        };
        let mut parts = [
            part(&["imp", "wr", "lrr"]),
            part(&["erk", "lrr"]),
            part(&["erk", "imp"]),
        ];
        agree_on_colours(parts.iter_mut());
        let ranks = |part: &Part| {
            part.methods()
                .iter()
                .map(|it| part.rank(it))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            parts.each_ref().map(ranks),
            [vec![0, 1, 2], vec![0, 2], vec![1, 0]]
        );
    }
}
