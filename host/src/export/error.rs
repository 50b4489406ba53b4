//! What can go wrong when a model is exported.

use std::path::PathBuf;

use crate::data::DataError;
use crate::model::ModelError;
use crate::statistics::StatisticsError;
use crate::store::StoreError;

/// A model that cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The run has no such level.
    #[error(transparent)]
    Statistics(#[from] StatisticsError),
    /// A stored file cannot be read, or the exported one not be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The network cannot be made.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The dataset's inputs are not known.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A run of a model that this program does not have.
    #[error("model `{0}` is unknown: expected one of those that the program comes with")]
    UnknownModel(String),
    /// Normalisation of what is no image.
    #[error(
        "the inputs of dataset `{0}` are no pixels, and the network takes them as they are: leave --normalise out"
    )]
    NoPixels(String),
    /// An imported network with operations that the format is not written for.
    #[error(
        "the network computes {}, which cannot be written as ONNX here: export safetensors, and load them into the PyTorch model",
        .0.join(", ")
    )]
    Opaque(Vec<String>),
    /// A file that would become part of a run.
    #[error("{path} lies in {run}, whose files belong to the run: name a file elsewhere with -o")]
    InRun {
        /// The file.
        path: PathBuf,
        /// The run's folder.
        run: PathBuf,
    },
}
