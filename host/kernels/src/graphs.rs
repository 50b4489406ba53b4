//! Work of a GPU that is captured once and then replayed in one launch.
//!
//! What needs CUDA's symbols is a library of its own, `rewind-cuda`, which lies beside the program and is opened
//! where libtorch's CUDA library is loaded: one program serves machines with and without a GPU.

mod library;

use std::ffi::c_void;
use std::ptr::null_mut;

use tch::Device;

use crate::shim::ShimError;
pub use library::{Absent, Facts, Library};

/// Captured work, on one device.
///
/// It reads and writes the memory that it read and wrote when it was captured; who captured it keeps that memory.
pub struct Graph {
    library: &'static Library,
    capture: *mut c_void,
}

// SAFETY: the graph is a handle of the runtime's, which any thread may use, one at a time.
unsafe impl Send for Graph {}

impl Graph {
    /// Captures what `work` has the GPU do: nothing of it is done yet. `work` must not wait for the device, nor read
    /// from it.
    ///
    /// # Errors
    /// If `device` is no GPU, `work` fails, or does what cannot be captured.
    pub fn capture<E: From<ShimError>>(
        library: &'static Library,
        device: Device,
        work: impl FnOnce(&Branches<'_>) -> Result<(), E>,
    ) -> Result<Self, E> {
        let mut capture = null_mut();
        library.call(|table| (table.capture_begin)(number(device), &mut capture))?;
        // From here on dropping it leaves the capture, too.
        let graph = Self { library, capture };
        work(&Branches { graph: &graph })?;
        library.call(|table| (table.capture_end)(graph.capture))?;
        Ok(graph)
    }

    /// Has the GPU do it all once more, after what it was given so far; does not wait for it.
    ///
    /// # Errors
    /// The runtime's message.
    pub fn replay(&self) -> Result<(), ShimError> {
        self.library.call(|table| (table.replay)(self.capture))
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        self.library.drop_capture(self.capture);
    }
}

/// Streams beside each other within a capture.
pub struct Branches<'a> {
    graph: &'a Graph,
}

impl Branches<'_> {
    /// Captures what `work` does on the branch of this number: beside the other branches, after what was captured
    /// before the first of them.
    ///
    /// # Errors
    /// As `work` does, or the runtime's message.
    pub fn on<E: From<ShimError>>(
        &self,
        number: usize,
        work: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        let Graph { library, capture } = self.graph;
        library.call(|table| (table.capture_branch)(*capture, number as i32))?;
        work()
    }

    /// What is captured from here on comes after all branches.
    ///
    /// # Errors
    /// The runtime's message.
    pub fn join(&self) -> Result<(), ShimError> {
        let Graph { library, capture } = self.graph;
        library.call(|table| (table.capture_join)(*capture))
    }
}

/// The number of a GPU; -1, which is none, of everything else.
fn number(device: Device) -> i32 {
    match device {
        Device::Cuda(number) => number as i32,
        _ => -1,
    }
}

#[cfg(test)]
mod tests;
