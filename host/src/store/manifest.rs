//! Which files a folder holds, with their digests: what is missing or was changed can be named.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::artifact::{self, StoreError};
use super::sealed;

/// Files of a folder with their digests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// BLAKE3 of each file, hexadecimal, by its path from the folder, with `/` between folders.
    pub files: BTreeMap<String, String>,
}

/// The manifest of a run, of a sweep or of a simulation.
pub const MANIFEST: &str = "manifest.json";
/// The manifest of a report: its page and its figures.
pub const REPORT_MANIFEST: &str = "report-manifest.json";

/// Files of a run besides those of its seeds.
pub const RUN_FILES: [&str; 3] = ["experiment.toml", "identity.json", "summary.csv"];
/// The file of a run on a GPU that says by which algorithms it is computed.
pub const ALGORITHMS: &str = "algorithms.json";
/// The file of a run with the archive of its network, where that was imported.
pub const ARCHIVE: &str = "model.pt2";
/// The file of a run with the weights that its network starts from, where these were given.
pub const WEIGHTS: &str = "weights.safetensors";
/// Copies of what the experiment file names, by which a run is whole without the originals.
pub const COPIES: [&str; 2] = [ARCHIVE, WEIGHTS];

impl Manifest {
    /// The manifest of this name in a folder; none if there is none.
    ///
    /// # Errors
    /// If it is damaged.
    pub fn read(folder: &Path, name: &str) -> Result<Option<Self>, StoreError> {
        let path = folder.join(name);
        if !path.exists() {
            return Ok(None);
        }
        let read = sealed::read_sealed::<Self>(&path)?;
        if !read.sealed {
            return Err(StoreError::Damaged {
                path,
                reason: "it does not carry its digest".to_owned(),
            });
        }
        Ok(Some(read.value))
    }

    /// The manifest of these files as they are now.
    ///
    /// # Errors
    /// Names a file that cannot be read.
    pub fn of<S: Into<String>>(
        folder: &Path,
        files: impl IntoIterator<Item = S>,
    ) -> Result<Self, StoreError> {
        let entry = |file: S| {
            let file = file.into();
            let digest = artifact::digest(&folder.join(&file))?;
            Ok((file, digest))
        };
        let files: Result<_, StoreError> = files.into_iter().map(entry).collect();
        Ok(Self { files: files? })
    }

    /// Writes it into a folder, unless it stands there already.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, folder: &Path, name: &str) -> Result<(), StoreError> {
        let path = folder.join(name);
        let bytes = sealed::seal(&path, self)?;
        if fs::read(&path).is_ok_and(|old| old == bytes) {
            return Ok(());
        }
        artifact::write(&path, &bytes)
    }

    /// Removes the manifest of this name: what it lists is about to change.
    ///
    /// # Errors
    /// If it is there and cannot be removed.
    pub fn remove(folder: &Path, name: &str) -> Result<(), StoreError> {
        artifact::remove(&folder.join(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_without_its_digest_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(MANIFEST), "{\"files\": {}}").unwrap();
        let error = Manifest::read(folder.path(), MANIFEST).unwrap_err();
        assert!(error.to_string().contains("does not carry"), "{error}");
    }
}
