//! Checking values against a JSON Schema, with problems that point into the experiment file.
//!
//! Covers what `schemars` emits. Stricter than JSON Schema in one way: a table whose keys are
//! described takes no others, whether or not the schema forbids them, because an option that is
//! silently ignored spoils an experiment.

use std::collections::BTreeSet;

use serde_json::Value;

use super::choice::{Choice, alternatives, choose};
use super::described::{Described, list, pattern_properties, target};
use super::diagnostic::{Concern, Diagnostic, Place, either};
use super::scalar;
use super::tree::{Node, Table, Tree};

/// The problems of a value that a whole schema describes.
pub(super) fn check(node: &Node, schema: &Value) -> Vec<Diagnostic> {
    let mut checker = Checker::new(schema);
    checker.check(node, schema, &At::default(), Keys::OnlyDescribed);
    checker.finish()
}

/// Whether a part of a schema describes the value.
pub(super) fn admits(node: &Node, part: &Value, schema: &Value) -> bool {
    let mut checker = Checker::new(schema);
    // It is asked for many parts in turn, each of a few values.
    checker.fuel = FUEL / 20;
    checker.check(node, part, &At::default(), Keys::OnlyDescribed);
    checker.found.is_empty()
}

/// The problems of a component's options: the table without the key that names the component.
pub(super) fn check_options(
    node: &Node,
    name_key: &str,
    schema: &Value,
    path: &str,
) -> Vec<Diagnostic> {
    let mut options = node.clone();
    if let Some(table) = options.table_mut() {
        table.remove(name_key);
    }
    let at = At {
        path: path.to_owned(),
        doc: None,
    };
    let mut checker = Checker::new(schema);
    // A component without options may be described by anything, even by `null`.
    let describes_table = schema.get("type").is_none_or(|it| it == "object");
    let empty = Value::Object(Default::default());
    let schema = if describes_table { schema } else { &empty };
    checker.check(&options, schema, &at, Keys::Options);
    checker.finish()
}

/// Where the checker stands.
#[derive(Clone, Default)]
struct At<'a> {
    /// Dotted keys, as `--set` takes them.
    path: String,
    /// What the key is for.
    doc: Option<&'a str>,
}

impl At<'_> {
    fn below(&self, key: &str) -> At<'static> {
        let path = match self.path.as_str() {
            "" => key.to_owned(),
            path => format!("{path}.{key}"),
        };
        At { path, doc: None }
    }

    fn inside(&self) -> String {
        match self.path.as_str() {
            "" => String::new(),
            path => format!(" in `{path}`"),
        }
    }

    fn name(&self) -> String {
        match self.path.as_str() {
            "" => "the file".to_owned(),
            path => format!("`{path}`"),
        }
    }
}

/// Which keys a table may hold.
#[derive(Clone, Copy, PartialEq)]
enum Keys {
    /// The described ones; any if none is described.
    OnlyDescribed,
    /// The described ones, even if there are none.
    Options,
    /// A schema around this one decides.
    DecidedOutside,
}

struct Checker<'a> {
    root: &'a Value,
    found: Vec<Diagnostic>,
    /// Steps left: a plugin's schema may refer to itself without end.
    fuel: u32,
    depth: u32,
    /// What was left out for lack of fuel, at first.
    left_out: Option<(Place, String)>,
}

/// Values that are checked at most, each once for every part of a schema that describes it.
const FUEL: u32 = 100_000;

impl<'a> Checker<'a> {
    fn new(root: &'a Value) -> Self {
        Self {
            root,
            found: Vec::new(),
            fuel: FUEL,
            depth: 0,
            left_out: None,
        }
    }

    /// The problems that were found. What was not looked at must not pass for checked.
    fn finish(mut self) -> Vec<Diagnostic> {
        if let Some((place, name)) = self.left_out {
            let message = format!("{name} holds more than can be checked");
            let problem = Diagnostic::new(Some(&place), message)
                .label(format!("from here on; expected at most {FUEL} values"));
            self.found.push(problem);
        }
        self.found
    }

