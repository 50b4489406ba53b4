//! Faults of the system that `faults.c` puts into a process.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where in a call it happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Nothing of it was done.
    Before,
    /// Half of a write was written.
    Half,
    /// It was done.
    After,
}

impl When {
    fn word(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::Half => "half",
            Self::After => "after",
        }
    }
}

/// What happens at a call that changes a file.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Only calls on paths that begin with this count.
    pub root: PathBuf,
    /// Kinds of calls that count, such as `write,rename`; all if empty.
    pub kinds: &'static str,
    /// Number of the call, from 1.
    pub at: u64,
    /// Where in it.
    pub when: When,
    /// `kill`, or the error that the call reports: `ENOSPC`, `EDQUOT`, `EIO`, `EROFS`.
    pub action: &'static str,
    /// Whether later calls fail, too.
    pub lasts: bool,
}

/// A call that changed a file.
#[derive(Clone, Debug)]
pub struct Call {
    /// Its number, from 1.
    pub number: u64,
    /// `open`, `write`, `sync`, `truncate`, `rename`, `unlink`, `mkdir` or `link`.
    pub kind: String,
    /// `before`, `half` or `after` for a fault, else `at`.
    pub when: String,
    /// What it changed.
    pub path: PathBuf,
}

fn preloaded(command: &mut Command) -> &mut Command {
    command.env("LD_PRELOAD", env!("FAULTS"))
}

/// Puts a fault into a process. A line in `report` says when it happened.
pub fn strike(command: &mut Command, fault: &Fault, report: &Path) {
    preloaded(command)
        .env("FAULT_ROOT", &fault.root)
        .env("FAULT_AT", fault.at.to_string())
        .env("FAULT_WHEN", fault.when.word())
        .env("FAULT_ACTION", fault.action)
        .env("FAULT_LASTS", if fault.lasts { "on" } else { "once" })
        .env("FAULT_REPORT", report);
    if !fault.kinds.is_empty() {
        command.env("FAULT_KINDS", fault.kinds);
    }
}

/// Lets a process write each of its calls on paths that begin with `root` into a file.
pub fn log(command: &mut Command, root: &Path, file: &Path) {
    preloaded(command)
        .env("FAULT_ROOT", root)
        .env("FAULT_LOG", file);
}

/// Lets a process wait after each call of these kinds on paths that begin with `root`, until the file `gate`
/// holds at least the call's number, or is gone. Each call is a line in `report`.
pub fn hold(command: &mut Command, kinds: &str, root: &Path, gate: &Path, report: &Path) {
    preloaded(command)
        .env("FAULT_ROOT", root)
        .env("FAULT_KINDS", kinds)
        .env("FAULT_ACTION", "hold")
        .env("FAULT_GATE", gate)
        .env("FAULT_REPORT", report);
}

/// Sends a process this signal before its `main`, while libraries are initialised.
pub fn raise_before_main(command: &mut Command, signal: u32) {
    preloaded(command).env("FAULT_RAISE", signal.to_string());
}

/// Shifts the time of day that a process sees, by seconds.
pub fn shift_clock(command: &mut Command, seconds: i64) {
    preloaded(command).env("FAULT_CLOCK", seconds.to_string());
}

/// The calls that a log or report holds; none if there is no such file.
pub fn calls(file: &Path) -> Vec<Call> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let call = |line: &str| {
        let mut words = line.splitn(4, ' ');
        Some(Call {
            number: words.next()?.parse().ok()?,
            kind: words.next()?.to_owned(),
            when: words.next()?.to_owned(),
            path: words.next()?.into(),
        })
    };
    text.lines().filter_map(call).collect()
}
