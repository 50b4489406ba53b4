//! The files of a sweep's own folder: what it consists of, and each cell as an experiment file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::jobs::{Job, Task};
use super::neuron;
use crate::cli::exit::{Exit, Failure};
use crate::experiment::{CellFile, PartFile, SweepFile};
use crate::interrupt::Interrupt;
use crate::records::{SWEEP_FILE, SweepCell, SweepPart, SweepRecord};
use crate::store::{self, Lock, MANIFEST, Manifest};

/// A file with what it holds, by its path from the sweep's folder.
type Files = BTreeMap<String, Vec<u8>>;

/// Writes the sweep's files where they are not there already; false if the user asked to stop meanwhile. Any number
/// of processes may do so at once: they write the same bytes, one after the other.
pub fn write(
    (sweep, file): (&SweepFile, &Path),
    (jobs, wanted): (&[Job], &[Vec<u64>]),
    is_shared: bool,
    folder: &Path,
    interrupt: &Interrupt,
) -> Result<bool, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::new(Exit::Failed, error);
    let record = record(sweep, file, folder);
    let record = record.bytes().map_err(|error| failed(&error))?;
    let mut files: Files = [(SWEEP_FILE.to_owned(), record)].into();
    // Of those that nobody asked for, and of all where many share them, the manifest is believed: a thousand tasks may
    // start at once. Each file is looked at before its run.
    let mut own: Vec<String> = vec![SWEEP_FILE.to_owned()];
    for (job, seeds) in jobs.iter().zip(wanted) {
        if let Task::Run { file, text } = &job.task {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            let name = format!("cells/{name}");
            if !seeds.is_empty() && !is_shared {
                own.push(name.clone());
            }
            files.insert(name, text.clone().into_bytes());
        }
    }
    if is_written(folder, &files, &own) {
        return Ok(true);
    }
    let lock = Lock::wait(&folder.join("lock"), &|| interrupt.wants_stop());
    let Some(_lock) = lock.map_err(|error| failed(&error))? else {
        return Ok(false);
    };
    // Another process may have written them meanwhile.
    if !is_written(folder, &files, &own) {
        write_all(folder, &files).map_err(|error| failed(&error))?;
    }
    Ok(true)
}

fn write_all(folder: &Path, files: &Files) -> Result<(), store::StoreError> {
    store::tidy(folder);
    store::tidy(&folder.join("cells"));
    Manifest::remove(folder, MANIFEST)?;
    for (name, bytes) in files {
        if !holds(&folder.join(name), bytes) {
            store::write(&folder.join(name), bytes)?;
        }
    }
    Manifest::of(folder, files.keys().cloned())?.write(folder, MANIFEST)
}

/// Whether the manifest is that of these files, and some of them are as they should be.
fn is_written(folder: &Path, files: &Files, own: &[String]) -> bool {
    let digest = |bytes: &Vec<u8>| blake3::hash(bytes).to_hex().to_string();
    let expected = files.iter().map(|(name, it)| (name.clone(), digest(it)));
    let expected = Manifest {
        files: expected.collect(),
    };
    let known = Manifest::read(folder, MANIFEST).ok().flatten();
    let is_whole = |name: &String| holds(&folder.join(name), &files[name]);
    known == Some(expected) && own.iter().all(is_whole)
}

fn holds(path: &Path, bytes: &[u8]) -> bool {
    store::read(path).is_ok_and(|it| it == bytes)
}

/// What the sweep consists of.
fn record(sweep: &SweepFile, file: &Path, folder: &Path) -> SweepRecord {
    SweepRecord {
        file: file.to_owned(),
        name: sweep.name.clone(),
        parts: (sweep.parts.iter())
            .map(|part| part_record(part, folder))
            .collect(),
    }
}

fn part_record(part: &PartFile, folder: &Path) -> SweepPart {
    let cell = |cell: &CellFile| SweepCell {
        name: cell.name.clone(),
        method: cell.method.clone(),
        values: cell.values.clone(),
        seeds: cell.loaded.experiment.seeds.clone(),
        run: beside(Path::new(&cell.run.folder)),
    };
    SweepPart {
        name: part.name.clone(),
        title: part.title.clone(),
        cells: part.cells.iter().map(cell).collect(),
        claims: part.claims.clone(),
        neuron: (part.neuron.as_ref()).map(|file| beside(&neuron::folder(file, folder))),
        stop: part.stop.clone(),
    }
}

/// The path of a run from a sweep's folder, which lies beside it.
fn beside(run: &Path) -> PathBuf {
    Path::new("..").join(run.file_name().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_there_are_not_written_again_and_damaged_ones_are() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let names = ["cells/a.toml", "cells/b.toml", "sweep.json"].map(str::to_owned);
        let mut files: Files = (names.iter())
            .map(|name| (name.clone(), name.clone().into_bytes()))
            .collect();
        assert!(!is_written(folder, &files, &names));
        write_all(folder, &files).unwrap();
        assert!(is_written(folder, &files, &names));
        // What is asked for is looked at.
        std::fs::write(folder.join("cells/a.toml"), b"other").unwrap();
        assert!(!is_written(folder, &files, &names));
        assert!(is_written(folder, &files, &names[1..]));
        write_all(folder, &files).unwrap();
        assert!(is_written(folder, &files, &names));
        // An edited sweep.
        files.insert("cells/b.toml".to_owned(), b"edited".to_vec());
        assert!(!is_written(folder, &files, &names[2..]));
        write_all(folder, &files).unwrap();
        assert_eq!(
            std::fs::read(folder.join("cells/b.toml")).unwrap(),
            b"edited"
        );
    }
}
