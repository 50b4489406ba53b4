//! The values of a pass.

use std::ptr::{NonNull, null_mut};

use tch::{Device, Tensor};
use torch_sys::C_tensor;

use super::argument::{Slot, number_of_device};
use super::node::{Node, RawNode};
use crate::shim::{ShimError, Text, check};

/// A frame of the C++.
#[repr(C)]
struct RawFrame {
    _private: [u8; 0],
}

unsafe extern "C" {
    fn rewind_frame_new(slots: usize, out: *mut *mut RawFrame) -> Text;
    fn rewind_frame_free(frame: *mut RawFrame);
    fn rewind_frame_set_tensor(frame: *mut RawFrame, slot: i64, tensor: *const C_tensor) -> Text;
    fn rewind_frame_set_int(frame: *mut RawFrame, slot: i64, number: i64) -> Text;
    fn rewind_frame_tensor(frame: *mut RawFrame, slot: i64, out: *mut *mut C_tensor) -> Text;
    fn rewind_frame_int(frame: *mut RawFrame, slot: i64, out: *mut i64) -> Text;
    fn rewind_frame_clear(frame: *mut RawFrame, slot: i64) -> Text;
    fn rewind_frame_call(frame: *mut RawFrame, node: *const RawNode) -> Text;
    fn rewind_seed(device: i64, seed: u64) -> Text;
}

/// The values of one pass: tensors, lists of tensors and numbers in slots. It may be used for pass after pass.
#[derive(Debug)]
pub struct Frame {
    raw: NonNull<RawFrame>,
}

// SAFETY: all that it holds is counted atomically, and only whoever has it reaches it.
unsafe impl Send for Frame {}

impl Frame {
    /// Empty slots, numbered from 0.
    ///
    /// # Errors
    /// If there is no memory for so many.
    pub fn new(slots: usize) -> Result<Self, ShimError> {
        let mut raw = null_mut();
        // SAFETY: on success `raw` is a frame that is ours.
        check(unsafe { rewind_frame_new(slots, &mut raw) })?;
        let raw = NonNull::new(raw);
        let raw = raw.ok_or_else(|| ShimError::new("no frame was made".to_owned()))?;
        Ok(Self { raw })
    }

    /// Puts a tensor into a slot: the same one, with its place in autograd's graph, not a copy.
    ///
    /// # Errors
    /// If there is no such slot.
    pub fn set(&mut self, slot: Slot, tensor: &Tensor) -> Result<(), ShimError> {
        // SAFETY: frame and tensor outlive the call.
        check(unsafe { rewind_frame_set_tensor(self.raw.as_ptr(), slot.raw(), tensor.as_ptr()) })
    }

    /// Puts a whole number into a slot.
    ///
    /// # Errors
    /// If there is no such slot.
    pub fn set_int(&mut self, slot: Slot, number: i64) -> Result<(), ShimError> {
        // SAFETY: the frame outlives the call.
        check(unsafe { rewind_frame_set_int(self.raw.as_ptr(), slot.raw(), number) })
    }

    /// The tensor in a slot, which stays there.
    ///
    /// # Errors
    /// If there is no such slot, or it holds something else.
    pub fn tensor(&self, slot: Slot) -> Result<Tensor, ShimError> {
        let mut out = null_mut();
        // SAFETY: the frame outlives the call.
        check(unsafe { rewind_frame_tensor(self.raw.as_ptr(), slot.raw(), &mut out) })?;
        // SAFETY: on success `out` is a tensor that is ours.
        Ok(unsafe { Tensor::from_ptr(out) })
    }

    /// The whole number in a slot.
    ///
    /// # Errors
    /// If there is no such slot, or it holds something else.
    pub fn int(&self, slot: Slot) -> Result<i64, ShimError> {
        let mut out = 0;
        // SAFETY: the frame outlives the call.
        check(unsafe { rewind_frame_int(self.raw.as_ptr(), slot.raw(), &mut out) })?;
        Ok(out)
    }

    /// Runs a node on the slots. If it fails, they are as they were before, but for what the operation may have
    /// written in place.
    ///
    /// # Errors
    /// If the frame has too few slots, one of those that are read is empty or holds something else than is
    /// needed, or libtorch fails; the message begins with the operation's name.
    pub fn call(&mut self, node: &Node) -> Result<(), ShimError> {
        // SAFETY: both outlive the call.
        let result = check(unsafe { rewind_frame_call(self.raw.as_ptr(), node.raw()) });
        result.map_err(|error| error.within(node.name()))
    }

    /// Empties a slot.
    ///
    /// # Errors
    /// If there is no such slot.
    pub fn clear(&mut self, slot: Slot) -> Result<(), ShimError> {
        // SAFETY: the frame outlives the call.
        check(unsafe { rewind_frame_clear(self.raw.as_ptr(), slot.raw()) })
    }

    /// Empties all slots.
    pub fn clear_all(&mut self) {
        // SAFETY: the frame outlives the call; -1 stands for all slots, which cannot fail.
        let _ = check(unsafe { rewind_frame_clear(self.raw.as_ptr(), -1) });
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        // SAFETY: it is ours, and not used again.
        unsafe { rewind_frame_free(self.raw.as_ptr()) };
    }
}

/// Seeds the generator that random operations on this device draw from, and no other device's.
///
/// # Errors
/// If libtorch has no such device.
pub fn seed(device: Device, seed: u64) -> Result<(), ShimError> {
    let number = number_of_device(device);
    let number = number.ok_or_else(|| ShimError::new(format!("no generator of {device:?}")))?;
    // SAFETY: numbers alone are passed.
    check(unsafe { rewind_seed(number, seed) })
}
