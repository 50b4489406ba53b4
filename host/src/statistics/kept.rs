//! Records of lines that were evaluated before: `barriers.jsonl` in a run's folder.

use std::path::PathBuf;

use super::Barrier;
use crate::records::{lines, read_lines};
use crate::store::{
    BARRIERS_MANIFEST, Lock, LockError, Manifest, RunDir, StoreError, ask, expect_digest, write,
};

/// The file's name.
pub const FILE: &str = "barriers.jsonl";

/// The lock of whoever measures barriers and adds them to a run's. Its levels are only read.
pub fn lock_of(run: &RunDir) -> PathBuf {
    run.file("barriers").join("lock")
}

/// Keeps other processes from measuring the same, waiting if need be.
pub(super) fn lock(run: &RunDir) -> Result<Lock, LockError> {
    let lock = Lock::wait(&lock_of(run), &|| false)?;
    lock.map_or_else(|| Lock::take(&lock_of(run)), Ok)
}

/// The records in a run's folder; none if there is no file.
pub(super) fn read(run: &RunDir) -> Result<Vec<Barrier>, StoreError> {
    let path = run.file(FILE);
    if !path.exists() {
        return Ok(Vec::new());
    }
    if let Some(manifest) = Manifest::read(run.path(), BARRIERS_MANIFEST)?
        && let Some(expected) = manifest.files.get(FILE)
    {
        expect_digest(&path, expected)?;
    }
    read_lines(&path)
}

/// Adds records. One of the same line with the same settings takes the place of the old one, which
/// was of weights that have been trained again since. The run's barriers must be locked.
pub(super) fn add(run: &RunDir, new: Vec<Barrier>) -> Result<(), StoreError> {
    ask(&lock_of(run))?;
    let mut all = read(run)?;
    for barrier in new {
        match all.iter_mut().find(|old| is_same_line(old, &barrier)) {
            Some(old) => *old = barrier,
            None => all.push(barrier),
        }
    }
    let path = run.file(FILE);
    let bytes = lines(&all).map_err(|error| StoreError::Damaged {
        path: path.clone(),
        reason: error.to_string(),
    })?;
    // Without a manifest for a moment, so that a kill between the two files leaves no wrong one.
    Manifest::remove(run.path(), BARRIERS_MANIFEST)?;
    write(&path, &bytes)?;
    Manifest::of(run.path(), [FILE])?.write(run.path(), BARRIERS_MANIFEST)
}

fn is_same_line(old: &Barrier, new: &Barrier) -> bool {
    let ends = |it: &Barrier| [&it.a, &it.b].map(|end| (end.run.clone(), end.point.clone()));
    (old.seed, old.settings) == (new.seed, new.settings) && ends(old) == ends(new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::{End, Settings};

    fn record(seed: u64, digest: &str, points: usize, errors: [f64; 3]) -> Barrier {
        let end = |point: &str| End {
            run: "lrr-0".to_owned(),
            point: point.to_owned(),
            digest: digest.to_owned(),
        };
        Barrier {
            seed,
            a: end("level-0-end"),
            b: end("level-1-end"),
            settings: Settings {
                points,
                ..Settings::default()
            },
            samples: 10,
            density_a: 1.0,
            density_b: 0.8,
            density_between: 1.0,
            alphas: vec![0.0, 0.5, 1.0],
            errors: errors.to_vec(),
            losses: errors.to_vec(),
            error_barrier: 0.25,
            loss_barrier: 0.25,
            error_rise: 0.25,
            loss_rise: 0.25,
        }
    }

    #[test]
    fn a_line_of_weights_that_were_trained_again_takes_the_place_of_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDir::new(folder.path().join("lrr-0"));
        assert_eq!(read(&run).unwrap(), []);
        let [old, other_seed, other_points] = [
            record(0, "old", 3, [0.25, 0.5, 0.25]),
            record(1, "old", 3, [0.25, 0.5, 0.25]),
            record(0, "old", 5, [0.25, 0.5, 0.25]),
        ];
        add(&run, vec![old.clone(), other_seed.clone()]).unwrap();
        add(&run, vec![other_points.clone()]).unwrap();
        let new = record(0, "new", 3, [0.125, 0.5, 0.125]);
        add(&run, vec![new.clone()]).unwrap();
        assert_eq!(read(&run).unwrap(), [new, other_seed, other_points]);
    }

    #[test]
    fn a_damaged_line_is_named_and_nothing_is_written_over_it() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDir::new(folder.path().join("lrr-0"));
        add(&run, vec![record(0, "old", 3, [0.0; 3])]).unwrap();
        let mut bytes = std::fs::read(run.file(FILE)).unwrap();
        bytes.extend(b"{\"seed\":");
        std::fs::write(run.file(FILE), &bytes).unwrap();
        let error = read(&run).unwrap_err().to_string();
        assert!(error.contains("its BLAKE3 digest is"), "{error}");
        // Files of older versions have no manifest.
        Manifest::remove(run.path(), BARRIERS_MANIFEST).unwrap();
        let error = add(&run, vec![record(1, "old", 3, [0.0; 3])]).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("barriers.jsonl is damaged: line 2: "),
            "{error}"
        );
        assert_eq!(std::fs::read(run.file(FILE)).unwrap(), bytes);
    }
}
