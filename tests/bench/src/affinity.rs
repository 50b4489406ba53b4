//! Keeps the process, and all that it starts, on a fixed number of processors.
#![allow(unsafe_code)]

use crate::error::BenchError;

/// Stays on the first `count` processors that this process may use.
///
/// # Errors
/// If it may use fewer.
#[cfg(target_os = "linux")]
pub fn pin(count: usize) -> Result<(), BenchError> {
    use std::mem::{size_of, zeroed};

    // SAFETY: a set of processors is plain bits, for which zero is a value.
    let mut allowed: libc::cpu_set_t = unsafe { zeroed() };
    // SAFETY: the set is ours and as large as said.
    let got = unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut allowed) };
    if got != 0 {
        return Err(BenchError::ours(std::io::Error::last_os_error()));
    }
    // SAFETY: every index is below the size of the set.
    let is_allowed = |cpu: &usize| unsafe { libc::CPU_ISSET(*cpu, &allowed) };
    let chosen: Vec<usize> = (0..libc::CPU_SETSIZE as usize)
        .filter(is_allowed)
        .take(count)
        .collect();
    if chosen.len() < count {
        return Err(BenchError::Setting {
            name: "BENCH_THREADS".to_owned(),
            got: count.to_string(),
            expected: "no more than the processors that this process may use",
        });
    }
    // SAFETY: as above.
    let mut set: libc::cpu_set_t = unsafe { zeroed() };
    for cpu in chosen {
        // SAFETY: the index came from such a set.
        unsafe { libc::CPU_SET(cpu, &mut set) };
    }
    // SAFETY: the set is ours and as large as said.
    match unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) } {
        0 => Ok(()),
        _ => Err(BenchError::ours(std::io::Error::last_os_error())),
    }
}

/// Other systems do not let a process choose.
#[cfg(not(target_os = "linux"))]
pub fn pin(_: usize) -> Result<(), BenchError> {
    Ok(())
}
