//! Records that commands add to a run once its levels are there: a file of lines with a manifest, and a lock of its own.

use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{lines, read_lines};
use crate::store::{Lock, LockError, Manifest, RunDir, StoreError, ask, expect_digest, write};

/// One kind of such records.
#[derive(Clone, Copy, Debug)]
pub struct Kept {
    /// The file with one record a line.
    pub file: &'static str,
    /// The manifest that lists it.
    pub manifest: &'static str,
    /// The folder that holds the lock.
    folder: &'static str,
    /// The command that measures anew.
    pub command: &'static str,
}

/// Error barriers between stored points.
pub const BARRIERS: Kept = Kept {
    file: "barriers.jsonl",
    manifest: "barriers-manifest.json",
    folder: "barriers",
    command: "barrier",
};

/// Times of forward passes.
pub const LATENCIES: Kept = Kept {
    file: "latencies.jsonl",
    manifest: "latencies-manifest.json",
    folder: "latencies",
    command: "bench-export",
};

/// All kinds.
pub const KEPT: [Kept; 2] = [BARRIERS, LATENCIES];

impl Kept {
    /// The lock of whoever adds to a run's. Its levels are only read.
    pub fn lock_of(&self, run: &RunDir) -> PathBuf {
        run.file(self.folder).join("lock")
    }

    /// Keeps other processes from adding to a run's, waiting if need be.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn lock(&self, run: &RunDir) -> Result<Lock, LockError> {
        let lock = Lock::wait(&self.lock_of(run), &|| false)?;
        lock.map_or_else(|| Lock::take(&self.lock_of(run)), Ok)
    }

    /// The records in a run's folder; none if there is no file.
    ///
    /// # Errors
    /// If the file is damaged: how.
    pub fn read<T: DeserializeOwned>(&self, run: &RunDir) -> Result<Vec<T>, StoreError> {
        let path = run.file(self.file);
        if !path.exists() {
            return Ok(Vec::new());
        }
        if let Some(manifest) = Manifest::read(run.path(), self.manifest)?
            && let Some(expected) = manifest.files.get(self.file)
        {
            expect_digest(&path, expected)?;
        }
        read_lines(&path)
    }

    /// Adds records. One that `is_same` as an old one takes its place. The run's must be locked.
    ///
    /// # Errors
    /// If the file is damaged or cannot be written.
    pub fn add<T: Serialize + DeserializeOwned>(
        &self,
        run: &RunDir,
        new: Vec<T>,
        is_same: impl Fn(&T, &T) -> bool,
    ) -> Result<(), StoreError> {
        ask(&self.lock_of(run))?;
        let mut all = self.read(run)?;
        for record in new {
            match all.iter_mut().find(|old| is_same(old, &record)) {
                Some(old) => *old = record,
                None => all.push(record),
            }
        }
        let path = run.file(self.file);
        let bytes = lines(&all).map_err(|error| StoreError::Damaged {
            path: path.clone(),
            reason: error.to_string(),
        })?;
        // Without a manifest for a moment, so that a kill between the two files leaves no wrong one.
        Manifest::remove(run.path(), self.manifest)?;
        write(&path, &bytes)?;
        Manifest::of(run.path(), [self.file])?.write(run.path(), self.manifest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Record = (u64, String, f64);

    fn add(run: &RunDir, new: &[(u64, &str, f64)]) -> Result<(), StoreError> {
        let new = new.iter().map(|(seed, a, b)| (*seed, (*a).to_owned(), *b));
        BARRIERS.add(run, new.collect(), |old: &Record, new| {
            (old.0, &old.1) == (new.0, &new.1)
        })
    }

    #[test]
    fn a_record_of_the_same_takes_the_place_of_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDir::new(folder.path().join("lrr-0"));
        assert_eq!(BARRIERS.read::<Record>(&run).unwrap(), []);
        add(&run, &[(0, "a", 0.25), (1, "a", 0.25)]).unwrap();
        add(&run, &[(0, "b", 0.5)]).unwrap();
        add(&run, &[(0, "a", 0.125)]).unwrap();
        let all: Vec<Record> = BARRIERS.read(&run).unwrap();
        let expected = [(0, "a", 0.125), (1, "a", 0.25), (0, "b", 0.5)];
        assert_eq!(all, expected.map(|(seed, a, b)| (seed, a.to_owned(), b)));
        assert_eq!(LATENCIES.read::<Record>(&run).unwrap(), []);
    }

    #[test]
    fn a_damaged_line_is_named_and_nothing_is_written_over_it() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDir::new(folder.path().join("lrr-0"));
        add(&run, &[(0, "a", 0.0)]).unwrap();
        let mut bytes = std::fs::read(run.file(BARRIERS.file)).unwrap();
        bytes.extend(b"[1,");
        std::fs::write(run.file(BARRIERS.file), &bytes).unwrap();
        let error = BARRIERS.read::<Record>(&run).unwrap_err().to_string();
        assert!(error.contains("its BLAKE3 digest is"), "{error}");
        // Files of older versions have no manifest.
        Manifest::remove(run.path(), BARRIERS.manifest).unwrap();
        let error = add(&run, &[(1, "a", 0.0)]).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("barriers.jsonl is damaged: line 2: "),
            "{error}"
        );
        assert_eq!(std::fs::read(run.file(BARRIERS.file)).unwrap(), bytes);
    }
}
