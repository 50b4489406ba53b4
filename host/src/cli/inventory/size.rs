//! The room that files take.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::SystemTime;

/// Files that several folders link are told by these.
pub type Links = BTreeSet<(u64, u64)>;

/// What the files of a folder come to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Size {
    /// Their bytes. A file that `Links` has seen already counts as none.
    pub bytes: u64,
    /// When the last of them was written.
    pub changed: Option<SystemTime>,
}

impl Size {
    /// Adds up the files of a folder, those of folders in it included; what cannot be read counts as nothing.
    pub fn of(folder: &Path, seen: &mut Links) -> Self {
        let mut size = Self::default();
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(it) if it.is_dir() => size.add(Self::of(&entry.path(), seen)),
                Ok(it) if it.is_file() => size.add(Self {
                    bytes: if is_new(&it, seen) { it.len() } else { 0 },
                    changed: it.modified().ok(),
                }),
                _ => (),
            }
        }
        size
    }

    fn add(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.changed = self.changed.max(other.changed);
    }
}

fn is_new(file: &fs::Metadata, seen: &mut Links) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        file.nlink() == 1 || seen.insert((file.dev(), file.ino()))
    }
    #[cfg(not(unix))]
    {
        let _ = (file, seen);
        true
    }
}
