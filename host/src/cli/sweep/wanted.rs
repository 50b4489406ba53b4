//! Which of a sweep's runs are asked for.

use super::jobs::{Job, JobCell, union};
use crate::cli::exit::Failure;

/// The seeds that are asked for of each job, none of a job that is not: all, or those of the cells of
/// these names, and all of what they take masks or points from.
///
/// # Errors
/// Names that no job has.
pub fn wanted(jobs: &[Job], only: &[String]) -> Result<Vec<Vec<u64>>, Failure> {
    if only.is_empty() {
        return Ok(jobs.iter().map(Job::seeds).collect());
    }
    let is_named = |cell: &&JobCell| cell.names.iter().any(|name| only.contains(name));
    for name in only {
        let mut cells = jobs.iter().flat_map(|job| &job.cells);
        if !cells.any(|cell| cell.names.contains(name)) {
            let cells = jobs.iter().flat_map(|job| &job.cells);
            let known = cells.filter_map(|cell| Some(cell.names.first()?.as_str()));
            let known: Vec<&str> = known.collect();
            return Err(Failure::bad_input(format!(
                "the sweep has no cell, method or file `{name}`; its cells are {}",
                known.join(", ")
            )));
        }
    }
    let named = |job: &Job| union(job.cells.iter().filter(is_named));
    let mut wanted: Vec<Vec<u64>> = jobs.iter().map(named).collect();
    let mut taken_from = vec![false; jobs.len()];
    for (index, seeds) in wanted.iter().enumerate() {
        if !seeds.is_empty() {
            want_sources(jobs, index, &mut taken_from);
        }
    }
    for (index, job) in jobs.iter().enumerate() {
        if taken_from[index] {
            wanted[index] = job.seeds();
        }
    }
    Ok(wanted)
}

fn want_sources(jobs: &[Job], index: usize, wanted: &mut [bool]) {
    for &source in &jobs[index].sources {
        if !std::mem::replace(&mut wanted[source], true) {
            want_sources(jobs, source, wanted);
        }
    }
}
