//! `--set a.b.c=value`: single keys laid over the experiment file.

use std::path::PathBuf;

use toml::de::{DeTable, DeValue};

use super::diagnostic::{Diagnostic, Place};
use super::inherit::{Reader, name_key, overlay};
use super::strategy::Plugins;
use super::tree::{Key, Node, Planter, Table, Tree};

/// One override.
#[derive(Clone)]
pub(super) struct Override {
    path: Vec<Key>,
    value: Node,
}

/// Reads all overrides as the lines of a pseudo-file called `--set`. They come back in the order
/// in which they are to be applied: plugins first, the general before the special, the choice of a
/// component before its options, and otherwise as given.
pub(super) fn parse(overrides: &[String], reader: &mut Reader) -> Vec<Override> {
    if overrides.is_empty() {
        return Vec::new();
    }
    let file = reader.problems.add_file("--set", overrides.join("\n"));
    // A relative path in an override is completed by the shell, so it starts where the shell is.
    reader.folders.push(PathBuf::new());
    let mut offset = 0;
    let mut parsed = Vec::new();
    for text in overrides {
        let mut planter = Planter {
            file,
            offset,
            problems: &mut reader.problems,
            broken: Vec::new(),
        };
        parsed.extend(parse_one(text, &mut planter));
        offset += text.len() + 1;
    }
    parsed.sort_by_key(|it| {
        let last = it.path.last().map(|key| key.text.as_str());
        (
            !it.concerns_plugins(),
            it.path.len(),
            !matches!(last, Some("name" | "use")),
        )
    });
    parsed
}

fn parse_one(text: &str, planter: &mut Planter<'_>) -> Option<Override> {
    let start = planter.offset;
    // A quoted key may contain equals signs, so the first one is not always the right one; but each
    // trial reads the text up to it, so not all of very many are tried.
    let split = text
        .match_indices('=')
        .take(32)
        .find_map(|(at, _)| Some((parse_key(&text[..at], planter)?, at + 1)));
    let Some((path, value_at)) = split else {
        let place = planter.place(0..text.len());
        let problem = Diagnostic::new(Some(&place), format!("`{text}` sets nothing"))
            .label("expected `key=value`, such as `train.epochs=5`");
        planter.problems.push(problem);
        return None;
    };
    let raw = &text[value_at..];
    let trimmed = raw.trim();
    planter.offset = start + value_at + (raw.len() - raw.trim_start().len());
    let value = match DeValue::parse(trimmed) {
        Ok(value) => planter.node(&value),
        Err(error) if trimmed.starts_with(['[', '{', '"', '\'']) => {
            planter.syntax_error(&error);
            return None;
        }
        Err(_) => Node {
            place: planter.place(0..trimmed.len()),
            value: Tree::Text(trimmed.to_owned()),
        },
    };
    Some(Override { path, value })
}

fn parse_key(text: &str, planter: &mut Planter<'_>) -> Option<Vec<Key>> {
    if text.contains('\n') {
        return None;
    }
    let probe = format!("{text}=0");
    let table = DeTable::parse(&probe).ok()?;
    let mut table = table.get_ref();
    let mut path = Vec::new();
    loop {
        let (key, value) = table.iter().next()?;
        path.push(Key {
            text: key.get_ref().to_string(),
            place: planter.place(key.span()),
        });
        match value.get_ref() {
            DeValue::Table(inner) => table = inner,
            _ => return Some(path),
        }
    }
}

impl Override {
    /// One that sets the key at this path.
    pub fn new(path: Vec<Key>, value: Node) -> Self {
        Self { path, value }
    }

    /// Number of keys in its path.
    pub fn depth(&self) -> usize {
        self.path.len()
    }

    /// The first key of its path.
    pub fn first_key(&self) -> &str {
        self.path.first().map_or("", |key| key.text.as_str())
    }

    /// Where the first key of its path stands.
    pub fn place(&self) -> Option<&Place> {
        self.path.first().map(|key| &key.place)
    }

    /// Whether it says where a plugin lies.
    pub fn concerns_plugins(&self) -> bool {
        self.path.first().is_some_and(|key| key.text == "plugins")
    }

