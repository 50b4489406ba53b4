//! `host status`: how far a sweep is, from its files alone, wherever its processes run.

mod disk;

use std::io::IsTerminal;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::args::{Output, StatusArgs};
use super::exit::{Exit, Failure};
use super::locate;
use super::plan::{bytes, duration};
use super::stdout;
use crate::counted::counted;
use crate::records::SweepRecord;
use crate::report::{Subject, columns};
use crate::standing::{Look, Standing, State, Total};
use crate::store::Owner;

/// Time between two looks.
const PAUSE: Duration = Duration::from_secs(5);

/// Files are counted again after this time: there may be many.
const RECOUNT: Duration = Duration::from_secs(60);

/// Shows how far a sweep is: once, or until all of it is done.
///
/// # Errors
/// What is no sweep, or cannot be read.
pub fn status(args: &StatusArgs, output: &Output) -> Result<Exit, Failure> {
    let folder = match locate::locate(&args.sweep, &args.runs)? {
        Subject::Sweep(folder) => folder,
        Subject::Run(folder) | Subject::Neuron(folder) => {
            return Err(Failure::bad_input(format!(
                "{} is no sweep: expected the folder that `run` made of a file with [sweep]",
                folder.display()
            )));
        }
    };
    let failed = |error| Failure::new(Exit::Failed, error);
    let mut look = Look::default();
    let mut used = disk::used(&folder, &SweepRecord::read(&folder).map_err(failed)?);
    let mut counted_at = Instant::now();
    loop {
        let record = SweepRecord::read(&folder).map_err(failed)?;
        if counted_at.elapsed() > RECOUNT {
            used = disk::used(&folder, &record);
            counted_at = Instant::now();
        }
        let cells = look.cells(&folder, &record);
        if args.watch && !output.json && std::io::stdout().is_terminal() {
            // To the first row, without what was there.
            stdout::whole(b"\x1b[H\x1b[2J")?;
        }
        stdout::line(match output.json {
            true => as_json(&folder, &cells, used).to_string(),
            false => as_text(&folder, &cells, used),
        })?;
        let is_done = cells.iter().all(|cell| cell.state.is_over());
        if !args.watch || is_done {
            return Ok(Exit::Success);
        }
        thread::sleep(PAUSE);
    }
}

/// Who is at work on cells of a sweep, by their names.
///
/// # Errors
/// If the sweep cannot be read.
pub fn at_work(sweep: &Path) -> Result<Vec<(String, Owner)>, Failure> {
    let record = SweepRecord::read(sweep).map_err(|error| Failure::new(Exit::Failed, error))?;
    let cells = Look::default().cells(sweep, &record).into_iter();
    let owned = cells.filter_map(|cell| Some((cell.name, cell.owner?)));
    Ok(owned.collect())
}

fn as_json(folder: &Path, cells: &[Standing], bytes: u64) -> Value {
    let total = Total::of(cells);
    let states = State::ALL.iter().zip(total.states);
    let states: serde_json::Map<String, Value> = states
        .map(|(state, count)| (state.word().to_owned(), count.into()))
        .collect();
    json!({
        "event": "status", "sweep": folder, "cells": cells, "states": states,
        "levels_done": total.levels_done, "levels": total.levels,
        "seconds_left": total.seconds, "bytes": bytes,
    })
}

fn as_text(folder: &Path, cells: &[Standing], used: u64) -> String {
    let header = ["cell", "state", "levels", "left", ""].map(str::to_owned);
    let rows = cells.iter().map(|cell| {
        let levels = cell
            .levels
            .map_or_else(|| "?".to_owned(), |it| it.to_string());
        let left = cell.seconds_left.filter(|_| !cell.state.is_over());
        vec![
            cell.name.clone(),
            cell.state.word().to_owned(),
            format!("{}/{levels}", cell.levels_done),
            left.map_or_else(String::new, duration),
            cell.note(),
        ]
    });
    let table = columns(header.into(), rows, &[2, 3]);
    let total = Total::of(cells);
    let states = State::ALL.iter().zip(total.states);
    let states: Vec<String> = states
        .filter(|(_, count)| *count > 0)
        .map(|(state, count)| format!("{count} {}", state.word()))
        .collect();
    let left = total.seconds.filter(|it| *it > 0.0);
    let left = left.map(|it| format!("; about {} left at this pace", duration(it)));
    format!(
        "{table}\n\n{}: {} ({}); {} of {} done{}; {}",
        folder.display(),
        counted(cells.len(), "cell"),
        states.join(", "),
        total.levels_done,
        counted(total.levels, "level"),
        left.unwrap_or_default(),
        bytes(used)
    )
}
