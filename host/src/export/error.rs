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
    /// A multiple that no layer has.
    #[error(
        "--multiple {multiple}: of the layers that can lose units the widest has {widest}: name a smaller number, such as 8 \
         or 16, or leave it out"
    )]
    Multiple {
        /// The multiple.
        multiple: usize,
        /// Units of the widest layer, features where these are heads.
        widest: usize,
    },
    /// An imported network with operations that the format is not written for.
    #[error(
        "the network computes {}, which cannot be written as ONNX here: export it with --format pt2, and let PyTorch \
         do it: `torch.onnx.export(load_pt2(\"level.pt2\").exported_programs[\"eval\"], (example,), \"level.onnx\")`, \
         with load_pt2 of torch.export.pt2_archive._package",
        .0.join(", ")
    )]
    Opaque(Vec<String>),
    /// An imported network with operations that the runtime does not have.
    #[error(
        "the network computes {}, which rewind-infer does not: export it with --format pt2, for PyTorch",
        .0.join(", ")
    )]
    NotInferred(Vec<String>),
    /// A network that was not imported, as an archive.
    #[error(
        "model `{0}` is the program's own, and only networks from PyTorch have an archive to give back: export \
         safetensors and load them into a torch.nn.Module of the same names, or export ONNX"
    )]
    NotImported(String),
    /// An archive whose graphs are for another number of outputs.
    #[error(
        "`{name}` has shape {got:?} since its layer was drawn anew, and {expected:?} in the archive, whose graphs say so \
         too: export safetensors, and load them into the PyTorch model with such a layer"
    )]
    Resized {
        /// The parameter.
        name: String,
        /// Its shape.
        got: Vec<i64>,
        /// Its shape in the archive.
        expected: Vec<i64>,
    },
    /// The archive cannot be read, or its copy not be made.
    #[error(transparent)]
    Archive(#[from] Box<::pt2::ArchiveError>),
    /// A file that would become part of a run.
    #[error("{path} lies in {run}, whose files belong to the run: name a file elsewhere with -o")]
    InRun {
        /// The file.
        path: PathBuf,
        /// The run's folder.
        run: PathBuf,
    },
}
