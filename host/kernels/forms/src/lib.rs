//! The host's CUDA kernels as C++, so that machines without a GPU can test them bit for bit.
//!
//! Only tests depend on it.
#![allow(unsafe_code)]

use std::ffi::{CString, c_char, c_int, c_uint, c_void};

unsafe extern "C" {
    fn rewind_launch_form(
        name: *const c_char,
        grid: c_uint,
        block: c_uint,
        arguments: *const *mut c_void,
        count: c_uint,
    ) -> c_int;
}

/// Runs a kernel on this thread, block after block, thread after thread. `arguments` point to its arguments, as
/// `cuLaunchKernel` takes them.
///
/// # Safety
/// The arguments must be of the kernel's types, and pointers among them valid for what it reads and writes.
///
/// # Errors
/// What is wrong in words, if there is no kernel of this name, or it takes another number of arguments.
pub unsafe fn launch(
    kernel: &str,
    grid: u32,
    block: u32,
    arguments: &[*mut c_void],
) -> Result<(), String> {
    let name = CString::new(kernel).map_err(|error| error.to_string())?;
    let count = arguments.len() as c_uint;
    // SAFETY: name and list outlive the call; the rest is the caller's promise.
    match unsafe { rewind_launch_form(name.as_ptr(), grid, block, arguments.as_ptr(), count) } {
        0 => Ok(()),
        1 => Err(format!("there is no kernel {kernel}")),
        2 => Err(format!(
            "the kernel {kernel} does not take {count} arguments"
        )),
        _ => Err(format!(
            "{block} threads are too many for a block of {kernel}"
        )),
    }
}
