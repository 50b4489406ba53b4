//! Gradients and Hessian-vector products for strategies.

use plugin_api::Loss;
use tch::{Kind, Reduction, Tensor};

use super::layout::row_major;
use super::targets::Targets;
use super::{Snapshot, TrainError, Trainer};
use crate::experiment::PlainLoss;
use crate::model::{Keys, Mode};
use crate::rng::Stream;
use crate::samples::InputType;

/// The inputs that a gradient is taken over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Samples {
    /// Training samples, computed in batches of the experiment's size and averaged over all of them.
    Training(Vec<i64>),
    /// One input of ones.
    Ones,
}

/// A gradient of the mean loss at a masked point, in fp32 or fp64 whatever is trained in. Running
/// statistics stay as they are; nothing is augmented or dropped out.
#[derive(Clone, Debug, PartialEq)]
pub struct GradientRequest {
    /// Which function: with `CrossEntropy` the training loss, label smoothing included, without what a
    /// teacher says; half the mean square or the binary cross-entropy where that is what is trained.
    pub loss: Loss,
    /// Over which inputs.
    pub samples: Samples,
    /// Whether all parameters are replaced by their absolute values first.
    pub on_absolute_weights: bool,
    /// Whether batch norm uses its running statistics.
    pub eval_mode: bool,
    /// What the outputs are divided by before the cross-entropy.
    pub temperature: f64,
    /// Whether it is computed and given in fp64.
    pub double_precision: bool,
    /// Whether pruned weights have gradients too; else theirs are 0.
    pub dense: bool,
}

impl GradientRequest {
    /// What a component asks for, over these inputs.
    pub fn of(request: &plugin_api::GradientRequest, samples: Samples) -> Self {
        Self {
            loss: request.loss,
            samples,
            on_absolute_weights: request.on_absolute_weights,
            eval_mode: request.eval_mode,
            temperature: request.temperature,
            double_precision: request.double_precision,
            dense: true,
        }
    }
}

/// What is computed at once of a request.
struct Chunk {
    /// Training samples, or an input of ones.
    index: Option<Vec<i64>>,
    /// Share of all samples.
    share: f64,
}

impl Trainer {
    /// This many batches of random training samples, each sample at most once while there are others.
    pub fn random_samples(&self, batches: u64, stream: &mut Stream) -> Samples {
        let total = self.data.train.len() as usize;
        let wanted = (batches.saturating_mul(self.batch_size)) as usize;
        let mut samples = Vec::new();
        while samples.len() < wanted {
            let more = wanted - samples.len();
            samples.extend(stream.permutation(total).into_iter().take(more));
        }
        Samples::Training(samples)
    }

    /// All training samples, in their order.
    pub fn all_samples(&self) -> Samples {
        Samples::Training((0..self.data.train.len()).collect())
    }

    /// One gradient for each prunable layer, in PyTorch's layout.
    ///
    /// # Errors
    /// If the point or mask is another network's, or a batch norm would see one sample.
    pub fn gradients(
        &self,
        point: &Snapshot,
        mask: &[Tensor],
        request: &GradientRequest,
    ) -> Result<Vec<Tensor>, TrainError> {
        self.accumulate(point, mask, request, |loss, leaves| {
            defined(Tensor::run_backward(&[loss], leaves, false, false), leaves)
        })
    }

