//! What is said of an experiment once it is known how long it trains and what it prunes: of what
//! cannot be, and of what would have no effect.

use std::fmt::Display;

use super::diagnostic::{Concern, Diagnostic, Place, Severity};
use super::problems::Diagnostics;
use super::tree::{Node, Tree};
use super::{Loaded, problems};

/// What is said of a key of an experiment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    severity: Severity,
    key: String,
    message: String,
    advice: String,
}

impl Remark {
    /// The dotted key that it concerns.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The experiment cannot be carried out; `key` is the dotted one that is to be changed, where a
    /// number is a place in a list.
    pub fn impossible(key: impl Into<String>, message: impl Display) -> Self {
        Self {
            severity: Severity::Error,
            key: key.into(),
            message: message.to_string(),
            advice: String::new(),
        }
    }

    /// What is under this key has no effect.
    pub fn pointless(key: impl Into<String>, message: impl Display) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::impossible(key, message)
        }
    }

    /// What to do.
    #[must_use]
    pub fn advise(mut self, advice: impl Display) -> Self {
        self.advice = advice.to_string();
        self
    }
}

/// The values that an experiment was read from, with their places in its files.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub root: Node,
    pub files: Vec<problems::File>,
}

impl Loaded {
    /// The remarks, each at its key's place in the experiment's files. A key that is not there, because
    /// it has its default, is shown at what it belongs to.
    pub fn diagnose(&self, remarks: impl IntoIterator<Item = Remark>) -> Diagnostics {
        let mut diagnostics = Diagnostics::default();
        diagnostics.files.clone_from(&self.origin.files);
        for remark in remarks {
            let place = place(&self.origin.root, &remark.key);
            // It is the label where the caret is, if it fits on its line.
            diagnostics.push(
                Diagnostic::new(Some(place), remark.message)
                    .about(remark.key, Concern::Other)
                    .label(remark.advice)
                    .severity(remark.severity),
            );
        }
        diagnostics
    }
}

/// The place of the key, or of the innermost of what it lies in that is there.
fn place<'n>(root: &'n Node, key: &str) -> &'n Place {
    let mut node = root;
    for part in key.split('.') {
        let inner = match &node.value {
            Tree::Table(table) => table.get(part),
            Tree::List(elements) => part.parse().ok().and_then(|at: usize| elements.get(at)),
            _ => None,
        };
        match inner {
            Some(inner) => node = inner,
            None => break,
        }
    }
    // A component stands for its options: its name says more than the table around it.
    let named = |key| node.at(&[key]).filter(|it| it.text().is_some());
    &named("use").or(named("name")).unwrap_or(node).place
}
