//! `host run --fresh`: what another build of a plugin made is thrown away.

use std::collections::BTreeMap;

use crate::records::{BARRIERS, LATENCIES};
use crate::store::{
    MANIFEST, Manifest, REPORT_MANIFEST, RunDir, RunIdentity, StoreError, digest, remove,
};

/// Files of a run that are made of its levels, each after the manifest that lists it.
const MADE_OF_LEVELS: [&str; 9] = [
    "summary.csv",
    "tensorboard",
    BARRIERS.manifest,
    BARRIERS.file,
    LATENCIES.manifest,
    LATENCIES.file,
    REPORT_MANIFEST,
    "report.html",
    "figures",
];

/// Whether a plugin had a part in what a run holds from a level on.
pub fn has_work(run: &RunDir, first: u64) -> bool {
    run.seeds().into_iter().any(|seed| {
        let home = run.seed(seed);
        home.progress().is_dir() || !home.levels_from(first).is_empty()
    })
}

/// The levels from this one on, with the digest of what they came to: none of the one that is under way.
///
/// # Errors
/// If a level's `done.json` cannot be read.
pub fn levels(run: &RunDir, first: u64) -> Result<BTreeMap<String, Option<String>>, StoreError> {
    let mut levels = BTreeMap::new();
    for seed in run.seeds() {
        let home = run.seed(seed);
        let mut next = first;
        for level in home.levels_from(first) {
            let done = home.level(level).file("done.json");
            if done.exists() {
                levels.insert(RunIdentity::level_name(seed, level), Some(digest(&done)?));
                next = level + 1;
            }
        }
        if home.progress().is_dir() {
            levels.insert(RunIdentity::level_name(seed, next), None);
        }
    }
    Ok(levels)
}

/// Throws away every level from this one on, and all that was made of them.
///
/// A process that is killed here leaves a run whose `identity.json` still names the old build: it is
/// refused, or thrown away, as before. What is left of it is whole at any moment: what lists a file goes
/// before the file, a level's `done.json` before its other files, and later levels before earlier ones.
///
/// # Errors
/// Names what cannot be removed.
pub fn discard(run: &RunDir, first: u64) -> Result<(), StoreError> {
    let mut manifest = Manifest::read(run.path(), MANIFEST).unwrap_or_default();
    if let Some(manifest) = &mut manifest {
        let stays = |file: &str| first > 0 && file.ends_with("/level-00/done.json");
        manifest.files.retain(|file, _| stays(file));
        manifest.write(run.path(), MANIFEST)?;
    } else {
        Manifest::remove(run.path(), MANIFEST)?;
    }
    for file in MADE_OF_LEVELS {
        remove(&run.file(file))?;
    }
    for seed in run.seeds() {
        let home = run.seed(seed);
        remove(&home.progress())?;
        remove(&home.failure())?;
        for level in home.levels_from(first).into_iter().rev() {
            let dir = home.level(level);
            remove(&dir.file("done.json"))?;
            dir.clear()?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::write;

    #[test]
    fn everything_but_the_dense_level_and_what_the_run_is_goes() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDir::new(folder.path());
        let stay = [
            "experiment.toml",
            "identity.json",
            "seed-0/level-00/done.json",
            "seed-0/level-00/end.safetensors",
            "seed-3/level-00/done.json",
            "notes.txt",
        ];
        let go = [
            "summary.csv",
            "report.html",
            "figures/accuracy.svg",
            "barriers.jsonl",
            "latencies.jsonl",
            "latencies-manifest.json",
            "tensorboard/seed-0/events",
            "seed-0/level-01/done.json",
            "seed-0/level-02/end.safetensors",
            "seed-0/progress/checkpoint.json",
            "seed-3/level-01/done.json",
            "seed-3/failed.json",
        ];
        for file in stay.iter().chain(&go) {
            write(&run.file(file), file.as_bytes()).unwrap();
        }
        assert!(has_work(&run, 1));
        let noted = levels(&run, 1).unwrap();
        let names: Vec<&str> = noted.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            ["seed-0/level-01", "seed-0/level-02", "seed-3/level-01"]
        );
        assert_eq!(noted["seed-0/level-02"], None);
        let all = Manifest::of(run.path(), stay.iter().chain(&go).copied()).unwrap();
        all.write(run.path(), MANIFEST).unwrap();
        discard(&run, 1).unwrap();
        for file in stay {
            assert!(run.file(file).exists(), "{file}");
        }
        for file in go {
            assert!(!run.file(file).exists(), "{file}");
        }
        let manifest = Manifest::read(run.path(), MANIFEST).unwrap().unwrap();
        let listed: Vec<&str> = manifest.files.keys().map(String::as_str).collect();
        assert_eq!(
            listed,
            ["seed-0/level-00/done.json", "seed-3/level-00/done.json"]
        );
        assert!(!has_work(&run, 1));
    }
}
