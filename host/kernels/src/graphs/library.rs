//! The library with what needs CUDA's symbols.

use std::env;
use std::ffi::{CStr, c_char, c_void};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use tch::Device;

use super::number;
use crate::shim::{ShimError, Text};

/// Version of the table, which the library states.
const VERSION: u32 = 1;

/// The version of libtorch that the bindings, and so the library, are made for.
const LIBTORCH: &str = "2.13.0";

/// Names another file than the one beside the program.
const VARIABLE: &str = "REWIND_CUDA_LIBRARY";

/// The functions of the library, in the order of its own table.
#[repr(C)]
pub(super) struct Table {
    version: u32,
    libtorch: *const c_char,
    free_text: extern "C" fn(Text),
    facts: extern "C" fn(i32, *mut RawFacts) -> Text,
    stream: extern "C" fn(i32, *mut *mut c_void) -> Text,
    pub capture_begin: extern "C" fn(i32, *mut *mut c_void) -> Text,
    pub capture_branch: extern "C" fn(*mut c_void, i32) -> Text,
    pub capture_join: extern "C" fn(*mut c_void) -> Text,
    pub capture_end: extern "C" fn(*mut c_void) -> Text,
    pub replay: extern "C" fn(*mut c_void) -> Text,
    drop: extern "C" fn(*mut c_void),
}

#[repr(C)]
struct RawFacts {
    name: [c_char; 128],
    free: u64,
}

/// Why there is no such library.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Absent {
    /// It does not lie where it is looked for.
    #[error("{0} is not there: it is built and installed with the program, or {VARIABLE} names it")]
    File(PathBuf),
    /// It cannot be loaded: most often libtorch is one without CUDA.
    #[error(
        "{file} cannot be loaded: {reason}. It needs a libtorch with CUDA: `make libtorch TORCH=full`, or PyTorch's own"
    )]
    Load {
        /// The library.
        file: PathBuf,
        /// The loader's message.
        reason: String,
    },
    /// It was built on a machine without CUDA's headers.
    #[error(
        "{0} was built without CUDA's headers: build it again where `make libtorch` fetched them"
    )]
    Empty(PathBuf),
    /// It belongs to another program.
    #[error(
        "{file} is of another version: {found}, expected {expected}. Build the program and it together"
    )]
    Version {
        /// The library.
        file: PathBuf,
        /// What it states.
        found: String,
        /// What this program needs.
        expected: String,
    },
}

/// What a GPU is, and how much memory it has left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The vendor's name of it.
    pub name: String,
    /// Bytes that nobody uses.
    pub free: u64,
}

/// The opened library.
pub struct Library {
    table: &'static Table,
    _file: libloading::Library,
}

// SAFETY: the table is constant, and its functions may be called from any thread.
unsafe impl Sync for Library {}
// SAFETY: as above.
unsafe impl Send for Library {}

impl Library {
    /// The library beside the program, opened when it is first asked for.
    ///
    /// # Errors
    /// Why there is none.
    pub fn get() -> Result<&'static Self, Absent> {
        static OPENED: OnceLock<Result<Library, Absent>> = OnceLock::new();
        let opened = OPENED.get_or_init(|| Self::open(&place()));
        opened.as_ref().map_err(Clone::clone)
    }

    /// Opens this file.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub(super) fn open(file: &Path) -> Result<Self, Absent> {
        let path = || file.to_owned();
        if !file.is_file() {
            return Err(Absent::File(path()));
        }
        let load = |error: libloading::Error| {
            let source = std::error::Error::source(&error).map(ToString::to_string);
            Absent::Load {
                file: path(),
                reason: source.unwrap_or_else(|| error.to_string()),
            }
        };
        // SAFETY: it is the program's own library, whose initialisers are those of the C++ runtime.
        let opened = unsafe { libloading::Library::new(file) }.map_err(load)?;
        // SAFETY: the symbol, if it is there, is of this type.
        let table =
            unsafe { opened.get::<extern "C" fn() -> *const Table>(b"rewind_cuda_table\0") };
        let table = table.map_err(load)?();
        // SAFETY: null, or a constant that lives as long as the library, which is kept.
        let Some(table) = (unsafe { table.as_ref() }) else {
            return Err(Absent::Empty(path()));
        };
        // SAFETY: every version of the table begins with its version and this text.
        let libtorch = unsafe { CStr::from_ptr(table.libtorch) }.to_string_lossy();
        if (table.version, &*libtorch) != (VERSION, LIBTORCH) {
            return Err(Absent::Version {
                file: path(),
                found: format!("{} for libtorch {libtorch}", table.version),
                expected: format!("{VERSION} for libtorch {LIBTORCH}"),
            });
        }
        Ok(Self {
            table,
            _file: opened,
        })
    }

    /// What `device` is.
    ///
    /// # Errors
    /// If it is no GPU of this machine; the runtime's message.
    pub fn facts(&self, device: Device) -> Result<Facts, ShimError> {
        let mut raw = RawFacts {
            name: [0; 128],
            free: 0,
        };
        self.call(|table| (table.facts)(number(device), &mut raw))?;
        // SAFETY: the library ends the name with a zero.
        let name = unsafe { CStr::from_ptr(raw.name.as_ptr()) };
        Ok(Facts {
            name: name.to_string_lossy().into_owned(),
            free: raw.free,
        })
    }

    /// The stream on which libtorch puts this thread's work now, as CUDA's driver knows it.
    ///
    /// # Errors
    /// The runtime's message.
    pub fn stream(&self, device: Device) -> Result<*mut c_void, ShimError> {
        let mut stream = std::ptr::null_mut();
        self.call(|table| (table.stream)(number(device), &mut stream))?;
        Ok(stream)
    }

    /// Calls a function; its error's text is the library's to free.
    pub(super) fn call(&self, function: impl FnOnce(&Table) -> Text) -> Result<(), ShimError> {
        let text = function(self.table);
        if text.is_null() {
            return Ok(());
        }
        // SAFETY: a text of the library's, which is valid until it is freed.
        let said = unsafe { CStr::from_ptr(text) }
            .to_string_lossy()
            .into_owned();
        (self.table.free_text)(text);
        Err(ShimError::new(said))
    }

    pub(super) fn drop_capture(&self, capture: *mut c_void) {
        (self.table.drop)(capture);
    }
}

/// Where the library lies.
fn place() -> PathBuf {
    if let Some(named) = env::var_os(VARIABLE).filter(|it| !it.is_empty()) {
        return named.into();
    }
    let name = libloading::library_filename("rewind_cuda");
    let program = env::current_exe().and_then(|it| it.canonicalize());
    match program.ok().as_deref().and_then(Path::parent) {
        Some(folder) => folder.join(name),
        None => name.into(),
    }
}
