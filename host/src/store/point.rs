//! One point of the dense level, stored for whoever rewinds to it.
//!
//! It lies beside the level and not in it: which points are asked for is for the experiments to say,
//! and the level has the same bytes whoever trains it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::artifact::{self, StoreError};
use super::level::{check_names, names_in};
use super::sealed;

/// Says that a point is whole, and what its files hold; written last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PointDone {
    /// Steps of the level that were made before.
    pub step: u64,
    /// BLAKE3 of each file beside it, hexadecimal.
    pub digests: BTreeMap<String, String>,
}

/// The folder of one point.
#[derive(Clone, Debug)]
pub struct PointDir {
    path: PathBuf,
    step: u64,
}

/// The folder of a seed's points.
pub(super) const POINTS: &str = "points";
const DONE: &str = "done.json";

impl PointDir {
    /// The folder of the point after so many steps, within a seed's.
    pub fn new(seed: &Path, step: u64) -> Self {
        Self {
            path: seed.join(POINTS).join(Self::name(step)),
            step,
        }
    }

    fn name(step: u64) -> String {
        format!("step-{step:06}")
    }

    /// The step that a folder's name says.
    pub(super) fn step_of(name: &str) -> Option<u64> {
        let step = name.strip_prefix("step-")?.parse().ok()?;
        (Self::name(step) == name).then_some(step)
    }

    /// The file of this name.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Steps of the level that were made before.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Names of the files in the folder, sorted; none if there is no folder.
    pub fn names(&self) -> Vec<String> {
        names_in(&self.path)
    }

    /// Whether the point was declared whole; whether it still is, is not looked at.
    pub fn is_declared(&self) -> bool {
        self.file(DONE).exists()
    }

    /// What the point consists of, if every file is what was written. One with a damaged file counts
    /// as missing, and the damage is logged.
    ///
    /// # Errors
    /// If a file cannot be read for now: nothing says then that it has to be made again.
    pub fn done(&self) -> Result<Option<PointDone>, StoreError> {
        if !self.is_declared() {
            return Ok(None);
        }
        let checked = self.read().and_then(|done| {
            for (name, expected) in &done.digests {
                artifact::expect_digest(&self.file(name), expected)?;
            }
            Ok(done)
        });
        match checked {
            Ok(done) => Ok(Some(done)),
            Err(error) if error.is_damage() => {
                log::warn!("{error}; the point at step {} is made again", self.step);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Reads the point's `done.json` alone.
    ///
    /// # Errors
    /// If it is missing, damaged or another point's.
    pub fn read(&self) -> Result<PointDone, StoreError> {
        let path = self.file(DONE);
        let done: PointDone = sealed::read_sealed(&path)?.value;
        check_names(&path, &done.digests)?;
        if done.step != self.step {
            let reason = format!("it is of step {}, expected {}", done.step, self.step);
            return Err(StoreError::Damaged { path, reason });
        }
        Ok(done)
    }

    /// Declares the point whole with these files, which must have been written.
    ///
    /// # Errors
    /// If a file is missing or `done.json` cannot be written.
    pub fn finish(&self, files: &[String]) -> Result<(), StoreError> {
        let entry = |name: &String| Ok((name.clone(), artifact::digest(&self.file(name))?));
        let digests: Result<_, StoreError> = files.iter().map(entry).collect();
        let done = PointDone {
            step: self.step,
            digests: digests?,
        };
        sealed::write_sealed(&self.file(DONE), &done)
    }

    /// Removes what is there of it.
    ///
    /// # Errors
    /// If the folder cannot be removed.
    pub fn clear(&self) -> Result<(), StoreError> {
        artifact::remove(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(seed: &Path) -> PointDir {
        let point = PointDir::new(seed, 40);
        artifact::write(&point.file("weights"), b"1010").unwrap();
        point.finish(&["weights".to_owned()]).unwrap();
        point
    }

    #[test]
    fn a_point_is_there_only_with_every_file_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let point = whole(folder.path());
        assert_eq!(point.done().unwrap(), Some(point.read().unwrap()));
        std::fs::write(point.file("weights"), b"1011").unwrap();
        assert_eq!(point.done().unwrap(), None);
        std::fs::remove_file(point.file("weights")).unwrap();
        assert_eq!(point.done().unwrap(), None);
        point.clear().unwrap();
        assert!(!point.is_declared() && point.names().is_empty());
    }

    #[test]
    fn a_point_that_lies_under_another_ones_name_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let point = whole(folder.path());
        let other = PointDir::new(folder.path(), 41);
        std::fs::rename(point.path(), other.path()).unwrap();
        let error = other.read().unwrap_err().to_string();
        assert!(error.contains("it is of step 40, expected 41"), "{error}");
        assert_eq!(other.done().unwrap(), None);
    }

    #[test]
    fn a_folders_name_says_its_step_in_one_way() {
        assert_eq!(PointDir::step_of("step-000040"), Some(40));
        assert_eq!(PointDir::step_of("step-1234567"), Some(1_234_567));
        for other in [
            "step-40",
            "step-",
            "000040",
            "step-000040.tmp",
            "step-0000040",
        ] {
            assert_eq!(PointDir::step_of(other), None, "{other}");
        }
    }
}
