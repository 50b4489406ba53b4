//! What training makes small, and what is measured on the test samples beside it.

use plugin_api::RunRef;
use plugin_api::schemars::{self, JsonSchema};
use serde::{Deserialize, Serialize};

/// What training makes small: a loss by its name, or a table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum TrainLoss {
    /// A loss of outputs and targets alone.
    Plain(PlainLoss),
    /// What another network says counts, too.
    Distillation(Distillation),
}

impl Default for TrainLoss {
    fn default() -> Self {
        Self::Plain(PlainLoss::default())
    }
}

impl TrainLoss {
    /// As the experiment file spells it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Plain(loss) => loss.name(),
            Self::Distillation(_) => "distillation",
        }
    }

    /// What the network is taught by, if it is.
    pub fn distillation(&self) -> Option<&Distillation> {
        match self {
            Self::Distillation(distillation) => Some(distillation),
            Self::Plain(_) => None,
        }
    }
}

/// A loss of outputs and targets alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PlainLoss {
    /// Cross-entropy of the class, for datasets with classes, also with one at each position.
    #[default]
    CrossEntropy,
    /// Half the mean squared distance from the target, for datasets whose targets are numbers.
    Mse,
    /// Mean binary cross-entropy of the labels, for datasets with several labels a sample, each there
    /// or not.
    BinaryCrossEntropy,
}

impl PlainLoss {
    /// As the experiment file spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::CrossEntropy => "cross-entropy",
            Self::Mse => "mse",
            Self::BinaryCrossEntropy => "binary-cross-entropy",
        }
    }
}

/// `alpha * T^2 * KL(teacher || student) + (1 - alpha) * cross-entropy`, with both softmaxes at the
/// temperature T. The teacher is the same seed's network at the end of a level of another run.
///
/// # Source
/// Hinton, Vinyals and Dean 2015 (arXiv:1503.02531), section 2.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Distillation {
    /// Which loss it is.
    pub name: DistillationName,
    /// The teacher's run.
    pub run: RunRef,
    /// Level of the teacher's run at whose end it is taken.
    #[serde(default)]
    pub level: u64,
    /// What the logits of teacher and student are divided by.
    #[serde(default = "four")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub temperature: f64,
    /// Share of what the teacher says; the rest is the cross-entropy of the class.
    #[serde(default = "nine_tenths")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub alpha: f64,
}

/// The name of the only loss that is a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DistillationName {
    /// Distillation.
    Distillation,
}

/// What is measured of the test samples at each level's end, beside loss and accuracy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// Share of the samples whose class is among the five with the highest outputs.
    #[serde(rename = "top-5")]
    Top5,
    /// Share of each class's samples that are right.
    PerClass,
    /// How many samples of each class are taken for which.
    Confusion,
    /// Mean negative log-likelihood of the class.
    Nll,
    /// Expected calibration error: how far confidence is from accuracy.
    Ece,
    /// Exponential of the mean negative log-likelihood, for targets at positions.
    Perplexity,
    /// Root of the mean squared distance, for targets that are numbers.
    Rmse,
    /// Share of the targets' variance that the outputs explain, for targets that are numbers.
    R2,
}

impl Metric {
    /// As the experiment file spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Top5 => "top-5",
            Self::PerClass => "per-class",
            Self::Confusion => "confusion",
            Self::Nll => "nll",
            Self::Ece => "ece",
            Self::Perplexity => "perplexity",
            Self::Rmse => "rmse",
            Self::R2 => "r2",
        }
    }
}

fn four() -> f64 {
    4.0
}

fn nine_tenths() -> f64 {
    0.9
}