    /// The Hessian of the same loss times `vectors` (one for each prunable layer), in the same form.
    ///
    /// # Errors
    /// As [`gradients`](Trainer::gradients), or if a vector has another shape than its layer.
    pub fn hessian_vector(
        &self,
        point: &Snapshot,
        mask: &[Tensor],
        vectors: &[Tensor],
        request: &GradientRequest,
    ) -> Result<Vec<Tensor>, TrainError> {
        if vectors.len() != self.layers().len() {
            return Err(TrainError::Gradients(format!(
                "{} vectors, expected {}: one for each prunable layer",
                vectors.len(),
                self.layers().len()
            )));
        }
        for (layer, vector) in self.layers().iter().zip(vectors) {
            if vector.size() != layer.shape {
                return Err(TrainError::Shape {
                    name: layer.name.clone(),
                    got: vector.size(),
                    expected: layer.shape.clone(),
                });
            }
        }
        self.accumulate(point, mask, request, |loss, leaves| {
            let slopes = defined(Tensor::run_backward(&[loss], leaves, true, true), leaves);
            let dots = slopes.iter().zip(vectors).zip(leaves);
            let dot = dots
                .map(|((slope, vector), leaf)| (slope * vector.view_as(leaf)).sum(leaf.kind()))
                .reduce(|sum, next| sum + next);
            match dot {
                Some(dot) if dot.requires_grad() => {
                    defined(Tensor::run_backward(&[&dot], leaves, false, false), leaves)
                }
                // The loss is linear in the weights.
                _ => leaves.iter().map(Tensor::zeros_like).collect(),
            }
        })
    }

    /// Averages over the samples what `differentiate` makes of the loss and the prunable weights.
    fn accumulate(
        &self,
        point: &Snapshot,
        mask: &[Tensor],
        request: &GradientRequest,
        differentiate: impl Fn(&Tensor, &[Tensor]) -> Vec<Tensor>,
    ) -> Result<Vec<Tensor>, TrainError> {
        let options = (Kind::Float, self.device);
        let flat = Tensor::zeros([1, self.layout.width()], options);
        let mask_flat = flat.zeros_like();
        self.layout.pack_masks(&mask_flat.select(0, 0), mask)?;
        let initial = self.layout.new_statistics(1, self.device);
        let views = self.layout.lane_statistics(&initial, 0);
        self.layout.load(point, &flat.select(0, 0), &views)?;
        let off = mask_flat.eq(0.0);
        let flat = flat.masked_fill(&off, 0.0);
        let flat = if request.on_absolute_weights {
            flat.abs()
        } else {
            flat
        };
        let kind = match request.double_precision {
            true => Kind::Double,
            false => Kind::Float,
        };
        let parameters = self.layout.views(&flat.to_kind(kind));
        let parameters: Vec<Tensor> = parameters.iter().map(Tensor::detach).collect();
        let prunable = self.layout.prunable_indices();
        let leaves: Vec<Tensor> = prunable
            .iter()
            .map(|&i| parameters[i].set_requires_grad(true))
            .collect();
        let mode = if request.eval_mode {
            Mode::Eval
        } else {
            Mode::Train(Keys::NONE)
        };
        let mut sums: Option<Vec<Tensor>> = None;
        for Chunk { index, share } in self.chunks(request)? {
            let statistics = initial.iter();
            let statistics: Vec<Tensor> = statistics.map(|it| it.to_kind(kind).copy()).collect();
            let (input, labels) = match index {
                Some(index) => {
                    let index = Tensor::from_slice(&index)
                        .to_device(self.device)
                        .unsqueeze(0);
                    self.batch(&self.data.train, &index)?
                }
                None if self.data.input_type == InputType::Tokens => {
                    return Err(TrainError::Gradients(
                        "the network takes tokens, of which there are no ones: ask for training samples"
                            .to_owned(),
                    ));
                }
                None => {
                    let shape = [&[1], &self.data.input_shape[..]].concat();
                    let ones = Tensor::ones(&shape[..], options);
                    let input = self.arrange(ones, 1)?;
                    let shape = [&[1, 1], &self.data.train.labels.size()[1..]].concat();
                    (input, Tensor::zeros(&shape[..], (Kind::Int64, self.device)))
                }
            };
            let found = tch::with_grad(|| {
                let input = match self.data.input_type {
                    InputType::Numbers => input.to_kind(kind),
                    InputType::Tokens => input.shallow_clone(),
                };
                let logits = self.network.forward(&parameters, &statistics, &input, mode);
                let loss = self.loss(request, &logits, &labels);
                differentiate(&loss, &leaves)
            });
            let _no_grad = tch::no_grad_guard();
            sums = Some(match sums {
                None if share == 1.0 => found,
                None => found.iter().map(|slope| slope * share).collect(),
                Some(sums) => {
                    let pairs = sums.iter().zip(&found);
                    pairs.map(|(sum, slope)| sum + slope * share).collect()
                }
            });
        }
        let off = self.layout.prunable(&off.select(0, 0));
        let finish = |((layer, slope), off): ((&plugin_api::Layer, Tensor), Tensor)| {
            let slope = row_major(&slope.view(&layer.shape[..]));
            if request.dense {
                slope
            } else {
                slope.masked_fill(&off, 0.0)
            }
        };
        let sums = sums.unwrap_or_default();
        Ok(self
            .layers()
            .iter()
            .zip(sums)
            .zip(off)
            .map(finish)
            .collect())
    }

