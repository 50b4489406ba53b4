//! From a path to a checked experiment.

use std::collections::BTreeMap;
use std::path::Path;

use plugin_api::Step;
use plugin_api::schemars::{Schema, schema_for};
use serde_json::{Value, json};

use super::check::{check, check_options};
use super::diagnostic::{Concern, Diagnostic, Place};
use super::identity::Canonical;
use super::inherit::Reader;
use super::overrides::Override;
use super::problems::Diagnostics;
use super::references::References;
use super::remark::Origin;
use super::strategy::Plugins;
use super::text::{with_seeds, write_file};
use super::tree::{Node, Table, Tree};
use super::{Catalog, Experiment, Kind, PluginInfo, files, overrides};

/// A checked experiment.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What the file says. Paths of plugins are absolute.
    pub experiment: Experiment,
    /// The same as one TOML file: bases merged, overrides applied, the strategy written out.
    pub text: String,
    /// The plugins that the strategy uses, by name.
    pub plugins: BTreeMap<String, PluginInfo>,
    pub(super) canonical: Canonical,
    pub(super) origin: Origin,
}

impl Loaded {
    /// The text with other seeds, which are no part of what tells experiments apart.
    pub fn text_with_seeds(&self, seeds: &[u64]) -> String {
        with_seeds(&self.text, seeds)
    }
}

/// The JSON Schema of an experiment file. The options of components have schemas of their own.
pub fn schema() -> Value {
    with_base(schema_for!(Experiment))
}

/// The schema of a kind of file with the key `base`, which is resolved before the rest is read.
pub(super) fn with_base(schema: Schema) -> Value {
    let mut schema = schema.to_value();
    schema["properties"]["base"] = json!({
        "type": "string",
        "description": "Path of the experiment file that this one changes; a relative one starts \
                        at this file's folder.",
    });
    schema
}

/// Reads an experiment file, with the files it is based on and `--set` overrides (`key=value`).
///
/// # Errors
/// All problems that were found. A file that is not TOML is not looked into any further.
pub fn load(
    path: &Path,
    overrides: &[String],
    catalog: &dyn Catalog,
) -> Result<Loaded, Diagnostics> {
    let mut reader = Reader::default();
    let Some(root) = reader.read(path) else {
        return Err(reader.problems);
    };
    let overrides = overrides::parse(overrides, &mut reader);
    if !reader.problems.is_empty() {
        return Err(reader.problems);
    }
    load_tree(root, overrides, reader, catalog)
}

/// Checks a file that was read, with overrides laid over it.
///
/// # Errors
/// All problems that were found.
pub(super) fn load_tree(
    mut root: Node,
    overrides: Vec<Override>,
    mut reader: Reader,
    catalog: &dyn Catalog,
) -> Result<Loaded, Diagnostics> {
    let mut plugins = Plugins::new(catalog);
    let (sources, others): (Vec<_>, Vec<_>) =
        overrides.into_iter().partition(|it| it.concerns_plugins());
    for change in sources {
        change.apply(&mut root, &mut plugins, &mut reader);
    }
    plugins.find_sources(&mut root, &reader.folders);
    for change in others {
        change.apply(&mut root, &mut plugins, &mut reader);
    }

    let mut problems = reader.problems;
    let parts = plugins.check(&mut root, &reader.folders, &mut problems);
    // Where a run lies decides nothing, what it computed does.
    let mut canonical = root.clone();
    let of_file = schema();
    let references = References {
        catalog,
        folders: &reader.folders,
        schema: &of_file,
    };
    references.resolve(&mut root, &mut canonical, &parts, &mut problems);
    let of_model = |name: &str| catalog.schema(Kind::Model, name);
    files::resolve(
        &mut root,
        &mut canonical,
        &reader.folders,
        of_model,
        &mut problems,
    );
    files::resolve_data(&mut root, &reader.folders, |name| {
        catalog.schema(Kind::Data, name)
    });
    for problem in check(&root, &of_file) {
        problems.push(problem);
    }
    let known = |kind| catalog.known(kind);
    let options = |kind, name: &str| catalog.schema(kind, name);
    let components = check_components(&root, &options, &known, &mut problems);
    check_meaning(&root, &mut problems);
    problems.settle();
    if !problems.is_empty() {
        return Err(problems);
    }
    let experiment: Experiment = match serde_json::from_value(root.to_json()) {
        Ok(experiment) => experiment,
        Err(error) => {
            // The schema is derived from the type, so it should have reported this.
            let message = format!("failed to read the experiment: {error}");
            problems.push(Diagnostic::new(Some(&Place::whole(0)), message));
            return Err(problems);
        }
    };
    Ok(Loaded {
        text: write_file(root.table().unwrap_or(&Table::default())),
        canonical: Canonical::new(&canonical, &of_file, &components, &parts),
        plugins: plugins.into_loaded(),
        experiment,
        origin: Origin {
            root,
            files: problems.files,
        },
    })
}

