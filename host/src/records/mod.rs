//! What is recorded of a level: one line an epoch, one of its signs, one line a layer, one line a class where that is asked for,
//! one summary; of a run, its levels' summaries and what is measured of them later; of a sweep, its runs.

mod classes;
mod kept;
mod latencies;
mod signs;
mod stopped;
mod summaries;
mod sweep;
mod units;

pub use classes::ClassRecord;
pub use kept::{BARRIERS, KEPT, Kept, LATENCIES};
#[cfg(test)]
pub(crate) use latencies::tests::latency;
pub use latencies::{Latency, Timing, Variant};
pub use signs::SignRecord;
pub use stopped::{
    Behind, FILE as STOPPED_FILE, Rung, StopRecord, Stopped, stopped_beside, stopped_cells,
};
pub use summaries::{read_summary, summaries, summary_csv, summary_table};
pub use sweep::{FILE as SWEEP_FILE, SweepCell, SweepPart, SweepRecord, name_in_sweep, tidy};
pub use units::{KeptOfSet, KeptUnits};

use std::path::Path;

use plugin_api::Layer;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use tch::{Kind, Tensor};

use crate::store::{self, StoreError};

/// One epoch of one seed: a line of `metrics.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// Level.
    pub level: u64,
    /// Epoch within the level, from 0.
    pub epoch: u64,
    /// Steps of the level that are done.
    pub step: u64,
    /// Learning rate of the epoch's last step.
    pub lr: f64,
    /// Mean loss over the epoch's samples, as they were trained on.
    #[serde(deserialize_with = "number_or_null")]
    pub train_loss: f64,
    /// Share of the epoch's samples that were right as they were trained on: classified rightly, or
    /// within 0.1 of a target that is a number.
    pub train_accuracy: f64,
    /// Mean loss over the test samples, where the experiment asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_loss: Option<f64>,
    /// Share of the test samples that are right, where the experiment asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_accuracy: Option<f64>,
    /// Mean loss over the validation samples, evaluated with the test samples where there are some.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "maybe_number"
    )]
    pub validation_loss: Option<f64>,
    /// Share of the validation samples that are right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_accuracy: Option<f64>,
}

/// One layer of one level: a line of `layers.jsonl`.
///
/// Sign flips count surviving weights whose sign differs at the level's end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerRecord {
    /// Level.
    pub level: u64,
    /// PyTorch's name of the weight.
    pub layer: String,
    /// Number of weights.
    pub size: u64,
    /// Number of surviving weights.
    pub survivors: u64,
    /// Survivors over size.
    pub density: f64,
    /// Survivors on a path of survivors from the network's input to its output; none in records of
    /// versions that did not count them.
    #[serde(default)]
    pub effective: Option<u64>,
    /// Survivors whose sign differs from init.
    pub flips_init: u64,
    /// Survivors whose sign differs from the level's start.
    pub flips_start: u64,
    /// Survivors whose sign differs from the previous level's end; none at level 0.
    pub flips_previous: Option<u64>,
    /// L2 norm of the weights.
    #[serde(deserialize_with = "number_or_null")]
    pub norm: f64,
}

/// One finished level of one seed: `summary.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Seed.
    pub seed: u64,
    /// Level.
    pub level: u64,
    /// Prunable weights.
    pub weights: u64,
    /// Surviving weights, counted from the mask.
    pub survivors: u64,
    /// Survivors over weights.
    pub density: f64,
    /// Mean loss of the last epoch's samples.
    #[serde(deserialize_with = "number_or_null")]
    pub train_loss: f64,
    /// Mean loss over the test samples.
    #[serde(deserialize_with = "number_or_null")]
    pub test_loss: f64,
    /// Test samples that are right.
    pub test_correct: u64,
    /// Test samples.
    pub test_samples: u64,
    /// `test_correct` over `test_samples`.
    pub test_accuracy: f64,
    /// Mean loss over the validation samples; without validation none of these four is there.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "maybe_number"
    )]
    pub validation_loss: Option<f64>,
    /// Validation samples that are right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_correct: Option<u64>,
    /// Validation samples.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_samples: Option<u64>,
    /// `validation_correct` over `validation_samples`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_accuracy: Option<f64>,
    /// Share of survivors whose sign differs from init.
    pub flips_init: f64,
    /// Share of survivors whose sign differs from the level's start.
    pub flips_start: f64,
    /// Share of survivors whose sign differs from the previous level's end.
    pub flips_previous: Option<f64>,
    /// Survivors on a path of survivors from the network's input to its output; none in records of
    /// versions that did not count them.
    #[serde(default)]
    pub effective_survivors: Option<u64>,
    /// `effective_survivors` over weights.
    #[serde(default)]
    pub effective_density: Option<f64>,
    /// Test samples whose class is among the five with the highest outputs. This and what follows is there
    /// where the experiment's metrics ask for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_top_5_correct: Option<u64>,
    /// `test_top_5_correct` over `test_samples`.
    #[serde(
        default,
        deserialize_with = "maybe_number",
        skip_serializing_if = "Option::is_none"
    )]
    pub test_top_5_accuracy: Option<f64>,
    /// Mean negative log-likelihood of the test samples' classes.
    #[serde(
        default,
        deserialize_with = "maybe_number",
        skip_serializing_if = "Option::is_none"
    )]
    pub test_nll: Option<f64>,
    /// Exponential of the mean negative log-likelihood.
    #[serde(
        default,
        deserialize_with = "maybe_number",
        skip_serializing_if = "Option::is_none"
    )]
    pub test_perplexity: Option<f64>,
    /// Expected calibration error on the test samples.
    #[serde(
        default,
        deserialize_with = "maybe_number",
        skip_serializing_if = "Option::is_none"
    )]
    pub test_ece: Option<f64>,
    /// Root of the mean squared distance from the test targets.
    #[serde(
        default,
        deserialize_with = "maybe_number",
        skip_serializing_if = "Option::is_none"
    )]
    pub test_rmse: Option<f64>,
    /// Share of the test targets' variance that the outputs explain.
    #[serde(
        default,
        deserialize_with = "maybe_number",
        skip_serializing_if = "Option::is_none"
    )]
    pub test_r2: Option<f64>,
    /// What the masks keep of whole units, where the strategy's masks count them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub units: Option<KeptUnits>,
}

