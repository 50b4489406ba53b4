//! Gradients of a batch by autograd.

use kernels::{Taps, shim};
use tch::Tensor;

use super::compact::{self, Compact, Tensors};
use super::lanes::Lane;
use super::{TrainError, Trainer, products_of};
use crate::model::{Keys, Mode};
use crate::optimizer::Buffers;

/// What gradients are computed of, and where they and what the samples come to are written.
pub(super) struct Differentiation<'a> {
    /// Inputs as the network takes them, labels `[lanes, batch, ...target_shape]`.
    pub batch: (Tensor, Tensor),
    pub keys: Keys<'a>,
    pub lanes: &'a [Lane],
    pub tensors: Tensors<'a>,
    pub compact: Option<&'a Compact>,
    pub taps: Option<&'a [Option<Taps>]>,
    /// `[lanes]`: f64 losses and i64 right answers.
    pub results: [Tensor; 2],
}

impl Trainer {
    /// Computes them. Nothing is read back from the device.
    pub(super) fn differentiate(&self, of: Differentiation<'_>) -> Result<(), TrainError> {
        let with_lanes = self.lanes();
        let (input, labels) = of.batch;
        let taught = self.taught(&input, of.lanes)?;
        let _products = products_of(self.precision, self.device);
        compact::around(of.compact, of.tensors, |tensors| {
            let mode = Mode::Train(of.keys);
            let logits = tch::with_grad(|| {
                self.forward(tensors.leaves, tensors.statistics, &input, mode, of.taps)
            })?;
            let scores = match with_lanes {
                true => logits.detach(),
                false => logits.detach().unsqueeze(0),
            };
            let [losses, right] = &of.results;
            let objective = self.objective();
            let slope =
                objective.differentiate(&scores, &labels, taught.as_ref(), losses, right)?;
            let slope = slope.view_as(&logits);
            let (leaves, slopes) = (tensors.leaves, tensors.slopes);
            Ok(shim::backward(&logits, &slope, leaves, slopes, with_lanes)?)
        })
    }

    /// Scales gradients down to the experiment's largest norm, where it has one.
    pub(super) fn clip(&self, buffers: &mut Buffers) {
        if let Some(largest) = self.clip_norm {
            buffers.clip(largest);
        }
    }

    /// Clips the gradients, and makes the optimizer's step.
    pub(super) fn follow_gradients(
        &self,
        buffers: &mut Buffers,
        rates: &Tensor,
    ) -> Result<(), TrainError> {
        let Some(kernels) = &self.kernels else {
            self.clip(buffers);
            return Ok(self.optimizer.step(buffers, rates)?);
        };
        let factors = (self.clip_norm).map(|largest| buffers.clip_factors(kernels, largest));
        let factors = factors.transpose()?;
        let optimizer = &self.optimizer;
        Ok(optimizer.step_by(kernels, buffers, rates, factors.as_ref())?)
    }
}
