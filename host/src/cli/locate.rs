//! Which folder a name on the command line means.

use std::path::{Path, PathBuf};

use super::exit::Failure;
use crate::records::SweepRecord;
use crate::report::{Simulation, Subject};
use crate::store::RunDir;

/// What was meant: a folder, or its name among the runs.
///
/// # Errors
/// If it is neither a run nor a sweep, with those that are there.
pub fn locate(name: &Path, runs: &Path) -> Result<Subject, Failure> {
    let among = runs.join(name);
    let found = [name, &among].into_iter().find_map(subject);
    found.ok_or_else(|| Failure::bad_input(complain(name, runs)))
}

/// The run's folder that was meant: a path, or a name among the runs.
///
/// # Errors
/// As [`locate`], and a sweep or a simulation, which is no run.
pub fn find(name: &Path, runs: &Path) -> Result<PathBuf, Failure> {
    match locate(name, runs)? {
        Subject::Run(folder) => Ok(folder),
        Subject::Sweep(folder) => Err(Failure::bad_input(format!(
            "{} is a sweep: name one of its runs",
            folder.display()
        ))),
        Subject::Neuron(folder) => Err(Failure::bad_input(format!(
            "{} is a simulation of the hidden neuron, not a run",
            folder.display()
        ))),
    }
}

/// What lies in a folder, if it is something that a report can be made of.
fn subject(folder: &Path) -> Option<Subject> {
    let folder: PathBuf = folder.to_owned();
    if SweepRecord::is_at(&folder) {
        return Some(Subject::Sweep(folder));
    }
    if Simulation::is_at(&folder) {
        return Some(Subject::Neuron(folder));
    }
    let is_run = folder.join("identity.json").exists()
        || (folder.is_dir() && !RunDir::new(&folder).seeds().is_empty());
    is_run.then_some(Subject::Run(folder))
}

fn complain(name: &Path, runs: &Path) -> String {
    let shown = name.display();
    let what = match (name.is_dir(), name.exists()) {
        (true, _) => format!(
            "{shown} is no run: it has none of identity.json, sweep.json, neuron.json and a seed's folder"
        ),
        (_, true) => format!("{shown} is no run, which is a folder"),
        _ => format!("there is no run {shown}"),
    };
    let entries = std::fs::read_dir(runs).into_iter().flatten().flatten();
    let mut known: Vec<String> = entries
        .filter(|entry| subject(&entry.path()).is_some())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    known.sort();
    match known.is_empty() {
        true => format!("{what}; there are no runs in {}", runs.display()),
        false => format!("{what}; runs in {}: {}", runs.display(), known.join(", ")),
    }
}
