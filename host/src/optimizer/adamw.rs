//! Adam with decoupled weight decay.

use kernels::cuda::passes::masked_adamw_step;
use kernels::cuda::{CudaError, Kernels};
use kernels::shim::{self, AdamwStep, Piece, Pruning, ShimError};
use plugin_api::schemars::{self, JsonSchema, schema_for};
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::{Buffers, Build, Optimizer};
use crate::registry::{Entry, parse};

pub(super) const ENTRY: Entry<Build> = Entry {
    name: "adamw",
    summary: "Adam with decoupled weight decay",
    schema: || schema_for!(AdamwOptions),
    build: |options| Ok(Box::new(Adamw::new(parse(options)?))),
};

/// Options of `adamw`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AdamwOptions {
    /// Learning rate, which the schedule scales.
    #[schemars(range(min = 0.0))]
    pub lr: f64,
    /// Decay of the averages of the gradient and of its square.
    #[schemars(extend("items" = { "type": "number", "minimum": 0.0, "exclusiveMaximum": 1.0 }))]
    pub betas: [f64; 2],
    /// Added to the denominator.
    #[schemars(range(min = 0.0))]
    pub eps: f64,
    /// Share of a weight, times the learning rate, that a step takes away.
    #[schemars(range(min = 0.0))]
    pub weight_decay: f64,
}

impl Default for AdamwOptions {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            betas: [0.9, 0.999],
            eps: 1e-8,
            weight_decay: 1e-2,
        }
    }
}

/// `torch.optim.AdamW`.
///
/// # Source
/// Loshchilov & Hutter 2019 (arXiv:1711.05101), algorithm 2.
#[derive(Debug)]
struct Adamw(AdamwOptions);

impl Adamw {
    fn new(options: AdamwOptions) -> Self {
        Self(options)
    }

    fn constants(&self) -> AdamwStep {
        AdamwStep {
            betas: self.0.betas.into(),
            eps: self.0.eps,
            weight_decay: self.0.weight_decay,
        }
    }
}

impl Optimizer for Adamw {
    fn state_names(&self) -> &[&'static str] {
        &["exp_avg", "exp_avg_sq"]
    }

    fn lr(&self) -> f64 {
        self.0.lr
    }

    fn rates(&self, lr: f64, step: i64) -> Vec<f32> {
        shim::adamw_rates(lr, step, self.constants()).to_vec()
    }

    fn step(&self, buffers: &mut Buffers, rates: &Tensor) -> Result<(), ShimError> {
        let [exp_avg, exp_avg_sq] = &mut buffers.state[..] else {
            unreachable!("buffers are made with one tensor for each of the two state names");
        };
        shim::masked_adamw_step(
            &mut buffers.weights,
            &buffers.gradients,
            [exp_avg, exp_avg_sq],
            Pruning {
                mask: &buffers.mask,
                kept: buffers.kept.as_ref(),
            },
            rates,
            self.constants(),
        )
    }

    fn step_by(
        &self,
        kernels: &Kernels,
        buffers: &mut Buffers,
        rates: &Tensor,
        factors: Option<&Tensor>,
    ) -> Result<(), CudaError> {
        let [exp_avg, exp_avg_sq] = &mut buffers.state[..] else {
            unreachable!("buffers are made with one tensor for each of the two state names");
        };
        let (weights, averages) = (&mut buffers.weights, [exp_avg, exp_avg_sq]);
        let (gradients, mask, step) = (&buffers.gradients, &buffers.mask, self.constants());
        masked_adamw_step(
            &**kernels, weights, gradients, averages, mask, rates, factors, step,
        )
    }

    fn step_of(&self, piece: Piece<'_>, states: &mut [&mut [f32]], lr: f64, step: i64) {
        let [exp_avg, exp_avg_sq] = states else {
            panic!("a piece of each of the two averages");
        };
        shim::adamw_step_of(piece, [exp_avg, exp_avg_sq], lr, step, self.constants());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optimizer::rates_of_lanes;
    use crate::optimizer::tests_support::{assert_close, buffers, is_positive_zero_where_pruned};

    #[test]
    fn five_masked_steps_equal_torchs_formulas() {
        let options = AdamwOptions {
            lr: 0.01,
            weight_decay: 0.1,
            ..AdamwOptions::default()
        };
        let adamw = Adamw::new(options.clone());
        let [b1, b2] = options.betas;
        let mut buffers = buffers(&[1, 100_003], 2);
        let off = buffers.mask.eq(0.0);
        let mut w = buffers.weights.copy();
        let (mut a, mut v) = (w.zeros_like(), w.zeros_like());
        for t in 1..=5 {
            buffers.gradients = Tensor::randn([1, 100_003], tch::kind::FLOAT_CPU);
            let g = &buffers.gradients;
            w *= 1.0 - options.lr * options.weight_decay;
            a = &a + (g - &a) * (1.0 - b1);
            v = v * b2 + g * g * (1.0 - b2);
            let (c1, c2) = (1.0 - b1.powi(t), 1.0 - b2.powi(t));
            let step = options.lr / c1 * &a / (v.sqrt() / c2.sqrt() + options.eps);
            w = (w - step).masked_fill(&off, 0.0);
            a = a.masked_fill(&off, 0.0);
            v = v.masked_fill(&off, 0.0);
            let _ = buffers.gradients.select(1, 3).fill_(f64::INFINITY);
            let rates = rates_of_lanes(&adamw, &[0.01], &[i64::from(t)]);
            adamw.step(&mut buffers, &rates).unwrap();
            assert_close(&buffers.weights, &w, 1e-6);
            assert_close(&buffers.state[0], &a, 1e-6);
            assert_close(&buffers.state[1], &v, 1e-6);
            is_positive_zero_where_pruned(&buffers);
        }
    }
}
