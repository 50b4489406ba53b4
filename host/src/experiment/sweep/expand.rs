//! From a sweep's tree to the trees of its cells.

use std::collections::BTreeMap;

use serde_json::Value;

use super::distinct::Distinct;
use super::file::File;
use super::stop::Stop;
use crate::counted::counted;
use crate::experiment::config::MOST_NAME;
use crate::experiment::diagnostic::{Diagnostic, Place};
use crate::experiment::inherit::{Reader, overlay};
use crate::experiment::overrides::Override;
use crate::experiment::tree::{Key, Node, Table, Tree};
use crate::experiment::{Claim, NeuronFile};

/// A file's cells.
pub(super) struct Part {
    pub name: String,
    pub title: String,
    pub claims: Vec<Claim>,
    pub barriers: Vec<Vec<String>>,
    /// `[sweep.stop]`, as it is and as it was written.
    pub stop: Option<(Stop, Node)>,
    pub cells: Vec<Cell>,
    pub neuron: Option<NeuronFile>,
    pub reader: Reader,
}

/// A cell that is not checked yet.
pub(super) struct Cell {
    pub name: String,
    pub method: String,
    pub values: BTreeMap<String, Value>,
    pub root: Node,
    pub overrides: Vec<Override>,
}

/// One value of a grid's axis.
#[derive(Clone)]
struct Choice {
    path: Vec<Key>,
    value: Node,
    slug: String,
}

/// No sweep has more cells.
const MOST_CELLS: usize = 10_000;

/// No sweep's cells have more values together: each is a whole experiment in memory.
const MOST_VALUES: usize = 10_000_000;

/// The cells and the values that a sweep may still have.
pub(super) struct Budget {
    cells: usize,
    values: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            cells: MOST_CELLS,
            values: MOST_VALUES,
        }
    }
}

impl Budget {
    /// Takes so many cells of so many values each, if they are there.
    fn take(&mut self, cells: usize, values: usize, place: &Place) -> Result<(), Box<Diagnostic>> {
        let left = self.cells.checked_sub(cells);
        let left = left.zip(self.values.checked_sub(cells.saturating_mul(values)));
        if let Some((cells, values)) = left {
            *self = Self { cells, values };
            return Ok(());
        }
        let count = match cells {
            usize::MAX => "far too many".to_owned(),
            cells => cells.to_string(),
        };
        let problem = Diagnostic::new(
            Some(place),
            format!(
                "the sweep is too large: {} of {} each",
                counted(count, "cell"),
                counted(values, "value")
            ),
        );
        Err(Box::new(problem.label(format!(
            "expected at most {MOST_CELLS} cells, and {MOST_VALUES} values in all of them"
        ))))
    }
}

/// The cells of a file that includes no others.
pub(super) fn expand(file: File, budget: &mut Budget, reader: &mut Reader) -> Part {
    let mut cells = Vec::new();
    match &file.sweep {
        None => cells.push(Cell {
            name: file.name.clone(),
            method: file.name.clone(),
            values: BTreeMap::new(),
            root: file.root.clone(),
            overrides: file.overrides.clone(),
        }),
        Some(sweep) => {
            let axes = axes(sweep.at(&["grid"]), reader);
            match afford(&file, sweep, &axes, budget) {
                Ok(()) => {
                    let combinations = cross(axes);
                    for (method, root) in methods(&file, sweep, reader) {
                        for combination in &combinations {
                            cells.push(cell(&file, &method, root.clone(), combination));
                        }
                    }
                }
                Err(problem) => reader.problems.push(*problem),
            }
            number_twins(&mut cells);
            check_names(&cells, reader);
            if reader.problems.is_empty() {
                let methods: Vec<&str> = cells.iter().map(|it: &Cell| it.method.as_str()).collect();
                file.check_methods(&methods, reader);
            }
        }
    }
    Part {
        stop: file.stop,
        title: file.title.unwrap_or_else(|| file.name.clone()),
        name: file.name,
        claims: file.claims.into_iter().map(|(claim, _)| claim).collect(),
        barriers: file
            .barriers
            .into_iter()
            .map(|(methods, _)| methods)
            .collect(),
        cells,
        neuron: None,
        reader: reader.clone(),
    }
}

/// The part that is a simulation of the hidden neuron.
pub(super) fn simulation(file: NeuronFile) -> Part {
    Part {
        name: file.name.clone(),
        title: "A single hidden neuron".to_owned(),
        claims: Vec::new(),
        barriers: Vec::new(),
        stop: None,
        cells: Vec::new(),
        neuron: Some(file),
        reader: Reader::default(),
    }
}

