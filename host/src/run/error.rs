//! Why a run cannot be opened, and what stops one.

use std::path::PathBuf;

use crate::data::DataError;
use crate::experiment::Diagnostics;
use crate::levels::RunError;
use crate::store::{LockError, Owner, StoreError};
use crate::strategy::{LoadError, MakeError};

/// Why a run cannot be opened or trained to its end. What is stored stays whole.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Mistakes in the experiment file.
    #[error(transparent)]
    Experiment(#[from] Diagnostics),
    /// A plugin that cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A component that cannot be made.
    #[error(transparent)]
    Make(#[from] MakeError),
    /// Data that are missing or damaged.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A point that the strategy rewinds to and that no level will have.
    #[error("{0}")]
    Points(RunError),
    /// The device refuses to compute in the same order each time.
    #[error("{0}")]
    Device(String),
    /// `algorithms.json` is damaged.
    #[error(
        "{0}; put it back from a copy: by which algorithms the run was computed decides its bytes"
    )]
    Algorithms(StoreError),
    /// Another process has the run.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// `identity.json` is damaged.
    #[error(
        "{0}; put it back from a copy, or remove it: the same command writes it anew, but which plugin files \
         made the finished levels is then no longer known"
    )]
    Identity(StoreError),
    /// The folder belongs to another experiment.
    #[error(
        "{run} belongs to another experiment (identity {got}, this one's is {expected}); give this one another name"
    )]
    AnotherExperiment {
        /// The run's folder.
        run: PathBuf,
        /// The identity that the folder holds.
        got: String,
        /// That of the experiment.
        expected: String,
    },
    /// A plugin's file is another one than that which computed the finished levels.
    #[error("plugin `{name}` was built anew since {run} started (BLAKE3 {before} is now {now})")]
    ChangedPlugin {
        /// The run's folder.
        run: PathBuf,
        /// The plugin.
        name: String,
        /// Digest of the file that computed the finished levels.
        before: String,
        /// Digest of the file that is here.
        now: String,
    },
    /// A file of the run.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// `summary.csv` cannot be made.
    #[error("failed to make summary.csv: {0}")]
    Summary(#[from] csv::Error),
    /// What stopped the level loop.
    #[error(transparent)]
    Run(RunError),
}

impl OpenError {
    /// The process that has the run, its dense level, or took one of them over.
    pub fn owner(&self) -> Option<&Owner> {
        match self {
            Self::Lock(LockError::Held { by, .. })
            | Self::Run(RunError::Lock(LockError::Held { by, .. }))
            | Self::Store(StoreError::Lost { by, .. })
            | Self::Run(RunError::Store(StoreError::Lost { by, .. })) => Some(by),
            _ => None,
        }
    }
}
