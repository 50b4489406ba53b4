//! What can go wrong in training.

use std::borrow::Cow;

use kernels::cuda::CudaError;
use kernels::shim::ShimError;

use crate::data::DataError;
use crate::model::ModelError;
use crate::model::names::Unmatched;
use crate::ranks::RanksError;
use crate::update::Failed;

/// A failure of the trainer.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// No model, optimizer or schedule of that name.
    #[error("no {area} is called `{name}`: known are {known}")]
    UnknownComponent {
        /// `model`, `optimizer` or `schedule`.
        area: &'static str,
        /// Its name.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// An update failed; whoever called it knows how.
    #[error("an update of the strategy failed")]
    Update,
    /// A step cannot be recorded; libtorch's message.
    #[error("{0}")]
    Unrecorded(String),
    /// The model cannot be made.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The options are not the component's.
    #[error("options of {area} `{name}`: {source}")]
    Options {
        /// `optimizer` or `schedule`.
        area: &'static str,
        /// Its name.
        name: String,
        /// What is wrong with them.
        source: serde_json::Error,
    },
    /// No prunable layer of that name, or none that the pattern fits.
    #[error("no prunable layer is called `{name}`: known are {known}")]
    UnknownLayer {
        /// The name or pattern.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// No parameter of that name, or none that the pattern fits.
    #[error("no parameter is called `{name}`: known are {known}")]
    UnknownParameter {
        /// The name or pattern.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// A parameter that cannot be pruned.
    #[error(
        "`{name}` is a single number, of which nothing can be pruned: leave it out of prune.include"
    )]
    SingleNumber {
        /// Its name.
        name: String,
    },
    /// No weight is left to prune.
    #[error(
        "nothing is left to prune: prune.exclude names all {layers} layers of the network, expected at \
         least one that it does not name"
    )]
    NothingToPrune {
        /// Layers that could be pruned.
        layers: usize,
    },
    /// A batch norm cannot be trained on one sample.
    #[error(
        "{samples} samples in batches of {batch_size} leave a last batch of one sample, which has no \
         variance for the batch norm: choose another train.batch_size, such as {suggestion}"
    )]
    LoneSample {
        /// Samples of the training split.
        samples: i64,
        /// Samples of a batch.
        batch_size: u64,
        /// A batch size that leaves no sample alone.
        suggestion: u64,
    },
    /// A batch, or several that are accumulated, are too few samples to be cut.
    #[error(
        "a {} of {samples} samples cannot be cut into {shards} shards: expected at least {least} samples in every \
         {0}, also in the last one of an epoch{}; choose another train.batch_size{}, or fewer train.{}",
        if *batches > 1 { "step" } else { "batch" },
        if *least > *shards { ", so that a batch norm sees two in each shard" } else { "" },
        suggestion.map_or_else(String::new, |size| format!(", such as {size}")),
        if *batches > 1 { "accumulate" } else { "shards" }
    )]
    Shards {
        /// Shards of a step: those of all its batches.
        shards: u64,
        /// Batches of a step.
        batches: u64,
        /// Samples of the smallest step.
        samples: u64,
        /// Samples that it has to have.
        least: u64,
        /// A batch size that leaves no step too small, if there is one.
        suggestion: Option<u64>,
    },
    /// Imported networks have batch norms of their own.
    #[error(
        "train.sync_batch_norm is not for networks of the model `pt2` with batch norms: leave it out, so that each \
         shard has its own statistics"
    )]
    NotSynchronised,
    /// The network cannot be computed without its units.
    #[error("train.compact: {0}")]
    NotCompact(Cow<'static, str>),
    /// A split has no sample.
    #[error("dataset `{0}` has a split without samples: expected at least one sample each")]
    Empty(String),
    /// No samples are held out.
    #[error(
        "there are no validation samples: expected `validation` in [data], such as `validation = 0.1`"
    )]
    NoValidation,
    /// The loss is for other targets.
    #[error(
        "train.loss is \"{loss}\", but the targets of dataset `{dataset}` are {targets}: expected \"{expected}\", or another dataset"
    )]
    Targets {
        /// The loss.
        loss: &'static str,
        /// The dataset.
        dataset: String,
        /// What they are.
        targets: &'static str,
        /// The loss for them.
        expected: &'static str,
    },
    /// A metric is for other targets.
    #[error("the metric \"{metric}\" is not for dataset `{dataset}`: {reason}")]
    Metric {
        /// Its place in `train.metrics`.
        at: usize,
        /// Its name.
        metric: &'static str,
        /// The dataset.
        dataset: String,
        /// Why, and what is expected.
        reason: String,
    },
    /// The network of another run cannot teach this one.
    #[error("{0}")]
    Teacher(String),
    /// A parameter, running statistic or optimizer tensor is missing.
    #[error(
        "`{name}` is missing from the stored tensors: expected one for every parameter and running statistic"
    )]
    Missing {
        /// Its name.
        name: String,
    },
    /// A stored tensor has another shape.
    #[error("`{name}` has shape {got:?}, expected {expected:?}: it belongs to another network")]
    Shape {
        /// Its name.
        name: String,
        /// Its shape.
        got: Vec<i64>,
        /// The network's.
        expected: Vec<i64>,
    },
    /// Not one mask for each prunable layer.
    #[error("{got} masks, expected {expected}: one for each prunable layer")]
    MaskCount {
        /// Their number.
        got: usize,
        /// The number of prunable layers.
        expected: usize,
    },
    /// A mask is not a mask.
    #[error("the mask of `{layer}` has values other than 0 and 1")]
    MaskValue {
        /// The layer.
        layer: String,
    },
    /// The lanes of a session are not at one position of levels of one length, or too many.
    #[error("the lanes of a session do not fit together: {0}")]
    Lanes(String),
    /// A level without a step.
    #[error(
        "nothing is left to train: the schedule goes on from step {step} and ends at step {steps}, and \
         prune.level_end ends the level with it; rewind to an earlier time"
    )]
    Over {
        /// Step of the schedule at which the level would start.
        step: u64,
        /// Steps of the schedule.
        steps: u64,
    },
    /// A lane that the session does not have.
    #[error("the session has no lane {lane}: it was dropped or never there")]
    NoLane {
        /// Its number.
        lane: usize,
    },
    /// A step was asked for where none can be made.
    #[error("cannot make step {step}: {reason}")]
    Step {
        /// Its number in the level.
        step: u64,
        /// Why.
        reason: &'static str,
    },
    /// A pruned weight or its optimizer state came back to life.
    #[error(
        "{tensor} of `{layer}` is {value:e} at index {index} although its mask is 0: expected exactly +0; \
         this is a bug of the host"
    )]
    Pruned {
        /// `weight` or the name of the optimizer's state.
        tensor: String,
        /// The layer.
        layer: String,
        /// Row-major index in PyTorch's layout.
        index: i64,
        /// What it is.
        value: f64,
    },
    /// A request for gradients that cannot be met.
    #[error("gradients: {0}")]
    Gradients(String),
    /// Numbers could not be copied from the device.
    #[error("failed to read the epoch's records from the device: {0}")]
    ReadBack(String),
    /// What is to be recorded draws other numbers than the steps before.
    #[error("the step draws other random numbers than those before it")]
    Recorded,
    /// An image file that cannot be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Images cannot be read ahead.
    #[error("the thread that reads images ahead failed: {0}")]
    Feed(String),
    /// Another process that trains with this one.
    #[error(transparent)]
    Ranks(#[from] RanksError),
    /// What ranks say to each other.
    #[error("a rank did not understand what another one said; this is a bug of the host")]
    Letter,
    /// A thread cannot be started.
    #[error("a thread for a shard of the batch cannot be started: {0}")]
    Thread(String),
    /// Libtorch failed.
    #[error(transparent)]
    Libtorch(#[from] ShimError),
    /// A kernel of our own failed.
    #[error(transparent)]
    Cuda(#[from] CudaError),
}

impl TrainError {
    /// Of a pattern in `prune.include`.
    pub(super) fn not_included(unmatched: Unmatched) -> Self {
        let Unmatched { pattern, known } = unmatched;
        Self::UnknownParameter {
            name: pattern,
            known,
        }
    }

    /// Of a pattern in `prune.exclude`.
    pub(super) fn not_excluded(unmatched: Unmatched) -> Self {
        let Unmatched { pattern, known } = unmatched;
        Self::UnknownLayer {
            name: pattern,
            known,
        }
    }
}

impl From<Failed> for TrainError {
    fn from(Failed: Failed) -> Self {
        Self::Update
    }
}