/// Each method with the file's tree under it; the file itself if it names no methods.
fn methods(file: &File, sweep: &Node, reader: &mut Reader) -> Vec<(String, Node)> {
    let Some(table) = sweep.at(&["methods"]).and_then(Node::table) else {
        return vec![(file.name.clone(), file.root.clone())];
    };
    if table.iter().next().is_none() {
        let problem = Diagnostic::new(Some(&sweep.place), "the sweep has no methods")
            .label("expected a table for each, such as [sweep.methods.lrr]");
        reader.problems.push(problem);
    }
    let mut methods = Vec::new();
    for (key, method) in table.iter() {
        if slug_of(&key.text) != key.text {
            let message = format!("`{}` cannot be the name of a method", key.text);
            let problem = Diagnostic::new(Some(&key.place), message)
                .label("expected letters, digits, `.`, `_` and `-`");
            reader.problems.push(problem);
        }
        let Some(own) = method.table() else {
            let message = format!("`sweep.methods.{}` must be a table", key.text);
            let problem = Diagnostic::new(Some(&method.place), message)
                .label("expected the keys in which this method differs");
            reader.problems.push(problem);
            continue;
        };
        for (key, _) in own.iter() {
            if matches!(key.text.as_str(), "name" | "seeds" | "base" | "sweep") {
                let message = format!("a method has no `{}` of its own", key.text);
                let problem = Diagnostic::new(Some(&key.place), message)
                    .label("it is the whole sweep's: put it at the file's top");
                reader.problems.push(problem);
            }
        }
        let root = overlay(file.root.clone(), method.clone(), &mut Vec::new());
        // What is missing is missing in the file.
        let place = file.root.place.clone();
        methods.push((key.text.clone(), Node { place, ..root }));
    }
    methods
}

/// Counts the cells before any is made: a short file can stand for more than memory holds.
fn afford(
    file: &File,
    sweep: &Node,
    axes: &[Vec<Choice>],
    budget: &mut Budget,
) -> Result<(), Box<Diagnostic>> {
    let methods = sweep.at(&["methods"]).and_then(Node::table);
    let of_methods: Option<Vec<usize>> =
        methods.map(|table| table.iter().map(|(_, method)| method.values()).collect());
    let count = of_methods.as_ref().map_or(1, Vec::len);
    let largest = of_methods.into_iter().flatten().max().unwrap_or(0);
    let cells = (axes.iter()).fold(count, |cells, axis| cells.saturating_mul(axis.len()));
    let chosen = axes.iter().map(|axis| {
        let values = axis.iter().map(|choice| choice.value.values());
        values.max().unwrap_or(0)
    });
    let values = file.root.values() + largest + chosen.sum::<usize>();
    budget.take(cells, values, &sweep.place)
}

/// The grid's axes, each with its values.
fn axes(grid: Option<&Node>, reader: &mut Reader) -> Vec<Vec<Choice>> {
    let mut axes = Vec::new();
    if let Some(table) = grid.and_then(Node::table) {
        find_axes(table, &mut Vec::new(), &mut axes, reader);
    }
    axes
}

/// All combinations of the axes' values, the last key changing fastest; one empty combination
/// without a grid.
fn cross(axes: Vec<Vec<Choice>>) -> Vec<Vec<Choice>> {
    let mut combinations = vec![Vec::new()];
    for axis in axes {
        combinations = (combinations.iter())
            .flat_map(|so_far| {
                axis.iter().map(|choice| {
                    let mut longer = so_far.clone();
                    longer.push(choice.clone());
                    longer
                })
            })
            .collect();
    }
    combinations
}

fn find_axes(table: &Table, path: &mut Vec<Key>, axes: &mut Vec<Vec<Choice>>, reader: &mut Reader) {
    for (key, node) in table.iter() {
        let depth = path.len();
        if depth == 0
            && let Some(problem) = not_to_be_varied(key)
        {
            reader.problems.push(problem);
            continue;
        }
        path.extend(key.text.split('.').map(|text| Key {
            text: text.to_owned(),
            place: key.place.clone(),
        }));
        match &node.value {
            Tree::Table(inner) => find_axes(inner, path, axes, reader),
            Tree::List(values) if !values.is_empty() => {
                let axis = values.iter().enumerate().map(|(index, value)| Choice {
                    path: path.clone(),
                    slug: slug(value).unwrap_or_else(|| (index + 1).to_string()),
                    value: value.clone(),
                });
                axes.push(axis.collect());
            }
            _ => {
                let message = format!("`sweep.grid.{}` must be a list of values", dotted(path));
                let problem = Diagnostic::new(Some(&node.place), message)
                    .label("expected one value or more in brackets");
                reader.problems.push(problem);
            }
        }
        path.truncate(depth);
    }
}

