//! Training samples that the ranges of activations come from, and what the rounding costs.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::json;
use tch::{TchError, Tensor};

use super::Quantised;
use crate::export::forward::forward;
use crate::export::{ExportError, Model, accuracy};
use crate::samples::{InputType, Task};
use crate::trainer::{TrainError, Trainer};

/// Training samples that are computed together.
const TOGETHER: usize = 128;

/// What the ranges come from.
#[derive(Clone, Copy, Debug)]
pub struct Calibration {
    /// Training samples, at equal distances; all if there are fewer.
    pub samples: u32,
    /// Percent of a tensor's activations that lie within its range from below, and from above.
    pub percentile: f64,
}

impl Default for Calibration {
    fn default() -> Self {
        Self {
            samples: 512,
            percentile: 99.99,
        }
    }
}

/// What became of a model in 8 bits.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Int8 {
    /// Training samples that the ranges come from.
    pub calibration_samples: i64,
    /// Percent of a tensor's activations that lie within its range from below, and from above.
    pub percentile: f64,
    /// Test samples.
    pub test_samples: i64,
    /// Share of them that are right.
    pub accuracy: Option<f64>,
    /// The same with 32 bits.
    pub accuracy_in_full: Option<f64>,
}

/// Rounds a model whose batch norms are folded, by training samples.
///
/// # Errors
/// If its data are not numbers with a target each, the network has operations that are not known here, or samples
/// cannot be read.
pub fn calibrate(
    model: &Model,
    trainer: &Trainer,
    how: Calibration,
) -> Result<Quantised, ExportError> {
    let _no_grad = tch::no_grad_guard();
    let data = trainer.data();
    let what = match (data.input_type, data.task, &data.target_shape[..]) {
        (InputType::Tokens, ..) => Some("tokens for samples"),
        (_, Task::Classes, [_, ..]) => Some("a class at each position"),
        _ => None,
    };
    if let Some(what) = what {
        let dataset = data.name.clone();
        return Err(ExportError::NotQuantised { dataset, what });
    }
    let (all, count) = (data.train.len(), how.count(trainer));
    let places: Vec<i64> = (0..count).map(|it| it * all / count).collect();
    let mut batches = Vec::new();
    for part in places.chunks(TOGETHER) {
        let samples = data.train.gather(&Tensor::from_slice(part));
        let (input, _) = samples.map_err(TrainError::from)?;
        batches.push(input);
    }
    Quantised::new(model, &batches, how.percentile)
}

/// The same, and evaluates both on the test samples.
///
/// # Errors
/// As `calibrate`.
pub fn quantise(
    model: &mut Model,
    trainer: &Trainer,
    how: Calibration,
) -> Result<(Quantised, Int8), ExportError> {
    let _no_grad = tch::no_grad_guard();
    let quantised = calibrate(model, trainer, how)?;
    let in_words = |error: TchError| error.to_string();
    let in_full = accuracy(trainer, |input| {
        forward(model, &BTreeMap::new(), input).map_err(in_words)
    })?;
    let rounded = accuracy(trainer, |input| quantised.forward(input).map_err(in_words))?;
    let int8 = Int8 {
        calibration_samples: how.count(trainer),
        percentile: how.percentile,
        test_samples: trainer.data().test.len(),
        accuracy: rounded,
        accuracy_in_full: in_full,
    };
    let text = json!(int8).to_string();
    model.metadata.insert("int8".to_owned(), text);
    Ok((quantised, int8))
}

impl Calibration {
    /// How many samples that is.
    fn count(&self, trainer: &Trainer) -> i64 {
        i64::from(self.samples).min(trainer.data().train.len())
    }
}
