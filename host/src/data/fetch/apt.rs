//! Installs a system package with `apt-get`.

use std::env;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// An `apt-get` that may be run.
#[derive(Debug)]
pub(super) struct Apt {
    program: PathBuf,
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
            .map(|program| Self { program })
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
        let output = Command::new(&self.program)
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
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    /// An `apt-get` made of this shell script.
    pub fn script(folder: &Path, text: &str) -> Apt {
        let program = folder.join("apt-get");
        // By another name first: a file just written may still be busy when another test forks.
        std::fs::write(&program, text).unwrap();
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
        Apt { program }
    }

    #[test]
    fn a_failure_carries_the_last_line_of_the_message() {
        let folder = tempfile::tempdir().unwrap();
        let apt = script(
            folder.path(),
            "#!/bin/sh\necho reading lists >&2\necho 'E: no such package' >&2\nexit 100\n",
        );
        let reason = apt.install("dataset-toy").unwrap_err();
        assert!(
            reason.starts_with("apt-get update failed") && reason.ends_with("E: no such package"),
            "{reason}"
        );
    }
}