    fn check(&mut self, node: &Node, schema: &'a Value, at: &At<'a>, keys: Keys) {
        if node.value == Tree::Invalid {
            return;
        }
        if self.depth > 256 {
            return; // Only a schema that describes itself leads here.
        }
        if self.fuel == 0 {
            if self.left_out.is_none() {
                self.left_out = Some((node.place.clone(), at.name()));
            }
            return;
        }
        self.fuel -= 1;
        self.depth += 1;
        self.check_here(node, schema, at, keys);
        self.depth -= 1;
    }

    fn check_here(&mut self, node: &Node, schema: &'a Value, at: &At<'a>, keys: Keys) {
        if schema == &Value::Bool(false) {
            let message = format!("{} is not allowed", at.name());
            self.found.push(Diagnostic::new(Some(&node.place), message));
            return;
        }
        let mut at = at.clone();
        at.doc = at.doc.or(schema.get("description").and_then(Value::as_str));
        if !scalar::fits_type(node, schema) {
            return self.mismatch(node, &scalar::type_names(schema), &at);
        }
        for problem in scalar::problems(node, schema, &at.name(), at.doc) {
            self.report(problem, &at);
        }
        if let Some(target) = target(schema, self.root) {
            self.check(node, target, &at, Keys::DecidedOutside);
        }
        for part in list(schema, "allOf") {
            self.check(node, part, &at, Keys::DecidedOutside);
        }
        for keyword in ["oneOf", "anyOf"] {
            if let Some(choices) = alternatives(schema, keyword) {
                self.check_choice(node, &choices, &at);
            }
        }
        match &node.value {
            Tree::List(elements) => self.check_list(node, elements, schema, &at),
            Tree::Table(table) => {
                self.check_values(table, schema, &at);
                for key in list(schema, "required").filter_map(Value::as_str) {
                    if table.get(key).is_none() {
                        self.missing(&node.place, key, schema, &at);
                    }
                }
                let decided_here = keys != Keys::DecidedOutside
                    || schema.get("additionalProperties") == Some(&Value::Bool(false));
                if decided_here {
                    self.check_keys(node, table, schema, &at, keys);
                }
            }
            _ => {}
        }
    }

    fn report(&mut self, problem: Diagnostic, at: &At<'a>) {
        let problem = problem.about(&at.path, Concern::Other);
        self.found.push(match at.doc {
            Some(doc) => problem.note(explained(&at.path, doc)),
            None => problem,
        });
    }

    fn mismatch(&mut self, node: &Node, expected: &[String], at: &At<'a>) {
        let message = format!("{} must be {}", at.name(), either(expected));
        let problem = Diagnostic::new(Some(&node.place), message)
            .label(format!("found {}", node.type_name()));
        self.report(problem, at);
    }

