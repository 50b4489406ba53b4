//! NVIDIA's compiler of CUDA C++ as a library: a source becomes a cubin, the machine code of one kind of GPU.
//!
//! Its functions and their numbers are those of the NVRTC documentation, <https://docs.nvidia.com/cuda/nvrtc>.

use std::env;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::fs;
use std::path::{Path, PathBuf};
use std::ptr::null_mut;

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};

use super::CudaError;
use super::error::of_loader;
use super::sources::{HEADER, Source};

/// Names of the library, newest first: the versions that CUDA 13 and 12 have.
const NAMES: [&str; 3] = ["libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"];

/// How every source is compiled: a product and a sum that follows it are rounded one by one, as in the passes for
/// CPUs.
pub const OPTIONS: [&str; 2] = ["--fmad=false", "--std=c++17"];

/// The variable that names the library's file, before all places where it is looked for.
pub const VARIABLE: &str = "REWIND_NVRTC";

/// A status that the compiler returns, 0 if all went well.
type Status = c_int;
/// A program that is being compiled.
type Program = *mut c_void;
type ReadSize = unsafe extern "C" fn(Program, *mut usize) -> Status;
type ReadText = unsafe extern "C" fn(Program, *mut c_char) -> Status;
type CreateProgram = unsafe extern "C" fn(
    *mut Program,
    *const c_char,
    *const c_char,
    c_int,
    *const *const c_char,
    *const *const c_char,
) -> Status;

/// The loaded compiler.
#[derive(Debug)]
pub struct Nvrtc {
    version: [i32; 2],
    create: CreateProgram,
    compile: unsafe extern "C" fn(Program, c_int, *const *const c_char) -> Status,
    destroy: unsafe extern "C" fn(*mut Program) -> Status,
    log_size: ReadSize,
    log_text: ReadText,
    cubin_size: ReadSize,
    cubin: ReadText,
    describe: unsafe extern "C" fn(Status) -> *const c_char,
    /// The functions above are theirs.
    _libraries: Vec<Library>,
}

impl Nvrtc {
    /// Loads the library: `named`, or what [`VARIABLE`] names, or the first that is found beside libtorch, beside
    /// NVIDIA's other libraries of the same wheels, or by the loader.
    ///
    /// # Errors
    /// If there is none, with what was tried.
    pub fn open(named: Option<&Path>) -> Result<Self, CudaError> {
        let variable = || env::var_os(VARIABLE).filter(|it| !it.is_empty());
        let named = named
            .map(Path::to_owned)
            .or_else(|| variable().map(PathBuf::from));
        let candidates = named.map_or_else(candidates, |it| vec![it]);
        let mut failures = Vec::new();
        for path in candidates {
            match Self::load(&path) {
                Ok(loaded) => return Ok(loaded),
                Err(reason) => failures.push(reason),
            }
        }
        Err(CudaError::NoCompiler(failures.join("; ")))
    }

    fn load(path: &Path) -> Result<Self, String> {
        // The compiler asks the loader alone for the library of what is built in: one that lies beside it has to
        // be there before.
        let mut libraries: Vec<_> = built_ins(path).iter().flat_map(|it| open(it)).collect();
        let library = open(path)?;
        // SAFETY: the types are those of the NVRTC documentation, and the library is kept as long as the pointers.
        let mut loaded = unsafe {
            Self {
                version: [0; 2],
                create: function(&library, c"nvrtcCreateProgram")?,
                compile: function(&library, c"nvrtcCompileProgram")?,
                destroy: function(&library, c"nvrtcDestroyProgram")?,
                log_size: function(&library, c"nvrtcGetProgramLogSize")?,
                log_text: function(&library, c"nvrtcGetProgramLog")?,
                cubin_size: function(&library, c"nvrtcGetCUBINSize")?,
                cubin: function(&library, c"nvrtcGetCUBIN")?,
                describe: function(&library, c"nvrtcGetErrorString")?,
                _libraries: Vec::new(),
            }
        };
        type Version = unsafe extern "C" fn(*mut c_int, *mut c_int) -> Status;
        // SAFETY: as above.
        let version: Version = unsafe { function(&library, c"nvrtcVersion")? };
        let [major, minor] = &mut loaded.version;
        // SAFETY: both numbers outlive the call.
        let status = unsafe { version(major, minor) };
        loaded
            .check(status)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        libraries.push(library);
        loaded._libraries = libraries;
        Ok(loaded)
    }

    /// Major and minor version.
    pub fn version(&self) -> [i32; 2] {
        self.version
    }