/// Where an experiment names the host's components.
const COMPONENTS: [(Kind, &[&str]); 4] = [
    (Kind::Data, &["data"]),
    (Kind::Model, &["model"]),
    (Kind::Optimizer, &["train", "optimizer"]),
    (Kind::Schedule, &["train", "schedule"]),
];

/// Checks the options of the host's components against their schemas, which it returns; `schema` finds
/// one and `known` lists their names.
pub(super) fn check_components(
    root: &Node,
    schema: &dyn Fn(Kind, &str) -> Option<Schema>,
    known: &dyn Fn(Kind) -> Vec<String>,
    problems: &mut Diagnostics,
) -> BTreeMap<Kind, Value> {
    let mut components = BTreeMap::new();
    for (kind, key_path) in COMPONENTS {
        if let Some(node) = root.at(key_path) {
            let path = key_path.join(".");
            let find = |name: &str| schema(kind, name);
            let found = check_component(node, kind, &path, &find, known, problems);
            components.extend(found.map(|schema| (kind, schema)));
        }
    }
    components
}

fn check_component(
    node: &Node,
    kind: Kind,
    path: &str,
    schema: &dyn Fn(&str) -> Option<Schema>,
    known: &dyn Fn(Kind) -> Vec<String>,
    problems: &mut Diagnostics,
) -> Option<Value> {
    let name = node.at(&["name"])?;
    let written = name.text()?;
    let Some(schema) = schema(written) else {
        let message = format!("unknown {} `{written}`", kind.noun());
        let problem = Diagnostic::new(Some(&name.place), message)
            .about(format!("{path}.name"), Concern::Other)
            .label("not known")
            .known(written, known(kind));
        problems.push(problem);
        return None;
    };
    let schema = schema.to_value();
    for problem in check_options(node, "name", &schema, path) {
        problems.push(problem);
    }
    Some(schema)
}

/// What no schema can say.
pub(super) fn check_meaning(root: &Node, problems: &mut Diagnostics) {
    check_start(root, problems);
    check_targets(root, problems);
    check_warmup(root, problems);
    check_smoothing(root, problems);
}

/// Options of a file of weights that is not named.
fn check_start(root: &Node, problems: &mut Diagnostics) {
    let model = |key: &str| root.at(&["model", key]);
    if model("weights").is_some() {
        return;
    }
    let strict = model("weights_strict").filter(|it| it.value == Tree::Bool(false));
    let digest = model("weights_blake3").filter(|it| it.text().is_some_and(|it| !it.is_empty()));
    for (key, node) in [("weights_strict", strict), ("weights_blake3", digest)] {
        if let Some(node) = node {
            let message = format!("`model.{key}` is about the file of `model.weights`");
            let problem = Diagnostic::new(Some(&node.place), message).label("no file is named");
            problems.push(problem);
        }
    }
    let is_nothing = |node: &&Node| match &node.value {
        Tree::Bool(whether) => !whether,
        Tree::List(names) => names.is_empty(),
        _ => true,
    };
    let head = model("replace_head").filter(|it| !is_nothing(it));
    // An archive has weights of its own.
    if let Some(node) = head.filter(|_| model("file").is_none()) {
        let message = "`model.replace_head` is about given weights, and `model.weights` names none";
        let problem = Diagnostic::new(Some(&node.place), message)
            .label("every layer is drawn by seed as it is");
        problems.push(problem);
    }
}