/// Why a grid cannot have this key, if it is one of those that are the whole sweep's.
fn not_to_be_varied(key: &Key) -> Option<Diagnostic> {
    let first = key.text.split('.').next().unwrap_or_default();
    let label = match first {
        "seeds" => "each cell is run with all seeds: list them at the file's top",
        "name" => "cells are named by their method and the grid's values: leave it out",
        "base" | "sweep" | "claims" => {
            "it is the whole sweep's: put what differs into files of their own and `include` them"
        }
        _ => return None,
    };
    let message = format!("a grid has no `{first}` of its own");
    Some(Diagnostic::new(Some(&key.place), message).label(label))
}

fn cell(file: &File, method: &str, mut root: Node, combination: &[Choice]) -> Cell {
    let mut name = method.to_owned();
    let mut values = BTreeMap::new();
    let mut overrides = Vec::new();
    for choice in combination {
        let key = choice.path.last().map_or("", |key| key.text.as_str());
        name = format!("{name}-{}-{}", slug_of(key), choice.slug);
        values.insert(dotted(&choice.path), choice.value.to_json());
        overrides.push(Override::new(choice.path.clone(), choice.value.clone()));
    }
    // The general before the special, as everywhere.
    overrides.sort_by_key(Override::depth);
    overrides.extend(file.overrides.iter().cloned());
    if let Some(node) = root.table_mut().and_then(|table| table.get_mut("name")) {
        node.value = Tree::Text(format!("{}-{name}", file.name));
    }
    Cell {
        name,
        method: method.to_owned(),
        values,
        root,
        overrides,
    }
}

/// Tells cells apart whose values have the same short form.
fn number_twins(cells: &mut [Cell]) {
    let mut names = Distinct::default();
    for cell in cells {
        let name = names.take(&cell.name);
        if let Some(number) = name.strip_prefix(&cell.name)
            && !number.is_empty()
            && let Some(node) = cell.root.table_mut().and_then(|it| it.get_mut("name"))
            && let Some(text) = node.text()
        {
            node.value = Tree::Text(format!("{text}{number}"));
        }
        cell.name = name;
    }
}

/// A cell's name is longer than what the file says, which is where it can be made shorter.
fn check_names(cells: &[Cell], reader: &mut Reader) {
    let named = |cell: &Cell| {
        let node = cell.root.at(&["name"])?;
        let length = node.text()?.chars().count() as u64;
        (length > MOST_NAME).then(|| (cell.name.clone(), node.place.clone(), length))
    };
    if let Some((name, place, length)) = cells.iter().find_map(named) {
        let message = format!("the sweep's name is too long for its cell `{name}`");
        let problem = Diagnostic::new(Some(&place), message).label(format!(
            "together they have {length} characters, expected at most {MOST_NAME}"
        ));
        reader.problems.push(problem);
    }
}

fn dotted(path: &[Key]) -> String {
    let keys: Vec<&str> = path.iter().map(|key| key.text.as_str()).collect();
    keys.join(".")
}

/// A value as part of a name; none if it has no short form.
fn slug(value: &Node) -> Option<String> {
    Some(match &value.value {
        Tree::Text(text) => slug_of(text),
        Tree::Integer(number) => number.to_string(),
        Tree::Float(number) => number.to_string(),
        Tree::Bool(it) => it.to_string(),
        Tree::List(elements) => {
            let slugs: Option<Vec<String>> = elements.iter().map(slug).collect();
            slugs?.join("x")
        }
        Tree::Table(table) => {
            let chosen = table.get("use").or(table.get("name"))?;
            slug(chosen)?
        }
        Tree::Invalid => return None,
    })
}

/// A text with what a file's name may hold.
fn slug_of(text: &str) -> String {
    let kept = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let slug: String = (text.chars())
        .map(|c| if kept(c) { c } else { '-' })
        .collect();
    let slug = slug.trim_start_matches(['.', '-', '_']);
    match slug {
        "" => "x".to_owned(),
        slug => slug.to_owned(),
    }
}
