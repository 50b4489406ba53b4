//! The loss that is trained, over every lane.

use kernels::cuda::Kernels;
use kernels::cuda::passes::{SampleLosses, cross_entropy};
use kernels::shim::{self, ShimError};
use kernels::{Loss, losses};
use tch::{Kind, Tensor};

use super::targets::Targets;
use super::{TrainError, Trainer};
use crate::data::Dataset;
use crate::experiment::{Distillation, PlainLoss, TrainLoss};

/// An output this near to a target that is a number counts as right.
pub(super) const TOLERANCE: f64 = 0.1;

/// Fails if the loss is not for the targets of these data.
pub(super) fn check(loss: &TrainLoss, targets: Targets, data: &Dataset) -> Result<(), TrainError> {
    let fits = match loss {
        TrainLoss::Plain(loss) => *loss == targets.loss(),
        TrainLoss::Distillation(_) => targets.has_classes(),
    };
    if fits {
        return Ok(());
    }
    Err(TrainError::Targets {
        loss: loss.name(),
        dataset: data.name.clone(),
        targets: targets.words(),
        expected: targets.loss().name(),
    })
}

/// What is made small, of outputs and targets. It holds no tensor: threads share it.
#[derive(Clone, Copy)]
pub(super) struct Objective<'a> {
    /// What the targets are.
    pub targets: Targets,
    /// The loss.
    pub loss: &'a TrainLoss,
    /// Share of the target probability spread over all classes.
    pub smoothing: f64,
    /// What computes cross-entropies in libtorch's place.
    pub kernels: Option<&'a Kernels>,
}

impl Objective<'_> {
    /// Writes a batch's summed losses and right answers, and returns the gradient of the lanes' mean
    /// losses with respect to the outputs. With several targets a sample all of them count alike.
    ///
    /// # Shapes
    /// `outputs`: `[lanes, batch, ...]`, `targets`: `[lanes, batch, ...]`, as [`Targets`] says; `taught`, what a
    /// teacher says: like `outputs`; `losses` and `right`: `[lanes]`; result: like `outputs`.
    pub fn differentiate(
        &self,
        outputs: &Tensor,
        targets: &Tensor,
        taught: Option<&Tensor>,
        losses: &Tensor,
        right: &Tensor,
    ) -> Result<Tensor, ShimError> {
        let rows = self.targets.rows(outputs)?;
        let targets = self.targets.target_rows(targets);
        let slope = match (self.loss, taught) {
            (TrainLoss::Distillation(how), Some(taught)) => {
                let taught = self.targets.rows(taught)?;
                let how = self.taught_so(how);
                losses::distillation(&rows, &taught, &targets, how, losses, right)
            }
            (TrainLoss::Plain(PlainLoss::CrossEntropy) | TrainLoss::Distillation(_), _) => {
                match self.kernels {
                    Some(kernels) => {
                        by_kernels(kernels, &rows, &targets, self.smoothing, losses, right)
                    }
                    None => shim::cross_entropy(&rows, &targets, self.smoothing, losses, right),
                }
            }
            (TrainLoss::Plain(PlainLoss::BinaryCrossEntropy), _) => {
                losses::binary_cross_entropy(&rows, &targets, losses, right)
            }
            (TrainLoss::Plain(PlainLoss::Mse), _) => {
                shim::half_square(&rows, &targets, TOLERANCE, losses, right)
            }
        }?;
        Ok(self.targets.like_outputs(slope, outputs))
    }

    /// The same without a gradient, without label smoothing and without a teacher, for evaluation.
    pub fn compare(
        &self,
        outputs: &Tensor,
        targets: &Tensor,
        losses: &Tensor,
        right: &Tensor,
    ) -> Result<(), ShimError> {
        let rows = self.targets.rows(outputs)?;
        let targets = self.targets.target_rows(targets);
        match self.loss {
            TrainLoss::Plain(PlainLoss::CrossEntropy) | TrainLoss::Distillation(_) => {
                shim::cross_entropy_value(&rows, &targets, 0.0, losses, right)
            }
            TrainLoss::Plain(PlainLoss::BinaryCrossEntropy) => {
                losses::binary_cross_entropy_value(&rows, &targets, losses, right)
            }
            TrainLoss::Plain(PlainLoss::Mse) => {
                shim::half_square_value(&rows, &targets, TOLERANCE, losses, right)
            }
        }
    }

    fn taught_so(&self, how: &Distillation) -> losses::Distillation {
        losses::Distillation {
            temperature: how.temperature,
            alpha: how.alpha,
            smoothing: self.smoothing,
        }
    }

    /// What the kernels of perceptrons take.
    pub fn by_hand(&self, smoothing: f64) -> Loss {
        Loss {
            numbers: *self.loss == TrainLoss::Plain(PlainLoss::Mse),
            smoothing,
            tolerance: TOLERANCE,
        }
    }
}

/// The cross-entropy of [`shim::cross_entropy`], by kernels.
fn by_kernels(
    kernels: &Kernels,
    rows: &Tensor,
    targets: &Tensor,
    smoothing: f64,
    losses: &Tensor,
    right: &Tensor,
) -> Result<Tensor, ShimError> {
    let scores = rows.to_kind(Kind::Float).contiguous();
    let (lanes, batch) = (targets.size()[0], targets.size()[1]);
    let samples = SampleLosses::new(lanes, batch, scores.device());
    let slope = scores.empty_like();
    cross_entropy(
        &**kernels,
        &scores,
        &targets.contiguous(),
        smoothing,
        &samples,
        losses,
        right,
        Some(&slope),
    )
    .map_err(|error| ShimError::new(error.to_string()))?;
    Ok(slope.to_kind(rows.kind()))
}

