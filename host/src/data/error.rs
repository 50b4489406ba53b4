//! What can go wrong with a dataset.

use crate::program;
use kernels::shim::ShimError;
use std::{io, path::PathBuf};

/// Why a dataset could not be read or fetched.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// No dataset has this name.
    #[error("there is no dataset '{name}'; there are {known}")]
    Unknown {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// Memory for a batch of images.
    #[error("failed to make room for a batch of images: {0}")]
    NoRoom(ShimError),
    /// The options do not fit the dataset's struct.
    #[error("the options of dataset '{name}' are wrong: {reason}")]
    Options {
        /// The dataset.
        name: &'static str,
        /// What is wrong, and what is expected.
        reason: String,
    },
    /// A file is in none of the folders searched.
    #[error(
        "dataset '{name}' lacks {files} in {folders}; {hint}get it with `{program} data fetch {name}`",
        program = program::name()
    )]
    Missing {
        /// The dataset.
        name: &'static str,
        /// The files that the nearest folder lacks.
        files: String,
        /// The folders searched.
        folders: String,
        /// What was found instead, and what to do with it; may be empty, else it ends in "or".
        hint: String,
    },
    /// An option does not fit the data, or the file that it names is not what it should be.
    #[error("{reason}")]
    Unfit {
        /// The option, in `[data]`.
        key: &'static str,
        /// What is wrong where, what is expected and what to do.
        reason: String,
    },
    /// A dataset that has to be put in its place by hand is not there.
    #[error("dataset '{name}' lacks {}; {advice}", folder.display())]
    Absent {
        /// The dataset.
        name: &'static str,
        /// What is missing.
        folder: PathBuf,
        /// What to do.
        advice: String,
    },
    /// A dataset that the program does not fetch.
    #[error("dataset '{name}' cannot be fetched: {advice}")]
    ByHand {
        /// The dataset.
        name: &'static str,
        /// What to do.
        advice: &'static str,
    },
    /// Nothing is known of a dataset before it is read.
    #[error(
        "nothing is known of dataset '{name}' while it is not here: to plan without it, add what it holds \
         to [data], as `expect = {{ classes = 1000, train = 1281167, test = 50000 }}`"
    )]
    Undeclared {
        /// The dataset.
        name: &'static str,
    },
    /// Folders and files are not laid out as they should be.
    #[error("{}: {reason}", path.display())]
    Layout {
        /// The folder.
        path: PathBuf,
        /// What is wrong, what is expected and what to do.
        reason: String,
    },
    /// A file is not an image, or damaged.
    #[error(
        "{} is no image that can be read: {reason}; replace it by a whole JPEG or PNG file or remove it",
        path.display()
    )]
    BadImage {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Several files are not images, or damaged.
    #[error(
        "{}: {count} of {of} files are no images that can be read; replace them by whole JPEG or PNG files \
         or remove them:{list}",
        path.display()
    )]
    BadImages {
        /// The folder of the dataset.
        path: PathBuf,
        /// How many.
        count: usize,
        /// How many files there are.
        of: usize,
        /// The first of them, each on a line with what is wrong.
        list: String,
    },
    /// A file is another one than when the data were looked at.
    #[error(
        "{} changed while it was trained on: put the old file back, and the same command goes on from \
         the last checkpoint; with the new one, a new run begins",
        path.display()
    )]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// A file is not what it should be.
    #[error(
        "{}: {field} should be {expected} but is {got}; the file is damaged or another dataset's: \
         remove it and get it with `{program} data fetch {name}`",
        path.display(),
        program = program::name()
    )]
    Malformed {
        /// The dataset.
        name: &'static str,
        /// The file.
        path: PathBuf,
        /// The part of the file.
        field: String,
        /// What it should be.
        expected: String,
        /// What it is.
        got: String,
    },
    /// The system refused a file operation.
    #[error("failed to {action} {}: {source}", path.display())]
    Io {
        /// The verb.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A download did not succeed.
    #[error("failed to download {url}: {reason}; by hand: {by_hand}")]
    Download {
        /// The address.
        url: String,
        /// Why, after how many attempts.
        reason: String,
        /// Which files to put into which folder.
        by_hand: String,
    },
    /// A download is not the file it should be.
    #[error(
        "{url} has SHA-256 {got}, expected {expected}; the download was removed: \
         try again, or from another mirror (HOST_DATA_MIRROR)"
    )]
    Checksum {
        /// The address.
        url: String,
        /// The pinned digest.
        expected: String,
        /// The digest of what came.
        got: String,
    },
    /// A file in a download's place is another one.
    #[error(
        "{} has SHA-256 {got}, expected {expected}: it was not downloaded whole, or was changed; move it away, \
         and the same command gets it",
        path.display()
    )]
    NotPublished {
        /// The file.
        path: PathBuf,
        /// Its digest.
        got: String,
        /// The pinned digest.
        expected: String,
    },
    /// Another process is fetching the same file.
    #[error(
        "{} is being written by another `{} data fetch`, process {pid} on {host}; wait for it to end",
        path.display(),
        program::name()
    )]
    Busy {
        /// The unfinished file.
        path: PathBuf,
        /// The other process.
        pid: u32,
        /// Its machine.
        host: String,
    },
}

impl DataError {
    /// Whether the data are simply not here, so that a plan can do without them.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Missing { .. } | Self::Absent { .. })
    }

    /// The key of the experiment file that it is about, if it is about one.
    pub fn key(&self) -> Option<String> {
        match self {
            Self::Unfit { key, .. } => Some(format!("data.{key}")),
            _ => None,
        }
    }

    /// The option `key` does not fit.
    pub(super) fn unfit(key: &'static str, reason: impl Into<String>) -> Self {
        Self::Unfit {
            key,
            reason: reason.into(),
        }
    }

    /// No dataset is called `name`.
    pub(super) fn unknown(name: &str) -> Self {
        let known: Vec<_> = super::DATASETS.iter().map(|entry| entry.name).collect();
        Self::Unknown {
            name: name.to_owned(),
            known: known.join(", "),
        }
    }

    /// For `map_err`: the system refused to `action` `path`.
    pub(super) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }
}
