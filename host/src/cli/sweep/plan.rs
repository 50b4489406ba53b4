//! `host plan` of a sweep.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::cli::args::{Output, PlanArgs};
use crate::cli::exit::{Exit, Failure};
use crate::cli::neuron;
use crate::cli::outline::Outline;
use crate::cli::plan::{duration, grouped, outline, plan_one, stand_in};
use crate::cli::stdout;
use crate::experiment::{self, CellFile};
use crate::records::name_in_sweep;
use crate::report::columns;
use crate::run::{HostCatalog, Read};
use crate::store::RunDir;

/// A cell with what its run would do.
struct Row<'a> {
    name: String,
    cell: &'a CellFile,
    outline: Outline,
    /// Levels that are done, of all seeds together.
    done: u64,
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
    // The time of a step is measured once for each network and training.
    let mut seconds: BTreeMap<String, f64> = BTreeMap::new();
    let mut rows = Vec::new();
    for (name, cell) in named {
        let read = Read::new(cell.loaded.clone(), &catalog)?;
        let dense = catalog
            .dense_identity(&cell.loaded)
            .map_err(Failure::bad_input)?;
        let timed = !args.no_estimate && !seconds.contains_key(&dense.hash);
        let outline = outline(args, &read, stand_in(args, &read)?, false, timed)
            .map_err(|failure| failure.of(&name))?;
        if let Some(estimate) = &outline.estimate {
            seconds.insert(dense.hash.clone(), estimate.seconds_per_step);
        }
        rows.push((
            dense.hash,
            Row {
                done: done(cell),
                name,
                cell,
                outline,
            },
        ));
    }
    let time: Option<f64> = (!seconds.is_empty()).then(|| {
        let left = |row: &Row<'_>| {
            let all = (row.outline.levels.len() * row.outline.seeds.len()) as u64;
            let share = (all - row.done.min(all)) as f64 / all.max(1) as f64;
            share * row.outline.steps_left() as f64
        };
        let time = |(dense, row): &(String, Row<'_>)| {
            seconds
                .get(dense)
                .map_or(0.0, |seconds| seconds * left(row))
        };
        rows.iter().map(time).sum()
    });
    let rows: Vec<Row<'_>> = rows.into_iter().map(|(_, row)| row).collect();
    let here = catalog.missing_data().is_none();
    stdout::line(match output.json {
        true => as_json(&sweep.name, &rows, &simulations, time, here).to_string(),
        false => as_text(
            &args.place.runs.join(&sweep.name),
            &rows,
            &simulations,
            time,
            here,
        ),
    })?;
    Ok(Exit::Success)
}

/// Levels of all seeds that are declared done; what runs checks their files.
fn done(cell: &CellFile) -> u64 {
    let run = RunDir::new(&cell.run.folder);
    let experiment = &cell.loaded.experiment;
    let of_seed = |&seed: &u64| {
        let levels = 0..=experiment.last_level();
        let finished = |level: &u64| run.seed(seed).level(*level).file("done.json").exists();
        levels.take_while(finished).count() as u64
    };
    experiment.seeds.iter().map(of_seed).sum()
}

fn as_json(
    name: &str,
    rows: &[Row<'_>],
    simulations: &[PathBuf],
    time: Option<f64>,
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
    json!({ "sweep": name, "cells": cells, "neurons": simulations, "seconds": time })
}

fn as_text(
    folder: &Path,
    rows: &[Row<'_>],
    simulations: &[PathBuf],
    time: Option<f64>,
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
            last.map_or_else(String::new, |level| grouped(level.keep)),
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
    let runs: std::collections::BTreeSet<&str> = rows
        .iter()
        .map(|row| row.cell.run.folder.as_str())
        .collect();
    let count = if here { runs.len() } else { rows.len() };
    let mut text = format!("{}: {count} runs\n\n{table}", folder.display());
    for simulation in simulations {
        text = format!(
            "{text}\n\n{}: the hidden neuron, a few seconds",
            simulation.display()
        );
    }
    if let Some(time) = time {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        text = format!(
            "{text}\n\nabout {} of training to do, if one run goes on at a time; this machine has {cores} cores",
            duration(time)
        );
    }
    text
}
