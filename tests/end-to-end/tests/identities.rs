//! Identities: what gives an experiment another one, what does not, and those that users have on disk.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use end_to_end::catalog::{Built, CHECKSUM};
use host::experiment::{
    self, Catalog, FileKind, Kind, Slot, dense_identity, identity, kind_of, load_neuron, load_sweep,
};
use host::registry::Entry;
use host::{data, model, optimizer, schedule};
use serde_json::{Map, Value, json};

/// A table of options within an experiment.
struct Table {
    /// What the golden file calls it.
    title: String,
    /// An experiment with this table, without any option that need not be there.
    experiment: Value,
    /// Where in the experiment it is, as a JSON pointer.
    pointer: String,
    /// Its schema, and the one in which that refers to definitions.
    schema: Value,
    root: Value,
}

/// An option of a table at a value that is not its default.
struct Changed {
    line: String,
    identity: String,
    /// That of the table without the option.
    before: String,
    /// That with the option at its default, if that can be written.
    at_default: Option<String>,
    location: bool,
}

/// Reads experiments.
struct Desk {
    folder: tempfile::TempDir,
    catalog: Built,
}

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // For options that name a file, at two of the texts that they are tried at.
        let archive =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments/networks/mlp.pt2");
        for name in [TEXTS[0], TEXTS[6]] {
            fs::copy(&archive, folder.path().join(name)).unwrap();
        }
        Self {
            folder,
            catalog: Built::default(),
        }
    }

    fn identity(&self, experiment: &Value) -> Result<String, String> {
        let path = self.folder.path().join("file.toml");
        fs::write(&path, toml::to_string(experiment).unwrap()).unwrap();
        let loaded = experiment::load(&path, &[], &self.catalog);
        let loaded = loaded.map_err(|problems| problems.to_string())?;
        Ok(identity(&loaded, CHECKSUM, None).short().to_owned())
    }

    /// Every table whose options the host or a shipped plugin describes.
    fn tables(&self) -> Vec<Table> {
        let mut tables = Vec::new();
        let root = experiment::schema();
        for key in ["train", "prune"] {
            tables.push(Table {
                title: key.to_owned(),
                experiment: plain(),
                pointer: format!("/{key}"),
                schema: target(&root["properties"][key], &root).clone(),
                root: root.clone(),
            });
        }
        let mut component = |title: String, pointer: &str, table: Value, schema: Value| {
            let mut experiment = plain();
            if pointer == UPDATE {
                experiment["strategy"]["update"] = json!([Value::Null]);
            }
            *experiment.pointer_mut(pointer).unwrap() = table;
            let table = experiment.pointer_mut(pointer).unwrap();
            for (key, value) in required(&schema, &schema) {
                table[key] = value;
            }
            // An option with an example has no default that a component would take.
            let properties = schema.get("properties").and_then(Value::as_object);
            for (key, property) in properties.into_iter().flatten() {
                if let Some(example) = property.get("examples").and_then(|it| it.get(0)) {
                    table[key] = example.clone();
                }
            }
            tables.push(Table {
                title,
                experiment,
                pointer: pointer.to_owned(),
                root: schema.clone(),
                schema,
            });
        };
        for (kind, pointer, names) in [
            (Kind::Data, "/data", names(data::DATASETS)),
            (Kind::Model, "/model", names(model::MODELS)),
            (
                Kind::Optimizer,
                "/train/optimizer",
                names(optimizer::OPTIMIZERS),
            ),
            (
                Kind::Schedule,
                "/train/schedule",
                names(schedule::SCHEDULES),
            ),
        ] {
            for name in names {
                let schema = self.catalog.schema(kind, name).unwrap().to_value();
                component(name.to_owned(), pointer, json!({ "name": name }), schema);
            }
        }
        // Two fixtures, and what has the options of a file, of which its own tests tell.
        let fixtures = ["drop-and-grow", "misbehaving", "python"];
        let plugins = end_to_end::built::PACKAGES.iter();
        for plugin in plugins.filter(|name| !fixtures.contains(name)) {
            for info in self.catalog.plugin(plugin, None).unwrap().components {
                let pointer = match info.slot {
                    Slot::Score => "/strategy/score",
                    Slot::Mask => "/strategy/mask",
                    Slot::Rewind => "/strategy/rewind/0",
                    Slot::Update => UPDATE,
                };
                let name = format!("{plugin}/{}", info.name);
                let table = json!({ "use": name });
                component(name, pointer, table, info.schema);
            }
        }
        tables
    }

    /// Each option of a table, and of the tables within it, at a value that is not its default.
    fn changes(&self, table: &Table) -> Vec<Changed> {
        let mut all = Vec::new();
        let with = |base: &Value, key: &str, value: &Value| {
            let mut experiment = base.clone();
            if key == "densities" {
                // One says what the other does.
                experiment["prune"]
                    .as_object_mut()
                    .unwrap()
                    .remove("levels");
            }
            experiment.pointer_mut(&table.pointer).unwrap()[key] = value.clone();
            experiment
        };
        for (key, property) in table.schema["properties"].as_object().into_iter().flatten() {
            if ["optimizer", "schedule"].contains(&key.as_str()) && table.title == "train" {
                continue; // Components with schemas of their own.
            }
            let options = table.schema["properties"].as_object().into_iter().flatten();
            if options
                .clone()
                .any(|(_, it)| it.get("x-file") == Some(&json!(key)))
            {
                continue; // A file's digest, which the file decides.
            }
            let own = table.experiment.pointer(&table.pointer).unwrap();
            let default = property.get("default").filter(|it| !it.is_null());
            let default = default.filter(|_| own.get(key).is_none());
            let current = own.get(key).or(default).unwrap_or(&Value::Null);
            let values: Vec<Value> = (candidates(property, &table.root, current).into_iter())
                .filter(|value| value != current)
                .collect();
            // Some options only go with another one at another value than its default.
            let alone = std::iter::once(table.experiment.clone());
            let bases = alone.chain(companions(table, key));
            let found = bases.into_iter().find_map(|base| {
                let before = self.identity(&base).ok()?;
                values.iter().find_map(|value| {
                    let identity = self.identity(&with(&base, key, value)).ok()?;
                    Some((base.clone(), before.clone(), value.clone(), identity))
                })
            });
            let (base, before, value, identity) = found.unwrap_or_else(|| {
                panic!(
                    "no value but {current} is known for `{key}` of {}: {property}\n\
                     `candidates` in this test should have one",
                    table.title
                )
            });
            all.push(Changed {
                line: format!("{} {key} = {value}", table.title),
                identity,
                before,
                at_default: default.map(|default| {
                    let same = self.identity(&with(&base, key, default));
                    same.unwrap_or_else(|error| panic!("{} {key}: {error}", table.title))
                }),
                // Naming a file where none was named changes what is computed.
                location: property.get("x-location") == Some(&json!(true))
                    && (property.get("x-file").is_none() || own.get(key).is_some()),
            });
            let inner = described(property, &table.root);
            if inner.get("properties").is_some() && !all.last().unwrap().location {
                let empty = required(inner, &table.root).collect::<Map<_, _>>();
                all.extend(self.changes(&Table {
                    title: format!("{} {key}", table.title),
                    experiment: with(&base, key, &Value::Object(empty)),
                    pointer: format!("{}/{key}", table.pointer),
                    schema: inner.clone(),
                    root: table.root.clone(),
                }));
            }
        }
        all
    }
}

