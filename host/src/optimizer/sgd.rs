//! Stochastic gradient descent with momentum.

use kernels::cuda::passes::masked_sgd_step;
use kernels::cuda::{CudaError, Kernels};
use kernels::shim::{self, Piece, Pruning, SgdStep, ShimError};
use plugin_api::schemars::{self, JsonSchema, schema_for};
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::{Buffers, Build, Optimizer};
use crate::registry::{Entry, parse};

pub(super) const ENTRY: Entry<Build> = Entry {
    name: "sgd",
    summary: "stochastic gradient descent with momentum",
    schema: || schema_for!(SgdOptions),
    build: |options| Ok(Box::new(Sgd::new(parse(options)?))),
};

/// Options of `sgd`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SgdOptions {
    /// Learning rate, which the schedule scales.
    #[schemars(range(min = 0.0))]
    pub lr: f64,
    /// Share of the momentum that a step keeps.
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))]
    pub momentum: f64,
    /// L2 penalty on every parameter, added to its gradient.
    #[schemars(range(min = 0.0))]
    pub weight_decay: f64,
    /// Whether a step looks ahead along the momentum.
    pub nesterov: bool,
}

impl Default for SgdOptions {
    fn default() -> Self {
        Self {
            lr: 0.1,
            momentum: 0.9,
            weight_decay: 0.0,
            nesterov: false,
        }
    }
}

/// `torch.optim.SGD` without dampening.
#[derive(Debug)]
struct Sgd(SgdOptions);

impl Sgd {
    fn new(options: SgdOptions) -> Self {
        Self(options)
    }

    fn constants(&self) -> SgdStep {
        SgdStep {
            momentum: self.0.momentum,
            weight_decay: self.0.weight_decay,
            nesterov: self.0.nesterov,
        }
    }
}

impl Optimizer for Sgd {
    fn state_names(&self) -> &[&'static str] {
        if self.0.momentum == 0.0 {
            &[]
        } else {
            &["momentum"]
        }
    }

    fn lr(&self) -> f64 {
        self.0.lr
    }

    fn rates(&self, lr: f64, _: i64) -> Vec<f32> {
        vec![lr as f32]
    }

    fn step(&self, buffers: &mut Buffers, rates: &Tensor) -> Result<(), ShimError> {
        shim::masked_sgd_step(
            &mut buffers.weights,
            &buffers.gradients,
            buffers.state.first_mut(),
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
        let (weights, momentum) = (&mut buffers.weights, buffers.state.first_mut());
        let (gradients, mask) = (&buffers.gradients, &buffers.mask);
        let (lr, step) = (rates.select(0, 0), self.constants());
        masked_sgd_step(
            &**kernels, weights, gradients, momentum, mask, &lr, factors, step,
        )
    }

    fn step_of(&self, piece: Piece<'_>, states: &mut [&mut [f32]], lr: f64, _: i64) {
        shim::sgd_step_of(piece, states, lr, self.constants());
    }
}

#[cfg(test)]
mod tests {
    use tch::Kind;

    use super::*;
    use crate::optimizer::rates_of_lanes;
    use crate::optimizer::tests_support::{assert_close, buffers, is_positive_zero_where_pruned};

    /// `torch.optim.SGD`'s documented formulas, one tensor operation after another.
    fn reference(
        options: &SgdOptions,
        w: &Tensor,
        g: &Tensor,
        m: Option<Tensor>,
        lr: f64,
    ) -> (Tensor, Tensor) {
        let d = g + w * options.weight_decay;
        let m = m.map_or_else(|| d.copy(), |m| m * options.momentum + &d);
        let d = if options.nesterov {
            &d + &m * options.momentum
        } else {
            m.copy()
        };
        (w - d * lr, m)
    }