impl Trainer {
    /// What is made small.
    pub(super) fn objective(&self) -> Objective<'_> {
        Objective {
            targets: self.targets,
            loss: &self.loss,
            smoothing: self.label_smoothing,
            kernels: self.kernels.as_ref(),
        }
    }

    /// Targets of a sample: several where each position or label has one.
    pub(super) fn targets_a_sample(&self) -> u64 {
        let shape = self.data.train.labels.size();
        shape[1..].iter().product::<i64>() as u64
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tch::Device;

    use super::*;
    use crate::data::{DataContext, load};
    use crate::experiment::Train;
    use crate::model::MODELS;
    use crate::registry::find;
    use crate::trainer::testing::start;
    use crate::trainer::{GradientRequest, LaneStart, On, Samples};

    fn trainer(dataset: &str, model: &str, loss: &str) -> Result<Trainer, TrainError> {
        let context = DataContext {
            data_dir: "no-such-folder".into(),
            device: Device::Cpu,
        };
        let data = load(dataset, &Default::default(), &context).unwrap();
        let spec = data.spec();
        let network = (find(MODELS, model).unwrap().build)(&Default::default(), &spec).unwrap();
        let train: Train = serde_json::from_value(json!({
            "epochs": 3, "batch_size": 1000, "loss": loss,
            "optimizer": { "name": "sgd", "lr": 0.2, "momentum": 0.0 },
        }))
        .unwrap();
        Trainer::new(network, &train, data, Device::Cpu)
    }

    #[test]
    fn a_loss_for_other_targets_is_refused() {
        let message =
            |dataset, model, loss| trainer(dataset, model, loss).err().unwrap().to_string();
        let classes = message("mnist1d", "mlp", "mse");
        assert!(
            classes.contains("`mnist1d` are classes: expected \"cross-entropy\""),
            "{classes}"
        );
        let numbers = message("hidden-neuron", "hidden-neuron", "cross-entropy");
        assert!(
            numbers.contains("are numbers: expected \"mse\""),
            "{numbers}"
        );
    }

    #[test]
    fn steps_and_records_are_plain_gradient_descents_on_half_the_mean_square() {
        let trainer = trainer("hidden-neuron", "hidden-neuron", "mse").unwrap();
        let dense = |seed| LaneStart {
            mask: trainer.dense_mask(),
            ..start(&trainer, seed)
        };
        let starts = vec![dense(1), dense(2)];
        let mut session = trainer.session(starts).unwrap();
        for epoch in 0..3 {
            let before: Vec<_> = [0, 1].map(|lane| session.snapshot(lane).unwrap()).into();
            let evaluated = session.evaluate(On::Train).unwrap();
            session.step().unwrap();
            let records = session.finish_epoch().unwrap();
            for lane in [0usize, 1] {
                let get = |name: &str| {
                    let stored = before[lane].get(name).unwrap();
                    stored.to_kind(Kind::Double).set_requires_grad(true)
                };
                let leaves = [get("fc1.weight"), get("fc2.weight")];
                let split = &trainer.data().train;
                let x = split.inputs.tensor().unwrap().to_kind(Kind::Double);
                let output = x
                    .matmul(&leaves[0].tr())
                    .relu()
                    .matmul(&leaves[1].tr())
                    .squeeze();
                let distance = output - split.labels.to_kind(Kind::Double);
                let loss = distance.square().mean(Kind::Double) * 0.5;
                let right = distance.abs().le(0.1).sum(Kind::Double).double_value(&[]) / 1000.0;
                let record = &records[lane];
                assert_eq!(record.epoch, epoch);
                assert!((record.loss - loss.double_value(&[])).abs() < 1e-6);
                assert!((record.accuracy - right).abs() < 1e-12);
                assert!((evaluated[lane].loss - record.loss).abs() < 1e-6);
                assert_eq!(evaluated[lane].correct as f64 / 1000.0, record.accuracy);
                let slopes = Tensor::run_backward(&[&loss], &leaves, false, false);
                let after = session.snapshot(lane).unwrap();
                let names = ["fc1.weight", "fc2.weight"];
                for ((name, leaf), slope) in names.iter().zip(&leaves).zip(&slopes) {
                    let expected = leaf.detach() - slope * 0.2;
                    let error = (after.get(name).unwrap() - expected).abs().max();
                    assert!(error.double_value(&[]) < 1e-6, "{name}");
                }
                let request = GradientRequest {
                    loss: plugin_api::Loss::CrossEntropy,
                    samples: Samples::Training((0..1000).collect()),
                    on_absolute_weights: false,
                    eval_mode: true,
                    temperature: 1.0,
                    double_precision: false,
                    dense: true,
                };
                let asked = trainer
                    .gradients(&before[lane], &trainer.dense_mask(), &request)
                    .unwrap();
                assert_eq!(asked.len(), 1, "only the input weights are prunable");
                assert!((&asked[0] - &slopes[0]).abs().max().double_value(&[]) < 1e-6);
            }
        }
    }
}
