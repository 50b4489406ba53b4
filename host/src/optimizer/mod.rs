//! Optimizers: one fused step over the flat buffers of all lanes.

use tch::{Kind, Tensor};

use crate::registry::{Entry, Options};
use crate::shim::ShimError;

mod adamw;
mod sgd;

pub use adamw::AdamwOptions;
pub use sgd::SgdOptions;

/// The optimizers that an experiment file can name.
pub static OPTIMIZERS: &[Entry<Build>] = &[sgd::ENTRY, adamw::ENTRY];

/// Makes an optimizer from its options.
pub type Build = fn(&Options) -> Result<Box<dyn Optimizer>, serde_json::Error>;

/// The flat buffers of all lanes, each contiguous f32 `[lanes, elements]`.
#[derive(Debug)]
pub struct Buffers {
    /// Weights.
    pub weights: Tensor,
    /// Gradients of the last batch.
    pub gradients: Tensor,
    /// 1 where an element is trained, 0 where it is pruned.
    pub mask: Tensor,
    /// The optimizer's state, in the order of [`Optimizer::state_names`].
    pub state: Vec<Tensor>,
}

impl Buffers {
    /// Buffers of zeros of the weights' shape around these weights and this mask.
    pub fn new(weights: Tensor, mask: Tensor, states: usize) -> Self {
        Self {
            gradients: weights.zeros_like(),
            state: (0..states).map(|_| weights.zeros_like()).collect(),
            weights,
            mask,
        }
    }

    /// Sets weights and state of one lane to exactly +0 where its mask is 0.
    pub fn clear_pruned(&mut self, lane: i64) {
        let off = self.mask.select(0, lane).eq(0.0);
        for tensor in std::iter::once(&self.weights).chain(&self.state) {
            let _ = tensor.select(0, lane).masked_fill_(&off, 0.0);
        }
    }

    /// Scales every lane's gradients down to an L2 norm of at most `largest`; pruned weights do not count.
    pub fn clip(&mut self, largest: f64) {
        let _ = self.gradients.masked_fill_(&self.mask.eq(0.0), 0.0);
        let norm = self
            .gradients
            .norm_scalaropt_dim(2.0, [1i64].as_slice(), true);
        // torch.nn.utils.clip_grad_norm_ adds the same small number to the norm.
        let factor = (largest / (norm + 1e-6)).clamp_max(1.0);
        let _ = self.gradients.g_mul_(&factor.to_kind(Kind::Float));
    }
}

/// Moves weights along their gradients.
pub trait Optimizer: Send + Sync {
    /// Names of its state tensors, such as `momentum`.
    fn state_names(&self) -> &[&'static str];

    /// Learning rate, which the schedule scales.
    fn lr(&self) -> f64;

    /// One step of all lanes, after which pruned weights and their state are exactly +0.
    ///
    /// `lr` has the scaled learning rate of each lane, `steps` the number of steps that the lane's
    /// state has seen, this one included.
    ///
    /// # Errors
    /// If the buffers are not of one shape and device, or there is not one number for each lane.
    fn step(&self, buffers: &mut Buffers, lr: &[f64], steps: &[i64]) -> Result<(), ShimError>;
}

#[cfg(test)]
pub(crate) mod tests_support {
    use super::*;

    /// Random weights, gradients and a mask with element 3 pruned and about half of the rest.
    pub fn buffers(shape: &[i64; 2], states: usize) -> Buffers {
        let options = tch::kind::FLOAT_CPU;
        let mask = Tensor::rand(shape, options).gt(0.5).to_kind(Kind::Float);
        let _ = mask.select(1, 3).zero_();
        let weights = Tensor::randn(shape, options) * &mask;
        let mut buffers = Buffers::new(weights, mask, states);
        buffers.gradients = Tensor::randn(shape, options);
        buffers
    }

    pub fn assert_close(got: &Tensor, expected: &Tensor, tolerance: f64) {
        let worst = ((got - expected).abs() / (expected.abs() + 1.0))
            .max()
            .double_value(&[]);
        assert!(worst <= tolerance, "relative error {worst}");
    }

    /// Compares bits: neither -0 nor NaN passes.
    pub fn is_positive_zero_where_pruned(buffers: &Buffers) {
        let off = buffers.mask.eq(0.0);
        for tensor in std::iter::once(&buffers.weights).chain(&buffers.state) {
            let bits = tensor.view_dtype(Kind::Int).masked_select(&off);
            assert!(bits.numel() > 0);
            assert_eq!(bits.count_nonzero(None).int64_value(&[]), 0);
        }
    }

    #[test]
    fn clipping_scales_each_lane_alone_to_the_largest_norm() {
        let mut buffers = Buffers::new(
            Tensor::zeros([2, 3], tch::kind::FLOAT_CPU),
            Tensor::from_slice2(&[[1f32, 1.0, 0.0], [1.0, 1.0, 1.0]]),
            0,
        );
        buffers.gradients = Tensor::from_slice2(&[[3f32, 4.0, f32::NAN], [0.3, 0.4, 0.0]]);
        buffers.clip(1.0);
        let expected = Tensor::from_slice2(&[[0.6f32, 0.8, 0.0], [0.3, 0.4, 0.0]]);
        assert_close(&buffers.gradients, &expected, 1e-6);
    }
}