    /// The batches of a request.
    fn chunks(&self, request: &GradientRequest) -> Result<Vec<Chunk>, TrainError> {
        let normalised = !request.eval_mode && !self.layout.buffers().is_empty();
        let lone = "one sample has no variance for the batch norm: ask for evaluation mode or more samples";
        let refuse = |reason: &str| Err(TrainError::Gradients(reason.to_owned()));
        let Samples::Training(samples) = &request.samples else {
            return if normalised && self.needs_two {
                refuse(lone)
            } else {
                Ok(vec![Chunk {
                    index: None,
                    share: 1.0,
                }])
            };
        };
        let total = self.data.train.len();
        if let Some(out) = samples.iter().find(|&&i| !(0..total).contains(&i)) {
            return refuse(&format!(
                "sample {out} is not one of {total} training samples"
            ));
        }
        match samples.len() {
            0 => return refuse("no sample to take them over"),
            1 if normalised && self.needs_two => return refuse(lone),
            _ => {}
        }
        let mut batches: Vec<Vec<i64>> = samples
            .chunks(self.batch_size as usize)
            .map(<[i64]>::to_vec)
            .collect();
        // A last batch of one sample joins the one before it.
        if normalised
            && let Some(last) = batches.pop_if(|last| last.len() == 1)
            && let Some(before) = batches.last_mut()
        {
            before.extend(last);
        }
        let chunk = |batch: Vec<i64>| Chunk {
            share: batch.len() as f64 / samples.len() as f64,
            index: Some(batch),
        };
        Ok(batches.into_iter().map(chunk).collect())
    }

    fn loss(&self, request: &GradientRequest, logits: &Tensor, labels: &Tensor) -> Tensor {
        let samples = labels.size()[..2].iter().product::<i64>();
        let rows = match self.targets {
            Targets::Positions => logits.transpose(-1, -2).flatten(0, -2),
            _ => logits.reshape([samples, -1]),
        };
        let kind = rows.kind();
        match (request.loss, self.targets.loss()) {
            (Loss::CrossEntropy, PlainLoss::Mse) => {
                let targets = labels.reshape([samples, 1]).to_kind(kind);
                (rows - targets).square().mean(kind) * 0.5
            }
            (Loss::CrossEntropy, PlainLoss::BinaryCrossEntropy) => {
                let targets = labels.view_as(&rows).to_kind(kind);
                (rows / request.temperature).binary_cross_entropy_with_logits::<Tensor>(
                    &targets,
                    None,
                    None,
                    Reduction::Mean,
                )
            }
            (Loss::CrossEntropy, PlainLoss::CrossEntropy) => (rows / request.temperature)
                .cross_entropy_loss::<Tensor>(
                    &labels.reshape([-1]),
                    None,
                    Reduction::Mean,
                    -100,
                    self.label_smoothing,
                ),
            (Loss::SumOfOutputs, _) => rows.sum(kind) / samples as f64,
        }
    }
}

/// Zeros for weights that the loss does not depend on.
fn defined(slopes: Vec<Tensor>, leaves: &[Tensor]) -> Vec<Tensor> {
    let or_zeros = |(slope, leaf): (Tensor, &Tensor)| {
        if slope.defined() {
            slope
        } else {
            leaf.zeros_like()
        }
    };
    slopes.into_iter().zip(leaves).map(or_zeros).collect()
}

#[cfg(test)]
mod tests;