/// The table's experiment with one other option at another value.
fn companions(table: &Table, key: &str) -> Vec<Value> {
    let properties = table.schema["properties"].as_object();
    let others = properties
        .into_iter()
        .flatten()
        .filter(|(other, _)| *other != key);
    let mut all = Vec::new();
    for (other, property) in others {
        for value in candidates(property, &table.root, &Value::Null) {
            let mut experiment = table.experiment.clone();
            experiment.pointer_mut(&table.pointer).unwrap()[other] = value;
            all.push(experiment);
        }
    }
    all
}

/// Where an update stands, in experiments that have one.
const UPDATE: &str = "/strategy/update/0";

fn plain() -> Value {
    json!({
        "name": "plain",
        "seeds": [0],
        "data": { "name": "mnist1d" },
        "model": { "name": "mlp" },
        "train": {
            "epochs": 20,
            "batch_size": 128,
            "optimizer": { "name": "sgd" },
            "schedule": { "name": "cosine" },
        },
        "prune": { "levels": 3 },
        "strategy": {
            "score": { "use": "imp/magnitude" },
            "mask": { "use": "imp/global" },
            "rewind": [{ "use": "lrr/learning-rate" }],
        },
    })
}

fn names<Build>(entries: &[Entry<Build>]) -> Vec<&'static str> {
    entries.iter().map(|entry| entry.name).collect()
}

