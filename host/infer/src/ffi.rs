//! The interface for C: `include/rewind_infer.h` says what each function does.
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char, c_float, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::ptr;

use crate::model::{Model, Options};

/// Returned where something failed; `rewind_infer_last_error` says what.
const FAILED: c_int = -1;

thread_local! {
    /// What failed last on this thread.
    static LAST: RefCell<Option<CString>> = const { RefCell::new(None) };
}

/// Calls, and keeps what failed; panics end here.
fn guarded<R>(failed: R, call: impl FnOnce() -> Result<R, String>) -> R {
    let result = catch_unwind(AssertUnwindSafe(call));
    match result.unwrap_or_else(|_| Err("a mistake of the library's own".to_owned())) {
        Ok(value) => value,
        Err(reason) => {
            let text = CString::new(reason.replace('\0', " ")).ok();
            LAST.with_borrow_mut(|last| *last = text);
            failed
        }
    }
}

/// # Safety
/// The pointer is null or comes from `rewind_infer_load` and was not freed.
unsafe fn model<'a>(model: *const Model) -> Result<&'a Model, String> {
    // SAFETY: the caller keeps the rules.
    unsafe { model.as_ref() }.ok_or_else(|| "the model is a null pointer".to_owned())
}

/// What failed last on this thread; null if nothing did.
#[unsafe(no_mangle)]
pub extern "C" fn rewind_infer_last_error() -> *const c_char {
    LAST.with_borrow(|last| last.as_ref().map_or(ptr::null(), |text| text.as_ptr()))
}

/// Loads a model.
///
/// # Safety
/// `path` is null or a text that ends with a zero byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rewind_infer_load(path: *const c_char, threads: usize) -> *mut Model {
    guarded(ptr::null_mut(), || {
        if path.is_null() {
            return Err("the path is a null pointer".to_owned());
        }
        // SAFETY: the caller keeps the rules.
        let path = unsafe { CStr::from_ptr(path) };
        let path = path.to_str().map_err(|_| "the path is no UTF-8")?;
        let options = Options {
            threads: threads.min(1024),
            kernels: None,
        };
        let model = Model::load_with(Path::new(path), &options);
        let model = model.map_err(|error| error.to_string())?;
        Ok(Box::into_raw(Box::new(model)))
    })
}

/// Frees a model.
///
/// # Safety
/// The pointer is null or comes from `rewind_infer_load`, was not freed, and nothing runs with it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rewind_infer_free(model: *mut Model) {
    if !model.is_null() {
        guarded((), || {
            // SAFETY: the caller keeps the rules.
            drop(unsafe { Box::from_raw(model) });
            Ok(())
        });
    }
}

/// Writes up to `room` sizes of a shape; how many it has.
///
/// # Safety
/// `sizes` has room for so many, or is null and `room` 0.
unsafe fn shape(shape: &[usize], sizes: *mut usize, room: usize) -> c_int {
    let count = match sizes.is_null() {
        true => 0,
        false => shape.len().min(room),
    };
    for (at, &size) in shape.iter().take(count).enumerate() {
        // SAFETY: the caller keeps the rules.
        unsafe { sizes.add(at).write(size) };
    }
    shape.len() as c_int
}

/// The shape of one input.
///
/// # Safety
/// As the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rewind_infer_input_shape(
    of: *const Model,
    sizes: *mut usize,
    room: usize,
) -> c_int {
    // SAFETY: the caller keeps the rules.
    guarded(FAILED, || unsafe {
        Ok(shape(model(of)?.input_shape(), sizes, room))
    })
}

/// The shape of one output.
///
/// # Safety
/// As the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rewind_infer_output_shape(
    of: *const Model,
    sizes: *mut usize,
    room: usize,
) -> c_int {
    // SAFETY: the caller keeps the rules.
    guarded(FAILED, || unsafe {
        Ok(shape(model(of)?.output_shape(), sizes, room))
    })
}

/// Computes the outputs of a batch.
///
/// # Safety
/// `input` and `output` have as many numbers as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rewind_infer_run(
    of: *const Model,
    input: *const c_float,
    batch: usize,
    output: *mut c_float,
) -> c_int {
    guarded(FAILED, || {
        // SAFETY: the caller keeps the rules.
        let model = unsafe { model(of) }?;
        if input.is_null() || output.is_null() {
            return Err("input or output is a null pointer".to_owned());
        }
        let count = |shape: &[usize]| {
            let count = shape.iter().product::<usize>().checked_mul(batch);
            // A slice has no more bytes than that.
            let count = count.filter(|it| *it <= isize::MAX as usize / size_of::<c_float>());
            count.ok_or_else(|| format!("a batch of {batch} has more numbers than there is memory"))
        };
        let (inputs, outputs) = (count(model.input_shape())?, count(model.output_shape())?);
        // SAFETY: the caller keeps the rules.
        let (input, output) = unsafe {
            (
                std::slice::from_raw_parts(input, inputs),
                std::slice::from_raw_parts_mut(output, outputs),
            )
        };
        let done = model.run_into(input, batch, output);
        done.map(|()| 0).map_err(|error| error.to_string())
    })
}
