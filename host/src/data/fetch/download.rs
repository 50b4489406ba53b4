//! Downloads one file: resumes, retries, checks the digest, and only then gives it its name.

use crate::data::DataError;
use crate::store::{self, Lock, LockError};
use sha2::{Digest, Sha256};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;
use ureq::http::StatusCode;

/// A file to download.
pub(super) struct Download {
    pub url: String,
    pub path: PathBuf,
    /// In hexadecimal.
    pub sha256: &'static str,
    /// The most bytes to accept.
    pub limit: u64,
    /// Attempts without progress before giving up.
    pub attempts: u32,
    /// After the first failed attempt, doubled after each further one.
    pub pause: Duration,
    /// What to do if all fails.
    pub by_hand: String,
}

/// Why an attempt ended early.
enum Stop {
    /// Another attempt may succeed.
    Again(String),
    /// None will.
    Never(String),
    /// Our own disk.
    Local(DataError),
}

impl Download {
    /// Downloads the file, if it is not there, and returns its size.
    pub(super) fn run(&self, progress: &mut dyn FnMut(u64, Option<u64>)) -> Result<u64, DataError> {
        let part = PathBuf::from(format!("{}.part", self.path.display()));
        let lock = self.lock(&part)?;
        let size = self.run_locked(&part, progress);
        // What is left of it is in nobody's way.
        let _ = lock.remove();
        size
    }

