//! From a sweep's tree to the trees of its cells.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::form;
use crate::experiment::check::check;
use crate::experiment::diagnostic::{Diagnostic, Place};
use crate::experiment::inherit::{Reader, overlay};
use crate::experiment::overrides::Override;
use crate::experiment::strategy::Plugins;
use crate::experiment::tree::{Key, Node, Table, Tree};
use crate::experiment::{Catalog, Claim, NeuronFile};

/// A file that was read.
pub(super) struct File {
    /// Its name.
    pub name: String,
    /// The files it includes, with their places, if it is a list of files.
    pub includes: Option<Vec<(String, Place)>>,
    /// What all its cells have in common.
    root: Node,
    sweep: Option<Node>,
    title: Option<String>,
    claims: Vec<(Claim, Node)>,
    barriers: Vec<(Vec<String>, Node)>,
    overrides: Vec<Override>,
}

/// A file's cells.
pub(super) struct Part {
    pub file: PathBuf,
    pub name: String,
    pub title: String,
    pub claims: Vec<Claim>,
    pub barriers: Vec<Vec<String>>,
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

/// Takes a tree apart into what the sweep says and what its cells have in common. Overrides of the
/// sweep itself and of its name count for the top file alone.
pub(super) fn read(
    mut root: Node,
    overrides: Vec<Override>,
    reader: &mut Reader,
    catalog: &dyn Catalog,
    is_top: bool,
) -> File {
    let (own, overrides): (Vec<_>, Vec<_>) = overrides
        .into_iter()
        .partition(|it| matches!(it.first_key(), "name" | "sweep" | "claims"));
    if is_top {
        let mut plugins = Plugins::new(catalog);
        for change in own {
            change.apply(&mut root, &mut plugins, reader);
        }
    }
    let mut taken = Table::default();
    let mut take = |key: &str| {
        let (key, node) = root.table_mut()?.remove(key)?;
        taken.insert(key, node.clone());
        Some(node)
    };
    let (sweep, claims) = (take("sweep"), take("claims"));
    if sweep.is_some() {
        let form = Node {
            place: root.place.clone(),
            value: Tree::Table(taken),
        };
        for problem in check(&form, &form::schema()) {
            reader.problems.push(problem);
        }
    } else if let (Some(claims), Some(table)) = (&claims, root.table_mut()) {
        // An ordinary experiment claims nothing: its own check says so.
        let key = Key {
            text: "claims".to_owned(),
            place: claims.place.clone(),
        };
        table.insert(key, claims.clone());
    }
    let name = root.at(&["name"]).and_then(Node::text).unwrap_or_default();
    let at = |key| sweep.as_ref().and_then(|sweep| sweep.at(&[key]));
    if let (Some(_), Some(other)) = (at("include"), at("methods").or(at("grid"))) {
        let message = "a sweep that includes files has no methods and no grid of its own";
        let problem = Diagnostic::new(Some(&other.place), message)
            .label("put them into a file and include it");
        reader.problems.push(problem);
    }
    let includes = at("include").map(|list| match &list.value {
        Tree::List(files) => (files.iter())
            .filter_map(|file| Some((file.text()?.to_owned(), file.place.clone())))
            .collect(),
        _ => Vec::new(),
    });
    let claims = claims.map(|claims| match claims.value {
        Tree::List(list) => (list.into_iter())
            .filter_map(|node| Some((serde_json::from_value(node.to_json()).ok()?, node)))
            .collect(),
        _ => Vec::new(),
    });
    let barriers =
        at("barriers").and_then(|list| match &list.value {
            Tree::List(list) => Some(list.iter().filter_map(|node| {
                Some((serde_json::from_value(node.to_json()).ok()?, node.clone()))
            })),
            _ => None,
        });
    File {
        barriers: barriers.into_iter().flatten().collect(),
        name: name.to_owned(),
        includes,
        title: at("title").and_then(Node::text).map(str::to_owned),
        claims: claims.unwrap_or_default(),
        sweep,
        root,
        overrides,
    }
}

/// The cells of a file that includes no others.
pub(super) fn expand(path: &Path, file: File, reader: &mut Reader) -> Part {
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
            let combinations = combinations(sweep.at(&["grid"]), reader);
            for (method, root) in methods(&file, sweep, reader) {
                for combination in &combinations {
                    cells.push(cell(&file, &method, root.clone(), combination));
                }
            }
            number_twins(&mut cells);
            if reader.problems.is_empty() {
                check_claims(&file, &cells, reader);
                check_barriers(&file, &cells, reader);
            }
        }
    }
    Part {
        file: path.to_owned(),
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
pub(super) fn simulation(path: &Path, file: NeuronFile) -> Part {
    Part {
        file: path.to_owned(),
        name: file.name.clone(),
        title: "A single hidden neuron".to_owned(),
        claims: Vec::new(),
        barriers: Vec::new(),
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

/// All combinations of the grid's values, the last key changing fastest; one empty combination
/// without a grid.
fn combinations(grid: Option<&Node>, reader: &mut Reader) -> Vec<Vec<Choice>> {
    let mut axes = Vec::new();
    if let Some(table) = grid.and_then(Node::table) {
        find_axes(table, &mut Vec::new(), &mut axes, reader);
    }
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
    let mut seen: BTreeMap<String, u64> = BTreeMap::new();
    for cell in cells {
        let count = seen.entry(cell.name.clone()).or_default();
        *count += 1;
        if *count > 1 {
            cell.name = format!("{}-{count}", cell.name);
            if let Some(node) = cell.root.table_mut().and_then(|it| it.get_mut("name"))
                && let Some(text) = node.text()
            {
                node.value = Tree::Text(format!("{text}-{count}"));
            }
        }
    }
}

fn check_claims(file: &File, cells: &[Cell], reader: &mut Reader) {
    let methods: Vec<&str> = cells.iter().map(|cell| cell.method.as_str()).collect();
    for (claim, node) in &file.claims {
        for (key, method) in [("above", &claim.above), ("below", &claim.below)] {
            if !methods.contains(&method.as_str()) {
                let place = node.at(&[key]).map(|node| &node.place);
                let message = format!("a claim names the unknown method `{method}`");
                let problem = Diagnostic::new(place, message)
                    .label("not among the sweep's methods")
                    .known(method, methods.iter().copied());
                reader.problems.push(problem);
            }
        }
        if let Some([least, greatest]) = claim.densities
            && least > greatest
        {
            let place = node.at(&["densities"]).map(|node| &node.place);
            let message = "a claim's range of densities is empty";
            let problem =
                Diagnostic::new(place, message).label("expected the least, then the greatest");
            reader.problems.push(problem);
        }
    }
}

fn check_barriers(file: &File, cells: &[Cell], reader: &mut Reader) {
    let methods: Vec<&str> = cells.iter().map(|cell| cell.method.as_str()).collect();
    for (barrier, node) in &file.barriers {
        if !(1..=2).contains(&barrier.len()) {
            let message = "a barrier is measured along the levels of one method or between two";
            let problem = Diagnostic::new(Some(&node.place), message)
                .label(format!("expected 1 or 2 methods, found {}", barrier.len()));
            reader.problems.push(problem);
        }
        if let Some(unknown) = barrier.iter().find(|it| !methods.contains(&it.as_str())) {
            let message = format!("a barrier names the unknown method `{unknown}`");
            let problem = Diagnostic::new(Some(&node.place), message)
                .label("not among the sweep's methods")
                .known(unknown, methods.iter().copied());
            reader.problems.push(problem);
        }
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
