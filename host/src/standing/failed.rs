//! Why runs do not go on: what was noted of failures, and what was said last.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::store::{self, RunDir};

/// In a sweep's folder.
const FOLDER: &str = "failures";

/// So often a run is tried at one place.
pub const MOST: u64 = 3;

/// How a run of a sweep failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failed {
    /// How often, at this place.
    pub times: u64,
    /// What it ran: a digest of its experiment, its plugins and the program.
    pub ran: String,
    /// Levels of all its seeds that were finished.
    pub levels_done: u64,
    /// Steps of the levels that were under way, by the checkpoints of all its seeds and of its dense level.
    #[serde(default)]
    pub steps_done: u64,
    /// What was said the last time.
    pub reason: String,
}

/// The file in which the failure of the run with this log is noted.
pub fn file_of(sweep: &Path, log: &str) -> PathBuf {
    sweep.join(FOLDER).join(format!("{log}.json"))
}

/// The logs of the runs of a sweep of which a failure is noted, or was about to be as a process was killed.
pub fn noted(sweep: &Path) -> HashSet<String> {
    let entries = fs::read_dir(sweep.join(FOLDER)).into_iter().flatten();
    let log = |name: String| {
        let name = store::left_of(&name).unwrap_or(&name);
        name.strip_suffix(".json").map(str::to_owned)
    };
    entries
        .filter_map(|it| log(it.ok()?.file_name().into_string().ok()?))
        .collect()
}

/// How the run with this log failed, whatever it would run now.
pub fn read(sweep: &Path, log: &str) -> Option<Failed> {
    serde_json::from_slice(&store::read(&file_of(sweep, log)).ok()?).ok()
}

/// Why a seed was given up, if it was.
pub fn given_up(run: &RunDir, seed: u64) -> Option<String> {
    let failure = failure(run, seed)?;
    let reason = failure["reason"].as_str().unwrap_or("the reason is lost");
    Some(format!(
        "seed {seed} at level {}: {reason}",
        failure["level"]
    ))
}

/// The level at which a seed was given up, if it was.
pub fn given_up_at(run: &RunDir, seed: u64) -> Option<u64> {
    failure(run, seed)?["level"].as_u64()
}

fn failure(run: &RunDir, seed: u64) -> Option<Value> {
    let text = store::read(&run.seed(seed).failure()).ok()?;
    serde_json::from_slice(&text).ok()
}

/// The error with which a cell's process ended, if that is the last thing it said.
pub fn last_error(log: &Path) -> Option<String> {
    let text = fs::read_to_string(log).ok()?;
    let last = text.lines().rev().find(|line| !line.trim().is_empty())?;
    let error: Value = serde_json::from_str(last).ok()?;
    let first = error["error"]
        .as_str()
        .or(error["errors"][0]["message"].as_str());
    first.map(str::to_owned)
}