/// What a schema refers to, or itself.
fn target<'s>(schema: &'s Value, root: &'s Value) -> &'s Value {
    let reference = schema.get("$ref").and_then(Value::as_str);
    let found = reference.and_then(|it| root.pointer(it.trim_start_matches('#')));
    found.unwrap_or(schema)
}

/// The schema of a value that may also be absent.
fn described<'s>(schema: &'s Value, root: &'s Value) -> &'s Value {
    let schema = target(schema, root);
    let choices = schema.get("anyOf").and_then(Value::as_array);
    let there = choices.and_then(|all| all.iter().find(|it| it["type"] != "null"));
    there.map_or(schema, |it| target(it, root))
}

/// The options that a table must have, at some value.
fn required<'s>(
    schema: &'s Value,
    root: &'s Value,
) -> impl Iterator<Item = (String, Value)> + use<'s> {
    let required = schema.get("required").and_then(Value::as_array);
    required.into_iter().flatten().filter_map(move |key| {
        let key = key.as_str()?;
        let value = candidates(&schema["properties"][key], root, &Value::Null);
        Some((key.to_owned(), value.into_iter().next()?))
    })
}

/// Texts that options can be: times, points, ways to go on, orders, names, folders.
const TEXTS: [&str; 7] = [
    "3ep",
    "level-1-end",
    "clear",
    "restart",
    "draw-1",
    "keep",
    "elsewhere",
];

/// Values that might fit a schema, `current` apart.
fn candidates(schema: &Value, root: &Value, current: &Value) -> Vec<Value> {
    let schema = target(schema, root);
    let mut all: Vec<Value> = Vec::new();
    for key in ["anyOf", "oneOf"] {
        for choice in schema
            .get(key)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            all.extend(candidates(choice, root, current));
        }
    }
    all.extend(schema.get("const").cloned());
    let listed = schema.get("enum").and_then(Value::as_array);
    all.extend(
        listed
            .into_iter()
            .flatten()
            .filter(|it| !it.is_null())
            .cloned(),
    );
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one.as_str()],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if !all.is_empty() {
        return all;
    }
    for kind in types {
        match kind {
            "boolean" => all.extend([json!(true), json!(false)]),
            "integer" => {
                let next = current.as_u64().map(|it| json!(it + 1));
                all.extend(next.into_iter().chain([2, 3, 1, 0].map(|it| json!(it))));
            }
            "number" => all.extend([0.5, 0.25, 0.75, 1.5].map(|it| json!(it))),
            "string" => all.extend(TEXTS.map(|it| json!(it))),
            "array" => {
                let one = |value| match current.as_array() {
                    Some(list) if !list.is_empty() => {
                        let mut list = list.clone();
                        list[0] = value;
                        Value::Array(list)
                    }
                    _ => json!([value]),
                };
                let first = current.get(0).unwrap_or(&Value::Null);
                let items = schema.get("items").filter(|it| it.is_object());
                let items = items.or_else(|| schema.get("prefixItems")?.get(0));
                let items = items.unwrap_or(&Value::Null);
                all.extend(candidates(items, root, first).into_iter().map(one));
            }
            "object" => {
                let mut table: Map<String, Value> = required(schema, root).collect();
                let properties = schema.get("properties").and_then(Value::as_object);
                for (key, property) in properties.into_iter().flatten() {
                    let default = property.get("default").unwrap_or(&Value::Null);
                    let values = candidates(property, root, default);
                    let value = values.into_iter().find(|it| it != default);
                    table.extend(value.map(|value| (key.clone(), value)));
                }
                all.push(Value::Object(table));
            }
            _ => {}
        }
    }
    all
}

#[test]
fn an_option_at_its_default_changes_no_identity_and_at_another_value_it_does() {
    let desk = Desk::new();
    let mut identities = BTreeSet::new();
    let (mut options, mut defaults, mut locations) = (0, 0, 0);
    for table in desk.tables() {
        for change in desk.changes(&table) {
            let line = &change.line;
            if let Some(same) = &change.at_default {
                assert_eq!(*same, change.before, "{line}, at its default");
                defaults += 1;
            }
            if change.location {
                assert_eq!(change.identity, change.before, "{line}");
                locations += 1;
                continue;
            }
            assert_ne!(change.identity, change.before, "{line}");
            assert!(identities.insert(change.identity), "{line}: not its own");
            options += 1;
        }
    }
    // So many there were when this was written.
    println!("{options} options, {defaults} with a default, {locations} locations");
    assert!(options >= 140 && defaults >= 119 && locations >= 8);
}

