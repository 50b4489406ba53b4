//! Files that the options of a model and of a dataset name: what they hold is part of what an experiment is, not
//! where they lie.

use std::path::{Path, PathBuf};

use plugin_api::schemars::Schema;
use serde_json::Value;

use super::diagnostic::{Diagnostic, Place};
use super::problems::Diagnostics;
use super::tree::{Key, Node, Tree};
use super::{Kind, Named, registries};
use crate::store;

/// Schema keyword of an option that names a file; its value is the option that holds the file's digest.
const FILE: &str = "x-file";
/// Schema keyword beside it: the name of the copy that a run keeps.
const COPY: &str = "x-copy";

/// Schema keyword of an option of a dataset whose texts are paths, which start at the experiment file's folder.
const PATH: &str = "x-path";

/// Puts the paths of the dataset's files into the tree as absolute ones.
pub(super) fn resolve_data(
    root: &mut Node,
    folders: &[PathBuf],
    schema: impl Fn(&str) -> Option<Schema>,
) {
    let Some(schema) = (root.at(&["data", "name"]).and_then(Node::text)).and_then(schema) else {
        return; // Reported with the names.
    };
    let properties = schema.as_value()["properties"].as_object();
    let data = root.table_mut().and_then(|it| it.get_mut("data"));
    let (Some(properties), Some(data)) = (properties, data.and_then(Node::table_mut)) else {
        return;
    };
    for (key, node) in data.iter_mut() {
        let property = properties.get(&key.text);
        if property.is_some_and(|it| it.get(PATH).is_some_and(|it| it == true)) {
            complete(node, folders);
        }
    }
}

/// Makes every text of a value an absolute path.
pub(super) fn complete(node: &mut Node, folders: &[PathBuf]) {
    let folder = folders.get(node.place.file);
    let folder = folder.map_or(Path::new(""), PathBuf::as_path);
    match &mut node.value {
        Tree::Text(path) => *path = absolute(&folder.join(&*path)),
        Tree::Table(table) => table
            .iter_mut()
            .for_each(|(_, node)| complete(node, folders)),
        _ => {}
    }
}

/// An option that names a file.
struct FileOption {
    name: String,
    /// The option with the file's digest.
    digest: String,
    /// What a run calls its copy.
    copy: String,
}

/// A file that a model's options name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedFile {
    /// The option that names it.
    pub option: String,
    /// Where it lies.
    pub path: PathBuf,
    /// Its BLAKE3, hexadecimal.
    pub digest: String,
    /// The name of the copy that a run keeps.
    pub copy: String,
}

/// The options that name files of a component with this schema.
fn options(schema: &Schema) -> Vec<FileOption> {
    let properties = schema.as_value()["properties"].as_object();
    let option = |(name, property): (&String, &Value)| {
        let text = |key: &str| Some(property.get(key)?.as_str()?.to_owned());
        Some(FileOption {
            name: name.clone(),
            digest: text(FILE)?,
            copy: text(COPY)?,
        })
    };
    properties
        .into_iter()
        .flatten()
        .filter_map(option)
        .collect()
}

/// Puts the paths of the model's files, if it names any, into the tree as absolute ones, and the files' digests
/// into the tree and its twin, which an experiment's identity is made of.
///
/// A run's own `experiment.toml` finds the copies beside it where a file is gone or another one.
pub(super) fn resolve(
    root: &mut Node,
    canonical: &mut Node,
    folders: &[PathBuf],
    schema: impl Fn(&str) -> Option<Schema>,
    problems: &mut Diagnostics,
) {
    let Some(name) = root.at(&["model", "name"]).and_then(Node::text) else {
        return;
    };
    for option in schema(name).as_ref().map(options).unwrap_or_default() {
        resolve_one(root, canonical, folders, &option, problems);
    }
}

