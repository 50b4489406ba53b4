//! What can go wrong when stored runs are compared.

use std::path::PathBuf;

use crate::data::DataError;
use crate::program;
use crate::store::{LockError, StoreError};
use crate::trainer::TrainError;

/// A comparison of stored runs that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum StatisticsError {
    /// A level that is not finished.
    #[error("{level} is not a finished level: `{program} run {experiment}` goes on with its run", program = program::name(), experiment = .run.join("experiment.toml").display())]
    Unfinished {
        /// The level's folder.
        level: PathBuf,
        /// The run's folder.
        run: PathBuf,
    },
    /// Two files that hold other layers.
    #[error(
        "{second} has the layers {got}, expected {expected} as in {first}: compare runs of one model"
    )]
    Layers {
        /// The file that is compared with.
        first: PathBuf,
        /// The file that differs.
        second: PathBuf,
        /// Its layers.
        got: String,
        /// Those of the first.
        expected: String,
    },
    /// A layer of another shape.
    #[error(
        "layer `{layer}` has shape {got:?} in {second}, expected {expected:?} as in {first}: compare runs of one model"
    )]
    Shape {
        /// The layer.
        layer: String,
        /// The file that is compared with.
        first: PathBuf,
        /// The file that differs.
        second: PathBuf,
        /// The shape there.
        got: Vec<usize>,
        /// The shape in the first.
        expected: Vec<usize>,
    },
    /// A point of training that is not stored.
    #[error("the point `{point}` of {run} is not stored for seed {seed}: {reason}")]
    Point {
        /// The point.
        point: String,
        /// The run's folder.
        run: PathBuf,
        /// The seed.
        seed: u64,
        /// What is missing, and what makes it.
        reason: String,
    },
    /// Two runs that cannot be compared.
    #[error("{second} cannot be compared with {first}: {what} is {got}, expected {expected}")]
    Runs {
        /// The run that is compared with.
        first: PathBuf,
        /// The run that differs.
        second: PathBuf,
        /// What differs.
        what: &'static str,
        /// What it is in the second run.
        got: String,
        /// What it is in the first.
        expected: String,
    },
    /// Data that are not those that the run was trained on.
    #[error(
        "the dataset `{name}` is not the one that {run} was trained on: its checksum is {got}, expected {expected}; put the old files back"
    )]
    DataChanged {
        /// The run's folder.
        run: PathBuf,
        /// The dataset.
        name: String,
        /// Its checksum.
        got: String,
        /// The run's.
        expected: String,
    },
    /// A folder that does not say what its networks are.
    #[error(
        "{0} holds no experiment.toml, so that its networks cannot be made: expected a run's folder, and not one of shared dense levels"
    )]
    NoExperiment(PathBuf),
    /// Runs without a seed in common.
    #[error("no seed has {what}: {known}")]
    NoSeed {
        /// What a seed would need.
        what: String,
        /// The seeds of each run that have it.
        known: String,
    },
    /// A number of points that makes no line.
    #[error("a line of {0} points has no inside: expected 3 or more")]
    Points(usize),
    /// A stored file cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file system does not let this process keep others from measuring the same.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The data cannot be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The network cannot be made or evaluated.
    #[error(transparent)]
    Train(#[from] TrainError),
}
