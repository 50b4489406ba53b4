//! Machines of their own that share a network file system, which `stale.c` puts into a process.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::faults;

/// A machine: processes of another one know nothing of its processes, and its clock is its own.
pub struct Machine {
    folder: PathBuf,
    /// Seconds by which its clock is ahead.
    pub ahead: i64,
}

impl Machine {
    /// One of this name, with its own files in a folder.
    ///
    /// # Panics
    /// If they cannot be written.
    pub fn new(folder: &Path, name: &str, ahead: i64) -> Self {
        let folder = folder.join(name);
        fs::create_dir_all(&folder).expect("a folder can be made there");
        for file in ["boot_id", "hostname"] {
            fs::write(folder.join(file), format!("{name}\n")).expect("it can be written to");
        }
        Self { folder, ahead }
    }

    /// Lets a command run there. What it has seen below `root` it sees again for so many seconds.
    pub fn run(&self, command: &mut Command, root: &Path, seconds: u64) {
        command
            .env("LD_PRELOAD", concat!(env!("STALE"), ":", env!("FAULTS")))
            .env("STALE_ROOT", root)
            .env("STALE_SECONDS", seconds.to_string())
            .env("STALE_MACHINE", &self.folder)
            .env("FAULT_CLOCK", self.ahead.to_string());
    }
}

/// Lets a command write each call that it makes of what lies below `root` into a file, whether it looks or changes.
pub fn count(command: &mut Command, root: &Path, file: &Path) {
    faults::log(command, root, file);
    command
        .env("LD_PRELOAD", concat!(env!("STALE"), ":", env!("FAULTS")))
        .env("STALE_ROOT", root)
        .env("STALE_LOG", file);
}
