//! Which files a folder holds, with their digests: what is missing or was changed can be named.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::artifact::{self, StoreError};
use super::run::RunDir;
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
/// The manifest of measured barriers.
pub const BARRIERS_MANIFEST: &str = "barriers-manifest.json";

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

    /// The manifest of a run as it is now. Levels are listed by their `done.json`, which lists the
    /// rest. Of seeds other than `own`, which nobody checked just now, what the manifest before said
    /// is kept, so that damage there is not taken for the truth.
    ///
    /// # Errors
    /// Names a file that cannot be read.
    pub fn of_run(run: &RunDir, own: &[u64], before: Option<&Self>) -> Result<Self, StoreError> {
        let mut files: Vec<String> = RUN_FILES.map(str::to_owned).into();
        for seed in run.seeds() {
            let dir = run.seed(seed);
            files.push(format!("seed-{seed}/failed.json"));
            files.push(crate::tensorboard::file_of(seed));
            let done = |level: &u64| dir.level(*level).file("done.json").exists();
            let levels = (0..).take_while(done);
            files.extend(levels.map(|level| format!("seed-{seed}/level-{level:02}/done.json")));
        }
        files.retain(|file| run.file(file).exists());
        let mut manifest = Self::of(run.path(), files)?;
        for (file, digest) in before.iter().flat_map(|before| &before.files) {
            let seed = level_seed(file).filter(|seed| !own.contains(seed));
            if seed.is_some_and(|seed| run.seed(seed).path().is_dir()) {
                manifest.files.insert(file.clone(), digest.clone());
            }
        }
        Ok(manifest)
    }

    /// What stays true while a run goes on: its finished levels.
    #[must_use]
    pub fn of_levels(mut self) -> Self {
        self.files.retain(|file, _| level_seed(file).is_some());
        self
    }
}

/// Files of a run besides those of its seeds.
pub const RUN_FILES: [&str; 3] = ["experiment.toml", "identity.json", "summary.csv"];

/// The seed of which a file is the `done.json` of a level.
fn level_seed(file: &str) -> Option<u64> {
    let (seed, rest) = file.strip_prefix("seed-")?.split_once('/')?;
    let is_level = rest.starts_with("level-") && rest.ends_with("/done.json");
    seed.parse().ok().filter(|_| is_level)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> (tempfile::TempDir, RunDir) {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDir::new(folder.path());
        for file in [
            "experiment.toml",
            "identity.json",
            "lock",
            "seed-0/level-00/done.json",
            "seed-0/level-00/mask.safetensors",
            "seed-1/level-00/done.json",
            "seed-1/failed.json",
        ] {
            artifact::write(&run.file(file), file.as_bytes()).unwrap();
        }
        (folder, run)
    }

    #[test]
    fn a_runs_manifest_lists_what_no_other_file_protects() {
        let (_folder, run) = run();
        let manifest = Manifest::of_run(&run, &[0, 1], None).unwrap();
        let files: Vec<&str> = manifest.files.keys().map(String::as_str).collect();
        assert_eq!(
            files,
            [
                "experiment.toml",
                "identity.json",
                "seed-0/level-00/done.json",
                "seed-1/failed.json",
                "seed-1/level-00/done.json"
            ]
        );
        manifest.write(run.path(), MANIFEST).unwrap();
        assert_eq!(
            Manifest::read(run.path(), MANIFEST).unwrap(),
            Some(manifest)
        );
    }

    #[test]
    fn damage_to_a_seed_that_was_not_asked_for_does_not_become_the_truth() {
        let (_folder, run) = run();
        let before = Manifest::of_run(&run, &[0, 1], None).unwrap();
        fs::write(run.file("seed-1/level-00/done.json"), "other").unwrap();
        fs::remove_file(run.file("seed-0/level-00/done.json")).unwrap();
        let after = Manifest::of_run(&run, &[0], Some(&before)).unwrap();
        let (own, other) = ("seed-0/level-00/done.json", "seed-1/level-00/done.json");
        assert_eq!(after.files.get(own), None);
        assert_eq!(after.files[other], before.files[other]);
        // Whoever removes a seed as a whole means it.
        fs::remove_dir_all(run.file("seed-1")).unwrap();
        let after = Manifest::of_run(&run, &[0], Some(&before)).unwrap();
        assert!(!after.files.contains_key(other));
    }

    #[test]
    fn a_manifest_without_its_digest_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(MANIFEST), "{\"files\": {}}").unwrap();
        let error = Manifest::read(folder.path(), MANIFEST).unwrap_err();
        assert!(error.to_string().contains("does not carry"), "{error}");
    }
}
