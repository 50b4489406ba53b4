//! `host clean`.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::path::Path;

use serde_json::json;

use super::super::args::{CleanArgs, Output};
use super::super::exit::{Exit, Failure};
use super::super::plan::bytes;
use super::super::stdout;
use super::{Entry, Inventory, Kind, ls};
use crate::counted::counted;
use crate::program;
use crate::standing::State;
use crate::store::{Lock, LockError, RunDir};

/// What a folder is called while it is removed: a crash leaves no run of which half is there.
const REMOVED: &str = ".removed-";

/// Whether a folder of this name is what is left of a run that was being removed.
pub(super) fn is_remains(name: &str) -> bool {
    name.starts_with(REMOVED)
}

/// What is to go and what stays although it was asked for.
#[derive(Debug, Default)]
pub(super) struct Choice {
    /// Places in the inventory.
    pub(super) gone: Vec<usize>,
    /// Places with the reason.
    pub(super) kept: Vec<(usize, String)>,
}

/// Shows what of a folder of runs would be removed, and removes it with `--yes`.
///
/// # Errors
/// If nothing says what to remove, a name is unknown, or a folder cannot be removed.
pub fn clean(args: &CleanArgs, output: &Output) -> Result<Exit, Failure> {
    let inventory = Inventory::read(&args.runs)?;
    check(args, &inventory)?;
    let choice = choose(args, &inventory.entries);
    let entries = |places: &[usize]| -> Vec<&Entry> {
        places.iter().map(|&it| &inventory.entries[it]).collect()
    };
    let gone = entries(&choice.gone);
    for (place, reason) in &choice.kept {
        log::info!("{} stays: {reason}", inventory.entries[*place].name);
    }
    let names: Vec<&str> = gone.iter().map(|it| it.name.as_str()).collect();
    let room: u64 = gone.iter().map(|it| it.bytes).sum();
    let mut removed = Vec::new();
    if args.yes {
        for remains in &inventory.remains {
            fs::remove_dir_all(remains).map_err(|error| refused(remains, &error))?;
        }
        for entry in &gone {
            if remove(&args.runs, entry)? {
                removed.push(entry.name.as_str());
            }
        }
    }
    if output.json {
        let kept = choice.kept.iter();
        let kept: Vec<_> = kept
            .map(|(place, reason)| json!({ "name": inventory.entries[*place].name, "reason": reason }))
            .collect();
        stdout::line(json!({
            "event": "clean", "runs": args.runs, "chosen": names, "removed": removed, "kept": kept, "bytes": room,
        }))?;
        return Ok(Exit::Success);
    }
    let text = match (gone.is_empty(), args.yes) {
        (true, _) => "nothing to remove".to_owned(),
        (false, false) => format!(
            "{}\n\nwould remove {}, up to {}; nothing was removed: add --yes",
            ls::table(gone.iter().copied()),
            counted(gone.len(), "folder"),
            bytes(room)
        ),
        (false, true) => format!(
            "removed {}, up to {}: {}",
            counted(removed.len(), "folder"),
            bytes(room),
            removed.join(", ")
        ),
    };
    stdout::line(text)?;
    Ok(Exit::Success)
}

fn check(args: &CleanArgs, inventory: &Inventory) -> Result<(), Failure> {
    let says_what = args.unfinished
        || args.superseded
        || args.unused
        || args.older_than.is_some()
        || !args.names.is_empty()
        || !inventory.remains.is_empty();
    if !says_what {
        return Err(Failure::bad_input(format!(
            "nothing says what to remove: expected names, --unfinished, --superseded, --unused or --older-than; \
             `{} ls` shows what there is",
            program::name()
        )));
    }
    let is_known = |name: &&String| inventory.entries.iter().any(|it| it.name == **name);
    match args.names.iter().find(|name| !is_known(name)) {
        None => Ok(()),
        Some(name) => Err(Failure::bad_input(format!(
            "there is no {name} in {}; `{} ls` shows what there is",
            args.runs.display(),
            program::name()
        ))),
    }
}

