//! A program that waits at its own calls until a test has seen what it came for: what happens then does
//! not depend on which of the two is faster.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

#[cfg(target_os = "linux")]
use crate::faults;
use crate::patience::wait_until;

/// The calls at which a program waits. Elsewhere than on Linux it does not, and is only looked at often.
pub struct Hold {
    folder: TempDir,
    allowed: usize,
}

impl Hold {
    /// Lets the program wait after every call of these kinds, such as `rename`, on paths that begin with
    /// `root`.
    ///
    /// # Panics
    /// If there is no room for temporary files.
    pub fn at(command: &mut Command, kinds: &str, root: &Path) -> Self {
        let folder = tempfile::tempdir().expect("temporary folders can be made");
        let hold = Self { folder, allowed: 0 };
        hold.allow();
        #[cfg(target_os = "linux")]
        faults::hold(command, kinds, root, &hold.gate(), &hold.report());
        #[cfg(not(target_os = "linux"))]
        let _ = (command, kinds, root);
        hold
    }

    /// Lets the program write its events as JSON to a file, and wait after every one.
    ///
    /// # Panics
    /// As [`at`](Self::at).
    pub fn at_events(command: &mut Command) -> Self {
        let folder = tempfile::tempdir().expect("temporary folders can be made");
        let file = folder.path().join("events");
        let hold = Self { folder, allowed: 0 };
        hold.allow();
        command.arg("--json");
        #[cfg(target_os = "linux")]
        faults::hold(command, "write", &file, &hold.gate(), &hold.report());
        let file = fs::File::create(&file).expect("the temporary folder can be written to");
        command.stdout(Stdio::from(file)).stderr(Stdio::piped());
        hold
    }

    fn gate(&self) -> PathBuf {
        self.folder.path().join("gate")
    }

    fn report(&self) -> PathBuf {
        self.folder.path().join("report")
    }

    /// What the program wrote to stdout.
    pub fn events(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.folder.path().join("events")).unwrap_or_default();
        let lines = text.lines();
        lines
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// Whether an event is so.
    pub fn has(&self, is_so: impl Fn(&Value) -> bool) -> bool {
        self.events().iter().any(is_so)
    }

    /// Lets the program go on from call to call until something is so when it waits.
    ///
    /// # Panics
    /// If it ends before, or never comes there.
    #[track_caller]
    pub fn until(&mut self, child: &mut Child, what: &str, is_so: impl Fn(&Self) -> bool) {
        if cfg!(not(target_os = "linux")) {
            return wait_until(child, what, || is_so(self));
        }
        loop {
            let next = self.allowed + 1;
            wait_until(child, what, || self.made() >= next);
            if is_so(self) {
                return;
            }
            self.allowed = next;
            self.allow();
        }
    }

    /// Calls that were made; at the last one the program waits.
    fn made(&self) -> usize {
        let text = fs::read_to_string(self.report()).unwrap_or_default();
        text.matches('\n').count()
    }

    /// Written beside and renamed: half a number is another number.
    fn allow(&self) {
        let new = self.folder.path().join("gate.new");
        let written = fs::write(&new, self.allowed.to_string());
        written.expect("the temporary folder can be written to");
        fs::rename(new, self.gate()).expect("the temporary folder can be written to");
    }

    /// Lets the program go on; it waits no more.
    pub fn release(self) {}
}
