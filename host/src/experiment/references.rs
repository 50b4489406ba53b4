//! Other runs that a strategy's options, or the loss, name.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::Catalog;
use super::diagnostic::Diagnostic;
use super::identity::applying;
use super::problems::Diagnostics;
use super::script::file_name;
use super::strategy::PartSchemas;
use super::tree::{Node, Tree};

/// Finds the runs that options name.
pub(super) struct References<'a> {
    pub catalog: &'a dyn Catalog,
    /// Folder of each of the problems' files.
    pub folders: &'a [PathBuf],
    /// The schema of the experiment file.
    pub schema: &'a Value,
}

/// How an option that names a run is written.
#[derive(Clone, Copy)]
enum Form {
    /// The run alone.
    Run,
    /// One of its points: `run#point`; without a `#` it is a point of the own run.
    Point,
    /// No run: a file of another language, which counts by its name as a plugin does.
    Script,
}

impl References<'_> {
    /// Puts the runs' folders in the place of their names, and into `canonical`, a copy of the same
    /// tree, what they compute.
    pub fn resolve(
        &self,
        root: &mut Node,
        canonical: &mut Node,
        schemas: &PartSchemas,
        problems: &mut Diagnostics,
    ) {
        for key in ["score", "mask", "rewind", "update"] {
            let (Some(node), Some(twin)) = (part(root, key), part(canonical, key)) else {
                continue;
            };
            match (&mut node.value, &mut twin.value) {
                (Tree::List(parts), Tree::List(twins)) => {
                    for (at, (part, twin)) in parts.iter_mut().zip(twins).enumerate() {
                        let schema = schemas.get(&format!("strategy.{key}.{at}"));
                        self.part(part, twin, schema, problems);
                    }
                }
                _ => {
                    let schema = schemas.get(&format!("strategy.{key}"));
                    self.part(node, twin, schema, problems);
                }
            }
        }
        let training = &self.schema["properties"]["train"];
        if let (Some(node), Some(twin)) = (table(root, "train"), table(canonical, "train")) {
            self.walk(node, twin, training, self.schema, 0, problems);
        }
    }

    fn part(
        &self,
        node: &mut Node,
        twin: &mut Node,
        schema: Option<&Value>,
        problems: &mut Diagnostics,
    ) {
        if let Some(schema) = schema {
            self.walk(node, twin, schema, schema, 0, problems);
        }
    }

    fn walk(
        &self,
        node: &mut Node,
        twin: &mut Node,
        schema: &Value,
        root: &Value,
        depth: u32,
        problems: &mut Diagnostics,
    ) {
        if depth > 64 {
            return; // Only a schema that describes itself leads here.
        }
        let schemas = applying(node, schema, root);
        match (&mut node.value, &mut twin.value) {
            (Tree::Text(_), Tree::Text(_)) => {
                if let Some(form) = schemas.iter().find_map(|it| form(it)) {
                    self.name(node, twin, form, problems);
                }
            }
            (Tree::List(elements), Tree::List(twins)) => {
                let schema = schemas.iter().find_map(|it| it.get("items"));
                for (node, twin) in elements.iter_mut().zip(twins) {
                    self.walk(
                        node,
                        twin,
                        schema.unwrap_or(&Value::Null),
                        root,
                        depth + 1,
                        problems,
                    );
                }
            }
            (Tree::Table(table), Tree::Table(twins)) => {
                for ((key, node), (_, twin)) in table.iter_mut().zip(twins.iter_mut()) {
                    let property = (schemas.iter())
                        .find_map(|it| it.get("properties")?.get(&key.text))
                        .unwrap_or(&Value::Null);
                    self.walk(node, twin, property, root, depth + 1, problems);
                }
            }
            _ => {}
        }
    }

    fn name(&self, node: &mut Node, twin: &mut Node, form: Form, problems: &mut Diagnostics) {
        let Some(text) = node.text() else { return };
        let (name, point) = match (form, text.rsplit_once('#')) {
            (Form::Run, _) => (text, None),
            (Form::Point, Some((name, point))) => (name, Some(point)),
            (Form::Point, None) => return,
            (Form::Script, _) => {
                twin.value = Tree::Text(file_name(Path::new(text)));
                return;
            }
        };
        let folder = self.folders.get(node.place.file).map(PathBuf::as_path);
        match self.catalog.run(name, folder.unwrap_or(Path::new(""))) {
            Ok(target) => {
                let with_point = |run: String| match point {
                    Some(point) => format!("{run}#{point}"),
                    None => run,
                };
                twin.value = Tree::Text(with_point(target.identity));
                node.value = Tree::Text(with_point(target.folder));
            }
            Err(reason) => {
                let mut lines = reason.lines();
                let message = lines.next().unwrap_or("no such run").to_owned();
                let problem = Diagnostic::new(Some(&node.place), message).label("named here");
                problems.push(lines.fold(problem, Diagnostic::note));
            }
        }
    }
}

fn part<'n>(root: &'n mut Node, key: &str) -> Option<&'n mut Node> {
    table(root, "strategy")?.table_mut()?.get_mut(key)
}

fn table<'n>(root: &'n mut Node, key: &str) -> Option<&'n mut Node> {
    root.table_mut()?.get_mut(key)
}

fn form(schema: &Value) -> Option<Form> {
    match schema.get("x-type")?.as_str()? {
        "run" => Some(Form::Run),
        "script" => Some(Form::Script),
        kind if kind == "point" || kind.ends_with(" point") => Some(Form::Point),
        _ => None,
    }
}
