//! `host plan` of a sweep.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::json;

use super::jobs::{RUN, count, jobs};
use crate::cli::args::{Output, PlanArgs};
use crate::cli::estimate::AT_MOST;
use crate::cli::exit::{Exit, Failure};
use crate::cli::neuron;
use crate::cli::outline::Outline;
use crate::cli::plan::{duration, estimate, grouped, plan_one};
use crate::cli::review;
use crate::cli::stdout;
use crate::counted::counted;
use crate::experiment::{self, CellFile, SweepFile};
use crate::records::name_in_sweep;
use crate::report::columns;
use crate::run::{Folders, HostCatalog, Read, stand_in};
use crate::store::RunDir;
use crate::strategy::units::measured;

/// A cell with what its run would do.
struct Row<'a> {
    name: String,
    cell: &'a CellFile,
    outline: Outline,
    /// Levels that are done, of all seeds together.
    done: u64,
}

/// How long all cells together take.
#[derive(Clone, Copy)]
struct Time {
    seconds: f64,
    /// Whether parts of batches were timed and scaled.
    in_parts: bool,
}

/// Shows what a sweep would do, or one of its cells.
///
/// # Errors
/// What is wrong with the input.
pub fn plan(args: &PlanArgs, output: &Output) -> Result<Exit, Failure> {
    let catalog = HostCatalog::new(&args.experiment.setting_at(&args.place));
    let sweep = experiment::load_sweep(
        &args.experiment.file,
        &args.experiment.overrides(),
        &catalog,
    )?;
    let mut named = Vec::new();
    let mut simulations = Vec::new();
    for part in &sweep.parts {
        simulations
            .extend((part.neuron.as_ref()).map(|file| neuron::folder(file, &args.place.runs)));
        for cell in &part.cells {
            let name = name_in_sweep(sweep.parts.len(), &part.name, &cell.name);
            named.push((name, cell));
        }
    }
    if let Some(wanted) = &args.cell {
        let found = named
            .iter()
            .find(|(name, cell)| name == wanted || cell.name == *wanted);
        let Some((_, cell)) = found else {
            let known: Vec<&str> = named.iter().map(|(name, _)| name.as_str()).collect();
            let known = known.join(", ");
            return Err(Failure::bad_input(format!(
                "the sweep has no cell `{wanted}`; its cells are {known}"
            )));
        };
        let read = Read::new(cell.loaded.clone(), &catalog)?;
        return plan_one(args, &read, output);
    }
    if let Some(missing) = catalog.missing_data() {
        log::warn!("{missing}");
    }
    let setting = args.experiment.setting_at(&args.place);
    review::settle_sweep(&sweep, &catalog, &setting, output)?;
    let mut dense = Vec::new();
    for (_, cell) in &named {
        let identity = catalog.dense_identity(&cell.loaded);
        dense.push(identity.map_err(Failure::bad_input)?.hash);
    }
    // The time of a step is measured once for each network and training; they share the time for it.
    let mut seconds: BTreeMap<String, f64> = BTreeMap::new();
    let networks: BTreeSet<&String> = dense.iter().collect();
    let most = AT_MOST / networks.len().max(1) as u32;
    let mut in_parts = false;
    let mut rows = Vec::new();
    for ((name, cell), dense) in named.into_iter().zip(&dense) {
        let read = Read::new(cell.loaded.clone(), &catalog)?;
        let trainer = read.trainer(stand_in(&read, &setting)?, setting.device)?;
        let course = Folders::unknown().course(&read.loaded.experiment, &trainer);
        let outline = Outline::new(&read, &course, false).map_err(|failure| failure.of(&name))?;
        if !args.no_estimate && !seconds.contains_key(dense) {
            let left = outline.steps_left();
            let estimate = estimate(trainer, &read, &setting, left, most);
            if let Some(estimate) = estimate.map_err(|failure| failure.of(&name))? {
                in_parts |= !estimate.is_whole();
                seconds.insert(dense.clone(), estimate.seconds_per_step);
            }
        }
        rows.push((
            dense.clone(),
            Row {
                done: (cell.loaded.experiment.seeds.iter())
                    .map(|&seed| done(cell, seed))
                    .sum(),
                name,
                cell,
                outline,
            },
        ));
    }
    let here = catalog.missing_data().is_none();
    let time = (!seconds.is_empty()).then(|| Time {
        seconds: time_left(&rows, &seconds, here),
        in_parts,
    });
    let rows: Vec<Row<'_>> = rows.into_iter().map(|(_, row)| row).collect();
    let others = (jobs(&sweep, &args.place.runs, &[], &catalog)?.into_iter()).map(|job| job.noun);
    let runs: BTreeSet<&str> = rows
        .iter()
        .map(|row| row.cell.run.folder.as_str())
        .collect();
    let runs = if here { runs.len() } else { rows.len() };
    let count = count(
        (0..runs)
            .map(|_| RUN)
            .chain(others.filter(|noun| *noun != RUN)),
    );
    stdout::line(match output.json {
        true => as_json(&sweep, &rows, &simulations, time, here).to_string(),
        false => {
            as_text(
                &args.place.runs.join(&sweep.name),
                &rows,
                &simulations,
                time,
                &count,
                here,
            ) + &rungs_text(&sweep)
        }
    })?;
    Ok(Exit::Success)
}

