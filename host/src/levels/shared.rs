//! What a shared dense level may hold, and what earlier versions left in it.
//!
//! They kept the states of the components of whoever trained it in its `done.json`, its masks at the
//! start where that strategy's masks change within levels, and the points that were asked for beside
//! its files. All of that depends on who trained it, and the next experiment went on from it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::dense::whole_point;
use super::error::RunError;
use crate::store::{Done, SeedDir, link, remove, step_files, step_of};

/// The files that a dense level may have, beside its `done.json`.
pub const FILES: [&str; 9] = [
    "classes.jsonl",
    "end.safetensors",
    "layers.jsonl",
    "mask.safetensors",
    "metrics.jsonl",
    "optimizer.safetensors",
    "signs.jsonl",
    "start.safetensors",
    "summary.json",
];

/// States of components that a level's `done.json` carries, hexadecimal, by their places.
pub fn states(done: &Done) -> BTreeMap<String, String> {
    let states = done.carry.get("states").cloned().unwrap_or(Value::Null);
    serde_json::from_value(states).unwrap_or_default()
}

/// The level 0 of a seed's shared folder, if it is whole. What belongs to a strategy is taken out of
/// one that an earlier version trained. The folder must be locked.
pub(super) fn whole_level(home: &SeedDir) -> Result<Option<Done>, RunError> {
    let dir = home.level(0);
    let Some(mut done) = dir.done()? else {
        return Ok(None);
    };
    let foreign = |file: &String| !FILES.contains(&file.as_str());
    let states: Vec<String> = states(&done).into_keys().collect();
    let files: Vec<String> = done
        .digests
        .keys()
        .filter(|it| foreign(it))
        .cloned()
        .collect();
    if !states.is_empty() || !files.is_empty() {
        let states = states.iter().map(|place| format!("the state of `{place}`"));
        let what: Vec<String> = states.chain(files.iter().cloned()).collect();
        log::warn!(
            "{} holds what belongs to the strategy that trained it: {}; an earlier version left it \
             there. It is taken out, and points are kept beside the level",
            dir.path().display(),
            what.join(", ")
        );
        for step in files.iter().filter_map(|file| step_of(file)) {
            keep_point(home, &done, step)?;
        }
        done.digests.retain(|file, _| !foreign(file));
        if let Some(states) = done.carry.get_mut("states") {
            *states = json!({});
        }
        dir.declare(&done)?;
    }
    // Whoever did that before may have been killed on the way.
    let ours = |file: &&String| file.starts_with("step-") || *file == "mask-start.safetensors";
    for file in dir.names().iter().filter(ours) {
        remove(&dir.file(file))?;
    }
    Ok(Some(done))
}

/// Puts a point that lies among a level's files beside the level.
fn keep_point(home: &SeedDir, done: &Done, step: u64) -> Result<(), RunError> {
    let files = step_files(step);
    let is_complete = files.iter().all(|file| done.digests.contains_key(file));
    if !is_complete || whole_point(home, step)?.is_some() {
        return Ok(());
    }
    let point = home.point(step);
    point.clear()?;
    for file in &files {
        link(&home.level(0).file(file), &point.file(file))?;
    }
    Ok(point.finish(&files)?)
}
