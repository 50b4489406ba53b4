//! One process at a time.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// How often a lock that another process has is tried again.
const PATROL: Duration = Duration::from_millis(20);

/// Who holds a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Process id.
    pub pid: u32,
    /// Name of the machine.
    pub host: String,
}

/// Why a lock could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("{path} is in use by process {} on {}; wait for it or stop it, then run the same command again", .by.pid, .by.host)]
    Held {
        /// The lock file.
        path: PathBuf,
        /// Who.
        by: Held,
    },
    /// The file system.
    #[error(
        "failed to write {path} ({bytes} bytes), which says who uses the folder: {source}; make room or mend the folder and run the same command again"
    )]
    Io {
        /// The lock file.
        path: PathBuf,
        /// Its length.
        bytes: usize,
        /// Why.
        source: io::Error,
    },
}

/// A lock on a folder, held until dropped. The operating system releases it when the process dies,
/// however it dies; the file's text only says who holds it.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Lock {
    /// Takes the lock at once or fails with who holds it.
    ///
    /// # Errors
    /// If another process has it, or the file system refuses.
    pub fn take(path: &Path) -> Result<Self, LockError> {
        let held = Held {
            pid: std::process::id(),
            host: machine(),
        };
        let text = held.text();
        let error = |source| LockError::Io {
            path: path.to_owned(),
            bytes: text.len(),
            source,
        };
        let mut file = open(path).map_err(error)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut by = holder(&mut file);
                if by.pid == 0 {
                    // It has just taken it, or just released it.
                    thread::sleep(PATROL);
                    by = holder(&mut file);
                }
                return Err(LockError::Held {
                    path: path.to_owned(),
                    by,
                });
            }
            Err(TryLockError::Error(source)) => return Err(error(source)),
        }
        let before = holder(&mut file);
        if before.pid != 0 && before != held {
            log::info!(
                "took over the lock of process {} on {}, which ended without releasing it",
                before.pid,
                before.host
            );
        }
        let mut lock = Self { file };
        lock.sign(&text).map_err(error)?;
        Ok(lock)
    }

    /// Waits until the lock is free; none if `stop` came true meanwhile. A wait for the system's lock
    /// itself would go on through signals.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn wait(path: &Path, stop: &dyn Fn() -> bool) -> Result<Option<Self>, LockError> {
        let mut told = false;
        loop {
            match Self::take(path) {
                Err(LockError::Held { by, .. }) => {
                    if !std::mem::replace(&mut told, true) {
                        log::info!(
                            "waits for process {} on {}, which uses {}",
                            by.pid,
                            by.host,
                            path.parent().unwrap_or(path).display()
                        );
                    }
                }
                other => return other.map(Some),
            }
            if stop() {
                return Ok(None);
            }
            thread::sleep(PATROL);
        }
    }

    /// Takes the lock as soon as it is free, or fails with who holds it after this long.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    pub fn take_within(path: &Path, patience: Duration) -> Result<Self, LockError> {
        let start = Instant::now();
        match Self::wait(path, &|| start.elapsed() > patience)? {
            Some(lock) => Ok(lock),
            None => Self::take(path),
        }
    }

    /// Who holds the lock of this file at the moment. Nothing is written.
    pub fn holder(path: &Path) -> Option<Held> {
        let mut file = File::open(path).ok()?;
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => Some(holder(&mut file)),
            _ => None,
        }
    }

    fn sign(&mut self, text: &str) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(text.as_bytes())
    }
}

impl Held {
    fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // An empty file says that the lock was released in order.
        let _ = self.file.set_len(0);
    }
}

fn open(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
}

fn holder(file: &mut File) -> Held {
    let mut text = String::new();
    let _ = file.rewind().and_then(|()| file.read_to_string(&mut text));
    serde_json::from_str(&text).unwrap_or(Held {
        pid: 0,
        host: "an unknown machine".to_owned(),
    })
}

fn machine() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .ok()
        .map(|name| name.trim().to_owned())
        .or_else(|| std::env::var("HOSTNAME").ok())
        .unwrap_or_else(|| "this machine".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_taker_is_told_who_holds_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/lock");
        let first = Lock::take(&path).unwrap();
        match Lock::take(&path).unwrap_err() {
            LockError::Held { by, .. } => assert_eq!(
                by,
                Held {
                    pid: std::process::id(),
                    host: machine()
                }
            ),
            other => panic!("{other}"),
        }
        assert_eq!(
            Lock::holder(&path).map(|by| by.pid),
            Some(std::process::id())
        );
        assert!(Lock::wait(&path, &|| true).unwrap().is_none());
        let patience = Duration::from_millis(60);
        assert!(matches!(
            Lock::take_within(&path, patience),
            Err(LockError::Held { .. })
        ));
        let release = thread::spawn(move || {
            thread::sleep(patience);
            drop(first);
        });
        assert!(Lock::wait(&path, &|| false).unwrap().is_some());
        release.join().unwrap();
        assert_eq!(Lock::holder(&path), None);
        assert!(Lock::take(&path).is_ok());
    }
}
