//! The options of a component, as its JSON Schema describes them.

use serde_json::Value;

use super::prose::{Block, documentation};

/// Schema keyword of a default that people are told of and identities do not leave out.
const TOLD: &str = "x-default";

/// One option.
#[derive(Clone, Debug, PartialEq)]
pub struct Described {
    /// Key in the experiment file.
    pub name: String,
    /// What it may be.
    pub kind: String,
    /// What it is if the file does not say.
    pub default: Absent,
    /// What it is for, and what its choices mean.
    pub docs: Vec<Block>,
}

/// What an option is if the file does not say.
#[derive(Clone, Debug, PartialEq)]
pub enum Absent {
    /// This.
    Value(Value),
    /// Nothing: it is left out.
    Nothing,
    /// It must be given.
    Required,
    /// Something that the schema does not say: the option's type has to implement `Serialize` for it.
    Untold,
}

impl Absent {
    /// In words, behind what the option may be.
    pub fn words(&self) -> String {
        match self {
            Self::Value(value) => format!("default {value}"),
            Self::Nothing => "not given by default".to_owned(),
            Self::Required => "must be given".to_owned(),
            Self::Untold => "has a default that the plugin does not tell".to_owned(),
        }
    }
}

/// The options that a schema describes, in its order.
pub fn options(schema: &Value) -> Vec<Described> {
    let properties = schema.get("properties").and_then(Value::as_object);
    let required = schema.get("required").and_then(Value::as_array);
    let is_required = |name: &str| required.is_some_and(|it| it.iter().any(|it| it == name));
    (properties.into_iter().flatten())
        .map(|(name, option)| Described {
            name: name.clone(),
            kind: kind(option, schema, 0),
            default: match option.get("default").or(option.get(TOLD)) {
                Some(Value::Null) => Absent::Nothing,
                Some(value) => Absent::Value(value.clone()),
                None if is_required(name) => Absent::Required,
                None => Absent::Untold,
            },
            docs: docs(option, schema),
        })
        .collect()
}

/// What an option is for, and what its choices mean.
fn docs(option: &Value, root: &Value) -> Vec<Block> {
    let own = documentation(option);
    let referred = resolve(option, root);
    let mut all = match own.is_empty() {
        true => documentation(referred),
        false => own,
    };
    let choices = alternatives(referred).into_iter().flatten();
    // An option that may be left out has its choices behind one more reference.
    let choices = choices
        .map(|choice| resolve(choice, root))
        .flat_map(|choice| {
            let inner = alternatives(choice).into_iter().flatten();
            std::iter::once(choice).chain(inner)
        });
    for choice in choices {
        let Some(name) = choice.get("const").and_then(Value::as_str) else {
            continue;
        };
        let mut what = documentation(choice);
        if let Some(Block::Paragraph(text)) = what.first_mut() {
            *text = format!("{name:?}: {text}");
        }
        all.extend(what);
    }
    all
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
        #[serde(default)]
        #[schemars(extend("x-default" = "later-on"))]
        when: Option<How>,
        sizes: Vec<u8>,
    }

    #[test]
    fn options_are_described_in_words() {
        let shown = options(&schema_for!(Options).to_value());
        let option = |name: &str| shown.iter().find(|it| it.name == name).unwrap();
        assert_eq!(shown.len(), 4);
        assert_eq!(option("when").default.words(), "default \"later-on\"");
        assert_eq!(option("share").kind, "number >= 0.0 and <= 1.0");
        assert_eq!(option("share").default.words(), "default 0.0");
        let paragraph = |text: &str| Block::Paragraph(text.to_owned());
        assert_eq!(
            option("share").docs,
            [paragraph("Share of it, all in all.")]
        );
        assert_eq!(option("how").kind, "\"later-on\" | \"now\"");
        assert_eq!(option("how").docs, [paragraph("\"now\": At once.")]);
        assert_eq!(option("how").default, Absent::Untold);
        assert_eq!(option("sizes").default, Absent::Required);
        assert!(option("sizes").kind.starts_with("list of integer >= 0"));
    }
}
