//! The parts of a JSON Schema that look at one value alone: type, constants, bounds, pattern.

use regex::Regex;
use serde_json::Value;

use super::diagnostic::Diagnostic;
use super::tree::{Node, Tree};

/// Whether the value has a type that the schema allows.
pub(super) fn fits_type(node: &Node, schema: &Value) -> bool {
    let types = types(schema);
    let fits = |name: &str| match &node.value {
        Tree::Text(_) => name == "string",
        Tree::Integer(_) => name == "integer" || name == "number",
        Tree::Float(_) => name == "number",
        Tree::Bool(_) => name == "boolean",
        Tree::List(_) => name == "array",
        Tree::Table(_) => name == "object",
        Tree::Invalid => true,
    };
    types.is_empty() || types.into_iter().any(fits)
}

fn types(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => {
            // Constants imply their types.
            let constants = schema.get("enum").and_then(Value::as_array);
            let constants = constants.into_iter().flatten().chain(schema.get("const"));
            constants.map(type_of).collect()
        }
    }
}

fn type_of(constant: &Value) -> &'static str {
    match constant {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(it) if it.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// The words for the types that a schema allows.
pub(super) fn type_names(schema: &Value) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for name in types(schema) {
        let words = match name {
            "string" => "a string",
            "integer" => "a whole number",
            "number" => "a number",
            "boolean" => "true or false",
            "array" => "a list",
            "object" => "a table",
            _ => continue,
        };
        if !names.iter().any(|it| it == words) {
            names.push(words.to_owned());
        }
    }
    names
}

/// Whether a value is a constant of a schema; numbers are equal by value.
pub(super) fn equals(node: &Node, constant: &Value) -> bool {
    match &node.value {
        Tree::Integer(it) => constant.as_f64() == Some(*it as f64),
        Tree::Float(it) => constant.as_f64() == Some(*it),
        _ => &node.to_json() == constant,
    }
}

/// The problem of a value that is none of the known names.
pub(super) fn unknown_value(node: &Node, known: Vec<String>, name: &str) -> Diagnostic {
    let written = match &node.value {
        Tree::Text(text) => text.clone(),
        _ => node.to_json().to_string(),
    };
    Diagnostic::new(
        Some(&node.place),
        format!("unknown value `{written}` for {name}"),
    )
    .label("not one of the known values")
    .known(&written, known)
}

/// The problems of a value of the right type; `name` stands for it in messages, `doc` is shown with
/// them by the caller.
pub(super) fn problems(
    node: &Node,
    schema: &Value,
    name: &str,
    doc: Option<&str>,
) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let constants = match (schema.get("const"), schema.get("enum")) {
        (Some(only), _) => std::slice::from_ref(only),
        (None, Some(Value::Array(all))) => all,
        _ => &[],
    };
    if !constants.is_empty() && !constants.iter().any(|it| equals(node, it)) {
        let known = constants.iter().filter(|it| !it.is_null());
        let known = known.map(|it| it.as_str().map_or(it.to_string(), str::to_owned));
        found.push(unknown_value(node, known.collect(), name));
    }
    match &node.value {
        Tree::Text(text) => found.extend(text_problem(node, text, schema, name, doc)),
        Tree::Integer(it) => found.extend(range_problem(node, *it as f64, Some(*it), schema, name)),
        Tree::Float(it) => found.extend(range_problem(node, *it, None, schema, name)),
        _ => {}
    }
    found
}

fn text_problem(
    node: &Node,
    text: &str,
    schema: &Value,
    name: &str,
    doc: Option<&str>,
) -> Option<Diagnostic> {
    let length = text.chars().count() as u64;
    let limit = |key| schema.get(key).and_then(Value::as_u64);
    let (message, label) = if limit("minLength").is_some_and(|min| length < min) {
        let min = limit("minLength").unwrap_or(0);
        let message = match min {
            1 => format!("{name} must not be empty"),
            _ => format!("{name} must have at least {min} characters"),
        };
        (message, String::new())
    } else if let Some(max) = limit("maxLength").filter(|max| length > *max) {
        (
            format!("{name} must have at most {max} characters"),
            format!("found {length}"),
        )
    } else {
        let pattern = schema.get("pattern")?.as_str()?;
        if matches(pattern, text) != Some(false) {
            return None;
        }
        let message = format!("`{text}` does not fit {name}");
        // A type with a pattern says in words what it is; its key may have a text of its own.
        let words = schema.get("description").and_then(Value::as_str);
        let words = words
            .and_then(|it| it.lines().next())
            .filter(|_| words != doc);
        let expected = words.map(|it| format!("expected {it}"));
        (
            message,
            expected.unwrap_or(format!("must match `{pattern}`")),
        )
    };
    Some(Diagnostic::new(Some(&node.place), message).label(label))
}

/// Whether a text matches a pattern; none if the pattern is not a regular expression.
pub(super) fn matches(pattern: &str, text: &str) -> Option<bool> {
    Some(Regex::new(pattern).ok()?.is_match(text))
}

fn range_problem(
    node: &Node,
    value: f64,
    integer: Option<i128>,
    schema: &Value,
    name: &str,
) -> Option<Diagnostic> {
    type Holds = fn(f64, f64) -> bool;
    let bounds: [(&str, &str, Holds); 4] = [
        ("minimum", "at least", |value, bound| value >= bound),
        ("exclusiveMinimum", "greater than", |value, bound| {
            value > bound
        }),
        ("maximum", "at most", |value, bound| value <= bound),
        ("exclusiveMaximum", "less than", |value, bound| {
            value < bound
        }),
    ];
    let mut expected = Vec::new();
    let mut outside = false;
    for (keyword, words, holds) in bounds {
        if let Some(bound) = schema.get(keyword).and_then(Value::as_f64) {
            outside |= !holds(value, bound);
            expected.push(format!("{words} {bound}"));
        }
    }
    if let (false, Some(integer)) = (outside, integer) {
        let (least, greatest) = match schema.get("format").and_then(Value::as_str) {
            Some("uint8") => (0, i128::from(u8::MAX)),
            Some("uint16") => (0, i128::from(u16::MAX)),
            Some("uint32") => (0, i128::from(u32::MAX)),
            Some("uint" | "uint64" | "uint128") => (0, i128::from(u64::MAX)),
            Some("int8") => (i128::from(i8::MIN), i128::from(i8::MAX)),
            Some("int16") => (i128::from(i16::MIN), i128::from(i16::MAX)),
            Some("int32") => (i128::from(i32::MIN), i128::from(i32::MAX)),
            Some("int" | "int64" | "int128") => (i128::from(i64::MIN), i128::from(i64::MAX)),
            _ => return None,
        };
        if integer < least || integer > greatest {
            outside = true;
            expected = vec![format!("at least {least}"), format!("at most {greatest}")];
        }
    }
    outside.then(|| {
        let message = format!("{name} must be {}", expected.join(" and "));
        Diagnostic::new(Some(&node.place), message).label(format!("found {}", node.to_json()))
    })
}
