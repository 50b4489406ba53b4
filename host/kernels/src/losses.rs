//! Losses of further targets, each with its gradient in one pass, outside of autograd.
//!
//! As those of [`shim`](crate::shim), their sums are added up in the order of the samples: they depend neither
//! on the number of lanes nor on that of threads.

use std::ptr::null_mut;

use tch::Tensor;
use torch_sys::C_tensor;

use crate::shim::{ShimError, Text, check};

unsafe extern "C" {
    fn rewind_binary_cross_entropy(
        outputs: *const C_tensor,
        targets: *const C_tensor,
        losses: *const C_tensor,
        right: *const C_tensor,
        gradient: *mut *mut C_tensor,
    ) -> Text;
    fn rewind_distillation(
        logits: *const C_tensor,
        taught: *const C_tensor,
        labels: *const C_tensor,
        temperature: f64,
        alpha: f64,
        smoothing: f64,
        losses: *const C_tensor,
        right: *const C_tensor,
        gradient: *mut *mut C_tensor,
    ) -> Text;
}

/// Binary cross-entropy of every lane's labels, each present or not: the sum over samples and labels goes to
/// `losses`, and the number of labels that are right, an output above 0 for one that is present, to `right`;
/// the result is the gradient of the sum of the lanes' means over samples and labels.
///
/// # Shapes
/// `outputs`: `[lanes, batch, labels]`, `targets`: the same, f32, of 0 and 1, `losses`: `[lanes]` f64, `right`:
/// `[lanes]` i64, both contiguous; result: like `outputs`.
///
/// # Errors
/// If a shape or kind is another.
pub fn binary_cross_entropy(
    outputs: &Tensor,
    targets: &Tensor,
    losses: &Tensor,
    right: &Tensor,
) -> Result<Tensor, ShimError> {
    let mut out = null_mut();
    // SAFETY: the tensors outlive the call.
    check(unsafe {
        rewind_binary_cross_entropy(
            outputs.as_ptr(),
            targets.as_ptr(),
            losses.as_ptr(),
            right.as_ptr(),
            &mut out,
        )
    })?;
    // SAFETY: on success `out` is a tensor that is ours.
    Ok(unsafe { Tensor::from_ptr(out) })
}

/// The same without a gradient, for evaluation.
///
/// # Errors
/// As [`binary_cross_entropy`].
pub fn binary_cross_entropy_value(
    outputs: &Tensor,
    targets: &Tensor,
    losses: &Tensor,
    right: &Tensor,
) -> Result<(), ShimError> {
    // SAFETY: the tensors outlive the call; null asks for no gradient.
    check(unsafe {
        rewind_binary_cross_entropy(
            outputs.as_ptr(),
            targets.as_ptr(),
            losses.as_ptr(),
            right.as_ptr(),
            null_mut(),
        )
    })
}

/// How a network is taught by another one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Distillation {
    /// T, what the logits of both are divided by.
    pub temperature: f64,
    /// Share of what the teacher says.
    pub alpha: f64,
    /// Share of the target probability spread over all classes, in the cross-entropy.
    pub smoothing: f64,
}

/// `alpha * T^2 * KL(teacher || student) + (1 - alpha) * cross-entropy` of every lane, where the divergence is
/// that of both softmaxes at the temperature T: the sum over a lane's samples goes to `losses` and the number
/// of right answers to `right`; the result is the gradient of the sum of the lanes' means.
///
/// # Shapes
/// `logits` and `taught`, the teacher's: `[lanes, batch, classes]`, `labels`: `[lanes, batch]` i64, `losses`:
/// `[lanes]` f64, `right`: `[lanes]` i64, both contiguous; result: like `logits`.
///
/// # Errors
/// If a shape or kind is another, or a label is not a class.
///
/// # Source
/// Hinton, Vinyals and Dean 2015 (arXiv:1503.02531), section 2: gradients of soft targets scale as 1/T^2, so
/// they are multiplied by T^2.
pub fn distillation(
    logits: &Tensor,
    taught: &Tensor,
    labels: &Tensor,
    how: Distillation,
    losses: &Tensor,
    right: &Tensor,
) -> Result<Tensor, ShimError> {
    let mut out = null_mut();
    // SAFETY: the tensors outlive the call.
    check(unsafe {
        rewind_distillation(
            logits.as_ptr(),
            taught.as_ptr(),
            labels.as_ptr(),
            how.temperature,
            how.alpha,
            how.smoothing,
            losses.as_ptr(),
            right.as_ptr(),
            &mut out,
        )
    })?;
    // SAFETY: on success `out` is a tensor that is ours.
    Ok(unsafe { Tensor::from_ptr(out) })
}

#[cfg(test)]
mod tests;
