//! One finished level of one seed.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::artifact::{self, StoreError};
use super::point::{PointDir, PointDone};
use super::sealed::{self, Sealed};

/// Says that a level is finished, and what its files hold; written last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Done {
    /// Level.
    pub level: u64,
    /// BLAKE3 of each file beside it, hexadecimal.
    pub digests: BTreeMap<String, String>,
    /// What the next level needs to know and no file says.
    pub carry: Value,
}

/// The folder of one level.
#[derive(Clone, Debug)]
pub struct LevelDir {
    path: PathBuf,
    level: u64,
}

const DONE: &str = "done.json";

impl LevelDir {
    /// The folder of a level within a seed's.
    pub fn new(seed: &Path, level: u64) -> Self {
        Self {
            path: seed.join(format!("level-{level:02}")),
            level,
        }
    }

    /// The file of this name.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it says that it is finished; its files are not looked at.
    pub fn is_declared(&self) -> bool {
        self.file(DONE).exists()
    }

    /// What the level came to, if it is finished and every file is what was written. A level with a
    /// damaged file counts as unfinished, and the damage is logged.
    ///
    /// # Errors
    /// If a file cannot be read for now: nothing says then that it has to be made again.
    pub fn done(&self) -> Result<Option<Done>, StoreError> {
        let path = self.file(DONE);
        if !path.exists() {
            return Ok(None);
        }
        match self.check() {
            Ok(done) => Ok(Some(done)),
            Err(error) if error.is_damage() => {
                log::warn!("{error}; level {} is trained again", self.level);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Reads the level's `done.json` and compares every file with its digest.
    ///
    /// # Errors
    /// Names the file that is missing or differs.
    pub fn check(&self) -> Result<Done, StoreError> {
        let done = self.read_done()?;
        for (name, expected) in &done.digests {
            artifact::expect_digest(&self.file(name), expected)?;
        }
        Ok(done)
    }

    /// Compares one file of a finished level with its digest.
    ///
    /// # Errors
    /// If the level is not finished, or the file is not one of its files, missing or another.
    pub fn check_file(&self, name: &str) -> Result<(), StoreError> {
        let path = self.file(name);
        match self.read_done()?.digests.get(name) {
            Some(expected) => artifact::expect_digest(&path, expected),
            None => Err(StoreError::Damaged {
                path,
                reason: format!("{DONE} beside it does not list it"),
            }),
        }
    }

    fn read_done(&self) -> Result<Done, StoreError> {
        Ok(self.read_sealed()?.value)
    }

    /// Reads the level's `done.json` alone.
    ///
    /// # Errors
    /// If it is missing, damaged or another level's.
    pub fn read_sealed(&self) -> Result<Sealed<Done>, StoreError> {
        let path = self.file(DONE);
        let done: Sealed<Done> = sealed::read_sealed(&path)?;
        check_names(&path, &done.value.digests)?;
        let level = done.value.level;
        if level != self.level {
            let reason = format!("it is of level {level}, expected {}", self.level);
            return Err(StoreError::Damaged { path, reason });
        }
        Ok(done)
    }

    /// Names of the files in the folder, sorted; none if there is no folder.
    pub fn names(&self) -> Vec<String> {
        names_in(&self.path)
    }

    /// Declares the level finished with these files, which must have been written.
    ///
    /// # Errors
    /// If a file is missing or `done.json` cannot be written.
    pub fn finish(&self, files: &[String], carry: Value) -> Result<Done, StoreError> {
        let mut digests = BTreeMap::new();
        for name in files {
            let digest = artifact::digest(&self.file(name))?;
            digests.insert(name.clone(), digest);
        }
        let done = Done {
            level: self.level,
            digests,
            carry,
        };
        self.declare(&done)?;
        Ok(done)
    }

    /// Writes what the level came to, of which the files lie here already.
    ///
    /// # Errors
    /// If `done.json` cannot be written.
    pub fn declare(&self, done: &Done) -> Result<(), StoreError> {
        sealed::write_sealed(&self.file(DONE), done)
    }

    /// Makes this folder hold the files of a finished level elsewhere, and those of these points of
    /// it, without copying them where the file system can link; and nothing else.
    ///
    /// # Errors
    /// Names the file that could not be brought.
    pub fn adopt(
        &self,
        from: &LevelDir,
        done: &Done,
        points: &[(PointDir, PointDone)],
    ) -> Result<(), StoreError> {
        let mut whole = done.clone();
        for name in done.digests.keys() {
            link(&from.file(name), &self.file(name))?;
        }
        for (point, its) in points {
            for (name, digest) in &its.digests {
                link(&point.file(name), &self.file(name))?;
                whole.digests.insert(name.clone(), digest.clone());
            }
        }
        match points.is_empty() {
            true => link(&from.file(DONE), &self.file(DONE))?,
            false => self.declare(&whole)?,
        }
        let names = whole.digests.into_keys().chain([DONE.to_owned()]);
        self.keep_only(&names.collect::<Vec<_>>())
    }

    /// Removes what an unfinished attempt left.
    ///
    /// # Errors
    /// If the folder cannot be removed.
    pub fn clear(&self) -> Result<(), StoreError> {
        artifact::remove(&self.path)
    }

    /// Removes what an attempt left that got further than the checkpoint which has only these files.
    ///
    /// # Errors
    /// If a file cannot be removed.
    pub fn keep_only(&self, files: &[String]) -> Result<(), StoreError> {
        for entry in fs::read_dir(&self.path).into_iter().flatten().flatten() {
            if !files.iter().any(|file| entry.file_name() == **file) {
                artifact::remove(&entry.path())?;
            }
        }
        Ok(())
    }
}

/// Fails unless what a `done.json` lists are names of files beside it: another one would lead out of
/// the folder, where adopting a level removes and links files.
pub(super) fn check_names(
    path: &Path,
    digests: &BTreeMap<String, String>,
) -> Result<(), StoreError> {
    let is_name = |name: &str| Path::new(name).file_name() == Some(OsStr::new(name));
    match digests.keys().find(|name| !is_name(name)) {
        None => Ok(()),
        Some(name) => Err(StoreError::Damaged {
            path: path.to_owned(),
            reason: format!("it lists `{name}`, expected names of files beside it"),
        }),
    }
}

/// Names of what lies in a folder, sorted; none if there is no folder.
pub(super) fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let name = |entry: fs::DirEntry| entry.file_name().into_string().ok();
    let mut names: Vec<String> = entries.filter_map(name).collect();
    names.sort();
    names
}

/// Brings a file to another place, as a link where the file system has them.
///
/// # Errors
/// Names the file that could not be brought, or who has its folder now.
pub fn link(source: &Path, target: &Path) -> Result<(), StoreError> {
    let write = |source| StoreError::Write {
        path: target.to_owned(),
        bytes: 0,
        source,
    };
    if let Some(folder) = target.parent() {
        fs::create_dir_all(folder).map_err(write)?;
    }
    artifact::ask(target)?;
    if target.exists() {
        fs::remove_file(target).map_err(write)?;
    }
    match fs::hard_link(source, target) {
        Ok(()) => Ok(()),
        Err(_) => artifact::write(target, &artifact::read(source)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finished(folder: &Path) -> LevelDir {
        let level = LevelDir::new(folder, 3);
        artifact::write(&level.file("mask"), b"1010").unwrap();
        artifact::write(&level.file("end"), b"weights").unwrap();
        level
            .finish(&["mask".to_owned(), "end".to_owned()], Value::Null)
            .unwrap();
        level
    }

    #[test]
    fn a_list_that_leads_out_of_the_folder_is_refused_and_nothing_is_touched() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        let level = finished(&from);
        let outside = folder.path().join("precious");
        fs::write(&outside, b"precious").unwrap();
        let digest = artifact::digest(&outside).unwrap();
        for name in ["../../precious", "/etc/passwd", "a/b", "..", "", "mask/"] {
            let mut done = level.check().unwrap_or_else(|_| Done {
                level: 3,
                digests: BTreeMap::new(),
                carry: Value::Null,
            });
            done.digests.insert(name.to_owned(), digest.clone());
            let text = serde_json::to_vec(&done).unwrap();
            artifact::write(&level.file(DONE), &text).unwrap();
            let error = level.check().unwrap_err().to_string();
            assert!(error.contains(&format!("it lists `{name}`")), "{error}");
            if let Some(done) = level.done().unwrap() {
                LevelDir::new(&to, 3).adopt(&level, &done, &[]).unwrap();
            }
            assert_eq!(fs::read(&outside).unwrap(), b"precious");
        }
    }

    #[test]
    fn a_level_is_done_only_with_every_file_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let level = finished(folder.path());
        assert!(level.done().unwrap().is_some());
        for damage in [b"1011".as_slice(), b"101", b""] {
            fs::write(level.file("mask"), damage).unwrap();
            assert!(level.done().unwrap().is_none());
            assert!(level.check_file("mask").is_err());
            assert!(level.check_file("end").is_ok());
            let error = level.check().unwrap_err().to_string();
            assert!(
                error.contains("mask is damaged: its BLAKE3 digest is"),
                "{error}"
            );
        }
        fs::remove_file(level.file("mask")).unwrap();
        assert!(
            level
                .check()
                .unwrap_err()
                .to_string()
                .contains("failed to read")
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_level_whose_file_cannot_be_read_for_now_is_not_taken_for_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let level = finished(folder.path());
        let mask = level.file("mask");
        fs::remove_file(&mask).unwrap();
        // Not even root reads a link to itself.
        std::os::unix::fs::symlink(&mask, &mask).unwrap();
        let error = level.done().unwrap_err().to_string();
        let expected = format!("failed to read {}", mask.display());
        assert!(error.starts_with(&expected), "{error}");
    }

    #[test]
    fn only_the_files_of_the_checkpoint_stay() {
        let folder = tempfile::tempdir().unwrap();
        let level = finished(folder.path());
        level.keep_only(&["mask".to_owned()]).unwrap();
        let left: Vec<_> = fs::read_dir(level.path()).unwrap().flatten().collect();
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].file_name(), "mask");
    }

    #[test]
    fn a_flipped_bit_in_what_the_next_level_needs_is_damage() {
        let folder = tempfile::tempdir().unwrap();
        let level = finished(folder.path());
        let carry = serde_json::json!({"schedule": {"step": 63}});
        level.finish(&["mask".to_owned()], carry).unwrap();
        let text = fs::read_to_string(level.file(DONE)).unwrap();
        fs::write(level.file(DONE), text.replace("63", "62")).unwrap();
        assert!(level.done().unwrap().is_none());
        let error = level.check().unwrap_err().to_string();
        assert!(error.contains("done.json is damaged"), "{error}");
    }

    #[test]
    fn an_adopted_level_holds_the_same_files() {
        let folder = tempfile::tempdir().unwrap();
        let from = finished(&folder.path().join("dense"));
        let to = LevelDir::new(&folder.path().join("run"), 3);
        to.adopt(&from, &from.check().unwrap(), &[]).unwrap();
        assert_eq!(to.check().unwrap(), from.check().unwrap());
        assert_eq!(to.names(), from.names());
    }

    #[test]
    fn an_adopted_level_holds_the_points_that_were_asked_for_and_no_file_of_another_attempt() {
        let folder = tempfile::tempdir().unwrap();
        let dense = folder.path().join("dense");
        let from = finished(&dense);
        let point = PointDir::new(&dense, 7);
        artifact::write(&point.file("step-7"), b"weights").unwrap();
        point.finish(&["step-7".to_owned()]).unwrap();
        let to = LevelDir::new(&folder.path().join("run"), 3);
        artifact::write(&to.file("step-5"), b"earlier").unwrap();
        let points = [(point.clone(), point.read().unwrap())];
        to.adopt(&from, &from.check().unwrap(), &points).unwrap();
        assert_eq!(to.names(), ["done.json", "end", "mask", "step-7"]);
        let done = to.check().unwrap();
        assert_eq!(done.digests["step-7"], points[0].1.digests["step-7"]);
        // The level that was taken from is as it was.
        assert_eq!(from.names(), ["done.json", "end", "mask"]);
    }
}
