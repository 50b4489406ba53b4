//! `host run` and `host plan` of a sweep.
//!
//! Each cell is an ordinary run in a process of its own: a cell that fails, or takes its process
//! down, stops no other, and memory grows with the runs under way alone.

mod child;
mod jobs;
mod plan;
mod progress;
mod schedule;
mod wanted;

use std::path::{Path, PathBuf};

use indicatif::MultiProgress;
use serde_json::json;
use tch::Device;

use super::args::{Output, RunArgs};
use super::exit::{Exit, Failure};
use super::neuron;
use super::review;
use super::run::listen;
use super::stdout;
use crate::counted::counted;
use crate::experiment::{self, CellFile, PartFile, SweepFile};
use crate::records::{SweepCell, SweepPart, SweepRecord};
use crate::report::{plain_table, warn_of_other_builds};
use crate::run::HostCatalog;
use crate::store::{self, Lock, MANIFEST, Manifest, RunDir};
use jobs::{Job, NOUNS, Task, count, jobs};
pub use plan::plan;
use schedule::{Slots, State, run_all};
use wanted::wanted;

/// Runs a sweep, or goes on with it.
///
/// # Errors
/// What is wrong with the input, or what stopped the sweep as a whole.
pub fn run(args: &RunArgs, output: &Output, bars: &MultiProgress) -> Result<Exit, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::new(Exit::Failed, error);
    let runs = &args.place.runs;
    let interrupt = listen()?;
    if args.until_stdin_closes {
        interrupt.follow(std::io::stdin());
    }
    let setting = args.experiment.setting_at(&args.place);
    let catalog = HostCatalog::new(&setting);
    let sweep = experiment::load_sweep(
        &args.experiment.file,
        &args.experiment.overrides(),
        &catalog,
    )?;
    if let Some(missing) = catalog.missing_data() {
        return Err(Failure::bad_input(missing));
    }
    review::settle_sweep(&sweep, &catalog, &setting, output)?;
    let folder = runs.join(&sweep.name);
    let jobs = jobs(&sweep, runs, &args.store_points, &catalog)?;
    let wanted = wanted(&jobs, &args.sweep.only)?;
    let _lock = Lock::take(&folder.join("lock")).map_err(|error| failed(&error))?;
    write(&sweep, &args.experiment.file, &jobs, &folder)?;
    let slots = Slots::new(args);
    if !output.quiet && !output.json {
        let asked = (jobs.iter().zip(&wanted)).filter(|(_, seeds)| !seeds.is_empty());
        log::info!(
            "{}: {}, {} side by side",
            folder.display(),
            count(asked.map(|(job, _)| job.noun)),
            slots.count()
        );
    }
    if output.json {
        let cells: Vec<_> = (jobs.iter().zip(&wanted))
            .filter(|(job, seeds)| matches!(job.task, Task::Run { .. }) && !seeds.is_empty())
            .map(|(job, seeds)| json!({ "cell": job.name, "run": job.run, "levels": job.levels, "seeds": seeds }))
            .collect();
        stdout::line(json!({ "event": "sweep-started", "sweep": folder, "cells": cells }))?;
    }
    let states = run_all(
        (&jobs, &wanted),
        &folder,
        args,
        &slots,
        output,
        bars,
        &interrupt,
    );
    finish(&folder, &jobs, &states, output, interrupt.wants_stop())
}

/// Writes what the sweep consists of, and each cell as an experiment file of its own.
fn write(sweep: &SweepFile, file: &Path, jobs: &[Job], folder: &Path) -> Result<(), Failure> {
    let failed = |error| Failure::new(Exit::Failed, error);
    Manifest::remove(folder, MANIFEST).map_err(failed)?;
    let mut files = vec!["sweep.json".to_owned()];
    for job in jobs {
        if let Task::Run { file, text } = &job.task {
            store::write(file, text.as_bytes()).map_err(failed)?;
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            files.push(format!("cells/{name}"));
        }
    }
    record(sweep, file, folder).write(folder).map_err(failed)?;
    let manifest = Manifest::of(folder, files).map_err(failed)?;
    manifest.write(folder, MANIFEST).map_err(failed)
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
    }
}

/// The path of a run from a sweep's folder, which lies beside it.
fn beside(run: &Path) -> PathBuf {
    Path::new("..").join(run.file_name().unwrap_or_default())
}

/// Says what came of it.
fn finish(
    folder: &Path,
    jobs: &[Job],
    states: &[State],
    output: &Output,
    interrupted: bool,
) -> Result<Exit, Failure> {
    let unfinished = unfinished(jobs, states);
    let is_run = |job: &&Job| matches!(job.task, Task::Run { .. });
    for job in jobs.iter().filter(is_run) {
        warn_of_other_builds(&RunDir::new(&job.run));
    }
    if output.json {
        let cells: Vec<_> = (jobs.iter().zip(states))
            .map(|(job, state)| {
                json!({ "cell": job.name, "run": job.run, "state": state.word(), "reason": state.reason() })
            })
            .collect();
        stdout::line(json!({
            "event": "finished", "sweep": folder, "interrupted": interrupted, "cells": cells,
        }))?;
    } else {
        let rows = jobs.iter().zip(states).map(|(job, state)| {
            let reason = state.reason().unwrap_or_default().to_owned();
            let run = job.run.to_string_lossy().into_owned();
            [job.name.clone(), state.word().to_owned(), run, reason]
        });
        stdout::line(plain_table(&["cell", "state", "run", ""], rows))?;
        if !output.quiet {
            stdout::line(format!("\n{}", folder.display()))?;
        }
    }
    if interrupted {
        log::info!("stopped; the same command goes on from here");
        return Ok(Exit::Interrupted);
    }
    if let Some(unfinished) = unfinished {
        log::error!("{unfinished}");
        return Ok(Exit::Failed);
    }
    Ok(Exit::Success)
}

/// How many of those that were asked for failed, by kind; none if none did.
fn unfinished(jobs: &[Job], states: &[State]) -> Option<String> {
    let mut parts = Vec::new();
    let mut all = 0;
    for noun in NOUNS {
        let own = || (jobs.iter().zip(states)).filter(|(job, _)| job.noun == noun);
        let asked = own().filter(|(_, state)| **state != State::Left).count();
        let failed = own().filter(|(_, state)| state.is_lost()).count();
        if failed > 0 {
            parts.push(format!("{failed} of {}", counted(asked, noun)));
            all += failed;
        }
    }
    let verb = if all == 1 { "is" } else { "are" };
    (all > 0).then(|| format!("{} {verb} not finished", parts.join(", ")))
}

/// A device as the command line names it.
fn device_name(device: Device) -> String {
    match device {
        Device::Cuda(number) => format!("cuda:{number}"),
        _ => "cpu".to_owned(),
    }
}
