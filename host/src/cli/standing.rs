//! How each cell of a sweep stands.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde_json::Value;

use super::plan::duration;
use super::sweep;
use crate::counted::counted;
use crate::experiment::read_stored;
use crate::neuron;
use crate::records::{SweepCell, SweepRecord, name_in_sweep};
use crate::store::{self, LevelDir, Lock, Owner, RunDir, Standing as LockStanding, Watch};

/// How a cell stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// All levels of all seeds are finished.
    Done,
    /// A process has it.
    Running,
    /// It was not begun.
    Waiting,
    /// It was begun, and no process has it.
    Stopped,
    /// It cannot go on, or did not when it was tried last.
    Failed,
}

impl State {
    /// All of them, in the order in which they are counted.
    pub const ALL: [Self; 5] = [
        Self::Done,
        Self::Running,
        Self::Waiting,
        Self::Stopped,
        Self::Failed,
    ];

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }
}

/// A cell as its files show it.
#[derive(Debug, Serialize)]
pub struct Standing {
    /// Its name in the sweep.
    #[serde(rename = "cell")]
    pub name: String,
    /// The folder of its run.
    pub run: PathBuf,
    /// How it stands.
    pub state: State,
    /// Finished levels of all its seeds, the dense ones included.
    pub levels_done: u64,
    /// Levels that there are to be; none if no file says so.
    pub levels: Option<u64>,
    /// Seconds until it is done, as long as its finished levels took; none if nothing is known.
    pub seconds_left: Option<f64>,
    /// The process that has it.
    pub owner: Option<Owner>,
    /// Seconds since that process took it, up to its last beat.
    pub seconds_held: Option<f64>,
    /// Seconds since its beat was last seen to change; none if that was not watched.
    pub seconds_silent: Option<f64>,
    /// Why it failed or stopped.
    pub reason: Option<String>,
    /// How often it failed where it stands; after three times, who takes what is left leaves it alone.
    pub failures: u64,
}

impl Standing {
    /// Who has it, or why nobody does.
    pub fn note(&self) -> String {
        let Some(by) = &self.owner else {
            return self.reason.clone().unwrap_or_default();
        };
        let mut note = format!("process {} on {}", by.pid, by.host);
        if let Some(job) = &by.job {
            note += &format!(", job {job}");
        }
        if let Some(restarts) = by.restarts.filter(|it| *it > 0) {
            note += &format!(", restarted {restarts} times");
        }
        if let Some(held) = self.seconds_held {
            note += &format!(", for {}", duration(held));
        }
        if let Some(silent) = self.seconds_silent {
            note += &format!(", seen at work {} ago", duration(silent));
        }
        note
    }
}

/// What is remembered from look to look.
#[derive(Default)]
pub struct Look {
    watches: BTreeMap<PathBuf, Watch>,
    /// Levels of a seed, by run.
    levels: BTreeMap<PathBuf, u64>,
}

impl Look {
    /// How the cells of a sweep stand now.
    pub fn cells(&mut self, folder: &Path, record: &SweepRecord) -> Vec<Standing> {
        let parts = record.parts.len();
        let mut cells = Vec::new();
        // Seconds that a level of all seeds took.
        let mut paces = Vec::new();
        for part in &record.parts {
            for cell in &part.cells {
                let name = name_in_sweep(parts, &part.name, &cell.name);
                let (standing, pace) = self.cell(folder, record, name, cell);
                cells.push(standing);
                paces.push(pace);
            }
            cells.extend(
                part.neuron
                    .iter()
                    .map(|run| self.simulation(folder, &part.name, run)),
            );
            paces.resize(cells.len(), None);
        }
        let known: Vec<f64> = paces.iter().flatten().copied().collect();
        let mean = (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64);
        for (cell, pace) in cells.iter_mut().zip(paces) {
            // Until here, the levels of the seed that is furthest behind.
            cell.seconds_left = cell.seconds_left.and_then(|levels| match levels {
                0.0 => Some(0.0),
                levels => Some(levels * pace.or(mean)?),
            });
        }
        cells
    }

    fn cell(
        &mut self,
        folder: &Path,
        record: &SweepRecord,
        name: String,
        cell: &SweepCell,
    ) -> (Standing, Option<f64>) {
        let path = folder.join(&cell.run);
        let run = RunDir::new(&path);
        let wanted = self.levels_of(folder, record, &run);
        let done: Vec<u64> = (cell.seeds.iter())
            .map(|&seed| run.seed(seed).finished_levels())
            .map(|done| wanted.map_or(done, |wanted| done.min(wanted)))
            .collect();
        let left = done.iter().map(|done| wanted.map(|it| it - done));
        let left = left.max().unwrap_or_default();
        let pace = pace(&run, &cell.seeds, &done);
        let mut standing = self.of_run(path, name, left == Some(0));
        standing.levels_done = done.iter().sum();
        standing.levels = wanted.map(|it| it * cell.seeds.len() as u64);
        standing.seconds_left = left.map(|it| it as f64);
        if standing.state != State::Done {
            let failures = cell.seeds.iter().filter_map(|&seed| failure(&run, seed));
            standing.fail(failures.collect(), folder);
        }
        (standing, pace)
    }

    fn simulation(&mut self, folder: &Path, name: &str, run: &Path) -> Standing {
        let path = folder.join(run);
        let is_done = path.join(neuron::FILE).exists();
        let mut standing = self.of_run(path, name.to_owned(), is_done);
        (standing.levels_done, standing.levels) = (u64::from(is_done), Some(1));
        standing.seconds_left = is_done.then_some(0.0);
        standing.fail(Vec::new(), folder);
        standing
    }

