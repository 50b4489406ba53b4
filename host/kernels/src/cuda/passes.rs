//! Passes over tensors by kernels of our own: what they take is checked, and the kernels are launched.
//!
//! All results and all memory in between are tensors of the caller's, and nothing is copied from or to the host:
//! a pass can be captured in a CUDA graph and replayed. Tensors must not overlap unless it says so, and have to live
//! until the stream has come past the pass.

use std::ffi::c_void;
use std::ptr::null_mut;

use tch::{Device, Kind, Tensor};

use super::CudaError;

mod batch;
mod coins;
mod linear;
mod loss;
mod norm;
mod norm_by_channel;
mod step;

pub use batch::{Draws, Normalise, gather};
pub use coins::coins;
pub use linear::{
    linear_bias_gradient, linear_forward, linear_input_gradient, linear_weight_gradient,
};
pub use loss::{SampleLosses, cross_entropy};
pub use norm::{NormGradients, NormMemory, norm_backward, norm_forward};
pub use norm_by_channel::{norm_by_channel_backward, norm_by_channel_forward};
pub use step::{clip_factors, clip_pieces, masked_adamw_step, masked_sgd_step};

/// Threads of a block where nothing asks for another number.
const BLOCK: u32 = 256;

/// Threads of a block where each adds up much, one thing after another: few of them share what computes f64.
const SLOW_BLOCK: u32 = 32;

/// Blocks of a launch at most, by CUDA's limits.
const MOST_BLOCKS: i64 = i32::MAX as i64;

/// A kernel's argument.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Argument {
    /// To the numbers of a tensor on the launch's device, or null.
    Pointer(*mut c_void),
    /// A whole number, `long long` in the kernel.
    Int(i64),
    /// `float` in the kernel.
    Float(f32),
    /// `double` in the kernel.
    Double(f64),
}

impl Argument {
    /// No tensor.
    const NULL: Self = Self::Pointer(null_mut());

    /// The argument's bytes, of which a kernel reads as many as its type has, from the first.
    pub fn bits(&self) -> u64 {
        let bytes = match *self {
            Self::Pointer(pointer) => (pointer as u64).to_ne_bytes(),
            Self::Int(number) => number.to_ne_bytes(),
            Self::Float(number) => {
                let [a, b, c, d] = number.to_ne_bytes();
                [a, b, c, d, 0, 0, 0, 0]
            }
            Self::Double(number) => number.to_ne_bytes(),
        };
        u64::from_ne_bytes(bytes)
    }
}

/// Calls `body` with pointers to the arguments, as `cuLaunchKernel` takes them.
pub fn by_pointers<T>(arguments: &[Argument], body: impl FnOnce(&mut [*mut c_void]) -> T) -> T {
    let mut values: Vec<u64> = arguments.iter().map(Argument::bits).collect();
    let mut pointers: Vec<*mut c_void> = (values.iter_mut())
        .map(|value| (value as *mut u64).cast())
        .collect();
    body(&mut pointers)
}

/// Where kernels run: on a stream of a GPU, or on the CPU.
pub trait Launch {
    /// Where the tensors have to be.
    fn device(&self) -> Device;

    /// Launches a kernel with so many blocks, of so many threads each; it need not wait for the end.
    ///
    /// # Safety
    /// The arguments must be those that the kernel takes, and pointers valid for what it reads and writes, until it
    /// has ended.
    ///
    /// # Errors
    /// If there is no such kernel, or it is not launched.
    unsafe fn launch(
        &self,
        kernel: &str,
        grid: u32,
        block: u32,
        arguments: &[Argument],
    ) -> Result<(), CudaError>;
}

/// Launches a kernel with so many blocks of [`BLOCK`] threads; none if there is nothing to do.
///
/// # Safety
/// As [`Launch::launch`].
unsafe fn launch(
    on: &dyn Launch,
    kernel: &str,
    blocks: i64,
    arguments: &[Argument],
) -> Result<(), CudaError> {
    // SAFETY: by the caller's promise.
    unsafe { launch_of(on, kernel, blocks, BLOCK, arguments) }
}

/// Launches a kernel of which each thread adds up much, with one for each of so many things.
///
/// # Safety
/// As [`Launch::launch`].
unsafe fn launch_slow(
    on: &dyn Launch,
    kernel: &str,
    things: i64,
    arguments: &[Argument],
) -> Result<(), CudaError> {
    let blocks = pieces(things, i64::from(SLOW_BLOCK));
    // SAFETY: by the caller's promise.
    unsafe { launch_of(on, kernel, blocks, SLOW_BLOCK, arguments) }
}

/// Launches a kernel with so many blocks of so many threads; none if there is nothing to do.
///
/// # Safety
/// As [`Launch::launch`].
unsafe fn launch_of(
    on: &dyn Launch,
    kernel: &str,
    blocks: i64,
    block: u32,
    arguments: &[Argument],
) -> Result<(), CudaError> {
    match blocks {
        0 => Ok(()),
        // SAFETY: by the caller's promise.
        1..=MOST_BLOCKS => unsafe { on.launch(kernel, blocks as u32, block, arguments) },
        _ => Err(CudaError::Argument(format!(
            "{kernel} would take {blocks} blocks, more than a launch has"
        ))),
    }
}

/// Blocks that have a thread for each of so many things.
fn blocks_for(things: i64) -> i64 {
    pieces(things, i64::from(BLOCK))
}

/// Pieces of this length that so many things are cut into; the last may be shorter.
fn pieces(things: i64, length: i64) -> i64 {
    (things + length - 1) / length
}

/// The pointer to a contiguous tensor of this kind and shape on the launch's device.
fn pointer(
    on: &dyn Launch,
    name: &str,
    tensor: &Tensor,
    kind: Kind,
    shape: &[i64],
) -> Result<Argument, CudaError> {
    let (size, given, device) = (tensor.size(), tensor.kind(), tensor.device());
    if size != shape || given != kind || device != on.device() || !tensor.is_contiguous() {
        let order = match tensor.is_contiguous() {
            true => "",
            false => "strided ",
        };
        return Err(CudaError::Argument(format!(
            "{name} must be a contiguous {kind:?} {shape:?} on {:?}, not {order}{given:?} {size:?} on {device:?}",
            on.device()
        )));
    }
    Ok(Argument::Pointer(tensor.data_ptr()))
}

/// The same of a tensor that need not be there.
fn pointer_if(
    on: &dyn Launch,
    name: &str,
    tensor: Option<&Tensor>,
    kind: Kind,
    shape: &[i64],
) -> Result<Argument, CudaError> {
    match tensor {
        Some(tensor) => pointer(on, name, tensor, kind, shape),
        None => Ok(Argument::NULL),
    }
}

/// The extents of a tensor that has so many.
fn extents<const N: usize>(name: &str, tensor: &Tensor) -> Result<[i64; N], CudaError> {
    let size = tensor.size();
    let found = size.as_slice().try_into();
    found.map_err(|_| {
        CudaError::Argument(format!(
            "{name} must have {N} dimensions, not the shape {size:?}"
        ))
    })
}
