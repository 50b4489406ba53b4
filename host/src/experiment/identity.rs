//! What tells one experiment from another.

use std::collections::BTreeMap;

use serde_json::{Map, Number, Value, json};

use super::Kind;
use super::check::admits;
use super::choice::{Choice, alternatives, choose};
use super::described::{list, target};
use super::diagnostic::Place;
use super::load::Loaded;
use super::strategy::PartSchemas;
use super::tree::{Node, Tree};

/// Version of the canonical form and of the host's arithmetic. Raising it gives every experiment a
/// new identity: raise it whenever the same file would give other bytes than before, or a run that
/// was begun before would go on with a mixture.
const SCHEMA_VERSION: u64 = 1;

/// Schema keyword of options that say where something lies and not what it is, such as a folder of
/// data whose checksum is part of the identity anyway, or how much memory may be used for it. They
/// are left out of it. With the value `path` that is meant of texts and tables alone: a number in their place
/// says what something is.
const LOCATION: &str = "x-location";

/// Whether an option with this schema says by this value where something lies.
fn is_location(property: &Value, node: &Node) -> bool {
    match property.get(LOCATION) {
        Some(Value::Bool(always)) => *always,
        Some(_) => matches!(node.value, Tree::Text(_) | Tree::Table(_)),
        None => false,
    }
}

/// The identity of an experiment or of a part of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Identity {
    /// Everything that decides the result: sorted keys, no value that equals its default.
    pub canonical: Value,
    /// BLAKE3 of the canonical form in hexadecimal.
    pub hash: String,
}

impl Identity {
    fn new(mut canonical: Value) -> Self {
        canonical.sort_all_objects();
        let hash = blake3::hash(canonical.to_string().as_bytes());
        Self {
            hash: hash.to_hex().to_string(),
            canonical,
        }
    }

    /// The first eight digits of the hash, which name the run's folder.
    pub fn short(&self) -> &str {
        &self.hash[..8]
    }
}

/// The identity of an experiment, given the data's checksum and, where the number of lanes changes
/// results, that number.
///
/// The name, the seeds, and where plugins lie are no part of it: adding a seed changes no other
/// seed's result. Names and versions of the plugins that the strategy uses are.
pub fn identity(loaded: &Loaded, data_checksum: &str, lanes: Option<u64>) -> Identity {
    let versions = (loaded.plugins.iter()).map(|(name, info)| (name.clone(), json!(info.version)));
    let mut canonical = loaded.canonical.whole.clone();
    canonical.insert("plugins".to_owned(), Value::Object(versions.collect()));
    Identity::new(with_facts(canonical, data_checksum, lanes))
}

/// The identity of level 0 of an ordinary run, which trains the dense network: data, model and
/// training alone, which parameters are pruned, for the masks of level 0 list them, and what acts inside its
/// steps. Experiments that agree in it can share that work.
pub fn dense_identity(loaded: &Loaded, data_checksum: &str, lanes: Option<u64>) -> Identity {
    let shared = ["data", "model", "train"].into_iter();
    let whole = &loaded.canonical.whole;
    let shared = shared.filter_map(|key| Some((key.to_owned(), whole.get(key)?.clone())));
    let mut canonical: Map<String, Value> = shared.collect();
    for key in ["include", "exclude"] {
        let names = whole.get("prune").and_then(|prune| prune.get(key));
        if let Some(names) = names.filter(|it| *it != &json!([])) {
            canonical.insert(key.to_owned(), names.clone());
        }
    }
    if let Some(updates) = whole.get("strategy").and_then(|it| it.get("update")) {
        let own = loaded.experiment.strategy.update.iter();
        let plugins = own.map(|part| part.names().0.to_owned());
        // Another build may do something else, and whoever shares the level cannot see which build made it.
        let build = |name: String| Some((name.clone(), json!(loaded.plugins.get(&name)?.digest)));
        canonical.insert("update".to_owned(), updates.clone());
        canonical.insert("plugins".to_owned(), plugins.filter_map(build).collect());
    }
    Identity::new(with_facts(canonical, data_checksum, lanes))
}

fn with_facts(mut canonical: Map<String, Value>, checksum: &str, lanes: Option<u64>) -> Value {
    canonical.insert("schema".to_owned(), json!(SCHEMA_VERSION));
    canonical.insert("data_checksum".to_owned(), json!(checksum));
    if let Some(lanes) = lanes {
        canonical.insert("lanes".to_owned(), json!(lanes));
    }
    Value::Object(canonical)
}

/// An experiment in canonical form, without name, seeds and plugins.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Canonical {
    whole: Map<String, Value>,
}

impl Canonical {
    /// Makes it from a checked tree and the schemas it was checked against.
    pub fn new(
        root: &Node,
        schema: &Value,
        components: &BTreeMap<Kind, Value>,
        parts: &PartSchemas,
    ) -> Self {
        let mut whole = Map::new();
        let table = root.table();
        for (key, node) in table.into_iter().flat_map(|table| table.iter()) {
            let value = match key.text.as_str() {
                "name" | "seeds" | "plugins" => continue,
                "data" => named(node, "name", components.get(&Kind::Data)),
                "model" => named(node, "name", components.get(&Kind::Model)),
                "train" => train(node, schema, components),
                "strategy" => strategy(node, parts),
                key => canonical(node, &schema["properties"][key], schema),
            };
            whole.insert(key.text.clone(), value);
        }
        Self { whole }
    }
}

