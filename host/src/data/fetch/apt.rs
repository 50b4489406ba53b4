//! Installs a system package with `apt-get`.

use std::env;
use std::ffi::OsString;
use std::process::{Command, Stdio};

/// An `apt-get` that may be run.
#[derive(Debug)]
pub(super) struct Apt {
    /// The program and its first arguments.
    command: Vec<OsString>,
}

impl Apt {
    /// The system's, where there is one and we are root.
    pub(super) fn of_root() -> Option<Self> {
        use std::os::unix::fs::MetadataExt;
        // The owner of our own entry is the effective user.
        if std::fs::metadata("/proc/self").ok()?.uid() != 0 {
            return None;
        }
        let path = env::var_os("PATH")?;
        env::split_paths(&path)
            .map(|folder| folder.join("apt-get"))
            .find(|program| program.is_file())
            .map(|program| Self {
                command: vec![program.into()],
            })
    }

    /// Installs `package`, with a fresh list of packages if the present one does not have it.
    pub(super) fn install(&self, package: &str) -> Result<(), String> {
        let install = ["install", "-y", "--no-install-recommends", package];
        if self.run(&install).is_ok() {
            return Ok(());
        }
        self.run(&["update"])?;
        self.run(&install)
    }

    fn run(&self, arguments: &[&str]) -> Result<(), String> {
        let command = format!("apt-get {}", arguments.join(" "));
        log::info!("running {command}");
        let output = Command::new(&self.command[0])
            .args(&self.command[1..])
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("failed to run {command}: {error}"))?;
        if output.status.success() {
            return Ok(());
        }
        let message = String::from_utf8_lossy(&output.stderr);
        let last = message.lines().rev().find(|line| !line.trim().is_empty());
        Err(format!(
            "{command} failed ({}): {}",
            output.status,
            last.unwrap_or("no message")
        ))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::path::Path;

    /// An `apt-get` made of this shell script, handed to the shell: a file just written may still
    /// be too busy to be run itself.
    pub fn script(folder: &Path, text: &str) -> Apt {
        let path = folder.join("apt-get");
        std::fs::write(&path, text).unwrap();
        Apt {
            command: vec!["sh".into(), path.into()],
        }
    }

    #[test]
    fn a_failure_carries_the_last_line_of_the_message() {
        let folder = tempfile::tempdir().unwrap();
        let apt = script(
            folder.path(),
            "echo reading lists >&2\necho 'E: no such package' >&2\nexit 100\n",
        );
        let reason = apt.install("dataset-toy").unwrap_err();
        assert!(
            reason.starts_with("apt-get update failed") && reason.ends_with("E: no such package"),
            "{reason}"
        );
    }
}
