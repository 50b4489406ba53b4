//! Safe wrappers of the C++ shim: what the bindings of libtorch lack.
//!
//! Every call passes tensors that outlive it, by the pointers that the bindings themselves use.

use std::ffi::{CStr, c_char, c_void};
use std::marker::PhantomData;
use std::ptr::{NonNull, null, null_mut};

use tch::{Device, Tensor};
use torch_sys::C_tensor;

/// A failure inside libtorch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("libtorch: {0}")]
pub struct ShimError(String);

impl ShimError {
    /// A failure with this text.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The same, with what failed before its text.
    pub(crate) fn within(self, name: &str) -> Self {
        Self(format!("{name}: {}", self.0))
    }
}

/// An error's text, or null.
pub(crate) type Text = *mut c_char;

unsafe extern "C" {
    fn rewind_free_text(text: Text);
    fn rewind_channels_last(tensor: *const C_tensor, out: *mut *mut C_tensor) -> Text;
    fn rewind_lane_linear(
        bias: *const C_tensor,
        weight: *const C_tensor,
        input: *const C_tensor,
        out: *mut *mut C_tensor,
    ) -> Text;
    fn rewind_set_deterministic(on: bool) -> Text;
    fn rewind_autocast_set(cuda: bool, on: bool, before: *mut [i32; 2]) -> Text;
    fn rewind_autocast_restore(cuda: bool, before: *const [i32; 2]) -> Text;
    fn rewind_emulates_bf16() -> bool;
    fn rewind_cast_cache(on: bool) -> bool;
    fn rewind_describe_libtorch() -> Text;
    fn rewind_to_dlpack(tensor: *const C_tensor, out: *mut *mut c_void) -> Text;
    fn rewind_from_dlpack(managed: *mut c_void, out: *mut *mut C_tensor) -> Text;
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
    fn rewind_backward(
        output: *const C_tensor,
        gradient: *const C_tensor,
        inputs: *const *const C_tensor,
        into: *const *const C_tensor,
        count: i64,
        lanes: bool,
    ) -> Text;
    fn rewind_masked_sgd_step(
        weights: *const C_tensor,
        gradients: *const C_tensor,
        momentum: *const C_tensor,
        mask: *const C_tensor,
        places: *const i32,
        starts: *const i64,
        lr: *const f64,
        mu: f64,
        decay: f64,
        nesterov: bool,
    ) -> Text;
    fn rewind_masked_adamw_step(
        weights: *const C_tensor,
        gradients: *const C_tensor,
        exp_avg: *const C_tensor,
        exp_avg_sq: *const C_tensor,
        mask: *const C_tensor,
        places: *const i32,
        starts: *const i64,
        lr: *const f64,
        steps: *const i64,
        beta1: f64,
        beta2: f64,
        eps: f64,
        decay: f64,
    ) -> Text;
}

/// The error whose text the shim returned, if any.
pub(crate) fn check(text: Text) -> Result<(), ShimError> {
    if text.is_null() {
        return Ok(());
    }
    Err(ShimError(text_of(text)))
}

/// A text of the shim's, which is not null, and is freed.
fn text_of(text: Text) -> String {
    // SAFETY: the shim returns a string of its own, valid until freed.
    let owned = unsafe { CStr::from_ptr(text) }
        .to_string_lossy()
        .into_owned();
    // SAFETY: as above, and it is not used again.
    unsafe { rewind_free_text(text) };
    owned
}

/// A copy in `channels_last` memory order, or the same tensor if it is in that order.
///
/// # Errors
/// If the tensor does not have four dimensions.
pub fn channels_last(tensor: &Tensor) -> Result<Tensor, ShimError> {
    let mut out = null_mut();
    // SAFETY: `tensor` outlives the call; on success `out` is a tensor that is ours.
    check(unsafe { rewind_channels_last(tensor.as_ptr(), &mut out) })?;
    // SAFETY: see above.
    Ok(unsafe { Tensor::from_ptr(out) })
}

