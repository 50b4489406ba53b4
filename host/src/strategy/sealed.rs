//! A library's bytes where nobody can change them between the look at their digest and the loading.

#![allow(unsafe_code)]

use std::io;
use std::path::{Path, PathBuf};

/// A private copy of a library, to be loaded in its place.
pub struct Sealed {
    path: PathBuf,
    #[cfg(not(target_os = "linux"))]
    _folder: tempfile::TempDir,
}

impl Sealed {
    /// Where this process and its children find the copy.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Copies the bytes into memory and seals them. The memory stays as long as the process lives: the
    /// dynamic loader tells libraries apart by their paths, so no path may come again.
    ///
    /// # Errors
    /// If the system gives no such memory.
    #[cfg(target_os = "linux")]
    pub fn new(bytes: &[u8], _name: &std::ffi::OsStr) -> io::Result<Self> {
        use std::fs::File;
        use std::io::Write;
        use std::os::fd::{FromRawFd, IntoRawFd};

        // SAFETY: the name ends with a zero byte, and the flags are a documented combination.
        let memory = unsafe {
            libc::memfd_create(
                c"plugin".as_ptr(),
                libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING,
            )
        };
        if memory < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a descriptor that was just made and belongs to nobody else.
        let mut memory = unsafe { File::from_raw_fd(memory) };
        memory.write_all(bytes)?;
        let seals =
            libc::F_SEAL_WRITE | libc::F_SEAL_GROW | libc::F_SEAL_SHRINK | libc::F_SEAL_SEAL;
        let memory = memory.into_raw_fd();
        // SAFETY: an open descriptor and a documented command.
        if unsafe { libc::fcntl(memory, libc::F_ADD_SEALS, seals) } < 0 {
            return Err(io::Error::last_os_error());
        }
        let process = std::process::id();
        Ok(Self {
            path: format!("/proc/{process}/fd/{memory}").into(),
        })
    }

    /// Copies the bytes into a folder that only this user can open, for as long as this value lives.
    ///
    /// # Errors
    /// If there is no room.
    #[cfg(not(target_os = "linux"))]
    pub fn new(bytes: &[u8], name: &std::ffi::OsStr) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join(name);
        std::fs::write(&path, bytes)?;
        Ok(Self {
            path,
            _folder: folder,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_holds_the_bytes_and_takes_no_others() {
        let copy = Sealed::new(b"one", "libmine.so".as_ref()).unwrap();
        assert_eq!(std::fs::read(copy.path()).unwrap(), b"one");
        let second = Sealed::new(b"two", "libmine.so".as_ref()).unwrap();
        assert_ne!(copy.path(), second.path());
        assert_eq!(std::fs::read(second.path()).unwrap(), b"two");
        if cfg!(target_os = "linux") {
            assert!(std::fs::write(copy.path(), b"bad").is_err());
            assert_eq!(std::fs::read(copy.path()).unwrap(), b"one");
        }
    }
}
