//! TOML values that remember where they were written.

use serde_json::{Map, Number, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::{Diagnostic, Place};
use super::problems::Diagnostics;

/// A value and its place.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub place: Place,
    pub value: Tree,
}

/// What a value is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Tree {
    Text(String),
    /// Between the least i64 and the greatest u64.
    Integer(i128),
    /// Finite.
    Float(f64),
    Bool(bool),
    List(Vec<Node>),
    Table(Table),
    /// What no experiment can hold, such as a date; reported where it was read.
    Invalid,
}

/// A key and its place.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Key {
    pub text: String,
    pub place: Place,
}

/// Keys with their values, in the order of the file.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Table(Vec<(Key, Node)>);

impl Table {
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|(_, node)| node)
    }

    pub fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        self.0
            .iter_mut()
            .find(|(it, _)| it.text == key)
            .map(|(_, node)| node)
    }

    pub fn entry(&self, key: &str) -> Option<&(Key, Node)> {
        self.0.iter().find(|(it, _)| it.text == key)
    }

    /// Sets a key; one that is there keeps its position.
    pub fn insert(&mut self, key: Key, node: Node) {
        match self.0.iter_mut().find(|(it, _)| it.text == key.text) {
            Some(entry) => *entry = (key, node),
            None => self.0.push((key, node)),
        }
    }

    pub fn remove(&mut self, key: &str) -> Option<(Key, Node)> {
        let at = self.0.iter().position(|(it, _)| it.text == key)?;
        Some(self.0.remove(at))
    }

    /// Takes a key's value out and leaves the key at its position, to be set again.
    pub fn take_value(&mut self, key: &str) -> Option<Node> {
        let node = self.get_mut(key)?;
        Some(std::mem::replace(
            node,
            Node {
                place: node.place.clone(),
                value: Tree::Invalid,
            },
        ))
    }

    pub fn iter(&self) -> impl Iterator<Item = &(Key, Node)> {
        self.0.iter()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&Key, &mut Node)> {
        self.0.iter_mut().map(|(key, node)| (&*key, node))
    }
}

impl FromIterator<(Key, Node)> for Table {
    fn from_iter<I: IntoIterator<Item = (Key, Node)>>(entries: I) -> Self {
        let mut table = Self::default();
        for (key, node) in entries {
            table.insert(key, node);
        }
        table
    }
}

impl Node {
    pub fn table(&self) -> Option<&Table> {
        match &self.value {
            Tree::Table(table) => Some(table),
            _ => None,
        }
    }

    pub fn table_mut(&mut self) -> Option<&mut Table> {
        match &mut self.value {
            Tree::Table(table) => Some(table),
            _ => None,
        }
    }

    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Tree::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The value under nested keys.
    pub fn at(&self, path: &[&str]) -> Option<&Node> {
        path.iter()
            .try_fold(self, |node, key| node.table()?.get(key))
    }

    /// Number of values: this one and all within it.
    pub fn values(&self) -> usize {
        1 + match &self.value {
            Tree::List(elements) => elements.iter().map(Self::values).sum(),
            Tree::Table(table) => table.iter().map(|(_, node)| node.values()).sum(),
            _ => 0,
        }
    }

    /// `{ key = text }`, all at one place.
    pub fn singleton(key: &str, text: &str, place: &Place) -> Self {
        let entry = (
            Key {
                text: key.to_owned(),
                place: place.clone(),
            },
            Self {
                place: place.clone(),
                value: Tree::Text(text.to_owned()),
            },
        );
        Self {
            place: place.clone(),
            value: Tree::Table(Table(vec![entry])),
        }
    }