fn check_smoothing(root: &Node, problems: &mut Diagnostics) {
    let train = |key| root.at(&["train", key]);
    let (Some(loss), Some(smoothing)) = (train("loss"), train("label_smoothing")) else {
        return;
    };
    let smooths = match smoothing.value {
        Tree::Float(share) => share > 0.0,
        Tree::Integer(share) => share > 0,
        _ => false,
    };
    let label = match loss.text() {
        Some("mse") => "targets that are numbers have no classes to spread over",
        Some("binary-cross-entropy") => {
            "each label is there or not: there are no classes to spread over"
        }
        _ => return,
    };
    if smooths {
        let name = loss.text().unwrap_or_default();
        let message =
            format!("`train.label_smoothing` is for classes, and `train.loss` is \"{name}\"");
        problems.push(Diagnostic::new(Some(&smoothing.place), message).label(label));
    }
}

fn check_targets(root: &Node, problems: &mut Diagnostics) {
    let Some(prune) = root.at(&["prune"]) else {
        return;
    };
    let key = |name| prune.table().and_then(|table| table.entry(name));
    match (key("levels"), key("densities")) {
        (None, None) if prune.table().is_some() => {
            let meant = problems.meant_keys();
            if !meant
                .iter()
                .any(|it| it == "prune.levels" || it == "prune.densities")
            {
                let problem = Diagnostic::new(Some(&prune.place), "nothing says how far to prune")
                    .label("needs `levels` or `densities`");
                problems.push(problem);
            }
        }
        (Some((levels, _)), Some(_)) => {
            let message = "`levels` and `densities` exclude each other";
            let problem = Diagnostic::new(Some(&levels.place), message)
                .label("`densities` already says how many levels there are");
            problems.push(problem);
        }
        (None, Some(_)) => {
            if let Some((rate, _)) = key("rate") {
                let message = "`rate` and `densities` exclude each other";
                let problem = Diagnostic::new(Some(&rate.place), message)
                    .label("`densities` already says what each level keeps");
                problems.push(problem);
            }
        }
        _ => {}
    }
    let Some((
        _,
        Node {
            value: Tree::List(densities),
            ..
        },
    )) = key("densities")
    else {
        return;
    };
    let mut before: Option<f64> = None;
    for node in densities {
        let density = match node.value {
            Tree::Float(it) => it,
            Tree::Integer(it) => it as f64,
            _ => continue,
        };
        if density <= 0.0 || density > 1.0 {
            continue; // The schema reports it.
        }
        if let Some(before) = before.filter(|before| density > *before) {
            let message = "`prune.densities` must not rise from level to level";
            let problem =
                Diagnostic::new(Some(&node.place), message).label(format!("more than {before}"));
            problems.push(problem);
        }
        before = Some(density);
    }
}

fn check_warmup(root: &Node, problems: &mut Diagnostics) {
    let Some(warmup) = root.at(&["train", "schedule", "warmup"]) else {
        return;
    };
    let (Some(Ok(Step::Epochs(long))), Some(Tree::Integer(epochs))) = (
        warmup.text().map(str::parse),
        root.at(&["train", "epochs"]).map(|it| &it.value),
    ) else {
        return;
    };
    if *epochs > 0 && i128::from(long) > *epochs {
        let message = "the warm-up is longer than the training";
        let problem = Diagnostic::new(Some(&warmup.place), message)
            .label(format!("`train.epochs` is {epochs}"));
        problems.push(problem);
    }
}
