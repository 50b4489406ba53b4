//! CUDA's driver: cubins become functions of a GPU, which are launched on a stream.
//!
//! Its functions and their numbers are those of the documentation, <https://docs.nvidia.com/cuda/cuda-driver-api>. Work is
//! done in the GPU's primary context, which is libtorch's.

use std::collections::HashMap;
use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::ptr::{null, null_mut};

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
use tch::Device;

use super::CudaError;
use super::cache::Cache;
use super::error::of_loader;
use super::nvrtc::Nvrtc;
use super::passes::{Argument, Launch, by_pointers};
use super::sources::SOURCES;

const LIBRARY: &str = "libcuda.so.1";

/// `CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR` and `..._MINOR`.
const CAPABILITY: [c_int; 2] = [75, 76];

/// A status that the driver returns, 0 if all went well.
type Status = c_int;
type Ordinal = c_int;
type Context = *mut c_void;
type Module = *mut c_void;
type Function = *mut c_void;
type LaunchKernel = unsafe extern "C" fn(
    Function,
    c_uint,
    c_uint,
    c_uint,
    c_uint,
    c_uint,
    c_uint,
    c_uint,
    *mut c_void,
    *mut *mut c_void,
    *mut *mut c_void,
) -> Status;

/// The driver's functions.
#[derive(Debug)]
struct Driver {
    init: unsafe extern "C" fn(c_uint) -> Status,
    device: unsafe extern "C" fn(*mut Ordinal, c_int) -> Status,
    attribute: unsafe extern "C" fn(*mut c_int, c_int, Ordinal) -> Status,
    retain: unsafe extern "C" fn(*mut Context, Ordinal) -> Status,
    release: unsafe extern "C" fn(Ordinal) -> Status,
    push: unsafe extern "C" fn(Context) -> Status,
    pop: unsafe extern "C" fn(*mut Context) -> Status,
    wait: unsafe extern "C" fn() -> Status,
    load: unsafe extern "C" fn(*mut Module, *const c_void) -> Status,
    unload: unsafe extern "C" fn(Module) -> Status,
    function: unsafe extern "C" fn(*mut Function, Module, *const c_char) -> Status,
    launch: LaunchKernel,
    describe: unsafe extern "C" fn(Status, *mut *const c_char) -> Status,
    /// The functions above are its own.
    _library: Library,
}

impl Driver {
    fn open() -> Result<Self, CudaError> {
        let absent = |error: libloading::Error| CudaError::NoDriver(of_loader(&error));
        // SAFETY: the driver's library may be loaded at any time.
        let library = unsafe { Library::open(Some(LIBRARY), RTLD_NOW | RTLD_GLOBAL) };
        let library = library.map_err(absent)?;
        /// A function of the library, which is kept as long as it.
        ///
        /// # Safety
        /// `F` must be a pointer to a function of its type.
        unsafe fn of<F: Copy>(library: &Library, name: &CStr) -> Result<F, libloading::Error> {
            // SAFETY: by the caller's promise.
            unsafe { library.get::<F>(name) }.map(|found| *found)
        }
        // SAFETY: the types are those of the driver's documentation.
        unsafe {
            Ok(Self {
                init: of(&library, c"cuInit").map_err(absent)?,
                device: of(&library, c"cuDeviceGet").map_err(absent)?,
                attribute: of(&library, c"cuDeviceGetAttribute").map_err(absent)?,
                retain: of(&library, c"cuDevicePrimaryCtxRetain").map_err(absent)?,
                release: of(&library, c"cuDevicePrimaryCtxRelease_v2").map_err(absent)?,
                push: of(&library, c"cuCtxPushCurrent_v2").map_err(absent)?,
                pop: of(&library, c"cuCtxPopCurrent_v2").map_err(absent)?,
                wait: of(&library, c"cuCtxSynchronize").map_err(absent)?,
                load: of(&library, c"cuModuleLoadData").map_err(absent)?,
                unload: of(&library, c"cuModuleUnload").map_err(absent)?,
                function: of(&library, c"cuModuleGetFunction").map_err(absent)?,
                launch: of(&library, c"cuLaunchKernel").map_err(absent)?,
                describe: of(&library, c"cuGetErrorString").map_err(absent)?,
                _library: library,
            })
        }
    }

