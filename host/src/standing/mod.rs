//! How runs stand, from their files alone: done, at work, failed and why, time left, room on disk.

pub mod failed;
mod look;
mod pace;
mod size;
mod total;

use std::path::PathBuf;

use serde::Serialize;

use crate::counted::duration;
use crate::records::Stopped;
use crate::store::Owner;

pub use look::{Look, estimate, log_of};
pub use size::{Links, Size};
pub use total::Total;

/// How a cell stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// All levels of all seeds are finished.
    Done,
    /// It was stopped at a level at which it was behind, and is finished there.
    Behind,
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
    pub const ALL: [Self; 6] = [
        Self::Done,
        Self::Behind,
        Self::Running,
        Self::Waiting,
        Self::Stopped,
        Self::Failed,
    ];

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Behind => "behind",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }

    /// Whether nothing is left to do.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Behind)
    }
}

/// A cell as its files show it.
#[derive(Clone, Debug, Serialize)]
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
    /// Finished levels of each of its seeds.
    #[serde(skip)]
    pub finished: Vec<u64>,
    /// Levels that the seed which is furthest behind still has to do; none if no file says so.
    #[serde(skip)]
    pub levels_left: Option<u64>,
    /// The same in cells whose levels take as long; none if no file says what it trains.
    #[serde(skip)]
    pub work: Option<u64>,
    /// Seconds that a level of all its seeds takes; none before one is finished.
    #[serde(skip)]
    pub seconds_a_level: Option<f64>,
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
    /// Behind whom it was stopped, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped: Option<Stopped>,
    /// How often it failed where it stands; after three times, who takes what is left leaves it alone.
    pub failures: u64,
}

impl Standing {
    /// A cell that was not begun.
    pub fn new(name: String, run: PathBuf) -> Self {
        Self {
            name,
            run,
            state: State::Waiting,
            levels_done: 0,
            levels: None,
            finished: Vec::new(),
            levels_left: None,
            work: None,
            seconds_a_level: None,
            seconds_left: None,
            owner: None,
            seconds_held: None,
            seconds_silent: None,
            reason: None,
            stopped: None,
            failures: 0,
        }
    }

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

#[cfg(test)]
mod tests;
