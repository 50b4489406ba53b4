//! What can fail on the way to a kernel on a GPU.

use std::error::Error;

/// Why a kernel was not compiled, loaded or launched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CudaError {
    /// The machine has no driver for NVIDIA's GPUs: its library was not loaded, for this reason.
    #[error("there is no CUDA driver on this machine: {0}")]
    NoDriver(String),
    /// The driver refused a call.
    #[error("CUDA: {call}: {reason}")]
    Driver {
        /// Name of the call.
        call: &'static str,
        /// The driver's words.
        reason: String,
    },
    /// The compiler's library was not found where it may be.
    #[error("NVRTC, which compiles CUDA kernels, was not loaded: {0}")]
    NoCompiler(String),
    /// The compiler refused a call other than to compile.
    #[error("NVRTC: {0}")]
    Compiler(String),
    /// A source has errors.
    #[error("{source_name} does not compile for {architecture}:\n{log}")]
    Source {
        /// File name of the source.
        source_name: &'static str,
        /// What it was compiled for, such as `sm_90`.
        architecture: String,
        /// What the compiler says.
        log: String,
    },
    /// No kernel of this name was loaded.
    #[error("there is no kernel {0}")]
    NoKernel(String),
    /// A tensor or number that a pass does not take.
    #[error("{0}")]
    Argument(String),
}

/// What the loader says of a library or of a function in it.
pub(super) fn of_loader(error: &libloading::Error) -> String {
    // The loader's own words, where it has any.
    match error.source() {
        Some(source) => source.to_string(),
        None => error.to_string(),
    }
}