/// A linear layer of every lane: `bias + weight * input`. Differentiable twice.
///
/// The bits of a lane depend neither on the number of lanes nor on the number of threads, which
/// libtorch's batched products do not promise.
///
/// # Shapes
/// `bias`: `[lanes, out]`, `weight`: `[lanes, out, in]`, `input`: `[lanes, in, batch]`; result:
/// `[lanes, out, batch]`, contiguous.
///
/// # Errors
/// If a shape is another.
pub fn lane_linear(bias: &Tensor, weight: &Tensor, input: &Tensor) -> Result<Tensor, ShimError> {
    let mut out = null_mut();
    // SAFETY: the tensors outlive the call; on success `out` is a tensor that is ours.
    check(unsafe { rewind_lane_linear(bias.as_ptr(), weight.as_ptr(), input.as_ptr(), &mut out) })?;
    // SAFETY: see above.
    Ok(unsafe { Tensor::from_ptr(out) })
}

/// Chooses algorithms whose bits do not depend on timing.
///
/// # Errors
/// Libtorch's message.
pub fn set_deterministic(on: bool) -> Result<(), ShimError> {
    // SAFETY: no pointer is passed.
    check(unsafe { rewind_set_deterministic(on) })
}

/// While it lives, products and convolutions on this thread compute in bfloat16, or, where it
/// [pauses](Autocast::pause) that, in the precision of their numbers.
#[derive(Debug)]
pub struct Autocast {
    cuda: bool,
    before: [i32; 2],
    /// Autocast is a state of the thread.
    this_thread: PhantomData<*const ()>,
}

impl Autocast {
    /// Starts it for a device.
    ///
    /// # Errors
    /// Libtorch's message.
    pub fn enter(device: Device) -> Result<Self, ShimError> {
        Self::set(device, true)
    }

    /// Stops it for a device: products are computed in the precision of their numbers.
    ///
    /// # Errors
    /// Libtorch's message.
    pub fn pause(device: Device) -> Result<Self, ShimError> {
        Self::set(device, false)
    }

    /// Whether it is on for the CPU, and libtorch would emulate bfloat16 there.
    pub fn is_emulated() -> bool {
        // SAFETY: no pointer is passed.
        unsafe { rewind_emulates_bf16() }
    }

    fn set(device: Device, on: bool) -> Result<Self, ShimError> {
        let (cuda, mut before) = (device.is_cuda(), [0; 2]);
        // SAFETY: `before` is written during the call only.
        check(unsafe { rewind_autocast_set(cuda, on, &mut before) })?;
        Ok(Self {
            cuda,
            before,
            this_thread: PhantomData,
        })
    }
}

impl Drop for Autocast {
    fn drop(&mut self) {
        // SAFETY: `before` is read during the call only.
        if let Err(error) = check(unsafe { rewind_autocast_restore(self.cuda, &self.before) }) {
            log::error!("failed to leave autocast: {error}");
        }
    }
}

/// What libtorch was built of, and how it and the kernels compute on this processor.
pub fn describe() -> String {
    // SAFETY: the answer is a string of its own, which `text_of` frees.
    text_of(unsafe { rewind_describe_libtorch() })
}

/// While it lives, autocast on this thread rounds a weight wherever it is read. Otherwise it keeps it for
/// the next place, until a pass on any thread ends: where the sum of two places' gradients is rounded would be
/// chance where several threads compute.
#[derive(Debug)]
pub struct EveryCast {
    before: bool,
    /// Autocast is a state of the thread.
    this_thread: PhantomData<*const ()>,
}

impl EveryCast {
    /// Starts it.
    pub fn enter() -> Self {
        Self {
            // SAFETY: no pointer is passed.
            before: unsafe { rewind_cast_cache(false) },
            this_thread: PhantomData,
        }
    }
}

impl Drop for EveryCast {
    fn drop(&mut self) {
        // SAFETY: no pointer is passed.
        unsafe { rewind_cast_cache(self.before) };
    }
}