    fn check(&self, call: &'static str, status: Status) -> Result<(), CudaError> {
        if status == 0 {
            return Ok(());
        }
        let mut text = null();
        // SAFETY: it takes any number, and writes null or a text that is never freed.
        unsafe { (self.describe)(status, &mut text) };
        let reason = if text.is_null() {
            format!("error {status}")
        } else {
            // SAFETY: see above.
            unsafe { CStr::from_ptr(text) }.to_string_lossy().into()
        };
        Err(CudaError::Driver { call, reason })
    }
}

/// A GPU with the kernels that were loaded for it.
#[derive(Debug)]
pub struct Gpu {
    driver: Driver,
    ordinal: Ordinal,
    index: usize,
    context: Context,
    modules: Vec<Module>,
    functions: HashMap<String, Function>,
}

// SAFETY: the driver's calls may come from any thread, and pointers are to what it keeps for all of them.
unsafe impl Send for Gpu {}
// SAFETY: as above; what is shared is only read.
unsafe impl Sync for Gpu {}

impl Gpu {
    /// The GPU of this number, in libtorch's count, without kernels.
    ///
    /// # Errors
    /// If there is no driver, or no such GPU.
    pub fn open(index: usize) -> Result<Self, CudaError> {
        let driver = Driver::open()?;
        let (mut ordinal, mut context) = (0, null_mut());
        // SAFETY: flags have to be 0.
        driver.check("cuInit", unsafe { (driver.init)(0) })?;
        // SAFETY: the number outlives the call.
        let found = unsafe { (driver.device)(&mut ordinal, index as c_int) };
        driver.check("cuDeviceGet", found)?;
        // SAFETY: as above; the context is released when this is dropped.
        let retained = unsafe { (driver.retain)(&mut context, ordinal) };
        driver.check("cuDevicePrimaryCtxRetain", retained)?;
        Ok(Self {
            driver,
            ordinal,
            index,
            context,
            modules: Vec::new(),
            functions: HashMap::new(),
        })
    }

    /// The same with all kernels, each compiled unless the cache has it.
    ///
    /// # Errors
    /// As [`open`](Gpu::open), and those of compiler and driver.
    pub fn with_kernels(index: usize, compiler: &Nvrtc, cache: &Cache) -> Result<Self, CudaError> {
        let mut gpu = Self::open(index)?;
        let architecture = gpu.architecture()?;
        for source in SOURCES {
            let cubin = cache.cubin(&source, &architecture, compiler)?;
            gpu.load(&cubin, source.kernels)?;
        }
        Ok(gpu)
    }

    /// What kernels are compiled for, such as `sm_90`.
    ///
    /// # Errors
    /// The driver's.
    pub fn architecture(&self) -> Result<String, CudaError> {
        let number = |attribute| {
            let mut number = 0;
            // SAFETY: the number outlives the call.
            let status = unsafe { (self.driver.attribute)(&mut number, attribute, self.ordinal) };
            self.driver.check("cuDeviceGetAttribute", status)?;
            Ok(number)
        };
        let [major, minor] = CAPABILITY.map(number);
        Ok(format!("sm_{}{}", major?, minor?))
    }

