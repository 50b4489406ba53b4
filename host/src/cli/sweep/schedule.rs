//! Which run starts when.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use indicatif::MultiProgress;
use tch::Device;

use super::child::{Running, Said};
use super::jobs::Job;
use super::progress::Progress;
use crate::cli::args::{Output, RunArgs};
use crate::cli::exit::Exit;
use crate::interrupt::Interrupt;

/// How a job stands.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// It was not asked for.
    Left,
    /// It has not started.
    Waiting,
    /// It runs.
    Running,
    /// It was stopped and can go on.
    Stopped,
    /// It is finished.
    Done,
    /// It failed.
    Failed {
        /// Why.
        reason: String,
    },
    /// A run that it takes from is not finished.
    Skipped {
        /// Which.
        reason: String,
    },
}

impl State {
    /// The word for it in tables.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Left => "not asked for",
            Self::Waiting | Self::Stopped => "stopped",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed { .. } => "failed",
            Self::Skipped { .. } => "skipped",
        }
    }

    /// Whether it was asked for and is not going to be done.
    pub fn is_lost(&self) -> bool {
        matches!(self, Self::Failed { .. } | Self::Skipped { .. })
    }

    /// Why it is not done, if that is known.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Failed { reason } | Self::Skipped { reason } => Some(reason),
            _ => None,
        }
    }
}

/// Places where a run can go on: one a device, or several on the CPU.
pub struct Slots(Vec<Device>);

impl Slots {
    /// As the command line says: `--jobs` of them, by default as many as the cores allow or one a
    /// device.
    pub fn new(args: &RunArgs) -> Self {
        let devices = match args.sweep.devices.as_slice() {
            [] => vec![args.place.device],
            devices => devices.to_vec(),
        };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = args.place.threads.map_or(1, |it| usize::from(it.get()));
        let default = match devices.as_slice() {
            [Device::Cpu] => (cores / threads).max(1),
            devices => devices.len(),
        };
        let count = args.sweep.jobs.map_or(default, |it| usize::from(it.get()));
        Self(devices.into_iter().cycle().take(count).collect())
    }

    /// Number of runs side by side.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

/// Runs the wanted jobs, sources first, as many at a time as there are slots. What each has to say
/// goes into `logs` below the sweep's folder.
pub fn run_all(
    (jobs, wanted): (&[Job], &[Vec<u64>]),
    folder: &Path,
    args: &RunArgs,
    slots: &Slots,
    output: &Output,
    bars: &MultiProgress,
    interrupt: &Interrupt,
) -> Vec<State> {
    let mut states: Vec<State> = (wanted.iter())
        .map(|seeds| match seeds.is_empty() {
            true => State::Left,
            false => State::Waiting,
        })
        .collect();
    let mut progress = Progress::new(jobs, wanted, output, bars);
    let (said, heard) = mpsc::channel();
    // The running jobs, by their slot.
    let mut running: BTreeMap<usize, (usize, Running)> = BTreeMap::new();
    let mut stopping = false;
    // The runs save their work; they are waited for.
    let _saving = interrupt.save();
    loop {
        if interrupt.wants_stop() && !std::mem::replace(&mut stopping, true) {
            for (_, child) in running.values_mut() {
                child.stop();
            }
        }
        if interrupt.takes_checkpoint() {
            for (_, child) in running.values_mut() {
                child.checkpoint();
            }
        }
        skip_orphans(jobs, &mut states);
        for (slot, &device) in slots.0.iter().enumerate() {
            if stopping || running.contains_key(&slot) {
                continue;
            }
            let Some(index) = next(jobs, &states, &progress) else {
                break;
            };
            let log = folder.join("logs").join(format!("{}.log", jobs[index].log));
            let job = (index, &jobs[index], wanted[index].as_slice());
            match Running::start(job, args, device, &log, said.clone()) {
                Ok(child) => {
                    states[index] = State::Running;
                    progress.started(index);
                    running.insert(slot, (index, child));
                }
                Err(error) => {
                    let reason = format!("failed to start: {error}");
                    states[index] = State::Failed { reason };
                }
            }
        }
        if running.is_empty() {
            break;
        }
        match heard.recv_timeout(Duration::from_millis(100)) {
            Ok((index, Said::Event(event))) => progress.event(index, event),
            Ok((index, Said::End)) => {
                let slot = running.iter().find(|(_, (it, _))| *it == index);
                let slot = slot.map(|(slot, _)| *slot);
                if let Some((_, mut child)) = slot.and_then(|slot| running.remove(&slot)) {
                    states[index] = ended(&mut child, stopping);
                    progress.ended(index, &states[index]);
                }
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
    }
    progress.finish();
    states
}

fn ended(child: &mut Running, stopping: bool) -> State {
    match child.wait() {
        Some(code) if code == Exit::Success as i32 => State::Done,
        Some(code) if code == Exit::Interrupted as i32 && stopping => State::Stopped,
        Some(_) => State::Failed {
            reason: child.reason(),
        },
        None => State::Failed {
            reason: format!("its process was killed; {}", child.reason()),
        },
    }
}

/// The next job to start: its sources are done, and nobody does at the moment what it would only wait
/// for, such as training its dense level.
fn next(jobs: &[Job], states: &[State], progress: &Progress) -> Option<usize> {
    let ready = |index: usize| {
        let done = |source: &usize| states[*source] == State::Done;
        let trains = |other: usize| {
            states[other] == State::Running
                && jobs[other].dense == jobs[index].dense
                && !progress.is_past_dense(other)
        };
        jobs[index].sources.iter().all(done) && !(0..jobs.len()).any(trains)
    };
    (0..jobs.len()).find(|&index| states[index] == State::Waiting && ready(index))
}

/// Gives up jobs whose sources will not be finished.
fn skip_orphans(jobs: &[Job], states: &mut [State]) {
    for index in 0..jobs.len() {
        if states[index] != State::Waiting {
            continue;
        }
        let lost = (jobs[index].sources.iter()).find(|&&source| states[source].is_lost());
        if let Some(&source) = lost {
            let reason = format!("it takes from {}, which is not finished", jobs[source].name);
            states[index] = State::Skipped { reason };
        }
    }
}
