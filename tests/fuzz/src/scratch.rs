//! Inputs that stand for several files.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A line that begins with it names the file that the following lines are.
const MARK: &[u8] = b"--- ";

/// Files of one input, in a folder that goes away with it.
pub struct Scratch {
    folder: TempDir,
    /// The files' names, in the input's order.
    pub names: Vec<String>,
}

impl Scratch {
    /// Writes the files of an input. What stands before the first mark is a file called `first`.
    /// Names that lead out of the folder are passed over: only the fuzzer writes here.
    pub fn new(bytes: &[u8], first: &str) -> Self {
        let folder = TempDir::new().expect("the system has room for a folder");
        let mut names = Vec::new();
        for (name, contents) in split(bytes, first) {
            let inside = |part: &str| !part.is_empty() && part != "." && part != "..";
            if !name.split('/').all(inside) || name.contains('\0') || names.contains(&name) {
                continue;
            }
            let path = folder.path().join(&name);
            let made = path
                .parent()
                .is_some_and(|it| fs::create_dir_all(it).is_ok());
            if made && fs::write(&path, contents).is_ok() {
                names.push(name);
            }
        }
        Self { folder, names }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The file of this name.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// The lines of a file, if it is there and text.
    pub fn lines(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.file(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

/// The files of an input, each with its name. What stands before the first mark is called `first`.
pub fn split<'b>(bytes: &'b [u8], first: &str) -> Vec<(String, &'b [u8])> {
    let mut files = Vec::new();
    let (mut name, mut start, mut at) = (first.to_owned(), 0, 0);
    for line in bytes.split_inclusive(|&byte| byte == b'\n') {
        if let Some(next) = line.strip_prefix(MARK) {
            files.push((name, &bytes[start..at]));
            name = String::from_utf8_lossy(next).trim().to_owned();
            start = at + line.len();
        }
        at += line.len();
    }
    files.push((name, &bytes[start..]));
    files.retain(|(name, contents)| !name.is_empty() && (*name != first || !contents.is_empty()));
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_is_taken_apart_at_its_marks() {
        // A name that nobody else has there.
        let outside = format!("../rewind-scratch-{}", std::process::id());
        let input = format!("a = 1\n--- b.toml\nb = 2\n--- {outside}\nno\n--- d/e\n");
        let scratch = Scratch::new(input.as_bytes(), "a.toml");
        assert_eq!(scratch.names, ["a.toml", "b.toml", "d/e"]);
        assert_eq!(scratch.lines("b.toml"), ["b = 2"]);
        assert_eq!(fs::read(scratch.file("d/e")).unwrap(), b"");
        assert!(!scratch.path().join(outside).exists());
    }
}
