//! Losses and their gradients, outside of autograd.

use std::ptr::null_mut;

use tch::Tensor;
use torch_sys::C_tensor;

use super::{ShimError, Text, check};

unsafe extern "C" {
    fn rewind_cross_entropy(
        logits: *const C_tensor,
        labels: *const C_tensor,
        smoothing: f64,
        losses: *const C_tensor,
        correct: *const C_tensor,
        gradient: *mut *mut C_tensor,
    ) -> Text;
    fn rewind_half_square(
        outputs: *const C_tensor,
        targets: *const C_tensor,
        tolerance: f64,
        losses: *const C_tensor,
        right: *const C_tensor,
        gradient: *mut *mut C_tensor,
    ) -> Text;
}

/// Cross-entropy of every lane, outside of autograd: the sum over a lane's samples goes to `losses`
/// and the number of right answers to `correct`; the result is the gradient of the sum of the lanes' means.
///
/// # Shapes
/// `logits`: `[lanes, batch, classes]`, `labels`: `[lanes, batch]` i64, `losses`: `[lanes]` f64,
/// `correct`: `[lanes]` i64, both contiguous; result: like `logits`.
///
/// # Errors
/// If a shape or kind is another, or a label is not a class.
pub fn cross_entropy(
    logits: &Tensor,
    labels: &Tensor,
    smoothing: f64,
    losses: &Tensor,
    correct: &Tensor,
) -> Result<Tensor, ShimError> {
    let mut out = null_mut();
    // SAFETY: the tensors outlive the call.
    check(unsafe {
        rewind_cross_entropy(
            logits.as_ptr(),
            labels.as_ptr(),
            smoothing,
            losses.as_ptr(),
            correct.as_ptr(),
            &mut out,
        )
    })?;
    // SAFETY: on success `out` is a tensor that is ours.
    Ok(unsafe { Tensor::from_ptr(out) })
}

/// The same without a gradient, for evaluation.
///
/// # Errors
/// As [`cross_entropy`].
pub fn cross_entropy_value(
    logits: &Tensor,
    labels: &Tensor,
    smoothing: f64,
    losses: &Tensor,
    correct: &Tensor,
) -> Result<(), ShimError> {
    // SAFETY: the tensors outlive the call; null asks for no gradient.
    check(unsafe {
        rewind_cross_entropy(
            logits.as_ptr(),
            labels.as_ptr(),
            smoothing,
            losses.as_ptr(),
            correct.as_ptr(),
            null_mut(),
        )
    })
}

/// Half the squared distance of every lane's outputs from its targets, outside of autograd: the sum
/// over a lane's samples goes to `losses` and the number of those within `tolerance` to `right`; the
/// result is the gradient of the sum of the lanes' means.
///
/// # Shapes
/// `outputs`: `[lanes, batch, 1]`, `targets`: `[lanes, batch]` f32, `losses`: `[lanes]` f64,
/// `right`: `[lanes]` i64, both contiguous; result: like `outputs`.
///
/// # Errors
/// If a shape or kind is another.
pub fn half_square(
    outputs: &Tensor,
    targets: &Tensor,
    tolerance: f64,
    losses: &Tensor,
    right: &Tensor,
) -> Result<Tensor, ShimError> {
    let mut out = null_mut();
    // SAFETY: the tensors outlive the call.
    check(unsafe {
        rewind_half_square(
            outputs.as_ptr(),
            targets.as_ptr(),
            tolerance,
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
/// As [`half_square`].
pub fn half_square_value(
    outputs: &Tensor,
    targets: &Tensor,
    tolerance: f64,
    losses: &Tensor,
    right: &Tensor,
) -> Result<(), ShimError> {
    // SAFETY: the tensors outlive the call; null asks for no gradient.
    check(unsafe {
        rewind_half_square(
            outputs.as_ptr(),
            targets.as_ptr(),
            tolerance,
            losses.as_ptr(),
            right.as_ptr(),
            null_mut(),
        )
    })
}
