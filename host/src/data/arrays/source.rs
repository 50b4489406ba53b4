//! A file of arrays, opened: its bytes at any place, its digest, and whether it is still the same.

use super::super::DataError;
use crate::plain_file;
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Bytes of a file up to which its digest is that of all of them.
const WHOLE: u64 = 1 << 30;
/// Of a larger one so many pieces are looked at, the first and the last among them.
const PIECES: u64 = 4096;
/// Bytes of a piece.
const PIECE: u64 = 4096;

/// A file that an option names.
#[derive(Debug)]
pub(super) struct Source {
    /// The option.
    pub key: &'static str,
    /// Where it lies.
    pub path: PathBuf,
    /// Its bytes.
    pub length: u64,
    file: File,
    changed: Option<SystemTime>,
}

impl Source {
    /// Opens a file, which must be a plain one.
    pub fn open(key: &'static str, path: &Path) -> Result<Self, DataError> {
        let failed = |error: std::io::Error| {
            let reason = format!("failed to open {}: {error}", path.display());
            DataError::unfit(key, reason)
        };
        let file = plain_file::open(path).map_err(failed)?;
        let known = file.metadata().map_err(failed)?;
        if known.len() == 0 {
            return Err(DataError::unfit(
                key,
                format!("{} is empty", path.display()),
            ));
        }
        Ok(Self {
            key,
            path: path.to_owned(),
            length: known.len(),
            changed: known.modified().ok(),
            file,
        })
    }

    /// Whether both are one file, by whatever paths.
    pub fn is(&self, other: &Self) -> bool {
        let place = |it: &Self| it.file.metadata().ok().map(|it| (it.dev(), it.ino()));
        place(self).is_some_and(|own| place(other) == Some(own))
    }

    /// What is wrong with it.
    pub fn refuse(&self, reason: impl std::fmt::Display) -> DataError {
        DataError::unfit(self.key, format!("{}: {reason}", self.path.display()))
    }

    /// Fills the buffer from this place on.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), DataError> {
        let read = self.file.read_exact_at(buffer, offset);
        read.map_err(DataError::io("read", &self.path))
    }

    /// Fails if the file was written to since it was opened.
    pub fn expect_unchanged(&self) -> Result<(), DataError> {
        let known = self.file.metadata();
        let known = known.map_err(DataError::io("read", &self.path))?;
        match known.len() == self.length && known.modified().ok() == self.changed {
            true => Ok(()),
            false => Err(DataError::Changed {
                path: self.path.clone(),
            }),
        }
    }

    /// The same file for another reader.
    pub fn reopen(&self) -> Result<File, DataError> {
        self.file
            .try_clone()
            .map_err(DataError::io("open", &self.path))
    }

    /// The file's bytes, if they are not more than `limit`.
    pub fn read_all(&self, limit: u64) -> Result<Vec<u8>, DataError> {
        if self.length > limit {
            return Err(self.refuse(too_large(self.length, limit)));
        }
        let mut bytes = vec![0; self.length as usize];
        self.read_at(&mut bytes, 0)?;
        Ok(bytes)
    }

    /// BLAKE3 of its length and its bytes; of more than 1 GiB of 4,096 pieces of 4,096 bytes, evenly spread.
    pub fn digest(&self) -> Result<blake3::Hash, DataError> {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.length.to_le_bytes());
        if self.length <= WHOLE {
            let mut buffer = vec![0; (self.length as usize).min(1 << 20)];
            let mut at = 0;
            while at < self.length {
                let length = (self.length - at).min(1 << 20) as usize;
                self.read_at(&mut buffer[..length], at)?;
                hasher.update(&buffer[..length]);
                at += length as u64;
            }
        } else {
            let mut buffer = vec![0; PIECE as usize];
            for piece in 0..PIECES {
                let room = u128::from(self.length - PIECE) * u128::from(piece);
                self.read_at(&mut buffer, (room / u128::from(PIECES - 1)) as u64)?;
                hasher.update(&buffer);
            }
        }
        self.expect_unchanged()?;
        Ok(hasher.finalize())
    }
}

/// What is said of bytes that memory is not to hold.
pub(super) fn too_large(bytes: u64, limit: u64) -> String {
    format!(
        "its {bytes} bytes are to be held in memory, and `data.memory` allows {}: expected an array as numpy.save \
         and numpy.savez write it, not compressed, which stays in its file; or raise `data.memory` (MiB)",
        limit
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_digest_is_that_of_the_bytes_and_of_a_large_file_that_of_pieces() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        fs::write(&path, b"numbers").unwrap();
        let digest = |path: &Path| Source::open("train", path).unwrap().digest().unwrap();
        let plain = [&7u64.to_le_bytes()[..], b"numbers"].concat();
        assert_eq!(digest(&path), blake3::hash(&plain));
        // A file with holes takes no room on the disk.
        let large = folder.path().join("large.npy");
        let file = File::create(&large).unwrap();
        file.set_len((1 << 30) + 5).unwrap();
        let zeros = digest(&large);
        file.write_at(&[1], (1 << 30) + 4).unwrap();
        assert_ne!(digest(&large), zeros);
    }

    #[test]
    fn what_is_written_to_a_file_after_it_was_opened_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        fs::write(&path, b"numbers").unwrap();
        let source = Source::open("train", &path).unwrap();
        source.expect_unchanged().unwrap();
        fs::write(&path, b"other numbers").unwrap();
        let message = source.expect_unchanged().unwrap_err().to_string();
        assert!(message.contains("a.npy changed"), "{message}");
        // Another file in its place is another file: what was opened is still read.
        let source = Source::open("train", &path).unwrap();
        fs::write(folder.path().join("new"), b"new").unwrap();
        fs::rename(folder.path().join("new"), &path).unwrap();
        source.expect_unchanged().unwrap();
        assert_eq!(source.read_all(100).unwrap(), b"other numbers");
        let message = source.read_all(5).unwrap_err().to_string();
        assert!(message.contains("13 bytes are to be held"), "{message}");
    }

    #[test]
    fn files_that_are_none_are_refused_with_the_option() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("empty.csv");
        fs::write(&path, b"").unwrap();
        for path in [&path, &folder.path().join("none.csv"), folder.path()] {
            let error = Source::open("test", path).unwrap_err();
            assert_eq!(error.key().as_deref(), Some("data.test"));
            assert!(error.to_string().contains(&path.display().to_string()));
        }
    }
}
