//! What can go wrong.

use std::path::PathBuf;

/// A model that cannot be loaded, or an input that it cannot take.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// What is wrong with a file.
    #[error("{path}: {error}")]
    In {
        /// The file.
        path: PathBuf,
        /// What.
        error: Box<Error>,
    },
    /// It is no safetensors file, or is cut short.
    #[error("it is no whole safetensors file: {0}; export the model again, or fetch it again")]
    Container(String),
    /// A safetensors file without operations.
    #[error(
        "its metadata have no `{0}`, so it holds weights and not what is computed with them: export the model with \
         --format rewind"
    )]
    NoGraph(&'static str),
    /// The list of operations cannot be read.
    #[error("its operations cannot be read: {0}")]
    Graph(String),
    /// Made by a newer program.
    #[error(
        "its operations are of version {got}, expected {expected}: use a newer program, or export the model again"
    )]
    Version {
        /// What it says.
        got: u32,
        /// What is read here.
        expected: u32,
    },
    /// An operation that does not fit what it reads.
    #[error("operation {place} ({operation}): {reason}")]
    Operation {
        /// Its place in the list, from 0.
        place: usize,
        /// What it is.
        operation: String,
        /// What is wrong.
        reason: String,
    },
    /// A tensor that is not there, or not as it should be.
    #[error("tensor `{name}`: {reason}")]
    Tensor {
        /// Its name.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// More than a model may take.
    #[error("{what} would be {got}, expected at most {most}")]
    TooLarge {
        /// What.
        what: String,
        /// How much.
        got: String,
        /// The limit.
        most: u64,
    },
    /// An input of another size.
    #[error("the input has {got} numbers, expected {expected}: {samples} of shape {shape:?}")]
    Input {
        /// Numbers of the input.
        got: usize,
        /// Numbers that were expected.
        expected: usize,
        /// Samples.
        samples: usize,
        /// Shape of one.
        shape: Vec<usize>,
    },
    /// An array that cannot be read.
    #[error("it is no array that is read here: {0}; save it with numpy.save as float32 in C order")]
    Array(String),
    /// Kernels that this processor does not have.
    #[error("kernels `{got}` are not of this processor: expected {known}")]
    Kernels {
        /// What was asked for.
        got: String,
        /// Those that it has.
        known: String,
    },
    /// The command line.
    #[error("{0}")]
    Usage(String),
}

/// What may fail.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The same, of a file.
    pub(crate) fn within(self, path: &std::path::Path) -> Self {
        Self::In {
            path: path.to_owned(),
            error: Box::new(self),
        }
    }

    /// A tensor's.
    pub(crate) fn tensor(name: &str, reason: impl Into<String>) -> Self {
        Self::Tensor {
            name: name.to_owned(),
            reason: reason.into(),
        }
    }
}