    fn check_choice(&mut self, node: &Node, choices: &[&'a Value], at: &At<'a>) {
        match choose(node, choices, self.root) {
            Choice::One(schema) => self.check(node, schema, at, Keys::DecidedOutside),
            Choice::Any(schemas) => {
                let trials = schemas
                    .into_iter()
                    .map(|schema| self.trial(node, schema, at));
                // Among alternatives that all fail, the one with the fewest problems was meant.
                if let Some(best) = trials.min_by_key(Vec::len) {
                    self.found.extend(best);
                }
            }
            Choice::WrongType(expected) => self.mismatch(node, &expected, at),
            Choice::WrongName { key, name, known } => {
                let path = key.map_or(at.clone(), |key| at.below(&key));
                let problem = scalar::unknown_value(name, known, &path.name());
                self.report(problem, &path);
            }
            Choice::NoName { key, known } => {
                let message = format!("missing key `{key}`{}", at.inside());
                let mut problem = Diagnostic::new(Some(&node.place), message)
                    .label(format!("`{key}` decides which other keys there are"));
                problem.known = known;
                problem.known.sort();
                self.report(problem, at);
            }
        }
    }

    fn trial(&mut self, node: &Node, schema: &'a Value, at: &At<'a>) -> Vec<Diagnostic> {
        let before = std::mem::take(&mut self.found);
        // Standing alone, an alternative decides about its keys.
        self.check(node, schema, at, Keys::OnlyDescribed);
        std::mem::replace(&mut self.found, before)
    }

    fn check_list(&mut self, node: &Node, elements: &[Node], schema: &'a Value, at: &At<'a>) {
        let count = elements.len() as u64;
        let limit = |key| schema.get(key).and_then(Value::as_u64);
        let expected = match (limit("minItems"), limit("maxItems")) {
            (Some(min), Some(max)) if min == max && count != min => Some(format!("exactly {min}")),
            (Some(min), _) if count < min => Some(format!("at least {min}")),
            (_, Some(max)) if count > max => Some(format!("at most {max}")),
            _ => None,
        };
        if let Some(expected) = expected {
            let noun = if expected.ends_with(" 1") {
                "element"
            } else {
                "elements"
            };
            let message = format!("{} must have {expected} {noun}", at.name());
            let problem =
                Diagnostic::new(Some(&node.place), message).label(format!("found {count}"));
            self.report(problem, at);
        }
        if schema.get("uniqueItems") == Some(&Value::Bool(true)) {
            let mut seen = BTreeSet::new();
            for element in elements {
                let json = element.to_json().to_string();
                if !seen.insert(json.clone()) {
                    let message = format!("{} lists {json} twice", at.name());
                    let problem = Diagnostic::new(Some(&element.place), message);
                    self.report(problem.label("the second time"), at);
                }
            }
        }
        let first: Vec<&Value> = list(schema, "prefixItems").collect();
        for (i, element) in elements.iter().enumerate() {
            let schema = first.get(i).copied().or(schema.get("items"));
            if let Some(schema) = schema {
                let at = at.below(&i.to_string());
                self.check(element, schema, &at, Keys::OnlyDescribed);
            }
        }
    }

    fn check_values(&mut self, table: &Table, schema: &'a Value, at: &At<'a>) {
        for (key, value) in table.iter() {
            let below = at.below(&key.text);
            let property = schema.get("properties").and_then(|it| it.get(&key.text));
            let patterned = pattern_properties(schema, &key.text);
            let mut described = false;
            for schema in property.into_iter().chain(patterned) {
                described = true;
                self.check(value, schema, &below, Keys::OnlyDescribed);
            }
            if let (false, Some(rest @ Value::Object(_))) =
                (described, schema.get("additionalProperties"))
            {
                self.check(value, rest, &below, Keys::OnlyDescribed);
            }
        }
    }

    fn missing(&mut self, place: &Place, key: &str, schema: &'a Value, at: &At<'a>) {
        let message = format!("missing key `{key}`{}", at.inside());
        let property = schema.get("properties").and_then(|it| it.get(key));
        let referred = property.and_then(|it| target(it, self.root));
        let mut described = [property, referred].into_iter().flatten();
        let doc = described.find_map(|it| it.get("description"));
        let problem = Diagnostic::new(Some(place), message)
            .label(format!("needs `{key}`"))
            .about(at.below(key).path, Concern::Missing);
        self.found.push(match doc.and_then(Value::as_str) {
            Some(doc) => problem.note(explained(key, doc)),
            None => problem,
        });
    }

    fn check_keys(&mut self, node: &Node, table: &Table, schema: &Value, at: &At<'_>, keys: Keys) {
        let mut described = Described::default();
        described.collect(node, schema, self.root, 0);
        self.fuel = self.fuel.saturating_sub(described.parts);
        if described.open || (described.keys.is_empty() && keys == Keys::OnlyDescribed) {
            return;
        }
        for (key, _) in table.iter() {
            let name = key.text.as_str();
            let fits = |pattern: &String| scalar::matches(pattern, name) != Some(false);
            if described.keys.contains(name) || described.patterns.iter().any(fits) {
                continue;
            }
            let message = format!("unknown key `{name}`{}", at.inside());
            let mut problem = Diagnostic::new(Some(&key.place), message)
                .about(at.below(name).path, Concern::Unknown)
                .label("not known here")
                .known(name, described.keys.iter().cloned());
            if described.keys.is_empty() {
                problem = problem.label("no options are taken here");
            }
            self.found.push(problem);
        }
    }
}

/// The first paragraph of a key's documentation, as a note.
fn explained(path: &str, doc: &str) -> String {
    let paragraph = doc.split("\n\n").next().unwrap_or(doc);
    let line = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
    match path {
        "" => line,
        path => format!("`{path}`: {line}"),
    }
}
