//! Batch norm with what follows it.

use std::ptr::{null, null_mut};

use tch::Tensor;
use torch_sys::C_tensor;

use crate::shim::{ShimError, Text, check};

unsafe extern "C" {
    fn rewind_norm_is_elsewhere(input: *const C_tensor, dimension: i64) -> bool;
    fn rewind_norm_fits(input: *const C_tensor, dimension: i64) -> bool;
    fn rewind_norm(
        input: *const C_tensor,
        dimension: i64,
        added: *const C_tensor,
        scale: *const C_tensor,
        shift: *const C_tensor,
        running_mean: *const C_tensor,
        running_variance: *const C_tensor,
        trains: bool,
        relus: bool,
        epsilon: f64,
        momentum: f64,
        out: *mut *mut C_tensor,
    ) -> Text;
}

/// A batch norm, an addition and a ReLU in one pass over memory, on the CPU in fp32 or bf16, whose results
/// are rounded once.
#[derive(Clone, Copy, Debug)]
pub struct BatchNorm<'a> {
    /// `[channels]`, as the others.
    pub scale: &'a Tensor,
    /// Added to the scaled values.
    pub shift: &'a Tensor,
    /// Mean and variance of earlier batches; in training they follow the batch's, in place.
    pub running: [&'a Tensor; 2],
    /// Whether the batch's own statistics count.
    pub trains: bool,
    /// Addend to the variance.
    pub epsilon: f64,
    /// Weight of the batch in the running statistics.
    pub momentum: f64,
}

impl BatchNorm<'_> {
    /// Whether an input can be computed here: fp32 or bf16, dense in memory, channels first, last or in the middle, on
    /// the CPU or where networks are computed [by kernels for GPUs](crate::cuda::autograd_by). Without training there is
    /// no gradient, and none may be needed.
    pub fn fits(&self, input: &Tensor, dimension: i64, added: Option<&Tensor>) -> bool {
        // SAFETY: the tensor outlives the call.
        let fits = unsafe { rewind_norm_fits(input.as_ptr(), dimension) };
        fits && self.differentiates(input, added)
    }

    /// Whether an input is computed by kernels for GPUs; what it [fits](BatchNorm::fits) beyond them, the CPU's compute.
    pub fn fits_elsewhere(&self, input: &Tensor, dimension: i64, added: Option<&Tensor>) -> bool {
        // SAFETY: the tensor outlives the call.
        let fits = unsafe { rewind_norm_is_elsewhere(input.as_ptr(), dimension) };
        fits && self.differentiates(input, added)
    }

    /// Whether what needs a gradient has one: without training there is none.
    fn differentiates(&self, input: &Tensor, added: Option<&Tensor>) -> bool {
        let mut read = [Some(input), added, Some(self.scale), Some(self.shift)]
            .into_iter()
            .flatten();
        self.trains || !read.any(Tensor::requires_grad)
    }

    /// The normalised input, plus `added`, and then a ReLU if `relu`. In training it can be
    /// differentiated twice.
    ///
    /// # Shapes
    /// `input`: channels along `dimension`; `added` and the result: the input's.
    ///
    /// # Errors
    /// If a shape is another, or the input does not [fit](BatchNorm::fits).
    pub fn apply(
        &self,
        input: &Tensor,
        dimension: i64,
        added: Option<&Tensor>,
        relu: bool,
    ) -> Result<Tensor, ShimError> {
        let [mean, variance] = self.running;
        let mut out = null_mut();
        // SAFETY: all outlive the call; on success `out` is a tensor that is ours.
        check(unsafe {
            rewind_norm(
                input.as_ptr(),
                dimension,
                added.map_or(null(), Tensor::as_ptr),
                self.scale.as_ptr(),
                self.shift.as_ptr(),
                mean.as_ptr(),
                variance.as_ptr(),
                self.trains,
                relu,
                self.epsilon,
                self.momentum,
                &mut out,
            )
        })?;
        // SAFETY: see above.
        Ok(unsafe { Tensor::from_ptr(out) })
    }
}

#[cfg(test)]
mod tests;
