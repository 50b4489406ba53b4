//! What can go wrong.

use std::path::{Path, PathBuf};

/// Why something could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// A setting is not one.
    #[error("{name} is `{got}`, expected {expected}")]
    Setting {
        /// The variable or argument.
        name: String,
        /// What it holds.
        got: String,
        /// What it may hold.
        expected: &'static str,
    },
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file does not hold what was expected.
    #[error("{path}: {reason}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A program could not be started, or failed.
    #[error("`{program}` failed: {reason}")]
    Program {
        /// The program.
        program: String,
        /// What it, or the system, says.
        reason: String,
    },
    /// PyTorch's side failed.
    #[error("PyTorch: {0}")]
    Peer(String),
    /// Our side failed.
    #[error("{0}")]
    Ours(String),
}

impl BenchError {
    /// An error of the host.
    pub fn ours(error: impl std::fmt::Display) -> Self {
        Self::Ours(error.to_string())
    }

    /// Turns the system's error into one that names the file.
    pub fn file(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { path, source }
    }

    /// A failed program.
    pub fn program(program: &str, reason: impl std::fmt::Display) -> Self {
        Self::Program {
            program: program.to_owned(),
            reason: reason.to_string(),
        }
    }
}
