//! Loss and accuracy of a split.

use tch::{Kind, Tensor};

use super::{Snapshot, TrainError, Trainer, batches};
use crate::model::Mode;
use crate::shim;

/// Samples that are evaluated together.
const CHUNK: i64 = 1000;

/// A split of the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// The samples that are trained on, without augmentation.
    Train,
    /// The samples that are not.
    Test,
}

/// Loss and accuracy of a split.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evaluation {
    /// Mean cross-entropy, without label smoothing.
    pub loss: f64,
    /// Share of the samples that are classified rightly.
    pub accuracy: f64,
    /// Number of samples that are classified rightly.
    pub correct: u64,
    /// Number of samples.
    pub samples: u64,
}

impl Trainer {
    /// Loss and accuracy of stored points.
    ///
    /// # Errors
    /// If a point is another network's.
    pub fn evaluate(&self, points: &[Snapshot], on: On) -> Result<Vec<Evaluation>, TrainError> {
        let together = if self.lanes() { points.len().max(1) } else { 1 };
        let mut evaluations = Vec::with_capacity(points.len());
        for points in points.chunks(together) {
            let lanes = points.len() as i64;
            let shape = [lanes, self.layout.width()];
            let flat = Tensor::zeros(shape, (Kind::Float, self.device));
            let statistics = self.layout.new_statistics(lanes, self.device);
            for (lane, point) in (0..).zip(points) {
                let statistics = self.layout.lane_statistics(&statistics, lane);
                self.layout
                    .load(point, &flat.select(0, lane), &statistics)?;
            }
            let parameters = self.layout.views(&flat);
            evaluations.extend(self.evaluate_lanes(&parameters, &statistics, lanes, on)?);
        }
        Ok(evaluations)
    }

    pub(super) fn evaluate_lanes(
        &self,
        parameters: &[Tensor],
        statistics: &[Tensor],
        lanes: i64,
        on: On,
    ) -> Result<Vec<Evaluation>, TrainError> {
        let _no_grad = tch::no_grad_guard();
        let split = self.split(on);
        let samples = split.len();
        let chunks = (samples + CHUNK - 1) / CHUNK;
        let losses = Tensor::zeros([chunks, lanes], (Kind::Double, self.device));
        let correct = Tensor::zeros([chunks, lanes], (Kind::Int64, self.device));
        for chunk in 0..chunks {
            let start = chunk * CHUNK;
            let len = CHUNK.min(samples - start);
            let index =
                Tensor::arange_start(start, start + len, (Kind::Int64, self.device)).unsqueeze(0);
            let index = index.expand([lanes, len], false);
            let (input, labels) = batches::gather(split, &index, self.lanes(), self.channels_last)?;
            let logits = self.forward(parameters, statistics, &input, Mode::Eval)?;
            let logits = logits.view([lanes, len, -1]);
            shim::cross_entropy_value(
                &logits,
                &labels,
                0.0,
                &losses.select(0, chunk),
                &correct.select(0, chunk),
            )?;
        }
        let (losses, correct) = (
            losses.to_device(tch::Device::Cpu),
            correct.to_device(tch::Device::Cpu),
        );
        let evaluate = |lane| {
            let loss: f64 = (0..chunks).map(|c| losses.double_value(&[c, lane])).sum();
            let correct: i64 = (0..chunks).map(|c| correct.int64_value(&[c, lane])).sum();
            Evaluation {
                loss: loss / samples as f64,
                accuracy: correct as f64 / samples as f64,
                correct: correct as u64,
                samples: samples as u64,
            }
        };
        Ok((0..lanes).map(evaluate).collect())
    }
}
