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
    /// Their bytes; a file that it links twice counts once.
    pub bytes: u64,
    /// Those of files that no folder before it links.
    pub new: u64,
    /// When the last of them was written.
    pub changed: Option<SystemTime>,
}

impl Size {
    /// Adds up the files of a folder, those of folders in it included; what cannot be read counts as nothing.
    /// `seen` are the files of the folders before it.
    pub fn of(folder: &Path, seen: &mut Links) -> Self {
        let mut own = Links::new();
        let size = Self::walk(folder, &mut own, seen);
        seen.append(&mut own);
        size
    }

    fn walk(folder: &Path, own: &mut Links, seen: &Links) -> Self {
        let mut size = Self::default();
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(it) if it.is_dir() => size.add(Self::walk(&entry.path(), own, seen)),
                Ok(it) if it.is_file() => {
                    let link = link(&it);
                    let counts = link.is_none_or(|link| own.insert(link));
                    let is_new = counts && link.is_none_or(|link| !seen.contains(&link));
                    size.add(Self {
                        bytes: if counts { it.len() } else { 0 },
                        new: if is_new { it.len() } else { 0 },
                        changed: it.modified().ok(),
                    });
                }
                _ => (),
            }
        }
        size
    }

    fn add(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.new += other.new;
        self.changed = self.changed.max(other.changed);
    }
}

/// What tells a file that several folders may link; none for one that is linked once.
fn link(file: &fs::Metadata) -> Option<(u64, u64)> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        (file.nlink() > 1).then(|| (file.dev(), file.ino()))
    }
    #[cfg(not(unix))]
    {
        let _ = file;
        None
    }
}
