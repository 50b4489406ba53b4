//! Signals before `main`.
//!
//! libtorch's constructors take a tenth of a second, on a busy machine seconds. A Ctrl-C in that time would
//! end the process without an exit code of its own, although the user sees a program that is running. The
//! executable has [`heed`] called before any constructor; before that the dynamic loader works for a few
//! milliseconds, and a signal does what it does to any program.
#![allow(unsafe_code)]

use std::mem::zeroed;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicBool, Ordering};

use libc::{SIGINT, SIGTERM, c_int};

use super::exit::Exit;

/// Whether somebody else heeds signals.
static IS_OVER: AtomicBool = AtomicBool::new(false);

/// Heeds SIGINT and SIGTERM from now on by leaving with the exit code for it: nothing has begun that could
/// be lost. What whoever started the program ignores, as `nohup` and `&` in a script do, stays ignored.
pub extern "C" fn heed() {
    for signal in [SIGINT, SIGTERM] {
        // SAFETY: both structures live on this stack, all zeros is a valid one, and a question with a null
        // pointer changes nothing. `sigaction` is a system call that needs nothing of libc's initialisation,
        // which may be still to come.
        unsafe {
            let (mut before, mut own): (libc::sigaction, libc::sigaction) = (zeroed(), zeroed());
            own.sa_sigaction = leave as extern "C" fn(c_int) as usize;
            own.sa_flags = libc::SA_RESTART;
            if libc::sigaction(signal, null(), &raw mut before) == 0
                && before.sa_sigaction == libc::SIG_DFL
            {
                libc::sigaction(signal, &raw const own, null_mut());
            }
        }
    }
}

/// Leaves signals to whoever listens now. Their handlers call what was there before them, which is ours.
pub fn end() {
    IS_OVER.store(true, Ordering::Relaxed);
}

extern "C" fn leave(_signal: c_int) {
    if !IS_OVER.load(Ordering::Relaxed) {
        // SAFETY: one of the few calls that a signal handler may make; it ends the process.
        unsafe { libc::_exit(Exit::Interrupted as c_int) }
    }
}
