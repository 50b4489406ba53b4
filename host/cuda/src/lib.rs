//! What the host calls of CUDA's libraries, as one table of functions.
//!
//! The program opens this library where libtorch's CUDA library is loaded, and trains without it elsewhere: see
//! `kernels::graphs`, which has the table's other side.
#![allow(unsafe_code)]

use std::ffi::c_void;

#[cfg(has_cuda_headers)]
unsafe extern "C" {
    fn rewind_cuda_functions() -> *const c_void;
}

/// The table, or null if this library was built without CUDA's headers.
#[unsafe(no_mangle)]
pub extern "C" fn rewind_cuda_table() -> *const c_void {
    #[cfg(has_cuda_headers)]
    // SAFETY: it takes nothing, and answers with the address of a constant.
    return unsafe { rewind_cuda_functions() };
    #[cfg(not(has_cuda_headers))]
    std::ptr::null()
}
