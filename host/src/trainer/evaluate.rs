//! Loss and accuracy of a split.

use plugin_api::schemars::{self, JsonSchema};
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::command::{Command, Letter};
use super::metrics::Tally;
use super::pass::{Log, Pass};
use super::{Snapshot, Tested, TrainError, Trainer};
use crate::ranks::{Ranks, Told};

/// Samples that are evaluated together.
pub(super) const CHUNK: i64 = 1000;

/// A split of the data.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum On {
    /// The samples that are trained on, without augmentation.
    Train,
    /// The samples that are not.
    #[default]
    Test,
    /// Those of the training samples that are held out, where the experiment asks for it.
    Validation,
}

/// Loss and accuracy of a split.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evaluation {
    /// Mean loss, without label smoothing and what a teacher says.
    pub loss: f64,
    /// Share of the samples that are right: classified rightly, or within 0.1 of a target that is a
    /// number. Where a sample has several targets, at positions or as labels, each counts.
    pub accuracy: f64,
    /// Number of samples, or of their targets, that are right.
    pub correct: u64,
    /// Number of samples, or of their targets.
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
            let (flat, statistics) = self.lay_out(points)?;
            let evaluated = self.evaluate_lanes(&flat, &statistics, on, &mut [], &|| false)?;
            evaluations.extend(evaluated.into_iter().flatten());
        }
        Ok(evaluations)
    }

    /// Loss, accuracy and the experiment's metrics of a stored point on the test samples.
    ///
    /// # Errors
    /// If the point is another network's.
    pub fn test(&self, point: &Snapshot) -> Result<Tested, TrainError> {
        let (flat, statistics) = self.lay_out(std::slice::from_ref(point))?;
        let tested = self.test_lanes(&flat, &statistics, &|| false)?;
        let one = tested.and_then(|mut all| all.pop());
        one.ok_or_else(|| TrainError::ReadBack("nothing was evaluated".to_owned()))
    }

    /// Right answers of outputs that were computed elsewhere, and the targets that they were for.
    ///
    /// # Shapes
    /// `samples`: `[n]`, i64, on the data's device; `outputs`: `[n, ...]`, theirs.
    ///
    /// # Errors
    /// If the outputs are not of the targets' shape.
    pub fn right(
        &self,
        on: On,
        samples: &Tensor,
        outputs: &Tensor,
    ) -> Result<(u64, u64), TrainError> {
        let zero = |kind| Tensor::zeros([1], (kind, self.device));
        let (loss, right) = (zero(Kind::Double), zero(Kind::Int64));
        let targets = self.split(on)?.labels_at(samples).unsqueeze(0);
        let outputs = outputs.contiguous().unsqueeze(0);
        self.objective()
            .compare(&outputs, &targets, &loss, &right)?;
        let all = samples.numel() as u64 * self.targets_a_sample();
        Ok((right.int64_value(&[0]) as u64, all))
    }

    /// Loss, accuracy and metrics of lanes `[lanes, width]` on the test samples, in one pass; none if `stop`
    /// came true meanwhile.
    pub(super) fn test_lanes(
        &self,
        flat: &Tensor,
        statistics: &[Tensor],
        stop: &dyn Fn() -> bool,
    ) -> Result<Option<Vec<Tested>>, TrainError> {
        let data = &self.data;
        let tally = |_| Tally::new(&self.metrics, self.targets, data.classes, &data.test);
        let mut tallies: Vec<Tally> = match self.metrics.is_empty() {
            true => Vec::new(),
            false => (0..flat.size()[0]).map(tally).collect(),
        };
        let evaluated = self.evaluate_lanes(flat, statistics, On::Test, &mut tallies, stop)?;
        let mut tallies = tallies.into_iter();
        Ok(evaluated.map(|all| {
            let with_metrics = |evaluation| Tested {
                evaluation,
                metrics: (tallies.next())
                    .map_or_else(Default::default, |tally| tally.finish(&self.metrics)),
            };
            all.into_iter().map(with_metrics).collect()
        }))
    }

    /// Points as the forward pass takes them: the flat buffer and the running statistics.
    pub(super) fn lay_out(&self, points: &[Snapshot]) -> Result<(Tensor, Vec<Tensor>), TrainError> {
        let lanes = points.len() as i64;
        let shape = [lanes, self.layout.width()];
        let flat = Tensor::zeros(shape, (Kind::Float, self.device));
        let statistics = self.layout.new_statistics(lanes, self.device);
        for (lane, point) in (0..).zip(points) {
            let statistics = self.layout.lane_statistics(&statistics, lane);
            self.layout
                .load(point, &flat.select(0, lane), &statistics)?;
        }
        Ok((flat, statistics))
    }

    /// Loss and accuracy of lanes `[lanes, width]`; none if `stop` came true meanwhile. There is a tally for
    /// each lane, or none at all.
    pub(super) fn evaluate_lanes(
        &self,
        flat: &Tensor,
        statistics: &[Tensor],
        on: On,
        tallies: &mut [Tally],
        stop: &dyn Fn() -> bool,
    ) -> Result<Option<Vec<Evaluation>>, TrainError> {
        let _no_grad = tch::no_grad_guard();
        let mut pass = Pass::new(self, (flat, statistics), on, (0, 1))?;
        let log = Log::new(&pass);
        for chunk in 0..pass.chunks {
            if stop() {
                return Ok(None);
            }
            pass.chunk(chunk, &log, tallies)?;
        }
        Ok(Some(pass.sum(&log)))
    }

    /// The same by all ranks, each of which computes chunks in turn; of all but rank 0 it is nothing.
    pub(super) fn evaluate_together(
        &self,
        flat: &Tensor,
        statistics: &[Tensor],
        on: On,
        ranks: &Ranks,
        stop: &dyn Fn() -> bool,
    ) -> Result<Option<Vec<Evaluation>>, TrainError> {
        self.tell(Command::Evaluate(on))?;
        let _no_grad = tch::no_grad_guard();
        let turn = (ranks.rank() as i64, ranks.count() as i64);
        let mut pass = Pass::new(self, (flat, statistics), on, turn)?;
        let log = Log::new(&pass);
        let count = ranks.count() as i64;
        let mut first = 0;
        while first < pass.chunks {
            let goes_on = match ranks.leads() {
                true => {
                    let goes_on = !stop();
                    self.tell(if goes_on {
                        Command::Next
                    } else {
                        Command::Halt
                    })?;
                    goes_on
                }
                false => match ranks.hear()? {
                    Told::Words(words) => {
                        Letter::received(words).read::<Command>()? == Command::Next
                    }
                    Told::Leave(_) => false,
                },
            };
            if !goes_on {
                return Ok(None);
            }
            let own = first + ranks.rank() as i64;
            if own < pass.chunks {
                pass.chunk(own, &log, &mut [])?;
                if !ranks.leads() {
                    ranks.answer(log.of(own)?.bytes())?;
                }
            }
            if ranks.leads() {
                for rank in 1..ranks.count() {
                    let chunk = first + rank as i64;
                    if chunk < pass.chunks {
                        log.take(chunk, Letter::received(ranks.answer_of(rank)?))?;
                    }
                }
            }
            first += count;
        }
        Ok(Some(pass.sum(&log)))
    }

    /// Adds outputs `[lanes, batch, ...]` and their targets to the lanes' tallies.
    pub(super) fn count(
        &self,
        tallies: &mut [Tally],
        outputs: &Tensor,
        targets: &Tensor,
    ) -> Result<(), TrainError> {
        if tallies.is_empty() {
            return Ok(());
        }
        let (rows, targets) = (
            self.targets.rows(outputs)?,
            self.targets.target_rows(targets),
        );
        for (lane, tally) in (0..).zip(tallies) {
            tally.add(&rows.select(0, lane), &targets.select(0, lane));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tch::Reduction;

    use super::*;
    use crate::model::Mode;
    use crate::trainer::testing::{conv_trainer, start};

    #[test]
    fn equals_a_plain_loop_over_the_samples() {
        let trainer = conv_trainer(json!({"label_smoothing": 0.1}));
        let mut session = trainer.session(vec![start(&trainer, 1)]).unwrap();
        for _ in 0..4 {
            session.step().unwrap();
        }
        let point = session.snapshot(0).unwrap();
        for on in [On::Train, On::Test] {
            let split = trainer.split(on).unwrap();
            let (mut loss, mut correct) = (0.0, 0);
            for i in 0..split.len() {
                let tensors: Vec<Tensor> = point.tensors.iter().map(|(_, t)| t.copy()).collect();
                let (parameters, statistics) = tensors.split_at(tensors.len() - 4);
                let input = split.inputs.tensor().unwrap().narrow(0, i, 1);
                let logits = trainer
                    .network
                    .forward(parameters, statistics, &input, Mode::Eval);
                let label = split.labels.narrow(0, i, 1);
                let sample =
                    logits.cross_entropy_loss::<Tensor>(&label, None, Reduction::Mean, -100, 0.0);
                loss += sample.double_value(&[]);
                correct += u64::from(logits.argmax(1, false) == label);
            }
            let got = trainer.evaluate(std::slice::from_ref(&point), on).unwrap()[0];
            assert_eq!((got.correct, got.samples), (correct, split.len() as u64));
            assert!((got.loss - loss / split.len() as f64).abs() < 1e-5);
            assert_eq!(session.evaluate(on).unwrap(), [got]);
        }
    }
}