/// The tensor as a `DLManagedTensor`, which shares its memory; whoever receives it calls its deleter.
///
/// # Errors
/// Libtorch's message, for tensors that DLPack cannot describe.
pub fn to_dlpack(tensor: &Tensor) -> Result<NonNull<c_void>, ShimError> {
    let mut out = null_mut();
    // SAFETY: `tensor` outlives the call.
    check(unsafe { rewind_to_dlpack(tensor.as_ptr(), &mut out) })?;
    NonNull::new(out).ok_or_else(|| ShimError("toDLPack returned null".to_owned()))
}

/// The tensor of a `DLManagedTensor`, which it then owns.
///
/// # Safety
/// `managed` must be a valid `DLManagedTensor` that nobody else uses or frees afterwards.
///
/// # Errors
/// Libtorch's message.
pub unsafe fn from_dlpack(managed: NonNull<c_void>) -> Result<Tensor, ShimError> {
    let mut out = null_mut();
    // SAFETY: by the caller's promise.
    check(unsafe { rewind_from_dlpack(managed.as_ptr(), &mut out) })?;
    // SAFETY: on success `out` is a tensor that is ours.
    Ok(unsafe { Tensor::from_ptr(out) })
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

/// Gradients of `output` with respect to `inputs`, for this gradient of `output`, written to `into`
/// (zeros for inputs that `output` does not depend on). Frees the graph.
///
/// # Shapes
/// `into[i]`: like `inputs[i]`, in the same memory order; with `lanes` the first dimension may be strided.
///
/// # Errors
/// Libtorch's message.
pub fn backward(
    output: &Tensor,
    gradient: &Tensor,
    inputs: &[Tensor],
    into: &[Tensor],
    lanes: bool,
) -> Result<(), ShimError> {
    if inputs.len() != into.len() {
        return Err(ShimError(format!(
            "{} inputs but {} gradients to write",
            inputs.len(),
            into.len()
        )));
    }
    let pointers = |tensors: &[Tensor]| -> Vec<*const C_tensor> {
        tensors.iter().map(Tensor::as_ptr).collect()
    };
    let (from, to) = (pointers(inputs), pointers(into));
    // SAFETY: the tensors and both lists outlive the call.
    check(unsafe {
        rewind_backward(
            output.as_ptr(),
            gradient.as_ptr(),
            from.as_ptr(),
            to.as_ptr(),
            from.len() as i64,
            lanes,
        )
    })
}

/// The elements of `[lanes, elements]` that are not pruned, for steps that look at nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Places within a lane, one lane's after another's.
    places: Vec<i32>,
    /// First of each lane's places, and their number.
    starts: Vec<i64>,
    width: i64,
}

/// What a step must not move.
#[derive(Clone, Copy, Debug)]
pub struct Pruning<'a> {
    /// `[lanes, elements]`: 0 where an element is pruned.
    pub mask: &'a Tensor,
    /// The other elements, if nothing else needs to be looked at: all that is pruned is 0 already.
    pub kept: Option<&'a Kept>,
}

impl Kept {
    /// Where `mask`, `[lanes, elements]` f32 on the CPU, is not 0; none if these are more than this
    /// share of it, or there is another reason to look at everything.
    pub fn of(mask: &Tensor, most: f64) -> Option<Self> {
        let [lanes, width] = mask.size()[..] else {
            return None;
        };
        if mask.device() != Device::Cpu || i32::try_from(width).is_err() {
            return None;
        }
        let kept = mask.count_nonzero(None).int64_value(&[]);
        if kept as f64 > most * mask.numel() as f64 {
            return None;
        }
        let mut places = Vec::with_capacity(kept as usize);
        let mut starts = vec![0];
        for lane in 0..lanes {
            let values = Vec::<f32>::try_from(mask.get(lane)).ok()?;
            let of_lane = (0i32..).zip(values).filter(|(_, kept)| *kept != 0.0);
            places.extend(of_lane.map(|(place, _)| place));
            starts.push(places.len() as i64);
        }
        Some(Self {
            places,
            starts,
            width,
        })
    }

