//! The options of a component, as its JSON Schema describes them.

use serde::Serialize;
use serde_json::Value;

/// One option.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Described {
    /// Key in the experiment file.
    pub name: String,
    /// What it may be.
    pub kind: String,
    /// What it is if the file does not say.
    pub default: Option<Value>,
    /// What it is for.
    pub docs: String,
}

/// The options that a schema describes, in its order.
pub fn options(schema: &Value) -> Vec<Described> {
    let properties = schema.get("properties").and_then(Value::as_object);
    (properties.into_iter().flatten())
        .map(|(name, option)| Described {
            name: name.clone(),
            kind: kind(option, schema, 0),
            default: option.get("default").cloned(),
            docs: docs(option, schema),
        })
        .collect()
}

/// A schema's description on one line, without the sections under its headings.
pub fn description(schema: &Value) -> String {
    let text = schema.get("description").and_then(Value::as_str);
    let lines = text.unwrap_or_default().lines();
    let prose = lines.take_while(|line| !line.starts_with("# "));
    let words: Vec<&str> = prose.flat_map(str::split_whitespace).collect();
    words.join(" ")
}

/// What an option is for, and what its choices mean.
fn docs(option: &Value, root: &Value) -> String {
    let own = description(option);
    let referred = resolve(option, root);
    let choices = alternatives(referred).into_iter().flatten();
    let choices = choices.filter_map(|choice| {
        let name = choice.get("const")?.as_str()?;
        let what = description(choice);
        (!what.is_empty()).then(|| format!("{name}: {what}"))
    });
    let all: Vec<String> = [if own.is_empty() {
        description(referred)
    } else {
        own
    }]
    .into_iter()
    .chain(choices)
    .collect();
    all.join(" ").trim().to_owned()
}

/// What a value may be, in words.
fn kind(schema: &Value, root: &Value, depth: u32) -> String {
    if depth > 8 {
        return "table".to_owned();
    }
    let schema = resolve(schema, root);
    if let Some(word) = schema.get("x-type").and_then(Value::as_str) {
        return word.to_owned();
    }
    if let Some(value) = schema.get("const") {
        return value.to_string();
    }
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        return join(values.iter().map(Value::to_string));
    }
    if let Some(choices) = alternatives(schema) {
        let choices = choices
            .iter()
            .filter(|it| it.get("type") != Some(&"null".into()));
        return join(choices.map(|choice| kind(choice, root, depth + 1)));
    }
    let types: Vec<&str> = match schema.get("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => vec![],
    };
    let word = |name: &&str| match *name {
        "null" => None,
        "array" => Some(match schema.get("items") {
            Some(items) => format!("list of {}", kind(items, root, depth + 1)),
            None => "list".to_owned(),
        }),
        "object" => Some("table".to_owned()),
        other => Some(other.to_owned()),
    };
    let words = join(types.iter().filter_map(word));
    let words = if words.is_empty() {
        "anything".to_owned()
    } else {
        words
    };
    match range(schema) {
        Some(range) => format!("{words} {range}"),
        None => words,
    }
}

/// The bounds of a number, the pattern of a text, the length of a list.
fn range(schema: &Value) -> Option<String> {
    let get = |name: &str| schema.get(name).filter(|it| it.is_number());
    let lower = get("minimum").map(|it| format!(">= {it}"));
    let lower = lower.or(get("exclusiveMinimum").map(|it| format!("> {it}")));
    let upper = get("maximum").map(|it| format!("<= {it}"));
    let upper = upper.or(get("exclusiveMaximum").map(|it| format!("< {it}")));
    let least = get("minItems").map(|it| format!("of at least {it}"));
    let pattern = schema.get("pattern").and_then(Value::as_str);
    let pattern = pattern.map(|it| format!("like /{it}/"));
    let all: Vec<String> = [lower, upper, least, pattern]
        .into_iter()
        .flatten()
        .collect();
    (!all.is_empty()).then(|| all.join(" and "))
}

fn alternatives(schema: &Value) -> Option<&Vec<Value>> {
    ["oneOf", "anyOf"]
        .iter()
        .find_map(|name| schema.get(name)?.as_array())
}

/// What a schema refers to, or itself.
fn resolve<'a>(schema: &'a Value, root: &'a Value) -> &'a Value {
    let target = |schema: &Value| root.pointer(schema.get("$ref")?.as_str()?.strip_prefix('#')?);
    target(schema).unwrap_or(schema)
}

fn join(words: impl Iterator<Item = String>) -> String {
    words.collect::<Vec<_>>().join(" | ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use plugin_api::schemars::{self, JsonSchema, schema_for};

    /// How.
    #[derive(JsonSchema)]
    #[allow(dead_code, reason = "only its schema is used")]
    #[serde(rename_all = "kebab-case")]
    enum How {
        /// At once.
        Now,
        LaterOn,
    }

    #[derive(JsonSchema)]
    #[allow(dead_code, reason = "only its schema is used")]
    struct Options {
        /// Share of it,
        /// all in all.
        #[serde(default)]
        #[schemars(range(min = 0.0, max = 1.0))]
        share: f64,
        how: Option<How>,
        sizes: Vec<u8>,
    }

    #[test]
    fn options_are_described_in_words() {
        let shown = options(&schema_for!(Options).to_value());
        let option = |name: &str| shown.iter().find(|it| it.name == name).unwrap();
        assert_eq!(shown.len(), 3);
        assert_eq!(option("share").kind, "number >= 0.0 and <= 1.0");
        assert_eq!(option("share").default, Some(0.0.into()));
        assert_eq!(option("share").docs, "Share of it, all in all.");
        assert_eq!(option("how").kind, "\"later-on\" | \"now\"");
        assert!(option("sizes").kind.starts_with("list of integer >= 0"));
    }
}
