//! Bytes that are written in place and then are a tensor.

use std::ptr::null_mut;
use std::slice;

use tch::{Device, Tensor};
use torch_sys::C_tensor;

use super::{ShimError, Text, check};

unsafe extern "C" {
    fn rewind_bytes(shape: *const i64, dims: i64, pinned: bool, out: *mut *mut C_tensor) -> Text;
}

/// Bytes on the CPU, which become a tensor without being copied.
#[derive(Debug)]
pub struct Bytes {
    /// The only handle to its memory.
    tensor: Tensor,
}

impl Bytes {
    /// Bytes of this shape, all 0. Those that will go to a GPU lie in pinned memory: libtorch keeps such memory for the
    /// next one that asks, once the GPU has read it, so that many in turn cost no more than two.
    ///
    /// # Errors
    /// Libtorch's message, where there is no room for them.
    pub fn new(shape: &[i64], goes_to: Device) -> Result<Self, ShimError> {
        let mut out = null_mut();
        let (first, dims) = (shape.as_ptr(), shape.len() as i64);
        // SAFETY: `shape` outlives the call; on success `out` is a tensor that is ours.
        check(unsafe { rewind_bytes(first, dims, goes_to.is_cuda(), &mut out) })?;
        Ok(Self {
            // SAFETY: see above.
            tensor: unsafe { Tensor::from_ptr(out) },
        })
    }

    /// All of them, row-major.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        match self.tensor.numel() {
            0 => &mut [],
            // SAFETY: the tensor is contiguous, on the CPU, of `count` bytes that are all written, and nobody else has
            // a handle to it; it lives as long as the slice.
            count => unsafe { slice::from_raw_parts_mut(self.tensor.data_ptr().cast(), count) },
        }
    }

    /// The tensor of them.
    pub fn into_tensor(self) -> Tensor {
        self.tensor
    }
}
