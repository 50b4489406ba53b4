//! All problems of an experiment, shown together.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Level, Origin, Renderer, Snippet};
use serde_json::{Value, json};

use super::diagnostic::{Category, Concern, Diagnostic, Severity, quoted};
use crate::printable::{one_line, printable};

/// Problems that are kept and shown.
const MOST_SHOWN: usize = 100;

/// A file that took part in an experiment, kept for showing its lines: by all cells of a sweep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct File {
    pub name: Arc<str>,
    pub text: Arc<str>,
}

/// All problems of an experiment, with the files they are in.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Diagnostics {
    pub(super) files: Vec<File>,
    list: Vec<Diagnostic>,
}

impl Diagnostics {
    pub(super) fn add_file(
        &mut self,
        name: impl Into<Arc<str>>,
        text: impl Into<Arc<str>>,
    ) -> usize {
        self.files.push(File {
            name: name.into(),
            text: text.into(),
        });
        self.files.len() - 1
    }

    /// Adds a problem, unless the same was found at the same place before. Of a file with hundreds,
    /// the first are enough, and a million would neither fit on a screen nor into memory.
    pub(super) fn push(&mut self, problem: Diagnostic) {
        let same = |it: &Diagnostic| it.place == problem.place && it.message == problem.message;
        if self.list.len() > MOST_SHOWN || self.list.iter().any(same) {
            return;
        }
        self.list.push(match self.list.len() {
            MOST_SHOWN => Diagnostic::new(
                None,
                format!("more problems were found than the first {MOST_SHOWN}, which follow"),
            ),
            _ => problem,
        });
    }

    /// Adds a problem that has no place in a file.
    pub(super) fn say(&mut self, message: impl Into<String>) {
        self.push(Diagnostic::new(None, message));
    }

    /// Takes over the problems of another reading, which may have read the same files.
    pub fn absorb(&mut self, other: Self) {
        let files: Vec<usize> = (other.files.into_iter())
            .map(
                |file| match self.files.iter().position(|known| *known == file) {
                    Some(index) => index,
                    None => self.add_file(file.name, file.text),
                },
            )
            .collect();
        for mut problem in other.list {
            if let Some(place) = &mut problem.place {
                place.file = files.get(place.file).copied().unwrap_or(place.file);
            }
            self.push(problem);
        }
    }

    /// The keys, dotted from the root, that misspelt keys were probably meant to be.
    pub(super) fn meant_keys(&self) -> Vec<String> {
        (self.list.iter())
            .filter(|it| it.concern == Concern::Unknown)
            .filter_map(|it| {
                let nearest = it.nearest.as_ref()?;
                Some(match it.key.rsplit_once('.') {
                    Some((table, _)) => format!("{table}.{nearest}"),
                    None => nearest.clone(),
                })
            })
            .collect()
    }

    /// Forgets that a key is missing if it is there with a misspelt name, which is reported too.
    pub(super) fn settle(&mut self) {
        let meant = self.meant_keys();
        self.list
            .retain(|it| it.concern != Concern::Missing || !meant.contains(&it.key));
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

    /// The errors among the problems, and the warnings.
    pub fn by_severity(self) -> (Self, Self) {
        let warning = |it: &Diagnostic| it.severity == Severity::Warning;
        let (warnings, errors) = self.list.into_iter().partition(warning);
        let of = |list| Self {
            files: self.files.clone(),
            list,
        };
        (of(errors), of(warnings))
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
            let one_of = if problem.known.len() > 1 {
                "one of "
            } else {
                ""
            };
            notes.insert(0, format!("expected {one_of}{}", quoted(&problem.known)));
        }
        // What a file says may be a stranger's: a terminal is to show it, not to obey it.
        let message = one_line(&problem.message);
        let label = printable(&problem.label);
        let notes: Vec<String> = (notes.iter().map(|it| printable(it).into_owned())).collect();
        let level = match problem.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let title = level.primary_title(&*message);
        let place = problem.place.as_ref();
        let file = place.and_then(|place| self.files.get(place.file));
        let name = one_line(file.map_or("", |file| &file.name));
        let group = match file {
            Some(file) if file.text.is_empty() => {
                title.element(Origin::path(&*name).line(1).char_column(1))
            }
            Some(file) => {
                // What concerns a file as a whole is shown at its first character.
                let first = file.text.chars().next().map_or(0, char::len_utf8);
                let span = place.and_then(|it| it.span.clone()).unwrap_or(0..first);
                let annotation = AnnotationKind::Primary
                    .span(within_one_line(&file.text, span))
                    .label(&*label);
                let snippet = Snippet::source(&*file.text).path(&*name);
                title.element(snippet.annotation(annotation))
            }
            None => title.elements(None::<Origin<'_>>),
        };
        let notes = notes.iter().map(|note| Level::NOTE.message(note.as_str()));
        renderer.render(&[group.elements(notes)])
    }

    /// All problems for a program: a list of objects with `file`, `line`, `column` (both from 1,
    /// in characters), `key`, `message`, `label`, `known`, `nearest`, `notes` and `category`.
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
                    "file": file.map(|file| &*file.name),
                    "line": at.map(|at| at.0),
                    "column": at.map(|at| at.1),
                    "key": problem.key,
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
    fn lines_and_columns_count_characters_from_one() {
        let text = "π = 1\n  é = 2";
        assert_eq!(line_and_column(text, 0), (1, 1));
        assert_eq!(line_and_column(text, 3), (1, 3));
        assert_eq!(line_and_column(text, text.find('é').unwrap()), (2, 3));
        assert_eq!(line_and_column(text, 999), (2, 8));
    }
}
