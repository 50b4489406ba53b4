//! Finding one's way in a JSON Schema: references, lists of schemas, the keys of a table.

use std::collections::BTreeSet;

use serde_json::Value;

use super::choice::{Choice, alternatives, choose};
use super::scalar;
use super::tree::Node;

/// The keys that a schema describes for a table, with all that it refers to.
#[derive(Default)]
pub(super) struct Described {
    pub keys: BTreeSet<String>,
    pub patterns: Vec<String>,
    /// Whether others are allowed too.
    pub open: bool,
    /// Parts of the schema that were looked at.
    pub parts: u32,
}

/// Parts of a schema that are looked at for one table: a plugin's may refer to itself twice, and so
/// have more than can be counted.
const MOST_PARTS: u32 = 1000;

impl Described {
    /// Adds what a schema, which applies to `node`, describes.
    pub fn collect(&mut self, node: &Node, schema: &Value, root: &Value, depth: u32) {
        if depth > 32 || self.parts == MOST_PARTS {
            return;
        }
        self.parts += 1;
        let names = |key| schema.get(key).and_then(Value::as_object);
        self.keys.extend(
            names("properties")
                .into_iter()
                .flat_map(|it| it.keys().cloned()),
        );
        let patterns = names("patternProperties").into_iter();
        self.patterns
            .extend(patterns.flat_map(|it| it.keys().cloned()));
        let others = schema.get("additionalProperties");
        self.open |= others.is_some_and(|it| it != &Value::Bool(false));
        let referred = target(schema, root).into_iter();
        for part in referred.chain(list(schema, "allOf")) {
            self.collect(node, part, root, depth + 1);
        }
        for choices in ["oneOf", "anyOf"]
            .iter()
            .filter_map(|it| alternatives(schema, it))
        {
            let chosen = match choose(node, &choices, root) {
                Choice::One(one) => vec![one],
                Choice::Any(several) => several,
                _ => choices,
            };
            for part in chosen {
                self.collect(node, part, root, depth + 1);
            }
        }
    }
}

/// What a schema's `$ref` refers to, within the same document.
pub(super) fn target<'a>(schema: &Value, root: &'a Value) -> Option<&'a Value> {
    root.pointer(schema.get("$ref")?.as_str()?.strip_prefix('#')?)
}

/// The schemas (or names) listed under a keyword.
pub(super) fn list<'a>(schema: &'a Value, keyword: &str) -> impl Iterator<Item = &'a Value> {
    schema
        .get(keyword)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

/// The schemas whose pattern a key matches.
pub(super) fn pattern_properties<'a>(
    schema: &'a Value,
    key: &str,
) -> impl Iterator<Item = &'a Value> {
    let patterns = schema.get("patternProperties").and_then(Value::as_object);
    (patterns.into_iter().flatten())
        .filter(move |(pattern, _)| scalar::matches(pattern, key) == Some(true))
        .map(|(_, schema)| schema)
}
