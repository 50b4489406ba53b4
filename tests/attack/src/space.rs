//! Address space that processes have, and limits to it.

use std::fs;
use std::process::{Child, Command};
use std::thread;
use std::time::Duration;

use crate::process::start;

/// A size that the system reports of a process, in KiB: `VmPeak`, `VmSize`. `None` once it has ended.
pub fn size(process: u32, name: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim_matches([':', ' ', '\t', 'k', 'B']).parse().ok()
}

/// Address space that a command's own process needs at most, in KiB.
///
/// # Panics
/// If it does not start.
pub fn needs(command: &mut Command) -> u64 {
    let mut child = start(command);
    let process = child.id();
    peak(process, &mut child)
}

/// Address space, in KiB, that a process has at most until this child ends.
///
/// # Panics
/// If the child cannot be asked.
pub fn peak(process: u32, child: &mut Child) -> u64 {
    let mut most = 0;
    while child.try_wait().expect("a child can be asked").is_none() {
        most = size(process, "VmPeak").unwrap_or(most).max(most);
        thread::sleep(Duration::from_millis(1));
    }
    most
}

/// Gives a process no more address space than so many KiB, unless it has ended.
///
/// # Panics
/// Where there is no `prlimit`.
pub fn limit(process: u32, kib: u64) {
    Command::new("prlimit")
        .args([&format!("--pid={process}"), &format!("--as={}", kib << 10)])
        .output()
        .expect("`prlimit` starts");
}

/// The command with no more address space than so many KiB.
pub fn within(command: &Command, kib: u64) -> Command {
    let mut limited = Command::new("sh");
    limited.args(["-c", &format!("ulimit -v {kib}; exec \"$@\""), "sh"]);
    limited.arg(command.get_program()).args(command.get_args());
    limited
}
