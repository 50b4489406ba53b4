//! `host best`.

use serde_json::{Value, json};

use super::args::{BestArgs, Output};
use super::exit::{Exit, Failure};
use super::locate::locate;
use super::stdout;
use crate::experiment::Measure;
use crate::records::{SweepRecord, name_in_sweep, stopped_cells};
use crate::report::{Interval, Results, Subject, columns, value};

/// A run of the sweep at the level that is looked at.
struct Candidate {
    name: String,
    folder: String,
    density: f64,
    seeds: usize,
    validation: Interval,
    test: Interval,
}

/// Prints the runs of a sweep in the order of their validation accuracy, and what the test samples say of the best.
///
/// # Errors
/// A name that is no sweep, and sweeps without validation or without a level to compare.
pub fn best(args: &BestArgs, output: &Output) -> Result<Exit, Failure> {
    let Subject::Sweep(folder) = locate(&args.sweep, &args.runs)? else {
        return Err(Failure::bad_input(format!(
            "{} is no sweep: only of several runs one is the best",
            args.sweep.display()
        )));
    };
    let record = SweepRecord::read(&folder).map_err(|error| Failure::new(Exit::Failed, error))?;
    let cells = record.parts.iter().flat_map(|part| {
        let name = |cell: &str| name_in_sweep(record.parts.len(), &part.name, cell);
        (part.cells.iter()).map(move |cell| (name(&cell.name), cell))
    });
    let cells: Vec<(String, Results)> = cells
        .map(|(name, cell)| {
            let results = Results::read(&cell.folder(&folder), Some(&cell.seeds));
            (name, results)
        })
        .collect();
    let stopped = stopped_cells(&folder);
    // At a level that it came to a stopped run is one of them.
    let ends_before = |name: &str| {
        let last = stopped.get(name).map(|it| it.level);
        last.is_some_and(|last| args.level.is_none_or(|level| last < level))
    };
    let (out, cells): (Vec<_>, Vec<_>) =
        (cells.into_iter()).partition(|(name, _)| ends_before(name));
    let level = match args.level {
        Some(level) => level,
        None => last_common_level(&cells).ok_or_else(|| {
            let folder = folder.display();
            Failure::bad_input(format!(
                "{folder} has no level that all its seeds have finished"
            ))
        })?,
    };
    let mut candidates: Vec<Candidate> = (cells.iter())
        .filter_map(|(name, results)| candidate(name, results, level))
        .collect();
    if candidates.is_empty() {
        return Err(Failure::bad_input(format!(
            "{} has no run with a validation accuracy at level {level}: expected `validation` in [data], such as \
             `validation = 0.1`, by whose samples the best is chosen",
            folder.display()
        )));
    }
    if !out.is_empty() {
        let names: Vec<&str> = out.iter().map(|it| it.0.as_str()).collect();
        log::info!("left out, as they were stopped: {}", names.join(", "));
    }
    let left_out = cells.len() - candidates.len();
    if left_out > 0 {
        log::warn!(
            "{left_out} of {} runs have no validation accuracy at level {level}",
            cells.len()
        );
    }
    // Of two that are equal the first of the sweep is the best.
    candidates.sort_by(|a, b| b.validation.mean.total_cmp(&a.validation.mean));
    stdout::line(match output.json {
        true => as_json(level, &candidates).to_string(),
        false => text(level, &candidates),
    })?;
    Ok(Exit::Success)
}

/// The last level that every seed of every run has finished.
fn last_common_level(cells: &[(String, Results)]) -> Option<u64> {
    let seeds = cells.iter().flat_map(|(_, results)| &results.seeds);
    let levels = seeds.map(|seed| seed.levels.len() as u64).min()?;
    levels.checked_sub(1)
}

fn candidate(name: &str, results: &Results, level: u64) -> Option<Candidate> {
    let of = |measure| -> Vec<f64> {
        let values = results.at(level);
        values
            .filter_map(|summary| value(measure, summary))
            .collect()
    };
    let validation = of(Measure::ValidationAccuracy);
    Some(Candidate {
        name: name.to_owned(),
        folder: results.run.name(),
        density: results.density(level)?,
        seeds: validation.len(),
        validation: Interval::of(&validation)?,
        test: Interval::of(&of(Measure::TestAccuracy))?,
    })
}

/// A mean with its interval, in percent.
fn shown(interval: &Interval) -> String {
    match interval.half_width {
        Some(half) => format!("{:.2} ± {:.2}", 100.0 * interval.mean, 100.0 * half),
        None => format!("{:.2}", 100.0 * interval.mean),
    }
}

fn text(level: u64, candidates: &[Candidate]) -> String {
    let rows = candidates.iter().map(|it| {
        vec![
            it.name.clone(),
            format!("{:.4}", it.density),
            shown(&it.validation),
            shown(&it.test),
            it.seeds.to_string(),
        ]
    });
    let header = [
        "run",
        "density",
        "validation accuracy %",
        "test accuracy %",
        "seeds",
    ];
    let table = columns(header.map(str::to_owned).into(), rows, &[1, 2, 3, 4]);
    let best = &candidates[0];
    format!(
        "{table}\n\nBest by validation at level {level}: {}. Its test accuracy is {} %.",
        best.name,
        shown(&best.test)
    )
}

fn as_json(level: u64, candidates: &[Candidate]) -> Value {
    let interval = |it: &Interval| json!({ "mean": it.mean, "half_width": it.half_width });
    let runs = candidates.iter().map(|it| {
        json!({
            "name": it.name, "run": it.folder, "density": it.density, "seeds": it.seeds,
            "validation_accuracy": interval(&it.validation), "test_accuracy": interval(&it.test),
        })
    });
    json!({
        "level": level, "best": candidates[0].name, "chosen_by": "validation-accuracy",
        "runs": runs.collect::<Vec<_>>(),
    })
}
