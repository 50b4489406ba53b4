//! The kernels for GPUs as C++, for tests.
#![allow(unsafe_code)]

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use kernels::cuda::passes::{Argument, Launch, by_pointers};
use kernels::cuda::{CudaError, Kernels};
use tch::Device;

struct OnCpu;

/// Kernels that run on the thread that launches them.
pub fn kernels_on_cpu() -> Kernels {
    Arc::new(OnCpu)
}

impl Launch for OnCpu {
    fn device(&self) -> Device {
        Device::Cpu
    }

    unsafe fn launch(
        &self,
        kernel: &str,
        grid: u32,
        block: u32,
        arguments: &[Argument],
    ) -> Result<(), CudaError> {
        by_pointers(arguments, |pointers| {
            // SAFETY: by the caller's promise.
            unsafe { kernels_forms::launch(kernel, grid, block, pointers) }
                .map_err(CudaError::Argument)
        })
    }
}

/// The same, which remember what was launched.
#[derive(Default)]
pub struct Listed(pub Mutex<BTreeSet<String>>);

impl Launch for Listed {
    fn device(&self) -> Device {
        OnCpu.device()
    }

    unsafe fn launch(
        &self,
        kernel: &str,
        grid: u32,
        block: u32,
        arguments: &[Argument],
    ) -> Result<(), CudaError> {
        self.0.lock().unwrap().insert(kernel.to_owned());
        // SAFETY: by the caller's promise.
        unsafe { OnCpu.launch(kernel, grid, block, arguments) }
    }
}
