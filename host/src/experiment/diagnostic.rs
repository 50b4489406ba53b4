//! One problem of an experiment file.

use std::ops::Range;

/// What went wrong in general: decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Category {
    /// The experiment file says something that cannot be.
    Experiment,
    /// A plugin that the file names could not be loaded or contradicts itself.
    Plugin,
}

/// Whether an experiment can be carried out all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// It cannot.
    Error,
    /// It can, and is hardly what was meant.
    Warning,
}

/// A stretch of one of the files that an experiment was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Index into the files of the problems.
    pub file: usize,
    /// Bytes of its text; none for the file as a whole.
    pub span: Option<Range<usize>>,
}

impl Place {
    pub fn new(file: usize, span: Range<usize>) -> Self {
        Self {
            file,
            span: Some(span),
        }
    }

    pub fn whole(file: usize) -> Self {
        Self { file, span: None }
    }
}

/// How a problem concerns its key: one misspelt key should not be reported twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Concern {
    /// The key is not there.
    Missing,
    /// The key should not be there.
    Unknown,
    /// Its value, or anything else.
    Other,
}

/// One problem.
#[derive(Clone, Debug, PartialEq)]
pub struct Diagnostic {
    /// The key it is about, dotted from the file's root as `--set` takes it; may be empty.
    pub key: String,
    /// What is wrong, in one line.
    pub message: String,
    /// What stands beside the caret; may be empty.
    pub label: String,
    /// What would be right, if that is a list of names: sorted.
    pub known: Vec<String>,
    /// The known name nearest to what was written.
    pub nearest: Option<String>,
    /// Further lines: what the key is for, what to do.
    pub notes: Vec<String>,
    /// What kind of failure it is.
    pub category: Category,
    /// Whether it is one at all.
    pub severity: Severity,
    pub(super) place: Option<Place>,
    pub(super) concern: Concern,
}

impl Diagnostic {
    pub(super) fn new(place: Option<&Place>, message: impl Into<String>) -> Self {
        Self {
            key: String::new(),
            message: message.into(),
            label: String::new(),
            known: Vec::new(),
            nearest: None,
            notes: Vec::new(),
            category: Category::Experiment,
            severity: Severity::Error,
            place: place.cloned(),
            concern: Concern::Other,
        }
    }

    pub(super) fn about(mut self, key: impl Into<String>, concern: Concern) -> Self {
        self.key = key.into();
        self.concern = concern;
        self
    }

    pub(super) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    pub(super) fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    pub(super) fn severity(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }

    pub(super) fn plugin_failure(mut self) -> Self {
        self.category = Category::Plugin;
        self
    }

    /// Adds the names that would be right, and the nearest of them to `written`.
    pub(super) fn known(
        mut self,
        written: &str,
        known: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        self.known = known.into_iter().map(Into::into).collect();
        self.known.sort();
        self.known.dedup();
        self.nearest = nearest(written, &self.known);
        if let Some(nearest) = &self.nearest {
            self.label = format!("did you mean `{nearest}`?");
        }
        self
    }
}

/// The name that someone who wrote `written` probably meant.
fn nearest(written: &str, known: &[String]) -> Option<String> {
    let fold = |name: &str| name.to_lowercase().replace('_', "-");
    let folded = fold(written);
    known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(&folded, &fold(name)), name))
        .filter(|(distance, name)| {
            *distance <= (folded.chars().count().max(name.chars().count()) / 3).max(1)
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name.clone())
}

/// `` `a`, `b` or `c` ``.
pub(super) fn quoted(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    either(&names)
}

/// `a, b or c`.
pub(super) fn either(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} or {last}", most.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_forgives_a_letter_and_a_swap_but_not_another_word() {
        let known: Vec<String> = ["levels", "batch_size", "lr", "densities"]
            .map(str::to_owned)
            .into();
        for (written, meant) in [
            ("leels", Some("levels")),
            ("levles", Some("levels")),
            ("batch-size", Some("batch_size")),
            ("Batchsize", Some("batch_size")),
            ("learning_rate", None),
            ("", None),
        ] {
            assert_eq!(nearest(written, &known).as_deref(), meant, "{written}");
        }
    }
}
