//! What a sweep has to run, and in which order.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use plugin_api::{Point, Step};

use crate::cli::exit::{Exit, Failure};
use crate::cli::neuron;
use crate::experiment::{CellFile, NeuronFile, PartFile, SweepFile};
use crate::records::name_in_sweep;
use crate::run::HostCatalog;
use crate::strategy::Strategy;

/// One run of a sweep; cells of the same identity are one.
pub struct Job {
    /// Its cell, behind the file's name if there is more than one file.
    pub name: String,
    /// Other names under which it can be asked for.
    pub also: Vec<String>,
    /// What its process does.
    pub task: Task,
    /// The folder of the run, or of the one that a barrier is kept in.
    pub run: PathBuf,
    /// Jobs that must be done before it starts.
    pub sources: Vec<usize>,
    /// What tells its dense level from others: jobs with the same one share it, and one of them at a
    /// time makes it.
    pub dense: String,
    /// Times of level 0 that jobs with the same dense level rewind to.
    pub points: Vec<Step>,
    /// Number of its seeds.
    pub seeds: usize,
    /// Number of its levels, the dense one included.
    pub levels: u64,
}

/// What a job's process does.
pub enum Task {
    /// Runs an experiment.
    Run {
        /// The experiment file.
        file: PathBuf,
        /// What that file holds.
        text: String,
    },
    /// Measures the error between networks of the job's run, or of its run and this one.
    Barrier(Option<PathBuf>),
}

/// The runs of a sweep, to be kept in `runs`.
///
/// # Errors
/// If a plugin or the data cannot be used.
pub fn jobs(sweep: &SweepFile, runs: &Path, catalog: &HostCatalog) -> Result<Vec<Job>, Failure> {
    let cells = runs.join(&sweep.name).join("cells");
    let parts = sweep.parts.len();
    let mut jobs: Vec<Job> = Vec::new();
    let mut by_run: BTreeMap<String, usize> = BTreeMap::new();
    let mut sources: Vec<BTreeSet<String>> = Vec::new();
    for part in &sweep.parts {
        if let Some(file) = &part.neuron {
            sources.push(BTreeSet::new());
            jobs.push(simulation(file, &cells, runs)?);
        }
        for cell in &part.cells {
            let name = name_in_sweep(parts, &part.name, &cell.name);
            let also = [&part.name, &cell.name, &cell.method].map(Clone::clone);
            if let Some(&known) = by_run.get(&cell.run.folder) {
                jobs[known].also.push(name);
                jobs[known].also.extend(also);
                continue;
            }
            by_run.insert(cell.run.folder.clone(), jobs.len());
            sources.push(cell.sources.iter().cloned().collect());
            let experiment = &cell.loaded.experiment;
            let dense = catalog
                .dense_identity(&cell.loaded)
                .map_err(Failure::bad_input)?;
            jobs.push(Job {
                also: also.into(),
                task: Task::Run {
                    file: cells.join(format!("{}.toml", experiment.name)),
                    text: cell.loaded.text.clone(),
                },
                run: PathBuf::from(&cell.run.folder),
                sources: Vec::new(),
                dense: dense.hash,
                points: rewound_to(cell, catalog)?,
                seeds: experiment.seeds.len(),
                levels: experiment.last_level() + 1,
                name,
            });
        }
    }
    for (job, sources) in jobs.iter_mut().zip(sources) {
        let sources = sources.iter().filter_map(|run| by_run.get(run).copied());
        job.sources = sources.collect();
    }
    share_points(&mut jobs);
    for part in &sweep.parts {
        add_barriers(part, parts, &by_run, &mut jobs);
    }
    Ok(jobs)
}

/// A simulation of the hidden neuron.
fn simulation(file: &NeuronFile, cells: &Path, runs: &Path) -> Result<Job, Failure> {
    let text = toml::to_string(file).map_err(Failure::bad_input)?;
    Ok(Job {
        name: file.name.clone(),
        also: Vec::new(),
        task: Task::Run {
            file: cells.join(format!("{}.toml", file.name)),
            text,
        },
        run: neuron::folder(file, runs),
        sources: Vec::new(),
        dense: file.name.clone(),
        points: Vec::new(),
        seeds: 1,
        levels: 1,
    })
}

