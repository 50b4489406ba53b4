//! Runs by the names that a person gives them.

use std::path::{Path, PathBuf};

use super::exit::Failure;
use crate::store::RunDir;

/// The folder that was meant: a path, or a name among the runs.
///
/// # Errors
/// If it is neither: the runs that there are.
pub fn find(run: &Path, runs: &Path) -> Result<PathBuf, Failure> {
    let is_run = |path: &Path| {
        path.join("identity.json").exists()
            || (path.is_dir() && !RunDir::new(path).seeds().is_empty())
    };
    let among = runs.join(run);
    if let Some(path) = [run, &among].into_iter().find(|path| is_run(path)) {
        return Ok(path.to_owned());
    }
    let shown = run.display();
    let mut known: Vec<String> = (std::fs::read_dir(runs).into_iter().flatten().flatten())
        .filter(|entry| is_run(&entry.path()))
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    known.sort();
    let known = match known.is_empty() {
        true => format!("there are no runs in {}", runs.display()),
        false => format!("runs in {}: {}", runs.display(), known.join(", ")),
    };
    let what = match (run.is_dir(), run.exists()) {
        (true, _) => format!("{shown} is no run: it has neither identity.json nor a seed's folder"),
        (_, true) => format!("{shown} is no run, which is a folder"),
        _ => format!("there is no run {shown}"),
    };
    Err(Failure::bad_input(format!("{what}; {known}")))
}
