//! What a run left on disk.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The files below a folder, by relative path and in its order; locks are left out.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).into_iter().flatten().flatten() {
            let path = entry.path();
            if entry.file_name() == "lock" {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else {
                let relative = path.strip_prefix(folder).expect("it lies below");
                all.push(relative.to_owned());
            }
        }
    }
    all.sort();
    all
}

/// The bytes of the files below a folder.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let read = |file: PathBuf| {
        let bytes = fs::read(folder.join(&file)).expect("what is listed can be read");
        (file, bytes)
    };
    let all: BTreeMap<_, _> = files(folder).into_iter().map(read).collect();
    assert!(!all.is_empty(), "{} holds nothing", folder.display());
    all
}

/// In what two folders differ, file for file; locks are left out.
///
/// # Panics
/// If one of them holds no file.
pub fn differences(expected: &Path, got: &Path) -> Vec<String> {
    let (expected, got) = (contents(expected), contents(got));
    let paths: BTreeSet<&PathBuf> = expected.keys().chain(got.keys()).collect();
    let difference = |path: &&PathBuf| match (expected.get(*path), got.get(*path)) {
        (Some(a), Some(b)) if a == b => None,
        (Some(_), Some(_)) => Some(format!("{} differs", path.display())),
        (Some(_), None) => Some(format!("{} is missing", path.display())),
        _ => Some(format!("{} is left over", path.display())),
    };
    paths.iter().filter_map(difference).collect()
}

/// Temporary files and folders of checkpoints, which no finished run may have.
pub fn leftovers(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if name == "progress" || name.ends_with(".tmp") {
                found.push(path.clone());
            }
            if path.is_dir() {
                folders.push(path);
            }
        }
    }
    found
}

/// Levels that are finished, of the seed that is furthest, in any run of a folder of runs.
pub fn finished_levels(runs: &Path) -> usize {
    let children = |folder: &Path| {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let runs = children(runs).into_iter();
    let seeds = runs.flat_map(|run| children(&run));
    let finished = |seed: PathBuf| {
        let levels = children(&seed).into_iter();
        levels
            .filter(|level| level.join("done.json").exists())
            .count()
    };
    seeds.map(finished).max().unwrap_or(0)
}