    /// What the shim takes: nulls for all elements.
    fn pointers(
        kept: Option<&Self>,
        weights: &Tensor,
    ) -> Result<(*const i32, *const i64), ShimError> {
        let Some(kept) = kept else {
            return Ok((null(), null()));
        };
        if weights.size() != [kept.starts.len() as i64 - 1, kept.width] {
            return Err(ShimError(
                "the kept elements are another buffer's".to_owned(),
            ));
        }
        Ok((kept.places.as_ptr(), kept.starts.as_ptr()))
    }
}

/// Constants of an SGD step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SgdStep {
    /// Share of the momentum that stays.
    pub momentum: f64,
    /// L2 penalty added to the gradient.
    pub weight_decay: f64,
    /// Whether the step looks ahead along the momentum.
    pub nesterov: bool,
}

/// One step of SGD in one pass; where the mask is 0, weights and momentum become exactly +0.
///
/// The formulas are `torch.optim.SGD`'s with dampening 0. Its first step copies the gradient into
/// the momentum, which is what a momentum of zero gives here.
///
/// # Shapes
/// Everything `[lanes, elements]`, contiguous f32; `lr`: one a lane.
///
/// # Errors
/// If a shape, kind or device is another.
pub fn masked_sgd_step(
    weights: &mut Tensor,
    gradients: &Tensor,
    momentum: Option<&mut Tensor>,
    pruning: Pruning<'_>,
    lr: &[f64],
    step: SgdStep,
) -> Result<(), ShimError> {
    expect_lanes(weights, lr.len())?;
    let (places, starts) = Kept::pointers(pruning.kept, weights)?;
    // SAFETY: the tensors outlive the call, and `lr` has one number for each lane.
    check(unsafe {
        rewind_masked_sgd_step(
            weights.as_ptr(),
            gradients.as_ptr(),
            momentum.map_or(null(), |tensor| tensor.as_ptr()),
            pruning.mask.as_ptr(),
            places,
            starts,
            lr.as_ptr(),
            step.momentum,
            step.weight_decay,
            step.nesterov,
        )
    })
}

/// Constants of an AdamW step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamwStep {
    /// Decay of the averages of the gradient and of its square.
    pub betas: (f64, f64),
    /// Added to the denominator.
    pub eps: f64,
    /// Share of a weight, times the learning rate, that a step takes away.
    pub weight_decay: f64,
}

/// One step of AdamW in one pass; where the mask is 0, weights and averages become exactly +0.
///
/// # Shapes
/// Everything `[lanes, elements]`, contiguous f32; `lr` and `steps` (counted with this one): one a lane.
///
/// # Errors
/// If a shape, kind or device is another.
pub fn masked_adamw_step(
    weights: &mut Tensor,
    gradients: &Tensor,
    [exp_avg, exp_avg_sq]: [&mut Tensor; 2],
    pruning: Pruning<'_>,
    lr: &[f64],
    steps: &[i64],
    step: AdamwStep,
) -> Result<(), ShimError> {
    let (places, starts) = Kept::pointers(pruning.kept, weights)?;
    expect_lanes(weights, lr.len())?;
    expect_lanes(weights, steps.len())?;
    // SAFETY: the tensors outlive the call, and `lr` and `steps` have one number for each lane.
    check(unsafe {
        rewind_masked_adamw_step(
            weights.as_ptr(),
            gradients.as_ptr(),
            exp_avg.as_ptr(),
            exp_avg_sq.as_ptr(),
            pruning.mask.as_ptr(),
            places,
            starts,
            lr.as_ptr(),
            steps.as_ptr(),
            step.betas.0,
            step.betas.1,
            step.eps,
            step.weight_decay,
        )
    })
}

/// Fails unless there is one number for each lane.
fn expect_lanes(weights: &Tensor, numbers: usize) -> Result<(), ShimError> {
    if weights.size().first() == Some(&(numbers as i64)) {
        Ok(())
    } else {
        Err(ShimError(format!(
            "{numbers} numbers for weights of shape {:?}: expected one for each lane",
            weights.size()
        )))
    }
}

#[cfg(test)]
mod tests;
