//! What a sweep consists of: `runs/NAME/sweep.json`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::experiment::{Claim, Stop};
use crate::store::{self, StoreError};

/// A sweep: the runs of one file, or of the files that it includes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SweepRecord {
    /// Name of the sweep.
    pub name: String,
    /// Its file, as the command named it that ran it last.
    pub file: PathBuf,
    /// One for each file with methods, in the order of the files.
    pub parts: Vec<SweepPart>,
}

/// The runs of one file of a sweep.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SweepPart {
    /// Name of that file's experiment.
    pub name: String,
    /// What it is about, in a line; its name if the file gives none.
    pub title: String,
    /// Its runs, in the order of the file; empty for a simulation of the hidden neuron.
    pub cells: Vec<SweepCell>,
    /// What is claimed of them.
    pub claims: Vec<Claim>,
    /// Folder of a simulation of the hidden neuron, relative to the sweep's.
    pub neuron: Option<PathBuf>,
    /// When cells that are behind end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<Stop>,
}

/// One run of a sweep.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SweepCell {
    /// Unique within the part: the method and the grid's values.
    pub name: String,
    /// Name of the method.
    pub method: String,
    /// The grid's values, by key: `model.hidden`.
    pub values: BTreeMap<String, Value>,
    /// Its seeds.
    pub seeds: Vec<u64>,
    /// The run's folder, relative to the sweep's. Cells with the same identity share it.
    pub run: PathBuf,
}

/// Its file in a sweep's folder.
pub const FILE: &str = "sweep.json";

/// The name of a cell in its sweep: behind its file's name if the sweep has several files.
pub fn name_in_sweep(parts: usize, part: &str, cell: &str) -> String {
    match parts {
        0 | 1 => cell.to_owned(),
        _ => format!("{part}/{cell}"),
    }
}

impl SweepCell {
    /// Its run's folder; `folder` is the sweep's.
    pub fn folder(&self, folder: &Path) -> PathBuf {
        tidy(&folder.join(&self.run))
    }
}

impl SweepRecord {
    /// Whether a folder is a sweep's.
    pub fn is_at(folder: &Path) -> bool {
        folder.join(FILE).exists()
    }

    /// Reads it from a sweep's folder.
    ///
    /// # Errors
    /// If it is missing or damaged.
    pub fn read(folder: &Path) -> Result<Self, StoreError> {
        let path = folder.join(FILE);
        serde_json::from_slice(&store::read(&path)?).map_err(|error| StoreError::Damaged {
            path,
            reason: error.to_string(),
        })
    }

    /// Its file's bytes.
    ///
    /// # Errors
    /// If they cannot be made.
    pub fn bytes(&self) -> Result<Vec<u8>, StoreError> {
        let mut text = serde_json::to_vec_pretty(self).map_err(|error| StoreError::Damaged {
            path: FILE.into(),
            reason: error.to_string(),
        })?;
        text.push(b'\n');
        Ok(text)
    }
}

/// `runs/paper/../lrr-3f9a1c2e` as `runs/lrr-3f9a1c2e`: paths of a sweep's runs are shown to people.
pub fn tidy(path: &Path) -> PathBuf {
    use std::path::Component;
    let mut tidy = PathBuf::new();
    for component in path.components() {
        let above = tidy.components().next_back();
        if component == Component::ParentDir && matches!(above, Some(Component::Normal(_))) {
            tidy.pop();
        } else if component != Component::CurDir {
            tidy.push(component);
        }
    }
    tidy
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_through_the_parent_is_shown_without_the_detour() {
        let tidy = |path: &str| tidy(Path::new(path));
        assert_eq!(tidy("runs/paper/../lrr-1"), Path::new("runs/lrr-1"));
        assert_eq!(tidy("../runs/./x"), Path::new("../runs/x"));
        assert_eq!(tidy("../../runs"), Path::new("../../runs"));
    }
}