/// The times of level 0 that a cell's strategy rewinds to.
fn rewound_to(cell: &CellFile, catalog: &HostCatalog) -> Result<Vec<Step>, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::new(Exit::Plugin, error);
    let experiment = &cell.loaded.experiment;
    let strategy = Strategy::new(&experiment.strategy, |name| {
        catalog.load(name, experiment.plugins.get(name))
    })
    .map_err(|error| failed(&error))?;
    let points = strategy.points().map_err(|error| failed(&error))?;
    let steps = points.into_iter().filter_map(|point| match point {
        Point::Step(step) => Some(step),
        _ => None,
    });
    Ok(steps.collect())
}

/// The barriers that a part asks for, once for each combination of its grid's values.
fn add_barriers(
    part: &PartFile,
    parts: usize,
    by_run: &BTreeMap<String, usize>,
    jobs: &mut Vec<Job>,
) {
    for methods in &part.barriers {
        let Some(first_method) = methods.first() else {
            continue;
        };
        for first in part.cells.iter().filter(|it| it.method == *first_method) {
            let same =
                |it: &&CellFile| Some(&it.method) == methods.get(1) && it.values == first.values;
            let second = part.cells.iter().find(same);
            if methods.len() > 1 && second.is_none() {
                continue;
            }
            let cells = [Some(first), second].into_iter().flatten();
            let names: Vec<&str> = cells.clone().map(|it| it.name.as_str()).collect();
            let name = format!("barrier {}", names.join(" "));
            let other = second.map(|it| PathBuf::from(&it.run.folder));
            let run = PathBuf::from(&first.run.folder);
            let known = |job: &Job| {
                job.run == run && matches!(&job.task, Task::Barrier(it) if *it == other)
            };
            if jobs.iter().any(known) {
                continue;
            }
            jobs.push(Job {
                name: name_in_sweep(parts, &part.name, &name),
                also: vec![part.name.clone()],
                task: Task::Barrier(other),
                // Lines from one run are kept in one file, which takes one writer at a time.
                dense: format!("barriers of {}", run.display()),
                run,
                sources: cells
                    .filter_map(|it| by_run.get(&it.run.folder).copied())
                    .collect(),
                points: Vec::new(),
                seeds: 1,
                levels: 1,
            });
        }
    }
}

/// Lets every job store what any job with the same dense level rewinds to, so that it is trained once.
fn share_points(jobs: &mut [Job]) {
    let mut points: BTreeMap<String, Vec<Step>> = BTreeMap::new();
    for job in jobs.iter() {
        let shared = points.entry(job.dense.clone()).or_default();
        for &step in &job.points {
            if !shared.contains(&step) {
                shared.push(step);
            }
        }
    }
    for job in jobs {
        job.points = points.get(&job.dense).cloned().unwrap_or_default();
    }
}

/// Which jobs are asked for: all, or those of these names with what they take masks or points from.
///
/// # Errors
/// Names that no job has.
pub fn wanted(jobs: &[Job], only: &[String]) -> Result<Vec<bool>, Failure> {
    if only.is_empty() {
        return Ok(vec![true; jobs.len()]);
    }
    let mut wanted = vec![false; jobs.len()];
    for name in only {
        let named = |job: &Job| job.name == *name || job.also.contains(name);
        if !jobs.iter().any(named) {
            let known: Vec<&str> = jobs.iter().map(|job| job.name.as_str()).collect();
            return Err(Failure::bad_input(format!(
                "the sweep has no cell, method or file `{name}`; its cells are {}",
                known.join(", ")
            )));
        }
        for index in (0..jobs.len()).filter(|&index| named(&jobs[index])) {
            want(jobs, index, &mut wanted);
        }
    }
    Ok(wanted)
}

fn want(jobs: &[Job], index: usize, wanted: &mut [bool]) {
    if !std::mem::replace(&mut wanted[index], true) {
        for &source in &jobs[index].sources {
            want(jobs, source, wanted);
        }
    }
}
