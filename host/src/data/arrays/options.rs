//! What the experiment file says of arrays.

use super::super::held_out::Amount;
use super::super::{Augment, DataError};
use super::NAME;
use crate::registry::{Options, parse};
use crate::samples::Task;
use plugin_api::schemars::{self, JsonSchema};
use serde::{Deserialize, Serialize};
use std::num::NonZeroU32;
use std::path::PathBuf;

/// Options of `arrays`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ArraysOptions {
    /// File of the training samples: `.npz`, `.safetensors`, `.csv`, or a `.npy` each for inputs and targets.
    #[schemars(extend("x-location" = true, "x-path" = true))]
    pub train: Files,
    /// The samples to evaluate on: a file as for `train`, or how many samples of that one are held out, of each
    /// class its share: a share of them between 0 and 1, or their number. By default the arrays of the file of
    /// `train` whose names say `test`.
    #[serde(default)]
    #[schemars(extend("x-location" = "path", "x-path" = true))]
    pub test: Option<Part>,
    /// Samples by which is chosen and on which is not trained, in the same words. By default none.
    #[serde(default)]
    #[schemars(extend("x-location" = "path", "x-path" = true))]
    pub validation: Option<Part>,
    /// Name of the array of the inputs, or names of the columns of a `.csv`; by default the usual name that is
    /// there, or all columns but the target.
    #[serde(default)]
    pub inputs: Option<Names>,
    /// Name of the array of the targets; by default the usual name that is there.
    #[serde(default)]
    pub targets: Option<String>,
    /// Name of the column of the target in a `.csv`, or names of the columns of the labels; by default the usual
    /// name that is there.
    #[serde(default)]
    pub target: Option<Names>,
    /// What is to be learnt; by default classes where targets are whole numbers or texts, numbers where they have
    /// fractions.
    #[serde(default)]
    pub task: Option<Task>,
    /// Number of classes, where the training targets do not have all of them.
    #[serde(default)]
    #[schemars(range(min = 2, max = 10_000_000))]
    pub classes: Option<u32>,
    /// Shape of one sample, if it is another one of as many values than in the file, such as `[1, 28, 28]`.
    #[serde(default)]
    #[schemars(length(min = 1, max = 4))]
    pub shape: Option<Vec<NonZeroU32>>,
    /// Whether channels come first or last in a sample; by default first, and images that look otherwise are
    /// refused.
    #[serde(default)]
    pub layout: Option<Layout>,
    /// Whether the training samples' mean is subtracted from inputs, which are then divided by their standard
    /// deviation: of each channel, and of each value of samples with one dimension.
    #[serde(default)]
    pub standardise: Standardise,
    /// What becomes of columns of text in a `.csv`.
    #[serde(default)]
    pub categories: Categories,
    /// What becomes of missing numbers in a `.csv`.
    #[serde(default)]
    pub missing: Missing,
    /// Random changes of training images of bytes; by default none.
    #[serde(default)]
    pub augment: Option<Augment>,
    /// Room in memory for arrays, in MiB; samples of larger ones are read whenever they are needed.
    #[serde(default = "memory")]
    #[schemars(range(min = 1, max = 1_000_000_000), extend("x-location" = true))]
    pub memory: u64,
}

fn memory() -> u64 {
    4096
}

/// Where samples lie.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Files {
    /// One file with inputs and targets.
    One(PathBuf),
    /// A file each.
    Pair(Pair),
}

/// A file each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pair {
    /// The `.npy` file of the inputs.
    pub inputs: PathBuf,
    /// The `.npy` file of the targets.
    pub targets: PathBuf,
}

/// Samples beside those that are trained on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Part {
    /// So many of the training file's: a share of them between 0 and 1, or their number.
    Amount(#[schemars(extend("exclusiveMinimum" = 0.0))] f64),
    /// Those of a file.
    One(PathBuf),
    /// Those of a file for inputs and one for targets.
    Pair(Pair),
}

/// One name or several.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Names {
    /// One.
    One(String),
    /// Several.
    Several(Vec<String>),
}

impl Names {
    /// All of them.
    pub fn list(&self) -> Vec<&str> {
        match self {
            Self::One(name) => vec![name],
            Self::Several(names) => names.iter().map(String::as_str).collect(),
        }
    }
}

/// Where channels are in a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// `[channels, height, width]`, as networks take them.
    ChannelsFirst,
    /// `[height, width, channels]`, as image files have them; they are reordered.
    ChannelsLast,
}

/// Over which numbers a mean and a standard deviation are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Standardise {
    /// `channel`, or `feature` of samples with one dimension, if it is true.
    Usual(bool),
    /// These.
    Over(Over),
}

impl Default for Standardise {
    fn default() -> Self {
        Self::Usual(false)
    }
}

/// Over which numbers a mean and a standard deviation are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Over {
    /// Each value of a sample over all samples.
    Feature,
    /// Each channel, the first dimension of a sample, over all samples and positions.
    Channel,
}

/// What becomes of columns of text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Categories {
    /// They are refused.
    #[default]
    Refuse,
    /// A column of 0 and 1 for each text that occurs.
    OneHot,
}

/// What becomes of missing numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Missing {
    /// They are refused.
    #[default]
    Refuse,
    /// The mean of the column's numbers in the training samples.
    Mean,
}

impl ArraysOptions {
    /// The options as their struct.
    pub(super) fn read(options: &Options) -> Result<Self, DataError> {
        parse(options).map_err(|error| DataError::Options {
            name: NAME,
            reason: error.to_string(),
        })
    }

    /// Bytes that memory may hold.
    pub(super) fn limit(&self) -> u64 {
        self.memory.saturating_mul(1 << 20)
    }
}

impl Part {
    /// How many samples of the training file's it is, or where others are.
    pub(super) fn resolve(&self, key: &'static str) -> Result<Result<Amount, Files>, DataError> {
        Ok(match self {
            Self::Amount(number) => Ok(Amount::new(key, *number)?),
            Self::One(path) => Err(Files::One(path.clone())),
            Self::Pair(pair) => Err(Files::Pair(pair.clone())),
        })
    }
}