    /// Lays it over the tree.
    pub fn apply(self, root: &mut Node, plugins: &mut Plugins<'_>, reader: &mut Reader) {
        let mut node = root;
        let mut walked: Vec<String> = Vec::new();
        let Some((last, way)) = self.path.split_last() else {
            return;
        };
        for key in way {
            unfold(node, &walked, key, plugins, reader);
            let shown = walked.join(".");
            walked.push(key.text.clone());
            let found = node.type_name();
            node = match &mut node.value {
                Tree::Table(table) => {
                    if table.get(&key.text).is_none() {
                        let empty = Node {
                            place: key.place.clone(),
                            value: Tree::Table(Table::default()),
                        };
                        table.insert(key.clone(), empty);
                    }
                    match table.get_mut(&key.text) {
                        Some(node) => node,
                        None => return,
                    }
                }
                Tree::List(list) => match place_in(list.len(), key, &shown) {
                    Ok(index) if index < list.len() => &mut list[index],
                    Ok(_) => {
                        list.push(Node {
                            place: key.place.clone(),
                            value: Tree::Table(Table::default()),
                        });
                        let end = list.len() - 1;
                        &mut list[end]
                    }
                    Err(problem) => return reader.problems.push(*problem),
                },
                Tree::Invalid => return,
                _ => return refuse(found, key, &shown, reader),
            };
        }
        unfold(node, &walked, last, plugins, reader);
        let shown = walked.join(".");
        let found = node.type_name();
        match &mut node.value {
            Tree::Table(_) => {
                let change = Node {
                    // Keeps its place: a key that is missing is missing in the file.
                    place: node.place.clone(),
                    value: Tree::Table(Table::from_iter([(last.clone(), self.value)])),
                };
                let merged = overlay(std::mem::replace(node, nothing()), change, &mut walked);
                *node = merged;
            }
            Tree::List(list) => match place_in(list.len(), last, &shown) {
                Ok(index) if index < list.len() => list[index] = self.value,
                Ok(_) => list.push(self.value),
                Err(problem) => reader.problems.push(*problem),
            },
            Tree::Invalid => {}
            _ => refuse(found, last, &shown, reader),
        }
    }
}

fn nothing() -> Node {
    Node {
        place: Place::whole(0),
        value: Tree::Invalid,
    }
}

/// Writes out the short forms of a strategy that an override reaches into.
fn unfold(
    node: &mut Node,
    path: &[String],
    next: &Key,
    plugins: &mut Plugins<'_>,
    reader: &mut Reader,
) {
    let indexed = next.text.bytes().all(|byte| byte.is_ascii_digit());
    match (path, &node.value) {
        ([strategy], Tree::Text(_)) if strategy == "strategy" => {
            plugins.unfold_strategy(node, &mut reader.problems);
        }
        ([strategy, list], Tree::Text(_) | Tree::Table(_))
            if strategy == "strategy" && matches!(&**list, "rewind" | "update") && indexed =>
        {
            let place = node.place.clone();
            // An override created the list only to fill it.
            let created = node
                .table()
                .is_some_and(|table| table.iter().next().is_none());
            let one = std::mem::replace(node, nothing());
            node.value = Tree::List(if created { Vec::new() } else { vec![one] });
            node.place = place;
        }
        (_, Tree::Text(component)) if name_key(path) == Some("use") => {
            *node = Node::singleton("use", component, &node.place);
        }
        _ => {}
    }
}

/// The place in a list that a key names; the one behind the end makes a new element.
fn place_in(length: usize, key: &Key, path: &str) -> Result<usize, Box<Diagnostic>> {
    match key.text.parse::<usize>() {
        Ok(index) if index <= length => Ok(index),
        _ => {
            let problem = format!("`{path}` has no element `{}`", key.text);
            let label = match length {
                0 => "expected 0, which adds the first".to_owned(),
                _ => format!("expected 0 to {}, or {length}, which adds one", length - 1),
            };
            Err(Box::new(
                Diagnostic::new(Some(&key.place), problem).label(label),
            ))
        }
    }
}

fn refuse(found: &str, key: &Key, path: &str, reader: &mut Reader) {
    let message = format!("`{path}` is {found}, not a table");
    let problem = Diagnostic::new(Some(&key.place), message).label("no key can be set in it");
    reader.problems.push(problem);
}
