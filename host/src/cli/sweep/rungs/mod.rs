//! The rungs of a sweep with `[sweep.stop]`: how far each of its runs may go, and which cells end.
//!
//! No run goes past a rung before all cells that are compared there have come to it, and who ends is computed from
//! their records alone. So it makes no difference in which order, by how many processes and with how many interruptions
//! they came: whoever looks at the same files decides the same, and nobody has to be told. What was decided is written
//! down for those who read the sweep.

mod group;
mod publish;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::jobs::{Job, RUN};
use crate::experiment::SweepFile;
use crate::records::{StopRecord, Stopped, name_in_sweep};
use group::{Entrant, Group};
pub use publish::forget;

/// The rungs of a sweep, and what is known of the cells that come to them.
pub struct Rungs {
    sweep: PathBuf,
    groups: Vec<Group>,
    jobs: Vec<Own>,
    /// What was decided so far, as this process knows it.
    record: StopRecord,
    /// The cells that were stopped by that.
    stopped: BTreeMap<String, Stopped>,
    /// The record on disk, when this process read or wrote it last.
    known: Option<StopRecord>,
}

/// What concerns a job.
struct Own {
    run: PathBuf,
    /// Its last level.
    last: u64,
    /// Whether it goes to its last level whatever is decided: for a cell that is not compared, or for others that take
    /// masks or points from it.
    is_free: bool,
    /// Its cells among those that are compared: the group, and the place in it.
    cells: Vec<(usize, usize)>,
}

impl Rungs {
    /// Those of a sweep in this folder, with nothing looked at yet.
    pub fn new(sweep: &SweepFile, jobs: &[Job], folder: &Path) -> Self {
        let is_source = |index: usize| {
            let takers = jobs.iter().filter(|job| job.noun == RUN);
            takers.flat_map(|job| &job.sources).any(|&it| it == index)
        };
        let mut own: Vec<Own> = (jobs.iter().enumerate())
            .map(|(index, job)| Own {
                run: job.run.clone(),
                last: job.levels - 1,
                is_free: job.noun != RUN || is_source(index),
                cells: Vec::new(),
            })
            .collect();
        let by_name: BTreeMap<&str, usize> = (jobs.iter().enumerate())
            .filter(|(_, job)| job.noun == RUN)
            .flat_map(|(index, job)| {
                job.cells
                    .iter()
                    .map(move |it| (it.names[0].as_str(), index))
            })
            .collect();
        let mut groups: Vec<Group> = Vec::new();
        for part in &sweep.parts {
            let first = groups.len();
            for cell in &part.cells {
                let name = name_in_sweep(sweep.parts.len(), &part.name, &cell.name);
                let Some(&job) = by_name.get(name.as_str()) else {
                    continue;
                };
                let Some(stop) = &part.stop else {
                    own[job].is_free = true;
                    continue;
                };
                let experiment = &cell.loaded.experiment;
                let apart = stop.apart(&cell.values);
                let known = groups[first..].iter().position(|it| it.is_of(&apart));
                let group = known.map_or(groups.len(), |it| first + it);
                if group == groups.len() {
                    groups.push(Group::new(&part.name, stop, &apart, &experiment.seeds));
                }
                let entrant = Entrant::new(name, job, stop, experiment);
                own[job].cells.push((group, groups[group].add(entrant)));
            }
        }
        for job in &own {
            for &(group, place) in job.cells.iter().filter(|_| job.is_free) {
                groups[group].spare(place);
            }
        }
        Self {
            sweep: folder.to_owned(),
            groups,
            jobs: own,
            record: StopRecord::default(),
            stopped: BTreeMap::new(),
            known: None,
        }
    }

    /// Whether the sweep has any.
    pub fn are_there(&self) -> bool {
        !self.groups.is_empty()
    }

    /// Reads what a job's cells came to at their rungs.
    pub fn look(&mut self, job: usize) {
        let own = &self.jobs[job];
        for &(group, place) in &own.cells {
            self.groups[group].look(place, &own.run);
        }
    }

    /// As [`look`](Self::look), of all jobs.
    pub fn look_at_all(&mut self) {
        for job in 0..self.jobs.len() {
            self.look(job);
        }
    }

    /// Decides at the rungs that all cells have come to. Cells that are lost are not waited for.
    pub fn decide(&mut self, is_lost: &dyn Fn(usize) -> bool) {
        let mut is_new = false;
        for group in &mut self.groups {
            is_new |= group.decide(is_lost);
        }
        if is_new {
            self.record.rungs = self
                .groups
                .iter()
                .flat_map(Group::decided)
                .cloned()
                .collect();
            self.stopped = self.record.cells();
        }
    }

    /// The level to which a job may go now.
    pub fn goal(&self, job: usize) -> u64 {
        let own = &self.jobs[job];
        let cells = own.cells.iter();
        let goals = cells.map(|&(group, place)| self.groups[group].goal(place));
        match own.is_free {
            true => own.last,
            false => goals.max().unwrap_or(own.last),
        }
    }

    /// The last level of a job if nothing stops it.
    pub fn last(&self, job: usize) -> u64 {
        self.jobs[job].last
    }

    /// Why a job ends before its last level; none if it does not, or not yet.
    pub fn stopped(&self, job: usize) -> Option<Stopped> {
        let own = &self.jobs[job];
        let name = |&(group, place): &(usize, usize)| self.groups[group].stopped(place);
        let all: Option<Vec<&str>> = own.cells.iter().map(name).collect();
        let all = all.filter(|_| !own.is_free)?;
        let stops = all.into_iter().filter_map(|name| self.stopped.get(name));
        stops.max_by_key(|it| it.level).cloned()
    }

    /// Whether a job has come to a rung with some seeds, while others were given up before.
    pub fn is_there_in_part(&self, job: usize, level: u64) -> bool {
        let mut cells = self.jobs[job].cells.iter();
        cells.any(|&(group, place)| self.groups[group].is_there_in_part(place, level))
    }

    /// The jobs that others wait for at a rung, and the names of the cells that they are.
    pub fn awaited(&self) -> Vec<(usize, &str)> {
        let mut all: Vec<(usize, &str)> = self.groups.iter().flat_map(Group::awaited).collect();
        all.sort_by_key(|it| it.0);
        all.dedup_by_key(|it| it.0);
        all
    }
}

#[cfg(test)]
mod tests;