/// Every experiment file of the repository, by its path within the folder.
fn shipped() -> Vec<(String, PathBuf)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments");
    let (mut files, mut folders) = (Vec::new(), vec![root.clone()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "toml") {
                let name = path.strip_prefix(&root).unwrap().to_str().unwrap();
                files.push((name.replace('\\', "/"), path));
            }
        }
    }
    files.sort();
    files
}

/// The name of a shipped file's experiments, and what the golden file says of it.
fn of_file(path: &Path, catalog: &Built) -> (String, String) {
    match kind_of(path) {
        FileKind::Experiment => {
            let loaded = experiment::load(path, &[], catalog).unwrap_or_else(|it| panic!("{it}"));
            let whole = identity(&loaded, CHECKSUM, None);
            let dense = dense_identity(&loaded, CHECKSUM, None);
            let said = match loaded.experiment.strategy.update.is_empty() {
                true => format!("{} dense {}", whole.short(), dense.short()),
                // What acts in the dense level has its file's digest there, another one of each build.
                false => whole.short().to_owned(),
            };
            (loaded.experiment.name, said)
        }
        FileKind::Sweep => {
            let sweep = load_sweep(path, &[], catalog).unwrap_or_else(|it| panic!("{it}"));
            let cells = sweep.parts.iter().flat_map(|part| &part.cells);
            let mut all: Vec<String> = cells
                .map(|cell| identity(&cell.loaded, CHECKSUM, None).hash)
                .collect();
            all.sort();
            let hash = blake3::hash(all.concat().as_bytes()).to_hex();
            (sweep.name, format!("{} of {} cells", &hash[..8], all.len()))
        }
        FileKind::Neuron => {
            let file = load_neuron(path, &[], catalog).unwrap_or_else(|it| panic!("{it}"));
            (file.name, file.neuron.short())
        }
    }
}

#[test]
fn every_shipped_experiment_file_is_named_like_its_file() {
    let catalog = Built::default();
    for (file, path) in shipped() {
        let (name, _) = of_file(&path, &catalog);
        // A folder's files begin with its name or with that of their data.
        let stem = path.file_stem().unwrap().to_str().unwrap();
        assert!(name.ends_with(stem), "{name} in {file}");
    }
}

/// If a line changes, everybody's stored runs of that experiment are orphaned: `host run` trains from
/// scratch in a new folder instead of going on, shared dense levels are trained again, and reports no
/// longer put old runs beside new ones. That is right only if the same file now gives another result;
/// then raise `SCHEMA_VERSION` in `host/src/experiment/identity.rs` and say so in the changelog.
///
/// A changed default is the mirror image: identities leave defaults out, so files that rely on it keep
/// their identity although their result changes. It must raise `SCHEMA_VERSION` too.
///
/// Lines for new files and options are added by `BLESS=1 cargo test --release -p end-to-end --test
/// identities golden`; read the difference before you commit it: no line may be taken away or changed.
#[test]
fn identities_are_golden() {
    let desk = Desk::new();
    let mut shown = String::new();
    for (file, path) in shipped() {
        let (_, said) = of_file(&path, &desk.catalog);
        // Writing to a string cannot fail.
        let _ = writeln!(shown, "{file} is {said}");
    }
    for table in desk.tables() {
        for change in desk.changes(&table) {
            let _ = writeln!(shown, "{} is {}", change.line, change.identity);
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/identities.txt");
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, &shown).unwrap();
    }
    let golden = fs::read_to_string(path).unwrap();
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
    let (shown, golden) = (lines(&shown), lines(&golden));
    let lost: Vec<&String> = golden.difference(&shown).collect();
    let new: Vec<&String> = shown.difference(&golden).collect();
    assert!(
        lost.is_empty() && new.is_empty(),
        "identities that users may have runs of, and that no file has now: {lost:#?}\n\
         identities that are not in the list: {new:#?}"
    );
}