fn resolve_one(
    root: &mut Node,
    canonical: &mut Node,
    folders: &[PathBuf],
    option: &FileOption,
    problems: &mut Diagnostics,
) {
    let Some(node) = root.at(&["model", &option.name]) else {
        return; // The schema asks for it, or it need not be there.
    };
    let (Some(written), place) = (node.text().map(str::to_owned), node.place.clone()) else {
        return;
    };
    let folder = folders
        .get(place.file)
        .map_or(Path::new(""), PathBuf::as_path);
    let pinned = root.at(&["model", &option.digest]);
    let pin = pinned.and_then(Node::text).filter(|it| !it.is_empty());
    let expect = |path: &Path| match (store::digest(path), pin) {
        (Err(error), _) => Err((place.clone(), error.to_string())),
        (Ok(got), Some(pin)) if got != pin => {
            let place = pinned.map_or(&place, |it| &it.place).clone();
            let message = format!("`{written}` is another file: its BLAKE3 is {got}");
            Err((place, message))
        }
        (Ok(got), _) => Ok((absolute(path), got)),
    };
    let copy = || pin.and_then(|_| expect(&folder.join(&option.copy)).ok());
    match expect(&folder.join(&written)).or_else(|problem| copy().ok_or(problem)) {
        Ok((path, got)) => {
            set(root, &option.name, &place, &path);
            for tree in [root, canonical] {
                set(tree, &option.digest, &place, &got);
            }
        }
        Err((at, message)) => {
            let label = match at == place {
                true => "named here",
                false => "expected this one",
            };
            problems.push(Diagnostic::new(Some(&at), message).label(label));
        }
    }
}

fn set(root: &mut Node, key: &str, place: &Place, text: &str) {
    let model = root.table_mut().and_then(|it| it.get_mut("model"));
    let Some(table) = model.and_then(Node::table_mut) else {
        return;
    };
    let node = Node {
        place: place.clone(),
        value: Tree::Text(text.to_owned()),
    };
    match table.get_mut(key) {
        Some(known) => known.value = node.value,
        None => {
            let key = Key {
                text: key.to_owned(),
                place: place.clone(),
            };
            table.insert(key, node);
        }
    }
}

fn absolute(path: &Path) -> String {
    let absolute = (path.canonicalize())
        .or_else(|_| std::path::absolute(path))
        .unwrap_or_else(|_| path.to_owned());
    absolute.to_string_lossy().into_owned()
}

fn options_of(model: &Named) -> Vec<FileOption> {
    let schema = registries::schema(Kind::Model, &model.name);
    schema.as_ref().map(options).unwrap_or_default()
}

/// The files that a model's options name.
pub fn files_of(model: &Named) -> Vec<NamedFile> {
    let text = |key: &str| Some(model.options.get(key)?.as_str()?.to_owned());
    let file = |option: FileOption| {
        Some(NamedFile {
            path: text(&option.name)?.into(),
            digest: text(&option.digest).unwrap_or_default(),
            option: option.name,
            copy: option.copy,
        })
    };
    options_of(model).into_iter().filter_map(file).collect()
}

/// Has a stored run's model take its files from the run's own folder, where there are copies.
pub(super) fn take_copies(model: &mut Named, folder: &Path) {
    for option in options_of(model) {
        let copy = folder.join(&option.copy);
        if let Some(path) = model.options.get_mut(&option.name)
            && copy.is_file()
        {
            *path = Value::String(copy.to_string_lossy().into_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::MODELS;

    #[test]
    fn every_file_that_a_model_names_has_a_copy_that_runs_know() {
        let mut seen = std::collections::BTreeSet::new();
        for entry in MODELS {
            let schema = registries::schema(Kind::Model, entry.name).unwrap();
            let files = schema.as_value()["properties"].as_object().unwrap();
            let named = files.values().filter(|it| it.get(FILE).is_some()).count();
            let options = options(&schema);
            assert_eq!(options.len(), named, "{}", entry.name);
            for option in options {
                assert!(files.contains_key(&option.digest), "{}", entry.name);
                assert!(store::COPIES.contains(&&*option.copy), "{}", option.copy);
                seen.insert(option.copy);
            }
        }
        assert_eq!(seen.len(), store::COPIES.len());
    }
}
