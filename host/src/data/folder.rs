//! Finds a dataset's files and reads them without trusting what they say of themselves.

use super::DataError;
use super::hints::{Elsewhere, hint};
use crate::plain_file;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The files of a dataset and where they may lie.
#[derive(Debug)]
pub(super) struct Files {
    /// The dataset, and its folder in the data folder.
    pub name: &'static str,
    /// Every file, without `.gz`.
    pub files: &'static [&'static str],
    /// SHA-256 of what each file holds, uncompressed; none where nobody published it.
    pub contents: &'static [&'static str],
    /// Whether the files may be compressed, with `.gz` at the end of their names.
    pub gz: bool,
    /// The folder inside the published archive, for archives unpacked by hand.
    pub inside: Option<&'static str>,
    /// The system package that has the files.
    pub package: Option<Package>,
    /// Where else they may be found.
    pub elsewhere: Elsewhere,
}

/// A package of the operating system.
#[derive(Debug)]
pub(super) struct Package {
    /// Its name for `apt-get`.
    pub name: &'static str,
    /// Where it puts the files.
    pub folder: &'static str,
}

impl Files {
    /// The first folder with every file: `dir` if given, else the dataset's folder in `data_dir` or
    /// the package's.
    pub(super) fn find(&self, data_dir: &Path, dir: Option<&Path>) -> Result<PathBuf, DataError> {
        let mut folders = match dir {
            Some(dir) => vec![dir.to_owned()],
            None => vec![data_dir.join(self.name)],
        };
        if let Some(inside) = self.inside {
            folders.push(folders[0].join(inside));
        }
        if let (None, Some(package)) = (dir, &self.package) {
            folders.push(package.folder.into());
        }
        let lacks = |folder: &PathBuf| self.lacking(folder);
        if let Some(folder) = folders.iter().find(|folder| lacks(folder).is_empty()) {
            return Ok(folder.clone());
        }
        let nearest = folders.iter().map(lacks).min_by_key(Vec::len);
        let mut roots = folders.clone();
        if dir.is_none() {
            roots.push(data_dir.to_owned());
        }
        let hint = hint(self, &roots);
        let folders: Vec<_> = folders.iter().map(|f| f.display().to_string()).collect();
        Err(DataError::Missing {
            name: self.name,
            files: nearest.unwrap_or_default().join(", "),
            folders: folders.join(" or "),
            hint: hint.map_or_else(String::new, |hint| format!("{hint}; or ")),
        })
    }

    /// The files that a folder lacks. An empty file is what a failed copy or download leaves.
    pub(super) fn lacking(&self, folder: &Path) -> Vec<&'static str> {
        let all = self.files.iter().copied();
        all.filter(|file| !is_filled(&self.path(folder, file)))
            .collect()
    }

    /// The path of `file` in `folder`: as it is, or compressed if there is only that.
    pub(super) fn path(&self, folder: &Path, file: &str) -> PathBuf {
        let plain = folder.join(file);
        if !self.gz || is_filled(&plain) {
            return plain;
        }
        folder.join(format!("{file}.gz"))
    }
}

/// Whether there is a file that is not empty.
pub(super) fn is_filled(path: &Path) -> bool {
    path.metadata().is_ok_and(|it| it.is_file() && it.len() > 0)
}

/// A file of a dataset, opened; knows how to complain.
pub(super) struct Source {
    pub name: &'static str,
    pub path: PathBuf,
}

impl Source {
    /// Opens the file, which must be a plain one: a pipe would block.
    pub(super) fn open(&self) -> Result<File, DataError> {
        use io::ErrorKind::{InvalidInput, IsADirectory};
        plain_file::open(&self.path).map_err(|error| match error.kind() {
            InvalidInput | IsADirectory => self.malformed("it", "a file", "a folder or device"),
            _ => DataError::io("open", &self.path)(error),
        })
    }

