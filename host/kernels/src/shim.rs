//! Safe wrappers of the C++ shim: what the bindings of libtorch lack.
//!
//! Every call passes tensors that outlive it, by the pointers that the bindings themselves use.

use std::ffi::{CStr, c_char, c_void};
use std::marker::PhantomData;
use std::ptr::{NonNull, null_mut};

use tch::{Device, Tensor};
use torch_sys::C_tensor;

pub use bytes::Bytes;
pub use loss::{cross_entropy, cross_entropy_value, half_square, half_square_value};
pub use step::{AdamwStep, Kept, Piece, Pruning, SgdStep};
pub use step::{adamw_rates, adamw_step_of, masked_adamw_step, masked_sgd_step, sgd_step_of};

#[cfg(test)]
mod by_operations;
mod bytes;
mod loss;
mod step;

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
    fn rewind_set_tf32(on: bool) -> bool;
    fn rewind_to_gpu(tensor: *const C_tensor, index: i64, out: *mut *mut C_tensor) -> Text;
    fn rewind_start_gpu() -> Text;
    fn rewind_set_by_operations(on: bool) -> bool;
    fn rewind_cudnn_version() -> i64;
    fn rewind_autocast_set(cuda: bool, on: bool, before: *mut [i32; 2]) -> Text;
    fn rewind_autocast_restore(cuda: bool, before: *const [i32; 2]) -> Text;
    fn rewind_emulates_bf16() -> bool;
    fn rewind_cast_cache(on: bool) -> bool;
    fn rewind_describe_libtorch() -> Text;
    fn rewind_to_dlpack(tensor: *const C_tensor, out: *mut *mut c_void) -> Text;
    fn rewind_from_dlpack(managed: *mut c_void, out: *mut *mut C_tensor) -> Text;
    fn rewind_backward(
        output: *const C_tensor,
        gradient: *const C_tensor,
        inputs: *const *const C_tensor,
        into: *const *const C_tensor,
        count: i64,
        lanes: bool,
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

/// The tensor on this device. To a GPU it is copied from pinned memory, and nobody waits for it.
///
/// # Errors
/// Libtorch's message.
pub fn to_device(tensor: &Tensor, device: Device) -> Result<Tensor, ShimError> {
    let Device::Cuda(index) = device else {
        return Ok(tensor.to_device(device));
    };
    let mut out = null_mut();
    // SAFETY: `tensor` outlives the call; on success `out` is a tensor that is ours.
    check(unsafe { rewind_to_gpu(tensor.as_ptr(), index as i64, &mut out) })?;
    // SAFETY: see above.
    Ok(unsafe { Tensor::from_ptr(out) })
}

/// Why libtorch computes on no GPU, in its words; none where it does.
pub fn why_no_gpu() -> Option<String> {
    // SAFETY: no pointer is passed.
    let started = check(unsafe { rewind_start_gpu() });
    started.err().map(|ShimError(why)| why)
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

/// While it lives, products and convolutions of GPUs may, or may not, round what they read to 10 bits. That holds
/// for all threads.
#[derive(Debug)]
pub struct Tf32 {
    before: bool,
}

impl Tf32 {
    /// Says whether they may.
    pub fn set(may: bool) -> Self {
        Self {
            // SAFETY: no pointer is passed.
            before: unsafe { rewind_set_tf32(may) },
        }
    }
}

impl Drop for Tf32 {
    fn drop(&mut self) {
        // SAFETY: no pointer is passed.
        unsafe { rewind_set_tf32(self.before) };
    }
}

/// While it lives, this thread computes what is on the CPU by libtorch's operations, as what is on a GPU: for tests that
/// compare the two.
#[derive(Debug)]
pub struct ByOperations {
    before: bool,
    /// It is a state of the thread.
    this_thread: PhantomData<*const ()>,
}

impl ByOperations {
    /// Starts it.
    pub fn enter() -> Self {
        Self {
            // SAFETY: no pointer is passed.
            before: unsafe { rewind_set_by_operations(true) },
            this_thread: PhantomData,
        }
    }
}

impl Drop for ByOperations {
    fn drop(&mut self) {
        // SAFETY: no pointer is passed.
        unsafe { rewind_set_by_operations(self.before) };
    }
}

/// The version of the cuDNN that computes on GPUs, 92000 for 9.20.0; none where there is none.
pub fn cudnn_version() -> Option<i64> {
    // SAFETY: no pointer is passed.
    Some(unsafe { rewind_cudnn_version() }).filter(|version| *version > 0)
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

#[cfg(test)]
mod tests;
