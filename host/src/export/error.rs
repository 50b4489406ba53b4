//! What can go wrong when a model is exported.

use std::path::PathBuf;

use crate::data::DataError;
use crate::model::ModelError;
use crate::statistics::StatisticsError;
use crate::store::StoreError;
use crate::trainer::TrainError;

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
    /// The run's data cannot be read, or are not the network's.
    #[error(transparent)]
    Train(#[from] TrainError),
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
    /// Samples to calibrate on that are not here.
    #[error(
        "the ranges of 8-bit activations come from training samples, and the run's data are not here: {0}; or export \
         with --format onnx, in 32 bits"
    )]
    Calibration(StatisticsError),
    /// A network whose inputs or outputs are not rounded.
    #[error(
        "dataset `{dataset}` has {what}, and 8 bits are for networks that make classes, labels or numbers of numbers: \
         use --format onnx, in 32 bits"
    )]
    NotQuantised {
        /// The dataset.
        dataset: String,
        /// Its inputs or targets, in words.
        what: &'static str,
    },
    /// A network that computes infinities.
    #[error(
        "the network computes numbers that are not finite of training samples, which have no range for 8 bits: was it \
         trained with a lower learning rate? export another level"
    )]
    NotFinite,
    /// A forward pass that libtorch refuses.
    #[error("the network's forward pass fails: {0}")]
    Forward(String),
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
