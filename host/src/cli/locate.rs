//! Which folder a name on the command line means.

use std::path::{Path, PathBuf};

use super::exit::Failure;
use crate::records::SweepRecord;
use crate::report::{Simulation, Subject};
use crate::store::RunDir;

/// What was meant: a folder, or its name among the runs, of a run also without the identity if only one has the
/// rest.
///
/// # Errors
/// If it is neither a run nor a sweep, or if several could be meant, with those that are there.
pub fn locate(name: &Path, runs: &Path) -> Result<Subject, Failure> {
    let among = runs.join(name);
    if let Some(found) = [name, &among].into_iter().find_map(subject) {
        return Ok(found);
    }
    let shown = name.display().to_string();
    let mut own: Vec<String> = names(runs);
    own.retain(|it| without_identity(it) == Some(shown.as_str()));
    match &own[..] {
        [] => Err(Failure::bad_input(complain(name, runs))),
        [only] => subject(&runs.join(only)).ok_or_else(|| Failure::bad_input(complain(name, runs))),
        several => Err(Failure::bad_input(format!(
            "{shown} could be any of {}: say which",
            several.join(", ")
        ))),
    }
}

/// `lrr` of `lrr-301ce8ac`.
fn without_identity(folder: &str) -> Option<&str> {
    let (name, identity) = folder.rsplit_once('-')?;
    let is_identity = identity.len() == 8 && identity.bytes().all(|it| it.is_ascii_hexdigit());
    is_identity.then_some(name)
}

/// The run's folder that was meant: a path, or a name among the runs.
///
/// # Errors
/// As [`locate`], and a sweep or a simulation, which is no run.
pub fn find(name: &Path, runs: &Path) -> Result<PathBuf, Failure> {
    run_of(locate(name, runs)?)
}

/// The folder of what is a run.
///
/// # Errors
/// A sweep and a simulation.
pub fn run_of(subject: Subject) -> Result<PathBuf, Failure> {
    match subject {
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
    let known = names(runs);
    match known.is_empty() {
        true => format!("{what}; there are no runs in {}", runs.display()),
        false => format!("{what}; runs in {}: {}", runs.display(), known.join(", ")),
    }
}

/// The names of all that lies among the runs, in order.
fn names(runs: &Path) -> Vec<String> {
    lying(runs, &[Lying::Run, Lying::Sweep, Lying::Simulation])
}

/// What can lie among the runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lying {
    /// A run.
    Run,
    /// A sweep.
    Sweep,
    /// A simulation of the hidden neuron.
    Simulation,
}

/// The names of what of these kinds lies among the runs, in order.
pub fn lying(runs: &Path, kinds: &[Lying]) -> Vec<String> {
    let is_asked = |folder: &Path| {
        let kind = match subject(folder)? {
            Subject::Run(_) => Lying::Run,
            Subject::Sweep(_) => Lying::Sweep,
            Subject::Neuron(_) => Lying::Simulation,
        };
        kinds.contains(&kind).then_some(())
    };
    let entries = std::fs::read_dir(runs).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter(|entry| is_asked(&entry.path()).is_some())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_name_without_its_identity_means_the_only_run_of_that_name() {
        let runs = tempfile::tempdir().unwrap();
        for name in [
            "lrr-301ce8ac",
            "lrr-cnn-0badcafe",
            "imp-00000000",
            "imp-11111111",
        ] {
            fs::create_dir(runs.path().join(name)).unwrap();
            fs::write(runs.path().join(name).join("identity.json"), "{}").unwrap();
        }
        let found =
            |name: &str| find(Path::new(name), runs.path()).map_err(|error| error.to_string());
        assert!(found("lrr").unwrap().ends_with("lrr-301ce8ac"));
        assert!(found("lrr-cnn").unwrap().ends_with("lrr-cnn-0badcafe"));
        assert!(found("imp-11111111").unwrap().ends_with("imp-11111111"));
        let several = found("imp").unwrap_err();
        assert!(
            several.contains("any of imp-00000000, imp-11111111: say which"),
            "{several}"
        );
        let none = found("lr").unwrap_err();
        assert!(none.contains("there is no run lr; runs in"), "{none}");
    }
}
