//! The problems of an experiment file, each shown at its place.

use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Origin, Renderer, Snippet};
use serde_json::{Value, json};

/// What went wrong in general: decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Category {
    /// The experiment file says something that cannot be.
    Experiment,
    /// A plugin that the file names could not be loaded or contradicts itself.
    Plugin,
}

/// A stretch of one of the files that an experiment was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Index into [`Diagnostics::files`].
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

/// One problem.
#[derive(Clone, Debug, PartialEq)]
pub struct Diagnostic {
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
    pub(super) place: Option<Place>,
}

impl Diagnostic {
    pub(super) fn new(place: Option<&Place>, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            label: String::new(),
            known: Vec::new(),
            nearest: None,
            notes: Vec::new(),
            category: Category::Experiment,
            place: place.cloned(),
        }
    }

    pub(super) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    pub(super) fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
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

/// A file that took part in an experiment, kept for showing its lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct File {
    pub name: String,
    pub text: String,
}

/// All problems of an experiment, with the files they are in.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Diagnostics {
    pub(super) files: Vec<File>,
    list: Vec<Diagnostic>,
}

impl Diagnostics {
    pub(super) fn add_file(&mut self, name: impl Into<String>, text: impl Into<String>) -> usize {
        self.files.push(File {
            name: name.into(),
            text: text.into(),
        });
        self.files.len() - 1
    }

    /// Adds a problem, unless the same was found at the same place before.
    pub(super) fn push(&mut self, problem: Diagnostic) {
        let same = |it: &Diagnostic| it.place == problem.place && it.message == problem.message;
        if !self.list.iter().any(same) {
            self.list.push(problem);
        }
    }

    /// Whether no problem was found.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Number of problems.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// The problems, in the order of the files and of their lines.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        let mut sorted: Vec<&Diagnostic> = self.list.iter().collect();
        sorted.sort_by_key(|problem| {
            problem.place.as_ref().map(|place| {
                let start = place.span.as_ref().map(|span| span.start);
                (place.file, start)
            })
        });
        sorted.into_iter()
    }

    /// Whether there is nothing to mend in the experiment file: only plugins failed.
    pub fn only_plugin_failures(&self) -> bool {
        !self.is_empty() && (self.list.iter()).all(|it| it.category == Category::Plugin)
    }

    /// All problems as text for a person, with ANSI colours if asked for.
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour {
            Renderer::styled()
        } else {
            Renderer::plain()
        };
        let shown: Vec<String> = (self.iter())
            .map(|problem| self.render_one(problem, &renderer))
            .collect();
        shown.join("\n\n")
    }

    fn render_one(&self, problem: &Diagnostic, renderer: &Renderer) -> String {
        let mut notes = problem.notes.clone();
        if !problem.known.is_empty() {
            notes.insert(0, format!("expected one of {}", quoted(&problem.known)));
        }
        let title = Level::ERROR.primary_title(&problem.message);
        let file = (problem.place.as_ref()).and_then(|place| self.files.get(place.file));
        let span = problem.place.as_ref().and_then(|place| place.span.clone());
        let group = match (file, span) {
            (Some(file), Some(span)) => title.element(
                Snippet::source(&file.text)
                    .path(file.name.as_str())
                    .annotation(
                        AnnotationKind::Primary
                            .span(within_one_line(&file.text, span))
                            .label(problem.label.as_str()),
                    ),
            ),
            (Some(file), None) => {
                title.elements([Origin::path(file.name.as_str()).line(1).char_column(1)])
            }
            (None, _) => title.elements(None::<Origin<'_>>),
        };
        let notes = notes.into_iter().map(|note| Level::NOTE.message(note));
        renderer.render(&[group.elements(notes)])
    }

    /// All problems for a program: a list of objects with `file`, `line`, `column` (both from 1,
    /// in characters), `message`, `label`, `known`, `nearest`, `notes` and `category`.
    pub fn to_json(&self) -> Value {
        self.iter()
            .map(|problem| {
                let place = problem.place.as_ref();
                let file = place.and_then(|place| self.files.get(place.file));
                let at = file.map(|file| {
                    let start = place
                        .and_then(|it| it.span.as_ref())
                        .map_or(0, |it| it.start);
                    line_and_column(&file.text, start)
                });
                json!({
                    "file": file.map(|file| file.name.as_str()),
                    "line": at.map(|at| at.0),
                    "column": at.map(|at| at.1),
                    "message": problem.message,
                    "label": problem.label,
                    "known": problem.known,
                    "nearest": problem.nearest,
                    "notes": problem.notes,
                    "category": match problem.category {
                        Category::Experiment => "experiment",
                        Category::Plugin => "plugin",
                    },
                })
            })
            .collect()
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Diagnostics {}

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

/// The part of `span` on its first line, cut to the text and to whole characters: a caret under
/// many lines hides more than it shows.
fn within_one_line(text: &str, span: Range<usize>) -> Range<usize> {
    let start = floor(text, span.start);
    let end = floor(text, span.end).max(start);
    let line = text[start..end].find(['\r', '\n']);
    start..line.map_or(end, |length| start + length)
}

fn floor(text: &str, mut offset: usize) -> usize {
    offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}

fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = &text[..floor(text, offset)];
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (
        before.matches('\n').count() + 1,
        before[line_start..].chars().count() + 1,
    )
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

    #[test]
    fn lines_and_columns_count_characters_from_one() {
        let text = "π = 1\n  é = 2";
        assert_eq!(line_and_column(text, 0), (1, 1));
        assert_eq!(line_and_column(text, 3), (1, 3));
        assert_eq!(line_and_column(text, text.find('é').unwrap()), (2, 3));
        assert_eq!(line_and_column(text, 999), (2, 8));
    }
}
