//! Which alternative of a schema's `oneOf` or `anyOf` a value was meant to be.

use std::collections::HashMap;

use serde_json::Value;

use super::described::target;
use super::scalar::{equals, fits_type, type_names};
use super::tree::{Node, Tree};

/// What is known about the alternative that a value was meant to be.
pub(super) enum Choice<'s, 'n> {
    /// This one.
    One(&'s Value),
    /// One of these, as far as types tell.
    Any(Vec<&'s Value>),
    /// None has the value's type; these are the types.
    WrongType(Vec<String>),
    /// The name that chooses is not one of the known; without a key, the value itself is the name.
    WrongName {
        key: Option<String>,
        name: &'n Node,
        known: Vec<String>,
    },
    /// The key that chooses is missing.
    NoName { key: String, known: Vec<String> },
}

/// The alternatives under a keyword, without `null`, which TOML cannot say.
pub(super) fn alternatives<'s>(schema: &'s Value, keyword: &str) -> Option<Vec<&'s Value>> {
    let all = schema.get(keyword)?.as_array()?;
    let is_null = |it: &Value| it.get("type").is_some_and(|it| it == "null");
    Some(all.iter().filter(|it| !is_null(it)).collect())
}

/// Chooses among alternatives: by type, then by the constant that a tag or a unit variant must
/// have, then by the key that a variant is wrapped in.
pub(super) fn choose<'s, 'n>(
    node: &'n Node,
    choices: &[&'s Value],
    root: &'s Value,
) -> Choice<'s, 'n> {
    let fitting: Vec<&Value> = (choices.iter().copied())
        .filter(|it| fits(node, it, root, &mut Known::new()))
        .collect();
    match (&fitting[..], &node.value) {
        ([], _) => {
            let (mut expected, mut left) = (Vec::new(), MOST_NAMED);
            for choice in choices {
                collect_type_names(choice, root, &mut left, &mut expected);
            }
            Choice::WrongType(expected)
        }
        ([one], _) if constants(resolve(one, root)).is_none() => Choice::One(one),
        (_, Tree::Table(_)) => choose_table(node, fitting, root),
        _ => choose_constant(node, fitting, root),
    }
}

fn choose_constant<'s, 'n>(
    node: &'n Node,
    fitting: Vec<&'s Value>,
    root: &'s Value,
) -> Choice<'s, 'n> {
    let mut known = Vec::new();
    for choice in &fitting {
        let Some(values) = constants(resolve(choice, root)) else {
            return Choice::Any(fitting); // Free text is allowed too.
        };
        if values.iter().any(|it| equals(node, it)) {
            return Choice::One(choice);
        }
        known.extend(values.into_iter().map(name_of));
    }
    Choice::WrongName {
        key: None,
        name: node,
        known,
    }
}

fn choose_table<'s, 'n>(
    node: &'n Node,
    fitting: Vec<&'s Value>,
    root: &'s Value,
) -> Choice<'s, 'n> {
    if let Some(tag) = tag(&fitting, root) {
        let tagged = |it: &'s Value| constants(resolve(it, root).get("properties")?.get(&tag)?);
        let known = || {
            fitting
                .iter()
                .filter_map(|it| tagged(it))
                .flatten()
                .map(name_of)
                .collect()
        };
        let Some(name) = node.table().and_then(|table| table.get(&tag)) else {
            let known = known();
            return Choice::NoName { key: tag, known };
        };
        let chosen = (fitting.iter())
            .find(|it| tagged(it).is_some_and(|all| all.iter().any(|it| equals(name, it))));
        return match chosen {
            Some(one) => Choice::One(one),
            None => Choice::WrongName {
                known: known(),
                key: Some(tag),
                name,
            },
        };
    }
    let wrapper = |it: &'s Value| wrapper(resolve(it, root));
    if fitting.iter().all(|it| wrapper(it).is_some()) {
        let has = |key: &str| node.table().is_some_and(|table| table.get(key).is_some());
        let chosen = fitting.iter().find(|it| wrapper(it).is_some_and(has));
        return match chosen {
            Some(one) => Choice::One(one),
            None => Choice::NoName {
                key: fitting
                    .iter()
                    .filter_map(|it| wrapper(it))
                    .collect::<Vec<_>>()
                    .join("` or `"),
                known: Vec::new(),
            },
        };
    }
    Choice::Any(fitting)
}

/// The key that has a constant in every alternative.
fn tag<'s>(choices: &[&'s Value], root: &'s Value) -> Option<String> {
    let [first, rest @ ..] = choices else {
        return None;
    };
    let constant = |choice: &'s Value, key: &str| {
        let property = resolve(choice, root).get("properties")?.get(key)?;
        constants(property)
    };
    let keys = resolve(first, root).get("properties")?.as_object()?.keys();
    keys.into_iter()
        .find(|key| {
            constant(first, key).is_some() && rest.iter().all(|it| constant(it, key).is_some())
        })
        .cloned()
}

/// The only key of an alternative such as `{ "cosine": { ... } }`.
fn wrapper(schema: &Value) -> Option<&str> {
    let properties = schema.get("properties")?.as_object()?;
    let required = schema.get("required")?.as_array()?;
    match (properties.len(), &required[..]) {
        (1, [only]) => only.as_str(),
        _ => None,
    }
}

fn constants(schema: &Value) -> Option<Vec<&Value>> {
    match (schema.get("const"), schema.get("enum")) {
        (Some(only), _) => Some(vec![only]),
        (None, Some(Value::Array(all))) => Some(all.iter().collect()),
        _ => None,
    }
}

fn name_of(constant: &Value) -> String {
    constant
        .as_str()
        .map_or_else(|| constant.to_string(), str::to_owned)
}

fn resolve<'s>(schema: &'s Value, root: &'s Value) -> &'s Value {
    let mut schema = schema;
    for _ in 0..16 {
        match target(schema, root) {
            Some(next) => schema = next,
            None => break,
        }
    }
    schema
}

/// What is known of parts of a schema, by their addresses: whether they fit one value's type.
type Known = HashMap<*const Value, bool>;

fn fits(node: &Node, schema: &Value, root: &Value, known: &mut Known) -> bool {
    let schema = resolve(schema, root);
    // A part that is met again on its own way asks for nothing more; each is looked at once.
    if let Some(fits) = known.get(&std::ptr::from_ref(schema)) {
        return *fits;
    }
    known.insert(schema, true);
    let all_fit = fits_type(node, schema)
        && ["oneOf", "anyOf"].iter().all(|keyword| {
            alternatives(schema, keyword)
                .is_none_or(|all| all.iter().any(|it| fits(node, it, root, known)))
        });
    known.insert(schema, all_fit);
    all_fit
}

/// Alternatives whose types are named: a plugin's schema may have itself among its alternatives.
const MOST_NAMED: u32 = 1000;

fn collect_type_names(schema: &Value, root: &Value, left: &mut u32, names: &mut Vec<String>) {
    let schema = resolve(schema, root);
    if *left == 0 {
        return;
    }
    *left -= 1;
    for name in type_names(schema) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    for choice in ["oneOf", "anyOf"]
        .iter()
        .filter_map(|it| alternatives(schema, it))
        .flatten()
    {
        collect_type_names(choice, root, left, names);
    }
}
