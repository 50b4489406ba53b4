//! The manifest of a run: which files its folder holds, with their digests.

use crate::store::{self, ALGORITHMS, COPIES, MANIFEST, Manifest, RUN_FILES, RunDir, StoreError};
use crate::tensorboard;

/// The run's manifest from the command before. On disk stays what is true while the run goes on.
pub(super) fn open(run: &RunDir) -> Result<Option<Manifest>, StoreError> {
    let before = match Manifest::read(run.path(), MANIFEST) {
        Ok(before) => before,
        Err(error) => {
            log::warn!("{error}; it is written anew");
            None
        }
    };
    let Some(manifest) = before else {
        return Manifest::remove(run.path(), MANIFEST).map(|()| None);
    };
    for file in RUN_FILES {
        if let Some(expected) = manifest.files.get(file)
            && let Err(error) = store::expect_digest(&run.file(file), expected)
        {
            log::warn!("{error}; it is written anew");
        }
    }
    of_levels(manifest.clone()).write(run.path(), MANIFEST)?;
    Ok(Some(manifest))
}

/// Lists a run's files with their digests. It is the last file that a command writes.
///
/// # Errors
/// If a file cannot be read, or the list not be written.
pub(super) fn list(run: &RunDir, own: &[u64], before: Option<&Manifest>) -> Result<(), StoreError> {
    let manifest = of_run(run, own, before)?;
    manifest.write(run.path(), MANIFEST)
}

/// The manifest of a run as it is now. Levels are listed by their `done.json`, which lists the rest. Of
/// seeds other than `own`, which nobody checked just now, what the manifest before said is kept, so
/// that damage there is not taken for the truth.
fn of_run(run: &RunDir, own: &[u64], before: Option<&Manifest>) -> Result<Manifest, StoreError> {
    let mut files: Vec<String> = RUN_FILES.map(str::to_owned).into();
    files.extend(COPIES.map(str::to_owned));
    files.push(ALGORITHMS.to_owned());
    for seed in run.seeds() {
        let dir = run.seed(seed);
        files.push(format!("seed-{seed}/failed.json"));
        files.push(tensorboard::file_of(seed));
        let levels = 0..dir.finished_levels();
        files.extend(levels.map(|level| format!("seed-{seed}/level-{level:02}/done.json")));
    }
    files.retain(|file| run.file(file).exists());
    let mut manifest = Manifest::of(run.path(), files)?;
    for (file, digest) in before.iter().flat_map(|before| &before.files) {
        let seed = level_seed(file).filter(|seed| !own.contains(seed));
        if seed.is_some_and(|seed| run.seed(seed).path().is_dir()) {
            manifest.files.insert(file.clone(), digest.clone());
        }
    }
    Ok(manifest)
}

/// What stays true while a run goes on: its finished levels.
fn of_levels(mut manifest: Manifest) -> Manifest {
    manifest.files.retain(|file, _| level_seed(file).is_some());
    manifest
}

/// The seed of which a file is the `done.json` of a level.
fn level_seed(file: &str) -> Option<u64> {
    let (seed, rest) = file.strip_prefix("seed-")?.split_once('/')?;
    let is_level = rest.starts_with("level-") && rest.ends_with("/done.json");
    seed.parse().ok().filter(|_| is_level)
}

#[cfg(test)]
mod tests {
    use std::fs;

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
            store::write(&run.file(file), file.as_bytes()).unwrap();
        }
        (folder, run)
    }

    #[test]
    fn a_runs_manifest_lists_what_no_other_file_protects() {
        let (_folder, run) = run();
        let manifest = of_run(&run, &[0, 1], None).unwrap();
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
        let before = of_run(&run, &[0, 1], None).unwrap();
        fs::write(run.file("seed-1/level-00/done.json"), "other").unwrap();
        fs::remove_file(run.file("seed-0/level-00/done.json")).unwrap();
        let after = of_run(&run, &[0], Some(&before)).unwrap();
        let (own, other) = ("seed-0/level-00/done.json", "seed-1/level-00/done.json");
        assert_eq!(after.files.get(own), None);
        assert_eq!(after.files[other], before.files[other]);
        // Whoever removes a seed as a whole means it.
        fs::remove_dir_all(run.file("seed-1")).unwrap();
        let after = of_run(&run, &[0], Some(&before)).unwrap();
        assert!(!after.files.contains_key(other));
    }
}
