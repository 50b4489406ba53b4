//! `host run` and `host plan` of a sweep.
//!
//! Each cell is an ordinary run in a process of its own: a cell that fails, or takes its process
//! down, stops no other, and memory grows with the runs under way alone.

mod child;
mod failures;
mod files;
mod jobs;
mod others;
mod pace;
mod plan;
mod progress;
mod rungs;
mod schedule;
mod slots;
mod state;
mod wanted;

pub(super) use pace::WORTH;

use std::path::{Path, PathBuf};

use indicatif::MultiProgress;
use serde_json::json;
use tch::Device;

use super::args::{Output, RunArgs};
use super::exit::{Exit, Failure};
use super::neuron;
use super::review;
use super::run::listen;
use super::show::{overviews, parts};
use super::stdout;
use super::submission::attend;
use crate::counted::counted;
use crate::experiment;
use crate::interrupt::Interrupt;
use crate::report::{plain_table, warn_of_other_builds};
use crate::run::HostCatalog;
use crate::store::RunDir;
use failures::Failures;
use jobs::{Job, NOUNS, Task, count, jobs};
use others::is_done;
pub use plan::plan;
use rungs::Rungs;
use schedule::run_all;
use slots::Slots;
use state::State;
use wanted::wanted;

/// A sweep whose folder says what it consists of.
pub struct Prepared {
    folder: PathBuf,
    jobs: Vec<Job>,
    wanted: Vec<Vec<u64>>,
    rungs: Rungs,
}

/// Reads a sweep, finds what cannot work in it, and writes what it consists of; none if the user asked to stop
/// meanwhile.
///
/// # Errors
/// What is wrong with the input.
pub fn prepare(
    args: &RunArgs,
    output: &Output,
    interrupt: &Interrupt,
) -> Result<Option<Prepared>, Failure> {
    let runs = &args.place.runs;
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
    let wanted = wanted(&jobs, &args.sweep)?;
    let rungs = Rungs::new(&sweep, &jobs, &folder);
    if rungs.are_there() && args.sweep.task.is_some() {
        return Err(Failure::bad_input(
            "[sweep.stop] compares all cells before one goes on, and a share does not know of the others: expected \
             --claim, by which processes take what nobody has, instead of --task or --shares",
        ));
    }
    let file = args.experiment.file.as_path();
    let is_shared = args.sweep.claim;
    if !files::write(
        (&sweep, file),
        (&jobs, &wanted),
        is_shared,
        &folder,
        interrupt,
    )? {
        log::info!("stopped; the same command goes on from here");
        return Ok(None);
    }
    if !rungs.are_there() {
        rungs::forget(&folder).map_err(|error| Failure::new(Exit::Failed, error))?;
    }
    Ok(Some(Prepared {
        folder,
        jobs,
        wanted,
        rungs,
    }))
}

impl Prepared {
    /// The sweep's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Number of runs that are asked for, not done and not stopped.
    pub fn left(&mut self) -> usize {
        self.rungs.look_at_all();
        self.rungs.decide(&|_| false);
        let asked = self.jobs.iter().zip(&self.wanted).enumerate();
        let is_left = |(index, (job, seeds)): &(usize, (&Job, &Vec<u64>))| {
            let stopped = self.rungs.stopped(*index).map(|it| it.level);
            let last = stopped.unwrap_or(self.rungs.last(*index));
            !seeds.is_empty() && matches!(job.task, Task::Run { .. }) && !is_done(job, seeds, last)
        };
        asked.filter(is_left).count()
    }

    /// Lets runs be tried again that failed too often.
    pub fn forget_failures(&self) {
        let failures = Failures::of(&self.folder);
        for job in &self.jobs {
            if let Err(error) = failures.forget(job) {
                log::warn!("{error}");
            }
        }
    }
}

/// Runs a sweep, or goes on with it.
///
/// # Errors
/// What is wrong with the input, or what stopped the sweep as a whole.
pub fn run(args: &RunArgs, output: &Output, bars: &MultiProgress) -> Result<Exit, Failure> {
    let interrupt = listen()?;
    interrupt.stop_after(args.time_limit);
    if args.until_stdin_closes {
        interrupt.follow(std::io::stdin());
    }
    let submission = args.sweep.submission.as_deref();
    let attendance = submission.map(|folder| attend(folder, &interrupt));
    let attendance = attendance.transpose()?;
    let Some(Prepared {
        folder,
        jobs,
        wanted,
        rungs,
    }) = prepare(args, output, &interrupt)?
    else {
        return Ok(Exit::Interrupted);
    };
    let slots = Slots::new(args);
    if !output.quiet && !output.json {
        let asked = (jobs.iter().zip(&wanted)).filter(|(_, seeds)| !seeds.is_empty());
        log::info!(
            "{}: {}, {}{} side by side",
            folder.display(),
            count(asked.map(|(job, _)| job.noun)),
            if slots.are_measured() { "up to " } else { "" },
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
    let (states, started) = run_all(
        (&jobs, &wanted, rungs),
        &folder,
        args,
        &slots,
        output,
        bars,
        &interrupt,
    );
    // Of thousands that others did, those tell.
    let own = (jobs.iter().zip(started)).filter(|(_, started)| *started || !args.sweep.claim);
    for (job, _) in own.filter(|(job, _)| matches!(job.task, Task::Run { .. })) {
        warn_of_other_builds(&RunDir::new(&job.run));
    }
    let is_stopped = interrupt.wants_stop();
    let exit = finish(&folder, &jobs, &states, output, is_stopped)?;
    if is_stopped && let Some(attendance) = attendance {
        attendance.expect_wanted()?;
    }
    Ok(exit)
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
        // What cannot be read for it was said before, and is no failure of the sweep.
        for table in overviews(&parts(folder).unwrap_or_default()) {
            stdout::line(format!("\n{table}"))?;
        }
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
    let waits = |state: &State| matches!(state, State::AtRung { .. });
    if let Some(reason) = states.iter().find(|it| waits(it)).and_then(State::reason) {
        let count = states.iter().filter(|it| waits(it)).count();
        log::warn!(
            "{}: {reason}; run the whole sweep, without --only, to go on from here",
            match count {
                1 => "a run waits".to_owned(),
                count => format!("{count} runs wait"),
            }
        );
        return Ok(Exit::Interrupted);
    }
    let elsewhere = |state: &&State| matches!(state, State::Elsewhere { .. });
    let elsewhere = states.iter().filter(elsewhere).count();
    if elsewhere > 0 {
        log::info!("left to other processes: {elsewhere}; they are not done yet");
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