/// Seconds until all is trained, given those of a step by dense level. Where the runs are known, cells
/// that share one have each of its seeds trained once.
fn time_left(rows: &[(String, Row<'_>)], seconds: &BTreeMap<String, f64>, here: bool) -> f64 {
    let mut counted: BTreeSet<(&str, u64)> = BTreeSet::new();
    let mut time = 0.0;
    for (dense, row) in rows {
        let Some(seconds) = seconds.get(dense) else {
            continue;
        };
        let run = row.cell.run.folder.as_str();
        let own = &row.cell.loaded.experiment.seeds;
        let new = own
            .iter()
            .filter(|&&seed| counted.insert((run, seed)) || !here);
        let levels = row.outline.levels.len() as u64;
        let left: u64 = new
            .map(|&seed| levels - done(row.cell, seed).min(levels))
            .sum();
        let all = levels * own.len() as u64;
        time += seconds * row.outline.steps_left() as f64 * left as f64 / all.max(1) as f64;
    }
    time
}

/// Levels of a seed that are declared done; what runs checks their files.
fn done(cell: &CellFile, seed: u64) -> u64 {
    let run = RunDir::new(&cell.run.folder).seed(seed);
    let finished = |level: &u64| run.level(*level).file("done.json").exists();
    let levels = 0..=cell.loaded.experiment.last_level();
    levels.take_while(finished).count() as u64
}

fn as_json(
    sweep: &SweepFile,
    rows: &[Row<'_>],
    simulations: &[PathBuf],
    time: Option<Time>,
    here: bool,
) -> serde_json::Value {
    let cells: Vec<_> = (rows.iter())
        .map(|row| {
            json!({
                "cell": row.name,
                "method": row.cell.method,
                "values": row.cell.values,
                "run": here.then_some(&row.cell.run.folder),
                "sources": here.then_some(&row.cell.sources),
                "levels_done": row.done,
                "outline": row.outline,
            })
        })
        .collect();
    let mut plan = json!({
        "sweep": sweep.name, "cells": cells, "neurons": simulations, "seconds": time.map(|it| it.seconds),
    });
    let rungs = rungs(sweep);
    if !rungs.is_empty() {
        let rungs = rungs.into_iter();
        let rungs = rungs.map(|(part, levels)| json!({ "part": part, "levels": levels }));
        plan["rungs"] = rungs.collect();
    }
    plan
}

/// The levels at which cells may be stopped, by part.
fn rungs(sweep: &SweepFile) -> Vec<(&str, Vec<u64>)> {
    let parts = sweep.parts.iter().filter_map(|part| {
        let stop = part.stop.as_ref()?;
        let last = part
            .cells
            .iter()
            .map(|it| it.loaded.experiment.last_level());
        Some((part.name.as_str(), stop.rungs(last.max()?)))
    });
    parts.collect()
}

/// What is said of these levels; empty without.
fn rungs_text(sweep: &SweepFile) -> String {
    let each = rungs(sweep).into_iter().map(|(part, levels)| {
        let levels: Vec<String> = levels.iter().map(u64::to_string).collect();
        let whose = match sweep.parts.len() {
            1 => String::new(),
            _ => format!("{part}: "),
        };
        format!(
            "\n\n{whose}cells that are behind by validation are stopped at level {}; this is what is done if none is",
            levels.join(", ")
        )
    });
    each.collect()
}

fn as_text(
    folder: &Path,
    rows: &[Row<'_>],
    simulations: &[PathBuf],
    time: Option<Time>,
    count: &str,
    here: bool,
) -> String {
    let cells = rows.iter().map(|row| {
        let outline = &row.outline;
        let last = outline.levels.last();
        let (levels, seeds) = (outline.levels.len() as u64, outline.seeds.len() as u64);
        let run = Path::new(&row.cell.run.folder)
            .file_name()
            .unwrap_or_default();
        let run = match here {
            true => run.to_string_lossy().into_owned(),
            false => format!("{}-…", row.cell.loaded.experiment.name),
        };
        vec![
            row.name.clone(),
            levels.to_string(),
            seeds.to_string(),
            grouped(outline.prunable),
            last.map_or_else(String::new, |level| match level.whole_units {
                None => grouped(level.keep),
                Some(whole) => format!("{} {}", grouped(level.keep), measured(whole.measure)),
            }),
            format!("{}/{}", row.done, levels * seeds),
            run,
        ]
    });
    let header = [
        "cell",
        "levels",
        "seeds",
        "weights",
        "keeps at last",
        "done",
        "run",
    ];
    let table = columns(header.map(str::to_owned).into(), cells, &[1, 2, 3, 4, 5]);
    let mut text = format!("{}: {count}\n\n{table}", folder.display());
    for simulation in simulations {
        text = format!(
            "{text}\n\n{}: the hidden neuron, a few seconds",
            simulation.display()
        );
    }
    if let Some(time) = time {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let scaled = match time.in_parts {
            true => "; timed with parts of batches, scaled",
            false => "",
        };
        text = format!(
            "{text}\n\nabout {} of training to do, if one run goes on at a time; this machine has {}{scaled}",
            duration(time.seconds),
            counted(cores, "core")
        );
    }
    text
}
