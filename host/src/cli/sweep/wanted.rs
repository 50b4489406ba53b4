//! Which of a sweep's runs are asked for.

use super::jobs::{Job, JobCell, union};
use crate::cli::args::{Share, SweepArgs};
use crate::cli::exit::Failure;

/// The seeds that are asked for of each job, none of a job that is not: all, or those of the cells of
/// these names, or a share of either, and all of what they take masks or points from.
///
/// # Errors
/// Names that no job has.
pub fn wanted(jobs: &[Job], args: &SweepArgs) -> Result<Vec<Vec<u64>>, Failure> {
    let mut wanted = named(jobs, &args.only)?;
    if let Some(share) = args.task {
        keep_share(&mut wanted, share);
    }
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

/// Every so many of the jobs that are asked for.
fn keep_share(wanted: &mut [Vec<u64>], share: Share) {
    let asked = wanted.iter_mut().filter(|seeds| !seeds.is_empty());
    for (place, seeds) in asked.enumerate() {
        if place as u64 % share.of != share.number - 1 {
            seeds.clear();
        }
    }
}

/// The seeds of the cells of these names, of each job.
fn named(jobs: &[Job], only: &[String]) -> Result<Vec<Vec<u64>>, Failure> {
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
    Ok(jobs.iter().map(named).collect())
}

fn want_sources(jobs: &[Job], index: usize, wanted: &mut [bool]) {
    for &source in &jobs[index].sources {
        if !std::mem::replace(&mut wanted[source], true) {
            want_sources(jobs, source, wanted);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_of_all_tasks_are_everything_once() {
        let all: Vec<Vec<u64>> = vec![vec![0, 1], vec![], vec![2], vec![0], vec![5], vec![6]];
        for of in 1..=8 {
            let mut times = vec![0; all.len()];
            for number in 1..=of {
                let mut own = all.clone();
                keep_share(&mut own, Share { number, of });
                for (place, seeds) in own.iter().enumerate() {
                    if !seeds.is_empty() {
                        assert_eq!(*seeds, all[place]);
                        times[place] += 1;
                    }
                }
            }
            assert_eq!(times, [1, 0, 1, 1, 1, 1]);
        }
    }
}
