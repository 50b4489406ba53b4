//! What a sweep has to run, and in which order.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use plugin_api::{Point, Step};

use crate::cli::exit::{Exit, Failure};
use crate::cli::neuron;
use crate::counted::counted;
use crate::experiment::{CellFile, Distinct, NeuronFile, PartFile, SweepFile};
use crate::records::name_in_sweep;
use crate::run::HostCatalog;
use crate::strategy::Strategy;

/// One run of a sweep; cells of the same identity are one.
pub struct Job {
    /// Its first cell, behind the file's name if there is more than one file.
    pub name: String,
    /// The cells whose run it is.
    pub cells: Vec<JobCell>,
    /// The word for one of its kind.
    pub noun: &'static str,
    /// Name of the file that holds what its process tells people, without ending.
    pub log: String,
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
    /// Number of its levels, the dense one included.
    pub levels: u64,
    /// Digests of the plugins that it uses.
    pub plugins: Vec<String>,
}

/// A cell of a job.
pub struct JobCell {
    /// Names under which it can be asked for.
    pub names: Vec<String>,
    /// Its seeds.
    pub seeds: Vec<u64>,
}

impl Job {
    /// The seeds of all its cells.
    pub fn seeds(&self) -> Vec<u64> {
        union(self.cells.iter())
    }
}

/// The seeds of cells, each once, in the order in which they are named.
pub(super) fn union<'a>(cells: impl Iterator<Item = &'a JobCell>) -> Vec<u64> {
    let mut seen = BTreeSet::new();
    let all = cells.flat_map(|cell| &cell.seeds);
    all.copied().filter(|seed| seen.insert(*seed)).collect()
}

/// How many jobs of each kind there are, in words, by the words for them: `2 runs, 1 barrier`.
pub fn count<'a>(nouns: impl IntoIterator<Item = &'a str>) -> String {
    let mut counts = NOUNS.map(|noun| (noun, 0_u64));
    for noun in nouns {
        let own = counts.iter_mut().filter(|it| it.0 == noun);
        own.for_each(|it| it.1 += 1);
    }
    let some = counts
        .iter()
        .filter(|(noun, count)| *count > 0 || *noun == RUN);
    let words: Vec<String> = some.map(|(noun, number)| counted(number, noun)).collect();
    words.join(", ")
}

/// An experiment.
pub const RUN: &str = "run";
const SIMULATION: &str = "simulation";
/// The error along lines between networks.
pub const BARRIER: &str = "barrier";
/// The words for what a sweep does.
pub const NOUNS: [&str; 3] = [RUN, SIMULATION, BARRIER];

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

/// The runs of a sweep, to be kept in `runs`; each stores these `points` besides those that it needs.
///
/// # Errors
/// If a plugin or the data cannot be used.
pub fn jobs(
    sweep: &SweepFile,
    runs: &Path,
    points: &[Step],
    catalog: &HostCatalog,
) -> Result<Vec<Job>, Failure> {
    let mut list = List {
        folder: runs.join(&sweep.name).join("cells"),
        ..List::default()
    };
    let parts = sweep.parts.len();
    for part in &sweep.parts {
        if let Some(file) = &part.neuron {
            list.add_simulation(&part.name, file, runs)?;
        }
        for cell in &part.cells {
            let name = name_in_sweep(parts, &part.name, &cell.name);
            list.add_cell(name, &part.name, cell, catalog)?;
        }
    }
    let mut jobs = list.finish();
    share_points(&mut jobs, points);
    for part in &sweep.parts {
        add_barriers(part, parts, &list.by_run, &mut jobs);
    }
    let mut logs = Distinct::default();
    for job in &mut jobs {
        job.log = logs.take(&job.name.replace(['/', ' '], "-"));
    }
    Ok(jobs)
}

/// The runs that were found so far.
#[derive(Default)]
struct List<'a> {
    /// Where the cells' files are kept.
    folder: PathBuf,
    jobs: Vec<Job>,
    by_run: BTreeMap<PathBuf, usize>,
    /// The first cell of each run.
    first: Vec<Option<&'a CellFile>>,
    /// Names of files: two cells may have one name, such as `b-c` of `a` and `c` of `a-b`.
    files: Distinct,
}

impl<'a> List<'a> {
    /// Adds a cell; one that computes what another one does is added to that one's run.
    fn add_cell(
        &mut self,
        name: String,
        part: &str,
        cell: &'a CellFile,
        catalog: &HostCatalog,
    ) -> Result<(), Failure> {
        let experiment = &cell.loaded.experiment;
        let own = JobCell {
            names: [&name, part, &cell.name, &cell.method]
                .map(ToString::to_string)
                .into(),
            seeds: experiment.seeds.clone(),
        };
        let run = PathBuf::from(&cell.run.folder);
        if let Some(&known) = self.by_run.get(&run) {
            self.jobs[known].cells.push(own);
            return Ok(());
        }
        let dense = catalog
            .dense_identity(&cell.loaded)
            .map_err(Failure::bad_input)?;
        let file = self.file(&experiment.name);
        self.add(
            Job {
                cells: vec![own],
                noun: RUN,
                log: String::new(),
                task: Task::Run {
                    file,
                    text: String::new(), // It depends on the cells to come.
                },
                run,
                sources: Vec::new(),
                dense: dense.hash,
                points: rewound_to(cell, catalog)?,
                levels: experiment.last_level() + 1,
                plugins: plugins_of(cell, catalog)?,
                name,
            },
            Some(cell),
        );
        Ok(())
    }

