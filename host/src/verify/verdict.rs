//! What a check came to.

use std::path::{Path, PathBuf};

use serde::Serialize;

/// What the check of a folder came to.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// The folder.
    pub folder: PathBuf,
    /// Files whose every byte was compared.
    pub files: u64,
    /// What holds of the folder as a whole.
    pub checked: Vec<&'static str>,
    /// Each finished level of each seed.
    pub levels: Vec<LevelVerdict>,
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// What was not checked, and why.
    pub unchecked: Vec<Unchecked>,
    /// What is no mistake but worth knowing.
    pub notes: Vec<String>,
}

/// What was checked of a finished level.
#[derive(Clone, Debug, Serialize)]
pub struct LevelVerdict {
    /// Seed.
    pub seed: u64,
    /// Level.
    pub level: u64,
    /// Files whose every byte was compared.
    pub files: u64,
    /// What holds.
    pub checked: Vec<&'static str>,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file or folder, from the checked folder.
    pub file: String,
    /// What is wrong with it.
    pub reason: String,
}

/// Something that was not checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unchecked {
    /// What.
    pub what: String,
    /// Why.
    pub why: String,
}

impl Verdict {
    /// Of a folder of which nothing was checked yet.
    pub fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            files: 0,
            checked: Vec::new(),
            levels: Vec::new(),
            problems: Vec::new(),
            unchecked: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Whether nothing is wrong.
    pub fn is_well(&self) -> bool {
        self.problems.is_empty()
    }

    /// Something is wrong with a file. The first reason is the nearest to the cause.
    pub(super) fn problem(&mut self, file: impl Into<String>, reason: impl ToString) {
        let file = file.into();
        if !self.problems.iter().any(|known| known.file == file) {
            let reason = reason.to_string();
            self.problems.push(Problem { file, reason });
        }
    }

    /// Whether a file, or one below a folder, was found wrong.
    pub(super) fn is_wrong(&self, file: &str) -> bool {
        let below = format!("{file}/");
        let is_it = |known: &Problem| known.file == file || known.file.starts_with(&below);
        self.problems.iter().any(is_it)
    }

    /// Something was not checked.
    pub(super) fn unchecked(&mut self, what: impl Into<String>, why: impl ToString) {
        let unchecked = Unchecked {
            what: what.into(),
            why: why.to_string(),
        };
        if !self.unchecked.contains(&unchecked) {
            self.unchecked.push(unchecked);
        }
    }

    /// Something holds of the folder.
    pub(super) fn holds(&mut self, what: &'static str) {
        self.checked.push(what);
    }

    /// Something is worth knowing.
    pub(super) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }
}