    /// Loads a cubin's kernels of these names.
    ///
    /// # Errors
    /// If the GPU cannot run it, or it lacks one of them.
    pub fn load(&mut self, cubin: &[u8], kernels: &[&str]) -> Result<(), CudaError> {
        let module = self.within(|| {
            let mut module = null_mut();
            // SAFETY: a cubin says how long it is; it is copied.
            let loaded = unsafe { (self.driver.load)(&mut module, cubin.as_ptr().cast()) };
            self.driver.check("cuModuleLoadData", loaded)?;
            Ok(module)
        })?;
        self.modules.push(module);
        let found = self.within(|| {
            let mut functions = Vec::new();
            for kernel in kernels {
                let name = CString::new(*kernel);
                let name = name.map_err(|_| CudaError::NoKernel((*kernel).to_owned()))?;
                let mut function = null_mut();
                // SAFETY: the module is loaded, and the name outlives the call.
                let status =
                    unsafe { (self.driver.function)(&mut function, module, name.as_ptr()) };
                self.driver.check("cuModuleGetFunction", status)?;
                functions.push(((*kernel).to_owned(), function));
            }
            Ok(functions)
        })?;
        self.functions.extend(found);
        Ok(())
    }

    /// Launches on this stream of the GPU's primary context; null is the default one.
    ///
    /// # Safety
    /// The stream must live as long as the result.
    pub unsafe fn on_stream(&self, stream: *mut c_void) -> OnStream<'_> {
        OnStream { gpu: self, stream }
    }

    /// Does this in the GPU's context, and leaves the thread in that in which it was.
    fn within<T>(&self, body: impl FnOnce() -> Result<T, CudaError>) -> Result<T, CudaError> {
        // SAFETY: the context is retained.
        let pushed = unsafe { (self.driver.push)(self.context) };
        self.driver.check("cuCtxPushCurrent", pushed)?;
        let result = body();
        let mut context = null_mut();
        // SAFETY: it was pushed on this thread.
        let popped = unsafe { (self.driver.pop)(&mut context) };
        self.driver.check("cuCtxPopCurrent", popped)?;
        result
    }
}

impl Drop for Gpu {
    fn drop(&mut self) {
        let unloaded = self.within(|| {
            // SAFETY: it takes nothing; kernels that still run are waited for.
            let status = unsafe { (self.driver.wait)() };
            self.driver.check("cuCtxSynchronize", status)?;
            for &module in &self.modules {
                // SAFETY: it was loaded in this context, and nobody launches from it any more.
                let status = unsafe { (self.driver.unload)(module) };
                self.driver.check("cuModuleUnload", status)?;
            }
            Ok(())
        });
        // SAFETY: it was retained once.
        let released = unsafe { (self.driver.release)(self.ordinal) };
        let released = self.driver.check("cuDevicePrimaryCtxRelease", released);
        if let Err(error) = unloaded.and(released) {
            log::error!("failed to leave a GPU: {error}");
        }
    }
}

/// A stream on which a GPU's kernels are launched.
#[derive(Debug)]
pub struct OnStream<'a> {
    gpu: &'a Gpu,
    stream: *mut c_void,
}

impl Launch for OnStream<'_> {
    fn device(&self) -> Device {
        Device::Cuda(self.gpu.index)
    }

    unsafe fn launch(
        &self,
        kernel: &str,
        grid: u32,
        block: u32,
        arguments: &[Argument],
    ) -> Result<(), CudaError> {
        let function = self.gpu.functions.get(kernel);
        let &function = function.ok_or_else(|| CudaError::NoKernel(kernel.to_owned()))?;
        let launch = |pointers: &mut [*mut c_void]| {
            // SAFETY: the function is loaded, the stream lives, and the arguments are read during the call; what
            // the kernel does with them is the caller's promise.
            let status = unsafe {
                (self.gpu.driver.launch)(
                    function,
                    grid,
                    1,
                    1,
                    block,
                    1,
                    1,
                    0,
                    self.stream,
                    pointers.as_mut_ptr(),
                    null_mut(),
                )
            };
            self.gpu.driver.check("cuLaunchKernel", status)
        };
        self.gpu.within(|| by_pointers(arguments, launch))
    }
}