    /// What the lock of a run says.
    fn of_run(&mut self, run: PathBuf, name: String, is_done: bool) -> Standing {
        let lock = run.join("lock");
        let watch = self.watches.entry(lock.clone());
        let watch = watch.or_insert_with(|| Watch::new(&lock));
        let (state, owner, reason) = match watch.look() {
            _ if is_done => (State::Done, None, None),
            Ok(LockStanding::Held(by)) => (State::Running, Some(by), None),
            Ok(LockStanding::Dead(by)) => {
                let reason = format!("process {} on {} ended without a word", by.pid, by.host);
                (State::Stopped, None, Some(reason))
            }
            _ if run.exists() => (State::Stopped, None, None),
            _ => (State::Waiting, None, None),
        };
        let is_held = owner.is_some();
        let seconds = |time: Option<Duration>| time.filter(|_| is_held).map(|it| it.as_secs_f64());
        Standing {
            seconds_held: seconds(Lock::held_for(&lock)),
            seconds_silent: seconds(watch.since()),
            name,
            run,
            state,
            levels_done: 0,
            levels: None,
            seconds_left: None,
            owner,
            reason,
            failures: 0,
        }
    }

    /// Levels that each seed of a run is to have: as its experiment says, or the sweep's copy of it.
    fn levels_of(&mut self, folder: &Path, record: &SweepRecord, run: &RunDir) -> Option<u64> {
        if let Some(&levels) = self.levels.get(run.path()) {
            return Some(levels);
        }
        let name = run.name();
        let cell = name
            .rsplit_once('-')
            .map_or(record.name.as_str(), |it| it.0);
        let copy = folder.join("cells").join(format!("{cell}.toml"));
        let files = [run.file("experiment.toml"), copy];
        let levels = files
            .iter()
            .find_map(|file| read_stored(file).ok())
            .map(|it| it.last_level() + 1)?;
        self.levels.insert(run.path().to_owned(), levels);
        Some(levels)
    }
}

impl Standing {
    /// Takes in why seeds were given up, or else what the cell's process said last.
    fn fail(&mut self, seeds: Vec<String>, folder: &Path) {
        if !seeds.is_empty() {
            self.reason = Some(seeds.join("; "));
            if self.state == State::Stopped {
                self.state = State::Failed;
            }
            return;
        }
        if !matches!(self.state, State::Stopped | State::Waiting) {
            return;
        }
        let log = self.name.replace(['/', ' '], "-");
        if let Some(failed) = sweep::failed(folder, &log) {
            let alone = match failed.times >= sweep::MOST_FAILURES {
                true => " and is left alone",
                false => "",
            };
            let times = counted(failed.times, "time");
            self.reason = Some(format!("failed {times}{alone}: {}", failed.reason));
            (self.state, self.failures) = (State::Failed, failed.times);
        } else if let Some(said) = last_error(&folder.join("logs").join(format!("{log}.log"))) {
            self.reason = Some(said);
            self.state = State::Failed;
        }
    }
}

/// Why a seed was given up, if it was.
fn failure(run: &RunDir, seed: u64) -> Option<String> {
    let text = store::read(&run.seed(seed).failure()).ok()?;
    let failure: Value = serde_json::from_slice(&text).ok()?;
    let reason = failure["reason"].as_str().unwrap_or("the reason is lost");
    Some(format!(
        "seed {seed} at level {}: {reason}",
        failure["level"]
    ))
}

/// The error with which a cell's process ended, if that is the last thing it said.
fn last_error(log: &Path) -> Option<String> {
    let text = fs::read_to_string(log).ok()?;
    let last = text.lines().rev().find(|line| !line.trim().is_empty())?;
    let error: Value = serde_json::from_str(last).ok()?;
    let first = error["error"]
        .as_str()
        .or(error["errors"][0]["message"].as_str());
    first.map(str::to_owned)
}

/// Seconds that a level takes for all seeds of a run: the median of the finished ones. Times of files are compared
/// with each other alone.
fn pace(run: &RunDir, seeds: &[u64], done: &[u64]) -> Option<f64> {
    let times = |(&seed, &levels): (&u64, &u64)| {
        let level = |level| times_of(&run.seed(seed).level(level));
        let pruned: Vec<_> = (1..levels).filter_map(level).collect();
        // Level 0 may have been trained elsewhere, and be a copy.
        match pruned.is_empty() && levels > 0 {
            true => level(0).into_iter().collect(),
            false => pruned,
        }
    };
    let times: Vec<Vec<(SystemTime, SystemTime)>> = seeds.iter().zip(done).map(times).collect();
    let all = times.iter().flatten();
    let seconds =
        all.filter_map(|(start, end)| Some(end.duration_since(*start).ok()?.as_secs_f64()));
    let mut seconds: Vec<f64> = seconds.collect();
    seconds.sort_by(f64::total_cmp);
    let median = seconds.get(seconds.len() / 2)?;
    // Seeds that train side by side share the time.
    let first: Vec<_> = times.iter().filter_map(|seed| seed.first()).collect();
    let overlap = first
        .windows(2)
        .any(|it| it[0].0 < it[1].1 && it[1].0 < it[0].1);
    let rounds = if overlap { 1 } else { seeds.len() };
    Some(median * rounds as f64)
}

/// When a finished level was begun and when it was finished.
fn times_of(level: &LevelDir) -> Option<(SystemTime, SystemTime)> {
    let time = |file| fs::metadata(level.file(file)).ok()?.modified().ok();
    Some((time("start.safetensors")?, time("done.json")?))
}

#[cfg(test)]
mod tests;