    /// The words for its type in messages.
    pub fn type_name(&self) -> &'static str {
        match self.value {
            Tree::Text(_) => "a string",
            Tree::Integer(_) => "a whole number",
            Tree::Float(_) => "a float",
            Tree::Bool(_) => "true or false",
            Tree::List(_) => "a list",
            Tree::Table(_) => "a table",
            Tree::Invalid => "an invalid value",
        }
    }

    pub fn from_json(json: &Value, place: &Place) -> Self {
        let value = match json {
            Value::Null => Tree::Invalid,
            Value::Bool(it) => Tree::Bool(*it),
            Value::Number(it) => match it.as_i128() {
                Some(integer) => Tree::Integer(integer),
                None => it.as_f64().map_or(Tree::Invalid, Tree::Float),
            },
            Value::String(it) => Tree::Text(it.clone()),
            Value::Array(it) => {
                Tree::List(it.iter().map(|it| Self::from_json(it, place)).collect())
            }
            Value::Object(it) => Tree::Table(
                it.iter()
                    .map(|(key, value)| {
                        let key = Key {
                            text: key.clone(),
                            place: place.clone(),
                        };
                        (key, Self::from_json(value, place))
                    })
                    .collect(),
            ),
        };
        Self {
            place: place.clone(),
            value,
        }
    }

    pub fn to_json(&self) -> Value {
        match &self.value {
            Tree::Text(it) => Value::String(it.clone()),
            Tree::Integer(it) => Number::from_i128(*it).map_or(Value::Null, Value::Number),
            Tree::Float(it) => Number::from_f64(*it).map_or(Value::Null, Value::Number),
            Tree::Bool(it) => Value::Bool(*it),
            Tree::List(it) => it.iter().map(Self::to_json).collect(),
            Tree::Table(it) => Value::Object(Map::from_iter(
                it.iter()
                    .map(|(key, node)| (key.text.clone(), node.to_json())),
            )),
            Tree::Invalid => Value::Null,
        }
    }
}

/// Turns parsed TOML into nodes of one file.
pub(super) struct Planter<'a> {
    /// Index of the file.
    pub file: usize,
    /// Where in the file the parsed text begins.
    pub offset: usize,
    /// Takes the problems.
    pub problems: &'a mut Diagnostics,
    /// Where the text is no TOML: what was made of that means nothing.
    pub broken: Vec<std::ops::Range<usize>>,
}

impl Planter<'_> {
    pub fn place(&self, span: std::ops::Range<usize>) -> Place {
        Place::new(self.file, span.start + self.offset..span.end + self.offset)
    }

    pub fn syntax_error(&mut self, error: &toml::de::Error) {
        self.broken.extend(error.span());
        let place = match error.span() {
            Some(span) => self.place(span),
            None => Place::whole(self.file),
        };
        let nothing = error.span().is_some_and(|span| span.is_empty());
        let message = match error.message() {
            unquoted if nothing && unquoted.starts_with("string values must be quoted") => {
                "a value is missing"
            }
            // TOML says what it would expect next, which is seldom what was meant.
            other => other
                .strip_suffix(", expected literal string")
                .unwrap_or(other),
        };
        self.problems.push(Diagnostic::new(Some(&place), message));
    }

    pub fn table(&mut self, table: &DeTable<'_>) -> Table {
        let mut planted = Vec::with_capacity(table.len());
        for (key, value) in table.iter() {
            let key = Key {
                text: key.get_ref().to_string(),
                place: self.place(key.span()),
            };
            planted.push((key, self.node(value)));
        }
        Table(planted)
    }

    pub fn node(&mut self, value: &Spanned<DeValue<'_>>) -> Node {
        let place = self.place(value.span());
        let planted = match value.get_ref() {
            DeValue::String(it) => Ok(Tree::Text(it.to_string())),
            DeValue::Integer(it) => i128::from_str_radix(it.as_str(), it.radix())
                .ok()
                .filter(|it| (i128::from(i64::MIN)..=i128::from(u64::MAX)).contains(it))
                .map(Tree::Integer)
                .ok_or("this whole number does not fit into 64 bits"),
            DeValue::Float(it) => (it.as_str().parse().ok())
                .filter(|it: &f64| it.is_finite())
                .map(Tree::Float)
                .ok_or("numbers must be finite"),
            DeValue::Boolean(it) => Ok(Tree::Bool(*it)),
            DeValue::Datetime(_) => Err("dates and times of day have no place in an experiment"),
            DeValue::Array(it) => Ok(Tree::List(it.iter().map(|it| self.node(it)).collect())),
            DeValue::Table(it) => Ok(Tree::Table(self.table(it))),
        };
        let span = value.span();
        let touches = |it: &std::ops::Range<usize>| it.start <= span.end && span.start <= it.end;
        let value = planted.unwrap_or_else(|message| {
            // The mistake in `.2` or `01` is not that it is no finite number.
            if !self.broken.iter().any(touches) {
                self.problems.push(Diagnostic::new(Some(&place), message));
            }
            Tree::Invalid
        });
        Node { place, value }
    }
}
