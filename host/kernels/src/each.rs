//! Work shared by libtorch's threads, which are there already.

use std::any::Any;
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Mutex, PoisonError};

unsafe extern "C" {
    fn rewind_each(count: i64, work: unsafe extern "C" fn(*mut c_void, i64), context: *mut c_void);
}

/// The work, and the first panic in it.
struct Shared<'a, T> {
    work: &'a (dyn Fn(T) + Sync),
    tasks: Vec<Mutex<Option<T>>>,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

/// Does the work for each task, several at a time.
///
/// # Panics
/// If the work does.
pub fn each<T: Send>(tasks: impl IntoIterator<Item = T>, work: impl Fn(T) + Sync) {
    unsafe extern "C" fn one<T: Send>(shared: *mut c_void, task: i64) {
        // SAFETY: `each` lends its own for the time of the call.
        let shared = unsafe { &*shared.cast::<Shared<'_, T>>() };
        let lock = |it: &Mutex<Option<T>>| it.lock().unwrap_or_else(PoisonError::into_inner).take();
        let done = catch_unwind(AssertUnwindSafe(|| {
            if let Some(task) = shared.tasks.get(task as usize).and_then(lock) {
                (shared.work)(task);
            }
        }));
        // A panic must not unwind through C++.
        if let Err(panic) = done {
            let mut first = shared.panic.lock().unwrap_or_else(PoisonError::into_inner);
            first.get_or_insert(panic);
        }
    }
    let mut shared = Shared {
        work: &work,
        tasks: tasks
            .into_iter()
            .map(|task| Mutex::new(Some(task)))
            .collect(),
        panic: Mutex::new(None),
    };
    // SAFETY: `shared` outlives the call, and is only looked at.
    unsafe {
        rewind_each(
            shared.tasks.len() as i64,
            one::<T>,
            (&raw mut shared).cast(),
        )
    };
    let panic = shared
        .panic
        .get_mut()
        .unwrap_or_else(PoisonError::into_inner);
    if let Some(panic) = panic.take() {
        resume_unwind(panic);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_is_done_once_and_a_panic_comes_back() {
        let mut numbers = vec![0u32; 1000];
        each(numbers.chunks_mut(7).enumerate(), |(nth, piece)| {
            piece.iter_mut().for_each(|it| *it += 1 + nth as u32 / 1000);
        });
        assert!(numbers.iter().all(|&it| it == 1));
        let caught = catch_unwind(|| {
            each(0..20, |task| assert_ne!(task, 13, "unlucky"));
        });
        let text = caught.unwrap_err();
        let text = text.downcast_ref::<String>().unwrap();
        assert!(text.contains("unlucky"), "{text}");
    }
}