    /// Exactly `length` bytes, after which `reader` must end. Never holds more than one byte more,
    /// whatever a compressed file would unpack to.
    pub(super) fn read_exactly(
        &self,
        reader: impl Read,
        length: usize,
    ) -> Result<Vec<u8>, DataError> {
        let mut bytes = Vec::with_capacity(length + 1);
        // Asking for one byte more also makes a decompressor check the sum at its end.
        reader
            .take(length as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| self.unreadable(error))?;
        if bytes.len() != length {
            let got = match bytes.len() > length {
                true => "more".to_owned(),
                false => format!("{} bytes", bytes.len()),
            };
            return Err(self.malformed("the data", format!("{length} bytes"), got));
        }
        Ok(bytes)
    }

    /// A failed read: the file's fault where the decompressor says so, else the system's.
    pub(super) fn unreadable(&self, error: io::Error) -> DataError {
        use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
        match error.kind() {
            InvalidData | InvalidInput => {
                self.malformed("the compressed data", "valid gzip", error.to_string())
            }
            UnexpectedEof => self.malformed("the file", "complete", "cut off"),
            _ => DataError::io("read", &self.path)(error),
        }
    }

    /// Every label must be below `classes`.
    pub(super) fn check_labels(&self, labels: &[u8], classes: u8) -> Result<(), DataError> {
        match labels.iter().position(|&label| label >= classes) {
            None => Ok(()),
            Some(i) => Err(self.malformed(
                format!("the label of sample {i}"),
                format!("below {classes}"),
                labels[i].to_string(),
            )),
        }
    }

    /// `field` is not what it should be.
    pub(super) fn malformed(
        &self,
        field: impl Into<String>,
        expected: impl Into<String>,
        got: impl Into<String>,
    ) -> DataError {
        DataError::Malformed {
            name: self.name,
            path: self.path.clone(),
            field: field.into(),
            expected: expected.into(),
            got: got.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const FILES: Files = Files {
        name: "toy",
        files: &["a", "b"],
        gz: true,
        inside: Some("toy-bin"),
        package: None,
        contents: &[],
        elsewhere: Elsewhere {
            folders: &[],
            python: None,
        },
    };

    #[test]
    fn finds_plain_compressed_and_unpacked_files() {
        let dir = tempfile::tempdir().unwrap();
        let toy = dir.path().join("toy");
        fs::create_dir_all(toy.join("toy-bin")).unwrap();
        fs::write(toy.join("toy-bin/a"), "1").unwrap();
        let message = FILES.find(dir.path(), None).unwrap_err().to_string();
        assert!(message.contains("lacks b in"), "{message}");
        assert!(message.contains("`called data fetch toy`"), "{message}");
        fs::write(toy.join("toy-bin/b"), "1").unwrap();
        assert_eq!(FILES.find(dir.path(), None).unwrap(), toy.join("toy-bin"));
        assert_eq!(
            FILES.find(Path::new("elsewhere"), Some(&toy)).unwrap(),
            toy.join("toy-bin")
        );
        fs::write(toy.join("a.gz"), "1").unwrap();
        fs::write(toy.join("b"), "1").unwrap();
        assert_eq!(FILES.find(dir.path(), None).unwrap(), toy);
        assert_eq!(FILES.path(&toy, "a"), toy.join("a.gz"));
        fs::write(toy.join("a"), "1").unwrap();
        assert_eq!(FILES.path(&toy, "a"), toy.join("a"));
    }

    #[test]
    fn refuses_a_folder_in_a_files_place() {
        let dir = tempfile::tempdir().unwrap();
        let source = Source {
            name: "toy",
            path: dir.path().to_owned(),
        };
        let message = source.open().unwrap_err().to_string();
        assert!(message.contains("should be a file"), "{message}");
    }

    #[test]
    fn refuses_a_pipe_without_waiting_for_who_writes_to_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.unwrap().success());
        let message = Source { name: "toy", path }.open().unwrap_err().to_string();
        assert!(
            message.contains("should be a file but is a folder or device"),
            "{message}"
        );
    }

    #[test]
    fn stops_reading_one_byte_after_the_expected_length() {
        let source = Source {
            name: "toy",
            path: "toy/a".into(),
        };
        let message = source
            .read_exactly(io::repeat(7), 1000)
            .unwrap_err()
            .to_string();
        assert!(message.contains("should be 1000 bytes but is more"));
    }
}
