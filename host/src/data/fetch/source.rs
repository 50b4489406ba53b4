//! Where a dataset is published, and the SHA-256 of each file.

use std::path::Path;

/// No file of a dataset is larger; a server that sends more is cut off.
pub(super) const LIMIT: u64 = 256 << 20;

/// Where a dataset is published.
#[derive(Debug)]
pub(in crate::data) struct Origin {
    /// Address of the folder, without a slash at its end.
    pub base: &'static str,
    pub files: &'static [Pinned],
}

/// A file and what it must be.
#[derive(Debug)]
pub(in crate::data) struct Pinned {
    pub name: &'static str,
    /// In hexadecimal.
    pub sha256: &'static str,
}

impl Origin {
    /// What to do where the download is impossible.
    pub(super) fn by_hand(&self, folder: &Path) -> String {
        let names: Vec<_> = self.files.iter().map(|file| file.name).collect();
        let unpacked = match names[..] {
            [name] if name.ends_with(".tar.gz") => ", unpacked,",
            _ => "",
        };
        format!(
            "put {} of {}{unpacked} into {}",
            names.join(", "),
            self.base,
            folder.display()
        )
    }
}