    #[test]
    fn five_masked_steps_equal_torchs_formulas() {
        for nesterov in [false, true] {
            let options = SgdOptions {
                lr: 0.3,
                momentum: 0.9,
                weight_decay: 1e-2,
                nesterov,
            };
            let sgd = Sgd::new(options.clone());
            let mut buffers = buffers(&[2, 100_003], 1);
            let (mut w, mut m) = (buffers.weights.copy(), None);
            for step in 1..=5 {
                buffers.gradients = Tensor::randn([2, 100_003], tch::kind::FLOAT_CPU);
                // A pruned weight's gradient may be anything.
                let _ = buffers.gradients.select(1, 3).fill_(f64::NAN);
                let g = &buffers.gradients;
                let lanes: Vec<_> = [0.3, 0.1]
                    .iter()
                    .enumerate()
                    .map(|(lane, lr)| {
                        let at = |t: &Tensor| t.select(0, lane as i64);
                        reference(&options, &at(&w), &at(g), m.as_ref().map(at), *lr)
                    })
                    .collect();
                let off = buffers.mask.eq(0.0);
                let stack = |f: fn(&(Tensor, Tensor)) -> &Tensor| {
                    Tensor::stack(&lanes.iter().map(f).collect::<Vec<_>>(), 0)
                        .masked_fill(&off, 0.0)
                };
                (w, m) = (stack(|l| &l.0), Some(stack(|l| &l.1)));
                let rates = rates_of_lanes(&sgd, &[0.3, 0.1], &[step, step]);
                sgd.step(&mut buffers, &rates).unwrap();
                assert_close(&buffers.weights, &w, 1e-6);
                assert_close(&buffers.state[0], m.as_ref().unwrap(), 1e-6);
                is_positive_zero_where_pruned(&buffers);
            }
        }
    }

    #[test]
    fn without_momentum_there_is_no_state_and_the_step_is_plain_descent() {
        let options = SgdOptions {
            momentum: 0.0,
            weight_decay: 0.1,
            ..SgdOptions::default()
        };
        let sgd = Sgd::new(options.clone());
        assert!(sgd.state_names().is_empty());
        let mut buffers = buffers(&[1, 1000], 0);
        let (w, _) = reference(&options, &buffers.weights, &buffers.gradients, None, 0.1);
        sgd.step(&mut buffers, &rates_of_lanes(&sgd, &[0.1], &[1]))
            .unwrap();
        assert_close(
            &buffers.weights,
            &w.masked_fill(&buffers.mask.eq(0.0), 0.0),
            1e-7,
        );
        is_positive_zero_where_pruned(&buffers);
    }

    #[test]
    fn a_step_does_not_depend_on_where_a_lane_lies_or_on_the_number_of_threads() {
        let _alone = crate::trainer::testing::alone_with_threads();
        let sgd = Sgd::new(SgdOptions::default());
        let all = buffers(&[3, 50_001], 1);
        let step = |threads, lanes: &[i64]| {
            let index = Tensor::from_slice(lanes);
            let pick = |tensor: &Tensor| tensor.index_select(0, &index);
            let mut picked = Buffers::new(pick(&all.weights), pick(&all.mask), 1);
            picked.gradients = pick(&all.gradients);
            tch::set_num_threads(threads);
            let count = lanes.len();
            let rates = rates_of_lanes(&sgd, &vec![0.1; count], &vec![1; count]);
            sgd.step(&mut picked, &rates).unwrap();
            picked.weights.select(0, count as i64 - 1)
        };
        let alone = step(1, &[2]);
        assert_eq!(alone, step(2, &[0, 1, 2]));
    }

    #[test]
    fn refuses_buffers_of_other_shapes_with_the_buffers_name() {
        let sgd = Sgd::new(SgdOptions::default());
        let mut buffers = buffers(&[1, 8], 1);
        buffers.gradients = Tensor::zeros([1, 7], (Kind::Float, tch::Device::Cpu));
        let rates = rates_of_lanes(&sgd, &[0.1], &[1]);
        let error = sgd.step(&mut buffers, &rates).unwrap_err();
        assert!(error.to_string().contains("gradients must be"), "{error}");
        assert!(!error.to_string().contains("Exception raised"), "{error}");
    }
}
