//! Kernels of our own for GPUs, without a compiler at build time.
//!
//! Their sources, `host/kernels/cuda`, are texts in the program. At first use NVRTC, which comes with libtorch for
//! GPUs, compiles them for the GPU at hand; what it makes is kept on disk. The [`passes`] check tensors and launch
//! kernels wherever a [`Launch`](passes::Launch) runs them: on a stream of a GPU, or, in tests, as C++ on the CPU, where
//! they are compared bit by bit with the passes for CPUs.
//!
//! ```text
//! sources -> nvrtc (a cubin for sm_XX) -> cache (on disk) -> driver (functions, a stream) -> passes
//! ```

mod autograd;
pub mod cache;
pub mod driver;
mod error;
pub mod nvrtc;
mod on_device;
pub mod passes;
pub mod sources;

pub use autograd::{AutogradBy, autograd_by};
pub use error::CudaError;
pub use on_device::{Kernels, OnDevice};

#[cfg(test)]
mod tests;