fn train(node: &Node, schema: &Value, components: &BTreeMap<Kind, Value>) -> Value {
    let mut value = canonical(node, &schema["properties"]["train"], schema);
    for (key, kind) in [("optimizer", Kind::Optimizer), ("schedule", Kind::Schedule)] {
        if let Some(node) = node.at(&[key]) {
            value[key] = named(node, "name", components.get(&kind));
        }
    }
    // In whatever order they are listed, the same is measured.
    if let Some(Value::Array(metrics)) = value.get_mut("metrics") {
        metrics.sort_by_key(Value::to_string);
    }
    // A constant rate without options is what a file without a schedule means.
    if value["schedule"] == json!({ "name": "constant" })
        && let Some(value) = value.as_object_mut()
    {
        value.remove("schedule");
    }
    value
}

fn strategy(node: &Node, parts: &PartSchemas) -> Value {
    let part = |node: &Node, place: &str| named(node, "use", parts.get(place));
    let mut value = Map::new();
    for key in ["score", "mask"] {
        if let Some(node) = node.at(&[key]) {
            value.insert(key.to_owned(), part(node, &format!("strategy.{key}")));
        }
    }
    for key in ["rewind", "update"] {
        if let Some(Tree::List(listed)) = node.at(&[key]).map(|node| &node.value)
            && !listed.is_empty()
        {
            let listed = listed.iter().enumerate();
            let listed = listed.map(|(at, node)| part(node, &format!("strategy.{key}.{at}")));
            value.insert(key.to_owned(), listed.collect());
        }
    }
    Value::Object(value)
}

/// A component's table: its options without defaults, and its name.
fn named(node: &Node, key: &str, schema: Option<&Value>) -> Value {
    let mut options = node.clone();
    let name = options.table_mut().and_then(|table| table.remove(key));
    let schema = schema.unwrap_or(&Value::Null);
    let mut value = canonical(&options, schema, schema);
    if let (Some((_, name)), Some(value)) = (name, value.as_object_mut()) {
        value.insert(key.to_owned(), name.to_json());
    }
    value
}

/// A value without the keys that equal their defaults, and with numbers in one spelling.
fn canonical(node: &Node, schema: &Value, root: &Value) -> Value {
    canonical_within(node, schema, root, 0, &mut 100_000)
}

/// The same for a value at this depth, while there is fuel left.
fn canonical_within(
    node: &Node,
    schema: &Value,
    root: &Value,
    depth: u32,
    fuel: &mut u32,
) -> Value {
    if depth > 256 || *fuel == 0 {
        return node.to_json(); // Only a schema that describes itself leads here.
    }
    *fuel -= 1;
    let schemas = applying(node, schema, root);
    let keyword = |name| schemas.iter().find_map(|it| it.get(name));
    match &node.value {
        Tree::Integer(it) => number(*it as f64).unwrap_or_else(|| node.to_json()),
        Tree::Float(it) => {
            // What will be read as f32 is compared as f32, in its shortest spelling.
            let single = keyword("format").is_some_and(|it| it == "float");
            let shortest = (*it as f32).to_string().parse();
            let value = shortest.ok().filter(|_| single).unwrap_or(*it);
            number(value).unwrap_or_else(|| json!(value))
        }
        Tree::List(elements) => (elements.iter().enumerate())
            .map(|(i, element)| {
                let first = keyword("prefixItems").and_then(|it| it.get(i));
                let schema = first.or(keyword("items")).unwrap_or(&Value::Null);
                canonical_within(element, schema, root, depth + 1, fuel)
            })
            .collect(),
        Tree::Table(table) => {
            let mut value = Map::new();
            for (key, node) in table.iter() {
                let property = (schemas.iter())
                    .find_map(|it| it.get("properties")?.get(&key.text))
                    .or(keyword("additionalProperties"))
                    .unwrap_or(&Value::Null);
                if is_location(property, node) {
                    continue;
                }
                let kept = canonical_within(node, property, root, depth + 1, fuel);
                let default = property.get("default").map(|default| {
                    let default = Node::from_json(default, &Place::whole(0));
                    canonical_within(&default, property, root, depth + 1, fuel)
                });
                if default.as_ref() != Some(&kept) {
                    value.insert(key.text.clone(), kept);
                }
            }
            Value::Object(value)
        }
        _ => node.to_json(),
    }
}

/// A whole number of either spelling (`1`, `1.0`) as an integer.
fn number(value: f64) -> Option<Value> {
    let exact = value.fract() == 0.0 && value.abs() < 2f64.powi(53);
    exact.then(|| Value::Number(Number::from(value as i64)))
}

/// The schemas that together describe a value: its own, what that refers to, and of alternatives
/// the one that was meant.
pub(super) fn applying<'s>(node: &Node, schema: &'s Value, root: &'s Value) -> Vec<&'s Value> {
    let mut applying = vec![schema];
    // A schema that refers to itself adds nothing the second time.
    let add = |applying: &mut Vec<&'s Value>, part: &'s Value| {
        if !applying.iter().any(|it| std::ptr::eq(*it, part)) {
            applying.push(part);
        }
    };
    let mut next = 0;
    while let Some(&schema) = applying.get(next).filter(|_| next < 64) {
        next += 1;
        for part in target(schema, root)
            .into_iter()
            .chain(list(schema, "allOf"))
        {
            add(&mut applying, part);
        }
        for choices in ["oneOf", "anyOf"]
            .iter()
            .filter_map(|it| alternatives(schema, it))
        {
            match choose(node, &choices, root) {
                Choice::One(one) => add(&mut applying, one),
                Choice::Any(several) => {
                    if let Some(one) = several.into_iter().find(|it| admits(node, it, root)) {
                        add(&mut applying, one);
                    }
                }
                _ => {}
            }
        }
    }
    applying
}
