//! What stops a run.

use std::path::Path;

use plugin_api::Point;

use super::invariants::Broken;
use crate::store::{LockError, StoreError};
use crate::strategy::StrategyError;
use crate::trainer::TrainError;

/// What stops a run; what was finished stays, and the same command goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A component of a plugin.
    #[error(
        "seed {seed}, level {level}: {source}; the run goes on from here once {} is mended",
        if source.is_missing() { "that" } else { "the plugin" }
    )]
    Strategy {
        /// Seed.
        seed: u64,
        /// Level after or in which it was called.
        level: u64,
        /// What it did.
        source: StrategyError,
    },
    /// The trainer.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// The disk.
    #[error("{}{}", .0, goes_on(.0))]
    Store(#[from] StoreError),
    /// A level that is asked for was not written. What it failed for is an error of its own, which stops the run.
    #[error("what ended before could not be written")]
    Unwritten,
    /// Memory that was not to be had.
    #[error("{0}")]
    Memory(String),
    /// Another process.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A point or a mask that a component asks for and that is not stored, or not for this network.
    #[error("{0}")]
    Missing(String),
    /// A point of level 0 that no component named, so that it was not stored.
    #[error(
        "the point `{0}` is not stored: the component must name it in points(), so that level 0 stores it"
    )]
    Undeclared(Point),
    /// A layer without survivors, where the experiment does not allow it.
    #[error(
        "seed {seed}, level {level}: layer `{layer}` has no survivor left; the experiment says prune.collapse = \"error\""
    )]
    Collapse {
        /// Seed.
        seed: u64,
        /// Level.
        level: u64,
        /// Layer's name.
        layer: String,
    },
    /// An invariant that does not hold.
    #[error(
        "seed {seed}, level {level}: {broken}; nothing was written. If it is a file, remove its folder, and the \
         same command trains that level again; if it is a step, it is a bug of the host"
    )]
    Broken {
        /// Seed.
        seed: u64,
        /// Level.
        level: u64,
        /// Which.
        broken: Broken,
    },
    /// Gradual pruning that did not reach its target.
    #[error(
        "seed {seed}, level {level}: the masks keep {got} weights at the level's end, expected exactly {expected}; the mask update has to reach the target within the level"
    )]
    Target {
        /// Seed.
        seed: u64,
        /// Level.
        level: u64,
        /// Ones in all masks.
        got: u64,
        /// The target.
        expected: u64,
    },
}

/// What the same command does once the disk is mended.
fn goes_on(error: &StoreError) -> &'static str {
    match error {
        StoreError::Write { .. } | StoreError::Remove { .. } => {
            ": it goes on from the last checkpoint"
        }
        _ => "",
    }
}

impl RunError {
    /// A file that does not hold what it should.
    pub(super) fn damaged(path: &Path, error: &dyn std::fmt::Display) -> Self {
        Self::Store(StoreError::Damaged {
            path: path.to_owned(),
            reason: error.to_string(),
        })
    }

    /// Whether a file is missing or not what it should be, rather than out of reach for now.
    pub(super) fn is_damage(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_damage())
    }

    /// An invariant of a seed's level that does not hold.
    pub(super) fn broken(seed: u64, level: u64, broken: Broken) -> Self {
        Self::Broken {
            seed,
            level,
            broken,
        }
    }

    /// Whether a plugin is to blame.
    pub fn is_plugin_failure(&self) -> bool {
        match self {
            Self::Strategy { source, .. } => !source.is_missing(),
            other => matches!(other, Self::Target { .. }),
        }
    }
}
