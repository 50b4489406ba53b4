//! What a sweep's file says, taken apart.

use super::form;
use super::stop::Stop;
use crate::experiment::check::check;
use crate::experiment::diagnostic::{Diagnostic, Place};
use crate::experiment::inherit::Reader;
use crate::experiment::overrides::Override;
use crate::experiment::strategy::Plugins;
use crate::experiment::tree::{Key, Node, Table, Tree};
use crate::experiment::{Catalog, Claim};

/// A file that was read.
pub(super) struct File {
    /// Its name.
    pub name: String,
    /// The files it includes, with their places, if it is a list of files.
    pub includes: Option<Vec<(String, Place)>>,
    /// What all its cells have in common.
    pub root: Node,
    pub sweep: Option<Node>,
    /// `[sweep.stop]`, as it is and as it was written.
    pub stop: Option<(Stop, Node)>,
    pub title: Option<String>,
    pub claims: Vec<(Claim, Node)>,
    pub barriers: Vec<(Vec<String>, Node)>,
    pub overrides: Vec<Override>,
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
    if let (Some(_), Some(other)) = (at("include"), at("methods").or(at("grid")).or(at("stop"))) {
        let message =
            "a sweep that includes files has no methods, no grid and no rule to stop of its own";
        let problem = Diagnostic::new(Some(&other.place), message)
            .label("put them into a file and include it");
        reader.problems.push(problem);
    }
    if at("include").is_some() {
        // No cell's check looks at the name, which says where the sweep's folder lies.
        let name = root.table().and_then(|table| table.entry("name")).cloned();
        let own = Node {
            place: root.place.clone(),
            value: Tree::Table(Table::from_iter(name)),
        };
        for problem in check(&own, &form::including_schema()) {
            reader.problems.push(problem);
        }
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
    let stop = at("stop")
        .and_then(|node| Some((serde_json::from_value(node.to_json()).ok()?, node.clone())));
    File {
        stop,
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

impl File {
    /// Reports methods that claims and barriers name and the sweep does not have.
    pub fn check_methods(&self, methods: &[&str], reader: &mut Reader) {
        check_claims(self, methods, reader);
        check_barriers(self, methods, reader);
    }
}

fn check_claims(file: &File, methods: &[&str], reader: &mut Reader) {
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

fn check_barriers(file: &File, methods: &[&str], reader: &mut Reader) {
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