    fn run_locked(
        &self,
        part: &Path,
        progress: &mut dyn FnMut(u64, Option<u64>),
    ) -> Result<u64, DataError> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(part)
            .map_err(DataError::io("open", part))?;
        // Looked at under the lock: another process may just have finished.
        if size(&self.path).is_ok_and(|size| size > 0) {
            let _ = fs::remove_file(part);
            self.check_what_is_there()?;
            return size(&self.path);
        }
        // What earlier attempts left may be of another version of the file: if the digest is
        // wrong after a resumption, all of it is fetched once more.
        let transferred = self.transfer(part, &mut file, progress);
        if transferred.is_err() && size(part).is_ok_and(|size| size == 0) {
            let _ = fs::remove_file(part);
        }
        let mut resumed = transferred?;
        loop {
            let got = self.digest(part, &mut file)?;
            if got == self.sha256 {
                break;
            }
            if !resumed {
                fs::remove_file(part).map_err(DataError::io("remove", part))?;
                return Err(DataError::Checksum {
                    url: self.url.clone(),
                    expected: self.sha256.to_owned(),
                    got,
                });
            }
            file.set_len(0).map_err(DataError::io("truncate", part))?;
            resumed = false;
            self.transfer(part, &mut file, progress)?;
        }
        file.sync_all().map_err(DataError::io("write", part))?;
        ask(part)?;
        fs::rename(part, &self.path).map_err(DataError::io("rename", part))?;
        size(&self.path)
    }

    /// A file that is there already is nobody's to replace.
    fn check_what_is_there(&self) -> Result<(), DataError> {
        let mut file = File::open(&self.path).map_err(DataError::io("open", &self.path))?;
        let got = self.digest(&self.path, &mut file)?;
        if got == self.sha256 {
            return Ok(());
        }
        let (path, expected) = (self.path.clone(), self.sha256.to_owned());
        Err(DataError::NotPublished {
            path,
            got,
            expected,
        })
    }

    /// Keeps other processes from the unfinished file.
    fn lock(&self, part: &Path) -> Result<Lock, DataError> {
        let path = PathBuf::from(format!("{}.lock", self.path.display()));
        Lock::take(&path).map_err(|error| match error {
            LockError::Held { by, .. } => DataError::Busy {
                path: part.into(),
                pid: by.pid,
                host: by.host,
            },
            LockError::Io { path, source, .. } => DataError::io("lock", path)(source),
        })
    }

    /// Attempts until the server has sent all; returns whether some bytes are of earlier attempts.
    fn transfer(
        &self,
        part: &Path,
        file: &mut File,
        progress: &mut dyn FnMut(u64, Option<u64>),
    ) -> Result<bool, DataError> {
        let length = |file: &File| -> Result<u64, DataError> {
            let metadata = file.metadata().map_err(DataError::io("inspect", part))?;
            Ok(metadata.len())
        };
        let mut furthest = length(file)?;
        let mut failures = 0;
        loop {
            let reason = match self.attempt(part, file, length(file)?, progress) {
                Ok(resumed) => return Ok(resumed),
                Err(Stop::Local(error)) => return Err(error),
                Err(Stop::Never(reason)) => return Err(self.failed(reason)),
                Err(Stop::Again(reason)) => reason,
            };
            let now = length(file)?;
            if now > furthest {
                furthest = now;
                failures = 0;
            }
            failures += 1;
            if failures >= self.attempts {
                let reason = format!("{reason} ({failures} attempts)");
                return Err(self.failed(reason));
            }
            log::info!("{}: {reason}, trying again", self.url);
            sleep(self.pause * 2u32.saturating_pow(failures - 1));
        }
    }

    /// Asks for what follows the first `have` bytes; returns whether these were kept.
    fn attempt(
        &self,
        part: &Path,
        file: &mut File,
        have: u64,
        progress: &mut dyn FnMut(u64, Option<u64>),
    ) -> Result<bool, Stop> {
        let local = |action| {
            let part = part.to_owned();
            move |error| Stop::Local(DataError::io(action, part)(error))
        };
        let mut request = agent(&self.url).get(&self.url);
        if have > 0 {
            request = request.header("Range", format!("bytes={have}-"));
        }
        let mut response = request.call().map_err(|error| match error {
            ureq::Error::BadUri(_) | ureq::Error::Http(_) | ureq::Error::TooManyRedirects => {
                Stop::Never(error.to_string())
            }
            _ => Stop::Again(error.to_string()),
        })?;
        let status = response.status();
        let start = match status {
            StatusCode::OK => 0,
            StatusCode::PARTIAL_CONTENT => {
                let range = response.headers().get("Content-Range");
                let range = range.and_then(|range| range.to_str().ok()).unwrap_or("");
                if !range.starts_with(&format!("bytes {have}-")) {
                    // Asking for the whole file next time is the only way on.
                    file.set_len(0).map_err(local("truncate"))?;
                    return Err(Stop::Again(format!(
                        "asked for the bytes from {have}, got '{range}'"
                    )));
                }
                have
            }
            // Nothing follows: the file is complete, or of another version. The digest will tell.
            StatusCode::RANGE_NOT_SATISFIABLE if have > 0 => return Ok(true),
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
                return Err(Stop::Again(format!("the server answered {status}")));
            }
            _ if status.is_server_error() => {
                return Err(Stop::Again(format!("the server answered {status}")));
            }
            _ => return Err(Stop::Never(format!("the server answered {status}"))),
        };
        let total = response.body().content_length().map(|rest| start + rest);
        file.set_len(start).map_err(local("truncate"))?;
        file.seek(SeekFrom::Start(start))
            .map_err(local("seek in"))?;

        let mut body = response.body_mut().as_reader();
        let mut buffer = vec![0; 1 << 16];
        let mut done = start;
        loop {
            progress(done, total);
            let read = body
                .read(&mut buffer)
                .map_err(|error| Stop::Again(format!("cut off after {done} bytes: {error}")))?;
            if read == 0 {
                break;
            }
            done += read as u64;
            if done > self.limit {
                file.set_len(0).map_err(local("truncate"))?;
                return Err(Stop::Never(format!("it is over {} bytes", self.limit)));
            }
            ask(part).map_err(Stop::Local)?;
            file.write_all(&buffer[..read]).map_err(local("write"))?;
        }
        match total {
            Some(total) if done != total => Err(Stop::Again(format!(
                "cut off after {done} of {total} bytes"
            ))),
            _ => Ok(start > 0),
        }
    }

    fn digest(&self, part: &Path, file: &mut File) -> Result<String, DataError> {
        let mut hasher = Sha256::new();
        file.rewind().map_err(DataError::io("seek in", part))?;
        io::copy(file, &mut hasher).map_err(DataError::io("read", part))?;
        Ok(format!("{:x}", hasher.finalize()))
    }

    fn failed(&self, reason: String) -> DataError {
        DataError::Download {
            url: self.url.clone(),
            reason,
            by_hand: self.by_hand.clone(),
        }
    }
}

/// Fails if another process took the file over, because this one stood still for too long.
fn ask(part: &Path) -> Result<(), DataError> {
    let lost = |error: store::StoreError| DataError::io("write", part)(io::Error::other(error));
    store::ask(part).map(drop).map_err(lost)
}

fn size(path: &Path) -> Result<u64, DataError> {
    let metadata = fs::metadata(path).map_err(DataError::io("inspect", path))?;
    Ok(metadata.len())
}

/// A client that waits long for a slow server but not for ever for a silent one.
fn agent(url: &str) -> ureq::Agent {
    let config = ureq::Agent::config_builder();
    // A mirror on this machine is not behind the proxy that the environment may name.
    let config = match url.starts_with("http://127.0.0.1:") {
        true => config.proxy(None),
        false => config,
    };
    config
        .http_status_as_error(false)
        // A compressed transfer could not be resumed by a position in the file.
        .accept_encoding("identity")
        .timeout_connect(Some(Duration::from_secs(30)))
        .timeout_recv_response(Some(Duration::from_secs(60)))
        .timeout_per_read(Some(Duration::from_secs(60)))
        .user_agent(concat!("rewind/", env!("CARGO_PKG_VERSION")))
        .build()
        .new_agent()
}

#[cfg(test)]
mod tests;
