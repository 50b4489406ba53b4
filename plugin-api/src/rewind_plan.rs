//! What is reset before training goes on.

use serde::{Deserialize, Serialize};

use crate::{Point, Source, Step, Tensor};

/// What is reset before training goes on. The host carries it out, and keeps pruned weights and
/// their optimizer state at zero.
///
/// The default keeps everything as the policy before left it; before the first policy that is the
/// state at the end of training, with the schedule held at its last value.
/// Build it with `..RewindPlan::default()`: later versions may add axes.
#[derive(Clone, Debug, Default)]
pub struct RewindPlan {
    /// Weights of linear and convolution layers, and their biases.
    pub weights: Weights,
    /// Scale and shift of norms, and running statistics of batch norms.
    pub batch_norm: BatchNorm,
    /// State of the optimizer (momentum).
    pub optimizer: OptimizerState,
    /// Position in the learning-rate schedule.
    pub schedule: Schedule,
    /// Order of the training samples in the next level.
    pub data_order: DataOrder,
    /// From now on these points have other weights (one tensor for each prunable layer): later
    /// rewinds to them go there.
    pub redefine: Vec<(Point, Vec<Tensor>)>,
}

impl RewindPlan {
    /// Everything that training changed goes to `point`: weights, biases and norms. The
    /// optimizer is cleared and the schedule restarts.
    pub fn to_point(point: Point) -> Self {
        Self {
            weights: Weights::From(point.clone()),
            batch_norm: BatchNorm {
                affine: Source::From(point.clone()),
                statistics: Source::From(point),
            },
            optimizer: OptimizerState::Clear,
            schedule: Schedule::Restart,
            ..Self::default()
        }
    }
}

/// What becomes of weights and biases.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Weights {
    /// As they are.
    #[default]
    Keep,
    /// From a point.
    From(Point),
    /// Magnitudes from one source and signs from another; biases go with the magnitudes.
    Mixed {
        /// Where magnitudes come from.
        magnitudes: Source,
        /// Where signs come from.
        signs: Source,
    },
    /// These, one for each prunable layer; biases stay.
    Tensors(Vec<Tensor>),
}

/// What becomes of norms.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchNorm {
    /// Scale and shift of every norm: batch norms, layer norms.
    pub affine: Source,
    /// Running mean and variance of batch norms.
    pub statistics: Source,
}

/// What becomes of the optimizer's state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum OptimizerState {
    /// As it is.
    #[default]
    Keep,
    /// As before the first step.
    Clear,
    /// From a point.
    From(Point),
}

/// What becomes of the learning-rate schedule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Schedule {
    /// As the policy before said.
    #[default]
    Keep,
    /// From its first step.
    Restart,
    /// From this step. Where it ends, the level does so too or holds its last value, as the experiment says.
    From(Step),
    /// Stays at its last value.
    Hold,
}

/// Order of the training samples, and with it their augmentation and dropout.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum DataOrder {
    /// As the policy before said; at first a new order for each level.
    #[default]
    Keep,
    /// The order that this level had.
    OfLevel(u64),
    /// Another new order for each level: one that no level has otherwise. Different numbers are
    /// different orders; 0 is the one that the level has anyway.
    Draw(u32),
}
