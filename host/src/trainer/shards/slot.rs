//! One shard under way.

use kernels::{Lanes, Perceptron, Rows, Samples, Survivors, Taps, shim};
use tch::{Device, Kind, Tensor};

use super::bundle::Bundle;
use crate::experiment::Precision;
use crate::model::{Keys, Mode, Network, StepKey};
use crate::trainer::compact::{self, Compact, Tensors};
use crate::trainer::objective::Objective;
use crate::trainer::{TrainError, in_precision, products_of};

/// What a shard is computed with, reused from step to step.
pub(super) struct Slot {
    /// Detached views of the weights with `requires_grad`, as the network takes them.
    pub leaves: Vec<Tensor>,
    /// `[lanes, width]`: the weights.
    pub weights: Tensor,
    /// The running statistics before the step, which are the session's.
    pub before: Vec<Tensor>,
    /// The running statistics, as the network takes them, which the shard moves.
    pub statistics: Vec<Tensor>,
    /// The survivors of convolutions that are computed at them.
    pub taps: Option<Vec<Option<Taps>>>,
    /// What is left of a network that lost units.
    pub compact: Option<Compact>,
    /// What takes the place of autograd, where it is not needed.
    pub perceptron: Option<Perceptron>,
    /// `[lanes]`, f64: sum of the losses of the shard's samples.
    pub losses: Tensor,
    /// `[lanes]`, i64: how many of them are right.
    pub right: Tensor,
}

/// What all shards of a step have in common.
#[derive(Clone, Copy)]
pub(super) struct Common<'a> {
    pub network: &'a dyn Network,
    pub objective: Objective<'a>,
    pub precision: Precision,
    pub device: Device,
    pub with_lanes: bool,
    /// Of a perceptron that is trained without autograd.
    pub survivors: &'a [Vec<Option<Survivors>>],
}

/// The samples of a shard.
pub(super) enum Work {
    /// For autograd.
    Graph {
        input: Tensor,
        targets: Tensor,
        taught: Option<Tensor>,
    },
    /// For the kernels: all training samples and the index `[lanes, batch]`.
    Rows {
        inputs: Tensor,
        table: Option<Tensor>,
        targets: Tensor,
        index: Tensor,
    },
    /// For the kernels: samples `[lanes * batch, ...]` that were made for this step, a lane's after another's.
    Made {
        inputs: Tensor,
        targets: Tensor,
        count: i64,
    },
}

/// A shard of a step.
pub(super) struct Job<'a> {
    pub slot: &'a mut Slot,
    pub bundle: Bundle,
    pub work: Work,
    pub keys: Vec<StepKey>,
    /// Its share of the batch's samples.
    pub share: f64,
}

impl Job<'_> {
    /// Computes the shard's gradient, as if alone, times its share of the batch.
    pub fn run(mut self, common: Common<'_>) -> Result<Bundle, TrainError> {
        let _each = shim::EveryCast::enter();
        for (own, before) in self.slot.statistics.iter().zip(&self.slot.before) {
            own.shallow_clone().copy_(before);
        }
        match &self.work {
            Work::Graph {
                input,
                targets,
                taught,
            } => {
                let (slot, bundle) = (&*self.slot, &self.bundle);
                let own = Tensors {
                    leaves: &slot.leaves,
                    slopes: &bundle.slopes,
                    statistics: &slot.statistics,
                };
                let _products = products_of(common.precision, common.device);
                compact::around(slot.compact.as_ref(), own, |tensors| {
                    let (leaves, statistics) = (tensors.leaves, tensors.statistics);
                    let logits = tch::with_grad(|| {
                        let mode = Mode::Train(Keys::of(&self.keys));
                        match &slot.taps {
                            Some(taps) => Ok(common
                                .network
                                .forward_at_survivors(leaves, statistics, input, mode, taps)),
                            None => in_precision(common.precision, common.device, || {
                                common.network.forward(leaves, statistics, input, mode)
                            }),
                        }
                    })?;
                    let _no_grad = tch::no_grad_guard();
                    let scores = match common.with_lanes {
                        true => logits.detach(),
                        false => logits.detach().unsqueeze(0),
                    };
                    let taught = taught.as_ref();
                    let (losses, right) = (&slot.losses, &slot.right);
                    let mut slope = common
                        .objective
                        .differentiate(&scores, targets, taught, losses, right)?;
                    // Weighted before the backward pass: synchronised batch norms add up over shards.
                    let _ = slope.g_mul_scalar_(self.share);
                    let slope = slope.view_as(&logits);
                    Ok(shim::backward(
                        &logits,
                        &slope,
                        leaves,
                        tensors.slopes,
                        common.with_lanes,
                    )?)
                })?;
            }
            work => {
                self.slot.by_hand(common, work, &mut self.bundle)?;
                let _ = self.bundle.gradients.g_mul_scalar_(self.share);
            }
        }
        let statistics = self.slot.statistics.iter().zip(&self.slot.before);
        for (moves, (after, before)) in self.bundle.moves.iter().zip(statistics) {
            let moved = (after - before) * self.share;
            moves.shallow_clone().copy_(&moved);
        }
        Ok(self.bundle)
    }
}

impl Slot {
    /// A shard of a perceptron, without autograd.
    fn by_hand(
        &mut self,
        common: Common<'_>,
        work: &Work,
        bundle: &mut Bundle,
    ) -> Result<(), TrainError> {
        let samples = match work {
            Work::Rows {
                inputs,
                table,
                targets,
                index,
            } => Samples {
                inputs,
                table: table.as_ref(),
                targets,
                rows: Rows::Listed(index),
            },
            Work::Made {
                inputs,
                targets,
                count,
            } => Samples {
                inputs,
                table: None,
                targets,
                rows: Rows::Own(*count),
            },
            // Of a network that is trained with autograd.
            Work::Graph { .. } => return Ok(()),
        };
        let Some(perceptron) = &mut self.perceptron else {
            return Ok(());
        };
        let each = |it: &Tensor| match common.with_lanes {
            true => it.shallow_clone(),
            false => it.unsqueeze(0),
        };
        let statistics: Vec<Tensor> = self.statistics.iter().map(each).collect();
        let lanes = Lanes {
            weights: &self.weights,
            statistics: &statistics,
            survivors: common.survivors,
        };
        let loss = common.objective.by_hand(common.objective.smoothing);
        let results = [&self.losses, &self.right];
        Ok(perceptron.step(lanes, &mut bundle.gradients, samples, loss, results)?)
    }

    /// Room for the results of one shard.
    pub fn results(lanes: i64, device: Device) -> [Tensor; 2] {
        [Kind::Double, Kind::Int64].map(|kind| Tensor::zeros([lanes], (kind, device)))
    }
}