/// A further number of a summary: the end of its name after `test_`, and where it is.
pub type MetricOf = (&'static str, fn(&Summary) -> Option<f64>);

/// The metrics of a summary that are one number, by their names after `test_`.
pub const METRICS: [MetricOf; 6] = [
    ("top_5_accuracy", |it| it.test_top_5_accuracy),
    ("nll", |it| it.test_nll),
    ("perplexity", |it| it.test_perplexity),
    ("ece", |it| it.test_ece),
    ("rmse", |it| it.test_rmse),
    ("r2", |it| it.test_r2),
];

impl Summary {
    /// What the layers of a level come to. Losses are NaN and test results 0: only training and
    /// evaluating give them.
    pub fn of_layers(seed: u64, level: u64, weights: u64, layers: &[LayerRecord]) -> Self {
        let survivors: u64 = layers.iter().map(|layer| layer.survivors).sum();
        let share = |count: u64| match survivors {
            0 => 0.0,
            survivors => count as f64 / survivors as f64,
        };
        let sum = |pick: fn(&LayerRecord) -> u64| share(layers.iter().map(pick).sum());
        let previous: Option<u64> = layers.iter().map(|layer| layer.flips_previous).sum();
        let effective: Option<u64> = layers.iter().map(|layer| layer.effective).sum();
        Self {
            seed,
            level,
            weights,
            survivors,
            density: survivors as f64 / weights as f64,
            train_loss: f64::NAN,
            test_loss: f64::NAN,
            test_correct: 0,
            test_samples: 0,
            test_accuracy: 0.0,
            validation_loss: None,
            validation_correct: None,
            validation_samples: None,
            validation_accuracy: None,
            flips_init: sum(|layer| layer.flips_init),
            flips_start: sum(|layer| layer.flips_start),
            flips_previous: previous.map(share),
            effective_survivors: effective,
            effective_density: effective.map(|count| count as f64 / weights as f64),
            test_top_5_correct: None,
            test_top_5_accuracy: None,
            test_nll: None,
            test_perplexity: None,
            test_ece: None,
            test_rmse: None,
            test_r2: None,
            units: None,
        }
    }
}

/// JSON has no infinity: what is not finite is written as null, and read as NaN.
pub(crate) fn number_or_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::<f64>::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

/// As [`number_or_null`] of a key that need not be there.
pub(crate) fn maybe_number<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<f64>, D::Error> {
    number_or_null(deserializer).map(Some)
}

/// Lines of JSON, one a record.
///
/// # Errors
/// If a record cannot be written as JSON.
pub fn lines<T: Serialize>(records: &[T]) -> Result<Vec<u8>, serde_json::Error> {
    let mut bytes = Vec::new();
    for record in records {
        serde_json::to_writer(&mut bytes, record)?;
        bytes.push(b'\n');
    }
    Ok(bytes)
}

/// The records of a file with one a line.
///
/// # Errors
/// If it cannot be read, or a line is no such record: which.
pub fn read_lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, StoreError> {
    let bytes = store::read(path)?;
    let lines = bytes.split(|&byte| byte == b'\n').enumerate();
    lines
        .filter(|(_, line)| !line.is_empty())
        .map(|(at, line)| {
            serde_json::from_slice(line).map_err(|error| StoreError::Damaged {
                path: path.to_owned(),
                reason: format!("line {}: {error}", at + 1),
            })
        })
        .collect()
}

/// The weights that a layer's record compares: each list has one tensor for each prunable layer.
pub struct Compared<'a> {
    /// At the level's end.
    pub end: &'a [Tensor],
    /// Masks at the level's end.
    pub masks: &'a [Tensor],
    /// Survivors on a path from input to output.
    pub effective: &'a [u64],
    /// Before the first step of level 0.
    pub init: &'a [Tensor],
    /// At the level's start.
    pub start: &'a [Tensor],
    /// At the previous level's end.
    pub previous: Option<&'a [Tensor]>,
}

/// One record for each prunable layer.
pub fn compare(level: u64, layers: &[Layer], compared: &Compared<'_>) -> Vec<LayerRecord> {
    let count = |tensor: Tensor| tensor.sum(Kind::Int64).int64_value(&[]) as u64;
    layers
        .iter()
        .enumerate()
        .map(|(i, layer)| {
            let (end, mask) = (&compared.end[i], compared.masks[i].ne(0.0));
            let flips =
                |other: &Tensor| count(end.sign().ne_tensor(&other.sign()).logical_and(&mask));
            let survivors = count(mask.shallow_clone());
            LayerRecord {
                level,
                layer: layer.name.clone(),
                size: layer.len(),
                survivors,
                density: survivors as f64 / layer.len() as f64,
                effective: compared.effective.get(i).copied(),
                flips_init: flips(&compared.init[i]),
                flips_start: flips(&compared.start[i]),
                flips_previous: compared.previous.map(|previous| flips(&previous[i])),
                norm: end.to_kind(Kind::Double).norm().double_value(&[]),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests;
