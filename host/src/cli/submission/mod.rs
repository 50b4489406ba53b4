//! The folder of a submission: what was submitted, who came, and whether it was cancelled.

pub mod slurm;
mod task;

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::store::{self, Owner, StoreError};
pub use task::attend;

/// In a sweep's folder, where its submissions lie by number.
const SUBMITTED: &str = "submitted";

/// The folder of one submission.
#[derive(Clone, Debug)]
pub struct Submission {
    /// Where it lies.
    pub folder: PathBuf,
}

/// What was submitted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Who starts the tasks.
    pub engine: String,
    /// Number of tasks.
    pub tasks: u32,
    /// The engine's name for them; none if nothing was submitted yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
}

impl Submission {
    /// That of this folder.
    pub fn at(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

    /// A new one of a sweep.
    ///
    /// # Errors
    /// If its folder cannot be made.
    pub fn new(sweep: &Path) -> io::Result<Self> {
        let all = std::path::absolute(sweep)?.join(SUBMITTED);
        fs::create_dir_all(&all)?;
        let mut number = Self::numbers(sweep).last().map_or(1, |it| it + 1);
        loop {
            let folder = all.join(number.to_string());
            match fs::create_dir(&folder) {
                Ok(()) => return Ok(Self { folder }),
                // Somebody else submits it, too.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// Those of a sweep, in their order.
    pub fn all(sweep: &Path) -> Vec<Self> {
        let folder = |number: u64| Self {
            folder: sweep.join(SUBMITTED).join(number.to_string()),
        };
        Self::numbers(sweep).into_iter().map(folder).collect()
    }

    fn numbers(sweep: &Path) -> Vec<u64> {
        let entries = fs::read_dir(sweep.join(SUBMITTED)).into_iter().flatten();
        let names = entries.flatten().map(|it| it.file_name());
        let mut numbers: Vec<u64> = names.filter_map(|it| it.to_str()?.parse().ok()).collect();
        numbers.sort_unstable();
        numbers
    }

    /// A file of it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Says what was submitted.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, record: &Record) -> Result<(), StoreError> {
        let text = serde_json::to_string_pretty(record).unwrap_or_default();
        store::write(
            &self.file("submission.json"),
            format!("{text}\n").as_bytes(),
        )
    }

    /// What was submitted.
    ///
    /// # Errors
    /// If it is not there or damaged.
    pub fn read(&self) -> Result<Record, StoreError> {
        let path = self.file("submission.json");
        serde_json::from_slice(&store::read(&path)?).map_err(|error| StoreError::Damaged {
            path,
            reason: error.to_string(),
        })
    }

    /// Says that its tasks are to stop.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn cancel(&self) -> Result<(), StoreError> {
        store::write(&self.file("cancelled"), b"")
    }

    /// Whether its tasks are to stop.
    pub fn is_cancelled(&self) -> bool {
        self.file("cancelled").exists()
    }

    /// Says that this process came, in a file of its own.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn come(&self) -> Result<PathBuf, StoreError> {
        let path = self.file(&format!("tasks/{}.json", store::mark()));
        let text = serde_json::to_string(&Owner::here()).unwrap_or_default();
        store::write(&path, format!("{text}\n").as_bytes())?;
        Ok(path)
    }

    /// The processes that came.
    pub fn came(&self) -> Vec<Owner> {
        let entries = fs::read_dir(self.file("tasks")).into_iter().flatten();
        let read = |path: PathBuf| serde_json::from_slice(&store::read(&path).ok()?).ok();
        entries.flatten().filter_map(|it| read(it.path())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn submissions_are_numbered_and_say_who_came() {
        let sweep = tempfile::tempdir().unwrap();
        assert!(Submission::all(sweep.path()).is_empty());
        let folders: Vec<PathBuf> = (0..11)
            .map(|_| Submission::new(sweep.path()).unwrap().folder)
            .collect();
        let all = Submission::all(sweep.path());
        let listed: Vec<PathBuf> = all.iter().map(|it| it.folder.clone()).collect();
        assert_eq!(listed, folders);
        assert!(listed[10].ends_with("submitted/11"));
        let last = &all[10];
        assert!(last.read().is_err() && last.came().is_empty());
        let record = Record {
            engine: "slurm".to_owned(),
            tasks: 3,
            job: None,
        };
        last.write(&record).unwrap();
        last.come().unwrap();
        assert_eq!(last.read().unwrap(), record);
        assert_eq!(last.came()[0].pid, std::process::id());
        assert!(!last.is_cancelled());
        last.cancel().unwrap();
        assert!(last.is_cancelled() && !all[9].is_cancelled());
    }
}
