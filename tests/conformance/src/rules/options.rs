//! What a component says of itself, and the options that it takes.

use plugin_api::abi::wire::ComponentManifest;
use serde_json::{Map, Value, json};

use super::Trial;
use crate::report::Verdict;
use crate::subject::Fault;

/// The options of a schema.
pub fn properties(component: &ComponentManifest) -> impl Iterator<Item = (&String, &Value)> {
    let properties = component.schema.get("properties");
    properties.and_then(Value::as_object).into_iter().flatten()
}

fn described(value: &Value) -> bool {
    let text = value.get("description").and_then(Value::as_str);
    text.is_some_and(|text| !text.trim().is_empty())
}

pub fn metadata(trial: &Trial<'_>) -> Result<Verdict, Fault> {
    let (plugin, component) = (trial.manifest, trial.component);
    let mut missing = Vec::new();
    for (what, text) in [
        ("its name", &plugin.name),
        ("its version", &plugin.version),
        ("a summary: `description` in Cargo.toml", &plugin.summary),
        ("the component's name", &component.name),
    ] {
        if text.trim().is_empty() {
            missing.push(what.to_owned());
        }
    }
    if component.schema.get("type") != Some(&json!("object")) {
        missing.push("a schema of type object".to_owned());
    }
    if !described(&component.schema) {
        missing.push("a doc comment of the component".to_owned());
    }
    for (name, schema) in properties(component) {
        if !described(schema) {
            missing.push(format!("a doc comment of the option `{name}`"));
        }
    }
    Ok(match missing.as_slice() {
        [] => Verdict::KEPT,
        missing => Verdict::broken(
            "the plugin's manifest",
            format!("it lacks {}", missing.join(", ")),
            "all of it",
        ),
    })
}

pub fn defaults(trial: &Trial<'_>) -> Result<Verdict, Fault> {
    let options = trial.options();
    if let Err(fault) = trial.subject.make(&options, 0) {
        return Ok(Verdict::broken(
            format!("options {}", Value::Object(options)),
            fault.text(),
            "a component; where an option has no default that does, give its schema an example: \
             #[schemars(example = ...)]",
        ));
    }
    for (name, schema) in properties(trial.component) {
        let Some(default) = schema.get("default").filter(|it| !it.is_null()) else {
            continue;
        };
        let mut explicit = options.clone();
        if explicit.contains_key(name) {
            continue;
        }
        explicit.insert(name.clone(), default.clone());
        if let Err(fault) = trial.subject.make(&explicit, 0) {
            return Ok(Verdict::broken(
                format!("options {}", Value::Object(explicit)),
                fault.text(),
                "a component: it is the option's default",
            ));
        }
    }
    Ok(match options.is_empty() {
        true => Verdict::KEPT,
        false => Verdict::Kept {
            note: Some(format!("made with {}", Value::Object(options))),
        },
    })
}

pub fn unknown_option(trial: &Trial<'_>) -> Result<Verdict, Fault> {
    const NAME: &str = "no-such-option";
    trial.make()?;
    let mut options: Map<String, Value> = trial.options();
    options.insert(NAME.to_owned(), json!(1));
    let case = format!("options {}", Value::Object(options.clone()));
    let expected = format!("a refusal that names `{NAME}`: #[serde(deny_unknown_fields)]");
    Ok(match trial.subject.make(&options, 0) {
        Ok(_) => Verdict::broken(case, "a component", expected),
        Err(fault) if !fault.text().contains(NAME) => Verdict::broken(case, fault.text(), expected),
        Err(_) => Verdict::KEPT,
    })
}