    /// Adds a simulation of the hidden neuron.
    fn add_simulation(
        &mut self,
        part: &str,
        file: &NeuronFile,
        runs: &Path,
    ) -> Result<(), Failure> {
        let own = JobCell {
            names: vec![part.to_owned()],
            seeds: vec![file.neuron.seed],
        };
        let run = neuron::folder(file, runs);
        if let Some(&known) = self.by_run.get(&run) {
            self.jobs[known].cells.push(own);
            return Ok(());
        }
        let text = toml::to_string(file).map_err(Failure::bad_input)?;
        let file = self.file(&file.name);
        self.add(
            Job {
                name: part.to_owned(),
                cells: vec![own],
                noun: SIMULATION,
                log: String::new(),
                task: Task::Run { file, text },
                dense: run.display().to_string(),
                run,
                sources: Vec::new(),
                points: Vec::new(),
                levels: 1,
                plugins: Vec::new(),
            },
            None,
        );
        Ok(())
    }

    fn add(&mut self, job: Job, first: Option<&'a CellFile>) {
        self.by_run.insert(job.run.clone(), self.jobs.len());
        self.jobs.push(job);
        self.first.push(first);
    }

    /// The file of an experiment of this name.
    fn file(&mut self, name: &str) -> PathBuf {
        self.folder.join(format!("{}.toml", self.files.take(name)))
    }

    /// The jobs, once all cells are there: which take from which, and the files that say what they do.
    fn finish(&mut self) -> Vec<Job> {
        let mut jobs = std::mem::take(&mut self.jobs);
        for (job, first) in jobs.iter_mut().zip(&self.first) {
            let Some(cell) = first else { continue };
            let sources = cell.sources.iter();
            job.sources = sources
                .filter_map(|run| self.by_run.get(Path::new(run)).copied())
                .collect();
            let seeds = job.seeds();
            if let Task::Run { text, .. } = &mut job.task {
                *text = cell.loaded.text_with_seeds(&seeds);
            }
        }
        jobs
    }
}

/// Digests of the plugins that a cell uses.
fn plugins_of(cell: &CellFile, catalog: &HostCatalog) -> Result<Vec<String>, Failure> {
    let plugins = catalog.plugins_of(&cell.loaded.experiment);
    let plugins = plugins.map_err(|error| Failure::new(Exit::Plugin, error))?;
    Ok(plugins.values().map(|it| it.digest.clone()).collect())
}

/// The times of level 0 that a cell's strategy rewinds to.
fn rewound_to(cell: &CellFile, catalog: &HostCatalog) -> Result<Vec<Step>, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::new(Exit::Plugin, error);
    let experiment = &cell.loaded.experiment;
    let strategy = Strategy::new(&experiment.strategy, |part| {
        catalog.load_part(part, &experiment.plugins)
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
    by_run: &BTreeMap<PathBuf, usize>,
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
            let name = name_in_sweep(parts, &part.name, &name);
            jobs.push(Job {
                cells: vec![JobCell {
                    names: vec![name.clone(), part.name.clone()],
                    seeds: vec![0], // It has none; one step of progress is its whole.
                }],
                name,
                noun: BARRIER,
                log: String::new(),
                task: Task::Barrier(other),
                // Lines from one run are kept in one file, which takes one writer at a time.
                dense: format!("barriers of {}", run.display()),
                run,
                sources: cells
                    .filter_map(|it| by_run.get(Path::new(&it.run.folder)).copied())
                    .collect(),
                points: Vec::new(),
                levels: 1,
                plugins: Vec::new(),
            });
        }
    }
}

/// Lets every job store what any job with the same dense level rewinds to, so that it is trained once, and
/// what else is to be stored.
fn share_points(jobs: &mut [Job], more: &[Step]) {
    let mut points: BTreeMap<String, Vec<Step>> = BTreeMap::new();
    for job in jobs.iter() {
        let shared = points.entry(job.dense.clone()).or_default();
        let more = more.iter().filter(|_| job.noun == RUN);
        for &step in job.points.iter().chain(more) {
            if !shared.contains(&step) {
                shared.push(step);
            }
        }
    }
    for job in jobs {
        job.points = points.get(&job.dense).cloned().unwrap_or_default();
    }
}