    /// The cubin of a source for GPUs of this architecture, such as `sm_90`.
    ///
    /// # Errors
    /// The compiler's log, if the source or the architecture is at fault.
    pub fn compile(&self, source: &Source, architecture: &str) -> Result<Vec<u8>, CudaError> {
        let text = |text: &str| {
            CString::new(text).map_err(|_| CudaError::Compiler("a text has a zero".to_owned()))
        };
        let [name, body] = [text(source.name)?, text(source.text)?];
        let [header_name, header] = HEADER.map(text);
        let (header_name, header) = (header_name?, header?);
        let mut program = null_mut();
        // SAFETY: the texts, and the pointers to those of the one header, outlive the call, which copies them.
        self.check(unsafe {
            (self.create)(
                &mut program,
                body.as_ptr(),
                name.as_ptr(),
                1,
                &header.as_ptr(),
                &header_name.as_ptr(),
            )
        })?;
        let compiled = Compiling { by: self, program };
        let target = format!("--gpu-architecture={architecture}");
        let options = OPTIONS.iter().copied().chain([target.as_str()]);
        let options = options.map(text).collect::<Result<Vec<_>, _>>()?;
        let pointers: Vec<_> = options.iter().map(|it| it.as_ptr()).collect();
        // SAFETY: the program lives, and so do the options during the call.
        let status = unsafe { (self.compile)(program, pointers.len() as c_int, pointers.as_ptr()) };
        if let Err(error) = self.check(status) {
            let log = compiled.read(self.log_size, self.log_text)?;
            let log = String::from_utf8_lossy(&log);
            return Err(CudaError::Source {
                source_name: source.name,
                architecture: architecture.to_owned(),
                log: format!("{error}\n{}", log.trim_end_matches('\0').trim()),
            });
        }
        compiled.read(self.cubin_size, self.cubin)
    }

    fn check(&self, status: Status) -> Result<(), CudaError> {
        if status == 0 {
            return Ok(());
        }
        // SAFETY: it takes any number, and gives a text that is never freed.
        let text = unsafe { CStr::from_ptr((self.describe)(status)) };
        Err(CudaError::Compiler(text.to_string_lossy().into_owned()))
    }
}

/// A program until it is destroyed.
struct Compiling<'a> {
    by: &'a Nvrtc,
    program: Program,
}

impl Compiling<'_> {
    /// What the compiler has made: bytes of the size that it says.
    fn read(&self, size: ReadSize, read: ReadText) -> Result<Vec<u8>, CudaError> {
        let mut count = 0;
        // SAFETY: the program lives, and the number outlives the call.
        self.by.check(unsafe { size(self.program, &mut count) })?;
        let mut bytes = vec![0u8; count];
        // SAFETY: as above; it writes as many bytes as it said.
        self.by
            .check(unsafe { read(self.program, bytes.as_mut_ptr().cast()) })?;
        Ok(bytes)
    }
}

impl Drop for Compiling<'_> {
    fn drop(&mut self) {
        // SAFETY: it was created and nobody uses it any more.
        unsafe { (self.by.destroy)(&mut self.program) };
    }
}

/// Where the library may be.
fn candidates() -> Vec<PathBuf> {
    let beside = folders().into_iter();
    let beside = beside.flat_map(|folder| NAMES.map(|name| folder.join(name)));
    let found = beside.filter(|it| it.exists());
    found.chain(NAMES.map(PathBuf::from)).collect()
}

/// The folder that libtorch was loaded from, and those in which wheels put NVIDIA's libraries beside `torch`.
fn folders() -> Vec<PathBuf> {
    // Lines of mapped files end with their paths.
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let libtorch = maps
        .lines()
        .filter_map(|line| line.find('/').map(|at| Path::new(&line[at..])))
        .find(|path| path.ends_with("libtorch_cpu.so"));
    let Some(folder) = libtorch.and_then(Path::parent) else {
        return Vec::new();
    };
    let wheels = folder.join("../../nvidia");
    let of_wheels = ["cu13/lib", "cuda_nvrtc/lib"].map(|lib| wheels.join(lib));
    [folder.to_owned()].into_iter().chain(of_wheels).collect()
}

/// The libraries of what is built in that lie beside the compiler.
fn built_ins(path: &Path) -> Vec<PathBuf> {
    let Some(folder) = path.parent().filter(|it| !it.as_os_str().is_empty()) else {
        return Vec::new();
    };
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let named = entries.filter(|it| {
        let name = it.file_name();
        name.to_string_lossy().starts_with("libnvrtc-builtins.so")
    });
    named.map(|it| it.path()).collect()
}

fn open(path: &Path) -> Result<Library, String> {
    // SAFETY: NVIDIA's libraries may be loaded at any time.
    unsafe { Library::open(Some(path), RTLD_NOW | RTLD_GLOBAL) }.map_err(|error| of_loader(&error))
}

/// A function of a library, which must outlive it.
///
/// # Safety
/// `F` must be a pointer to a function of its type.
unsafe fn function<F: Copy>(library: &Library, name: &CStr) -> Result<F, String> {
    // SAFETY: by the caller's promise.
    match unsafe { library.get::<F>(name) } {
        Ok(found) => Ok(*found),
        Err(error) => Err(of_loader(&error)),
    }
}
