//! Which run starts when.

mod at_rungs;
mod outcome;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use indicatif::MultiProgress;
use tch::Device;

use super::child::{Running, Said};
use super::failures::Failures;
use super::jobs::Job;
use super::others::{Looked, NEAR, Others, is_done};
use super::progress::Progress;
use super::rungs::Rungs;
use super::slots::Slots;
use super::state::State;
use crate::cli::args::{Output, RunArgs};
use crate::counted::counted;
use crate::interrupt::Interrupt;
use crate::program;
use crate::standing::failed::MOST;
use crate::store::{self, Lock};
use at_rungs::Rounds;
use outcome::{as_written, elsewhere, ended, refused, skip_orphans};

/// The jobs of a sweep, and how they stand.
struct Schedule<'a> {
    jobs: &'a [Job],
    wanted: &'a [Vec<u64>],
    args: &'a RunArgs,
    states: Vec<State>,
    progress: Progress,
    others: Others,
    failures: Failures,
    /// Whether this process started a job.
    started: Vec<bool>,
    /// When it was asked who has a job that waits for its dense level.
    asked: Vec<Option<Instant>>,
    rungs: Rungs,
    rounds: Rounds,
    /// The level to which this process brought a job, or found it.
    reached: Vec<Option<u64>>,
}

/// Time between two such questions: thousands of jobs may wait for one level.
const SELDOM: Duration = Duration::from_secs(60);

