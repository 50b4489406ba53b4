//! Why a network cannot be made.

use std::path::PathBuf;

use super::names;
use super::weights::Misfit;

/// A network that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The options are not the model's.
    #[error("options of model `{model}`: {source}")]
    Options {
        /// Name of the model.
        model: &'static str,
        /// What is wrong with them.
        source: serde_json::Error,
    },
    /// The dataset's samples do not fit.
    #[error(
        "model `{model}` cannot take samples of shape {got:?}: expected {expected}; choose another model or dataset"
    )]
    Input {
        /// Name of the model.
        model: &'static str,
        /// Shape of one sample.
        got: Vec<i64>,
        /// Shapes that fit.
        expected: String,
    },
    /// There is nothing to tell apart.
    #[error("model `{model}` cannot tell {got} classes apart: expected a dataset of at least 2")]
    Classes {
        /// Name of the model.
        model: &'static str,
        /// Number of classes.
        got: i64,
    },
    /// The dataset's samples are tokens.
    #[error(
        "model `{model}` takes numbers, and the samples are whole numbers, which stand for tokens: save them as float32 (`x.astype(\"float32\")`) or as bytes (uint8) if they are quantities; for tokens choose `pt2`, a network with an embedding"
    )]
    Tokens {
        /// Name of the model.
        model: &'static str,
    },
    /// The dataset has a class at each position.
    #[error(
        "model `{model}` has one output for each class, and a sample has targets of shape {got:?}: expected a dataset with one target a sample, or the model `pt2`"
    )]
    Positions {
        /// Name of the model.
        model: &'static str,
        /// Shape of the targets of one sample.
        got: Vec<i64>,
    },
    /// The dataset has classes where the network has one output.
    #[error(
        "model `{model}` has one output and cannot tell {got} classes apart: expected a dataset whose targets are numbers, such as `hidden-neuron`"
    )]
    OneOutput {
        /// Name of the model.
        model: &'static str,
        /// Number of classes.
        got: i64,
    },
    /// An option does not go with another one, or with the samples.
    #[error("model `{model}`: {option} = {got} {reason}")]
    Unfit {
        /// Name of the model.
        model: &'static str,
        /// The option.
        option: &'static str,
        /// Its value.
        got: String,
        /// What it does not go with, and what would.
        reason: String,
    },
    /// A network's archive cannot be read.
    #[error("model `pt2`: {0}")]
    Archive(Box<::pt2::ArchiveError>),
    /// A network's archive holds what cannot be trained here.
    #[error("model `pt2`: {path}: {reason}")]
    Imported {
        /// The archive.
        path: PathBuf,
        /// What it is, and what to do.
        reason: String,
    },
    /// An imported network tells another number of classes apart.
    #[error(
        "model `pt2`: {path} has {got} outputs, the dataset has {expected} classes: model.replace_head = true draws its output layer anew, with as many; or export the network with them, or choose another dataset"
    )]
    Outputs {
        /// The archive.
        path: PathBuf,
        /// Its outputs.
        got: i64,
        /// The dataset's classes.
        expected: i64,
    },
    /// A file of weights cannot be read.
    #[error("model `{model}`: weights {path}: {reason}")]
    Weights {
        /// Name of the model.
        model: &'static str,
        /// The file.
        path: PathBuf,
        /// What it is instead, and what to do.
        reason: String,
    },
    /// A file of weights is another network's.
    #[error("model `{model}`: weights {path} do not fit the network: {misfit}")]
    Misfit {
        /// Name of the model.
        model: &'static str,
        /// The file.
        path: PathBuf,
        /// All that does not fit.
        misfit: Box<Misfit>,
    },
    /// What is to be drawn anew is not there.
    #[error("model `{model}`: replace_head: {source}")]
    Head {
        /// Name of the model.
        model: &'static str,
        /// Which name.
        source: names::Unmatched,
    },
    /// An imported network's output layer cannot be drawn anew.
    #[error("model `pt2`: {path}: {reason}")]
    FixedHead {
        /// The archive.
        path: PathBuf,
        /// Why, and what to do.
        reason: String,
    },
}
