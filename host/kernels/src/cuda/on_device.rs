//! Kernels on the stream that libtorch uses.

use std::path::Path;
use std::sync::Arc;

use tch::Device;

use super::CudaError;
use super::cache::Cache;
use super::driver::Gpu;
use super::nvrtc::Nvrtc;
use super::passes::{Argument, Launch};
use crate::graphs::Library;

/// Where kernels run, for all who train by them.
pub type Kernels = Arc<dyn Launch + Send + Sync>;

/// A GPU whose kernels are launched behind what libtorch was given: on the stream of the thread that launches, also
/// while it is captured.
pub struct OnDevice {
    gpu: Gpu,
    library: &'static Library,
    device: Device,
    compiler: [i32; 2],
}

impl OnDevice {
    /// The GPU with all kernels, which are compiled unless the cache has them.
    ///
    /// # Errors
    /// If `device` is no GPU, NVRTC is not there, or the GPU cannot run what it makes.
    pub fn open(
        device: Device,
        library: &'static Library,
        cache: &Path,
    ) -> Result<Self, CudaError> {
        let Device::Cuda(index) = device else {
            return Err(CudaError::Argument(format!("{device:?} is no GPU")));
        };
        let compiler = Nvrtc::open(None)?;
        Ok(Self {
            gpu: Gpu::with_kernels(index, &compiler, &Cache::new(cache))?,
            library,
            device,
            compiler: compiler.version(),
        })
    }

    /// Major and minor version of the compiler that makes the kernels.
    pub fn compiler_version(&self) -> [i32; 2] {
        self.compiler
    }
}

impl Launch for OnDevice {
    fn device(&self) -> Device {
        self.device
    }

    unsafe fn launch(
        &self,
        kernel: &str,
        grid: u32,
        block: u32,
        arguments: &[Argument],
    ) -> Result<(), CudaError> {
        let stream = self.library.stream(self.device);
        let stream = stream.map_err(|error| CudaError::Driver {
            call: "the stream of libtorch",
            reason: error.to_string(),
        })?;
        // SAFETY: libtorch's streams live as long as the process; the rest is the caller's promise.
        unsafe {
            self.gpu
                .on_stream(stream)
                .launch(kernel, grid, block, arguments)
        }
    }
}