/// Runs the wanted jobs, sources first, as many at a time as there are slots. What each has to say
/// goes into `logs` below the sweep's folder. Jobs that other processes have are left to them. How the jobs stand then,
/// and which this process started.
pub fn run_all(
    (jobs, wanted, rungs): (&[Job], &[Vec<u64>], Rungs),
    folder: &Path,
    args: &RunArgs,
    slots: &Slots,
    output: &Output,
    bars: &MultiProgress,
    interrupt: &Interrupt,
) -> (Vec<State>, Vec<bool>) {
    let states = wanted.iter().map(|seeds| match seeds.is_empty() {
        true => State::Left,
        false => State::Waiting,
    });
    let mut schedule = Schedule {
        jobs,
        wanted,
        args,
        states: states.collect(),
        progress: Progress::new(jobs, wanted, output, bars),
        others: Others::default(),
        failures: Failures::of(folder),
        started: vec![false; jobs.len()],
        asked: vec![None; jobs.len()],
        rungs,
        rounds: Rounds::default(),
        reached: vec![None; jobs.len()],
    };
    schedule.rungs.look_at_all();
    schedule.decide();
    let (said, heard) = mpsc::channel();
    // The running jobs, by their slot.
    let mut running: BTreeMap<usize, (usize, Running, Option<Lock>)> = BTreeMap::new();
    let (mut stopping, mut told) = (false, false);
    let (mut pace, room) = (slots.pace(), slots.room());
    // The runs save their work; they are waited for.
    let _saving = interrupt.save();
    loop {
        if interrupt.wants_stop() && !std::mem::replace(&mut stopping, true) {
            for (_, child, _) in running.values_mut() {
                child.stop();
            }
        }
        if interrupt.takes_checkpoint() {
            for (_, child, _) in running.values_mut() {
                child.checkpoint();
            }
        }
        if skip_orphans(jobs, &mut schedule.states) {
            schedule.rounds.hear();
        }
        schedule.look_around();
        for (slot, &device) in slots.places().iter().enumerate() {
            if stopping || running.contains_key(&slot) || !pace.allows(running.len()) {
                continue;
            }
            let Some(index) = schedule.next(device) else {
                break;
            };
            let lock = match schedule.others.take(&jobs[index]) {
                Ok(Some(lock)) if schedule.was_done(index, &lock) => continue,
                Ok(lock) => lock,
                Err(error) => {
                    schedule.states[index] = refused(&error);
                    schedule.rounds.hear();
                    continue;
                }
            };
            let log = folder.join("logs").join(format!("{}.log", jobs[index].log));
            let goal = schedule.rungs.goal(index);
            let to = (goal < schedule.rungs.last(index)).then_some(goal);
            let job = (index, &jobs[index], wanted[index].as_slice(), to);
            match as_written(&jobs[index])
                .and_then(|()| Ok(Running::start(job, args, device, &log, said.clone())?))
            {
                Ok(child) => {
                    schedule.states[index] = State::Running;
                    schedule.started[index] = true;
                    schedule.progress.started(index, jobs[index].levels);
                    running.insert(slot, (index, child, lock));
                }
                Err(error) => {
                    let reason = format!("failed to start: {error}");
                    schedule.states[index] = State::Failed { reason };
                    schedule.rounds.hear();
                }
            }
        }
        if running.is_empty() {
            if stopping || !schedule.waits() {
                break;
            }
            if !std::mem::replace(&mut told, true) {
                log::info!(
                    "other processes have what could start now, make its dense level, or come to the level at which it waits"
                );
            }
        }
        let counted = schedule.progress.counted();
        pace.look(Instant::now(), running.len(), counted, || {
            room.as_ref().is_none_or(|it| it.has_more(running.len()))
        });
        match heard.recv_timeout(Duration::from_millis(100)) {
            Ok((index, Said::Event(event))) => {
                if let Some((_, child, _)) = running.values_mut().find(|(it, ..)| *it == index) {
                    child.hear(&event);
                }
                schedule.progress.event(index, event);
            }
            Ok((index, Said::End)) => {
                let slot = running.iter().find(|(_, (it, ..))| *it == index);
                let slot = slot.map(|(slot, _)| *slot);
                if let Some((_, mut child, _lock)) = slot.and_then(|slot| running.remove(&slot)) {
                    let last = child.goal().unwrap_or(schedule.rungs.last(index));
                    let is_done = || is_done(&jobs[index], &wanted[index], last);
                    schedule.end(index, ended(&mut child, stopping, is_done), child.goal());
                }
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
    }
    schedule.leave_rungs();
    schedule.forget_done();
    schedule.progress.finish();
    (schedule.states, schedule.started)
}

impl Schedule<'_> {
    /// The next job to start: its sources are done, no other process has it, and nobody does at the moment what
    /// it would only wait for, such as training its dense level.
    fn next(&mut self, device: Device) -> Option<usize> {
        let mut elsewhere = 0;
        self.order().find(|&index| {
            let may_start = self.may_start(index, device, elsewhere < NEAR);
            elsewhere += usize::from(matches!(self.states[index], State::Elsewhere { .. }));
            may_start
        })
    }

    fn may_start(&mut self, index: usize, device: Device, is_near: bool) -> bool {
        let (job, seeds) = (&self.jobs[index], &self.wanted[index]);
        let may = matches!(self.states[index], State::Waiting | State::Elsewhere { .. });
        if !may || self.is_at_rung(index) || !self.is_ready(index) {
            return false;
        }
        let threads = self
            .args
            .place
            .threads
            .map_or(1, |it| usize::from(it.get()));
        let runs = &self.args.place.runs;
        // One question for many jobs. Who makes it has one of them, and that is asked seldom.
        let is_made = (self.others).makes_dense(job, seeds, runs, (device, threads));
        if is_made && !self.is_to_be_asked(index) {
            return false;
        }
        // Who takes what is left looks at no level that is done: there may be thousands, and many who do.
        let goal = self.rungs.goal(index);
        if self.args.sweep.claim && !self.args.fresh && is_done(job, seeds, goal) {
            self.arrive(index, goal);
            return false;
        }
        self.states[index] = match self.others.owner(job, is_near) {
            Looked::Held(by) => elsewhere(&by),
            Looked::Free => self.left_alone(job).unwrap_or(State::Waiting),
            Looked::Later => return false,
        };
        if self.states[index].is_lost() {
            self.rounds.hear();
        }
        self.states[index] == State::Waiting && !is_made
    }

    /// Whether a job turns out to be done, now that it is this process's and what others did to it is seen.
    fn was_done(&mut self, index: usize, lock: &Lock) -> bool {
        let (job, seeds) = (&self.jobs[index], &self.wanted[index]);
        if !self.args.sweep.claim || self.args.fresh || lock.is_first() {
            return false;
        }
        store::refresh_folder(&job.run);
        let goal = self.rungs.goal(index);
        let is_done = is_done(job, seeds, goal);
        if is_done {
            self.arrive(index, goal);
        }
        is_done
    }

    /// How a job stands that failed too often for somebody who takes what is left.
    fn left_alone(&self, job: &Job) -> Option<State> {
        let args = &self.args.sweep;
        if args.retry_failed || (!args.claim && args.task.is_none()) {
            return None;
        }
        let failed = self.failures.get(job).filter(|it| it.times >= MOST)?;
        Some(State::Failed {
            reason: format!(
                "it failed {} and is left alone, unless asked for by --retry-failed or by `{} run` without --claim \
                 and --task; the last time: {}",
                counted(failed.times, "time"),
                program::name(),
                failed.reason
            ),
        })
    }

    /// Notes what came of a job, for all who share the sweep.
    fn note(&self, index: usize) {
        let job = &self.jobs[index];
        let noted = match &self.states[index] {
            State::Failed { reason } => self.failures.add(job, &self.wanted[index], reason),
            State::Done | State::Behind { .. } | State::Waiting => self.failures.forget(job),
            _ => Ok(()),
        };
        if let Err(error) = noted {
            log::warn!("{error}");
        }
    }

    /// Forgets failures of jobs that are done: who did one may have been killed before it came to that, and whoever
    /// finds it done looks at nothing else of it.
    fn forget_done(&self) {
        let noted = self.failures.noted();
        for (job, state) in self.jobs.iter().zip(&self.states) {
            if *state == State::Done
                && noted.contains(&job.log)
                && let Err(error) = self.failures.forget(job)
            {
                log::warn!("{error}");
            }
        }
    }

    /// Whether to look who has a job that waits for its dense level.
    fn is_to_be_asked(&mut self, index: usize) -> bool {
        if let State::Elsewhere { .. } = self.states[index] {
            return true;
        }
        let asked = &mut self.asked[index];
        let is_due = asked.is_none_or(|it| it.elapsed() > SELDOM);
        if is_due {
            *asked = Some(Instant::now());
        }
        is_due
    }

    /// Whether a job's sources are done, and no job of this process makes its dense level.
    fn is_ready(&self, index: usize) -> bool {
        // A barrier is measured as far as its runs go.
        let done = |source: &usize| self.states[*source].is_over();
        let trains = |other: usize| {
            self.states[other] == State::Running
                && self.jobs[other].dense == self.jobs[index].dense
                && !self.progress.is_past_dense(other)
        };
        self.jobs[index].sources.iter().all(done) && !(0..self.jobs.len()).any(trains)
    }

    /// Whether there is something to wait for: a job of which another one is the source, or that waits for its
    /// dense level, and one whose process was not seen to be at work. The others are left to who has them. Of many
    /// such, the first are looked at: whoever leaves last finds few. At a rung those are waited for that somebody has.
    fn waits(&mut self) -> bool {
        let order: Vec<usize> = self.order().collect();
        let is_elsewhere = |it: &&usize| matches!(self.states[**it], State::Elsewhere { .. });
        let mut elsewhere = order.iter().filter(is_elsewhere).take(NEAR);
        let waiting = |&it: &usize| self.states[it] == State::Waiting;
        let has_news = self.rounds.has_news();
        has_news
            || order
                .iter()
                .filter(|it| waiting(it))
                .any(|&it| !self.is_at_rung(it))
            || elsewhere.any(|&it| !self.others.is_at_work(&self.jobs[it]))
            || (order.iter().any(waiting) && self.is_brought_by_others())
    }

    /// The jobs in the order in which they are tried.
    fn order(&self) -> impl Iterator<Item = usize> + use<> {
        let count = self.jobs.len();
        let first = match self.args.sweep.claim {
            // Processes that begin at one place would all try the same job, again and again.
            true => usize::from_str_radix(store::mark(), 16).unwrap_or(0) % count.max(1),
            false => 0,
        };
        (0..count).map(move |place| (first + place) % count)
    }
}