pub(super) fn choose(args: &CleanArgs, entries: &[Entry]) -> Choice {
    let only_old = !(args.unfinished || args.superseded || args.unused) && args.names.is_empty();
    let is_old = |entry: &Entry| match (args.older_than, entry.seconds_since) {
        (Some(least), Some(since)) => since >= least.as_secs_f64(),
        (Some(_), None) => false,
        (None, _) => true,
    };
    let is_asked = |entry: &Entry| {
        let is_named = args.names.contains(&entry.name);
        let is_unfinished = args.unfinished
            && entry.kind != Kind::Dense
            && matches!(entry.state, State::Stopped | State::Failed | State::Waiting);
        let is_superseded = args.superseded && superseded(entry, entries);
        let is_any = only_old && entry.kind != Kind::Dense;
        is_named || ((is_unfinished || is_superseded || is_any) && is_old(entry))
    };
    let mut is_gone: Vec<bool> = entries.iter().map(is_asked).collect();
    let mut choice = Choice::default();
    for (place, entry) in entries.iter().enumerate() {
        if is_gone[place] && entry.state == State::Running {
            is_gone[place] = false;
            choice
                .kept
                .push((place, format!("it is in use by {}", entry.note)));
        }
    }
    // What stays keeps what it needs, which then keeps what that needs.
    let by_name = entries
        .iter()
        .enumerate()
        .map(|(place, it)| (it.name.as_str(), place));
    let places: BTreeMap<&str, usize> = by_name.collect();
    let place_of = |name: &String| places.get(name.as_str()).copied();
    let mut staying: VecDeque<usize> = (0..entries.len()).filter(|&it| !is_gone[it]).collect();
    while let Some(user) = staying.pop_front() {
        for place in entries[user].uses.iter().filter_map(place_of) {
            if std::mem::replace(&mut is_gone[place], false) {
                let reason = format!("{} needs it", entries[user].name);
                choice.kept.push((place, reason));
                staying.push_back(place);
            }
        }
    }
    if args.unused {
        for (place, entry) in entries.iter().enumerate() {
            let mut users = entry.used_by.iter().filter_map(place_of);
            is_gone[place] |= entry.kind == Kind::Dense
                && entry.state != State::Running
                && is_old(entry)
                && users.all(|user| is_gone[user]);
        }
    }
    choice.gone = (0..entries.len()).filter(|&it| is_gone[it]).collect();
    choice
}

/// Whether a later run of an experiment of the same name is done, with other settings, and no sweep has this one.
fn superseded(entry: &Entry, entries: &[Entry]) -> bool {
    let since = |it: &Entry| it.seconds_since.unwrap_or(f64::INFINITY);
    entry.kind == Kind::Run
        && entry.used_by.is_empty()
        && entries.iter().any(|other| {
            other.kind == Kind::Run
                && other.state == State::Done
                && other.name != entry.name
                && other.experiment() == entry.experiment()
                && since(other) < since(entry)
        })
}

/// Removes a folder that nobody has; false if somebody took it meanwhile.
fn remove(runs: &Path, entry: &Entry) -> Result<bool, Failure> {
    let folder = runs.join(&entry.name);
    let locks = match locks(&folder, entry.kind) {
        Ok(locks) => locks,
        Err(LockError::Held { by, .. }) => {
            log::warn!(
                "{} stays: process {} on {} has taken it",
                entry.name,
                by.pid,
                by.host
            );
            return Ok(false);
        }
        Err(error) => return Err(Failure::new(Exit::Failed, error)),
    };
    let aside = runs.join(format!("{REMOVED}{}", entry.name));
    fs::rename(&folder, &aside).map_err(|error| refused(&folder, &error))?;
    // They are gone with the folder: an owner that goes on saying that it is at work would make it anew.
    drop(locks);
    fs::remove_dir_all(&aside).map_err(|error| refused(&aside, &error))?;
    Ok(true)
}

/// The locks that keep others out of a folder: for dense levels one for each seed.
fn locks(folder: &Path, kind: Kind) -> Result<Vec<Lock>, LockError> {
    let run = RunDir::new(folder);
    match kind {
        Kind::Dense => {
            let seeds = run.seeds().into_iter();
            let locks = seeds.map(|it| Lock::take(&run.seed(it).path().join("lock")));
            locks.collect()
        }
        Kind::Sweep | Kind::Run | Kind::Simulation => Ok(vec![run.lock()?]),
    }
}

fn refused(folder: &Path, error: &std::io::Error) -> Failure {
    Failure::new(
        Exit::Failed,
        format!(
            "failed to remove {}: {error}; the same command goes on from there",
            folder.display()
        ),
    )
}
