//! Files that the options of a model and of a dataset name: what they hold is part of what an experiment is, not
//! where they lie.

use std::path::{Path, PathBuf};

use plugin_api::schemars::Schema;
use serde_json::Value;

use super::diagnostic::{Diagnostic, Place};
use super::problems::Diagnostics;
use super::tree::{Key, Node, Tree};
use super::{Named, registries};
use crate::store::{self, ARCHIVE};

/// Schema keyword of an option that names a file; its value is the option that holds the file's digest.
const FILE: &str = "x-file";

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
fn complete(node: &mut Node, folders: &[PathBuf]) {
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

/// The options that name a file and its digest, if a component with this schema has them.
fn options(schema: &Schema) -> Option<(String, String)> {
    let properties = schema.as_value()["properties"].as_object()?;
    properties.iter().find_map(|(name, property)| {
        let digest = property.get(FILE)?.as_str()?;
        Some((name.clone(), digest.to_owned()))
    })
}

/// Puts the path of the model's file, if it has one, into the tree as an absolute one, and the file's digest into
/// the tree and its twin, which an experiment's identity is made of.
///
/// A run's own `experiment.toml` finds the copy beside it where the file is gone or another one.
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
    let Some((file, digest)) = schema(name).as_ref().and_then(options) else {
        return;
    };
    let Some(node) = root.at(&["model", &file]) else {
        return; // The schema asks for it.
    };
    let (Some(written), place) = (node.text().map(str::to_owned), node.place.clone()) else {
        return;
    };
    let folder = folders
        .get(place.file)
        .map_or(Path::new(""), PathBuf::as_path);
    let pinned = root.at(&["model", &digest]);
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
    let copy = || pin.and_then(|_| expect(&folder.join(ARCHIVE)).ok());
    match expect(&folder.join(&written)).or_else(|problem| copy().ok_or(problem)) {
        Ok((path, got)) => {
            set(root, &file, &place, &path);
            for tree in [root, canonical] {
                set(tree, &digest, &place, &got);
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

/// The file that a model's options name, with its digest.
pub fn file_of(model: &Named) -> Option<(PathBuf, String)> {
    let (file, digest) = options(&registries::schema(super::Kind::Model, &model.name)?)?;
    let text = |key: &str| Some(model.options.get(key)?.as_str()?.to_owned());
    Some((text(&file)?.into(), text(&digest).unwrap_or_default()))
}

/// Has a stored run's model take its file from the run's own folder, where there is a copy.
pub(super) fn take_copy(model: &mut Named, folder: &Path) {
    let schema = registries::schema(super::Kind::Model, &model.name);
    let copy = folder.join(ARCHIVE);
    if let Some((file, _)) = schema.as_ref().and_then(options)
        && copy.is_file()
    {
        let path = copy.to_string_lossy().into_owned();
        model.options.insert(file, Value::String(path));
    }
}
