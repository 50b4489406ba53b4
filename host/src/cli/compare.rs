//! `host compare`.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::args::{CompareArgs, Output};
use super::exit::{Exit, Failure};
use super::locate::locate;
use super::stdout;
use crate::counted::counted;
use crate::experiment::Measure;
use crate::records::{SweepRecord, name_in_sweep};
use crate::report::{PAIRED_COLUMNS, PairedLevel, Results, Subject, columns, measured, paired};

/// A run that was named, and how it is shown.
struct Named {
    name: String,
    results: Results,
}

/// Prints the differences of two runs, seed by seed, at every level.
///
/// # Errors
/// Names that are no runs, and runs that cannot be compared.
pub fn compare(args: &CompareArgs, output: &Output) -> Result<Exit, Failure> {
    let first = read(&args.first, &args.runs)?;
    let second = read(&args.second, &args.runs)?;
    check(&first, &second)?;
    let measure = args.measure.unwrap_or_default();
    let levels = paired(&first.results, &second.results, measure);
    if levels.is_empty() {
        return Err(Failure::bad_input(format!(
            "{} and {} have no finished level of a common seed: {} has {}, {} has {}",
            first.name,
            second.name,
            first.name,
            standing(&first.results),
            second.name,
            standing(&second.results),
        )));
    }
    for note in notes(&first, &second, &levels) {
        log::warn!("{note}");
    }
    if output.json {
        stdout::line(as_json(&first, &second, measure, &levels))?;
        return Ok(Exit::Success);
    }
    let what = measured(measure);
    stdout::line(format!(
        "{} minus {}: {what}, % and percentage points, with the 95 % interval from low to high\n\n{}",
        first.name,
        second.name,
        table(&levels)
    ))?;
    Ok(Exit::Success)
}

fn table(levels: &[PairedLevel]) -> String {
    let header = PAIRED_COLUMNS.map(|it| it.replace('_', " "));
    let numbers: Vec<usize> = (0..header.len()).collect();
    let rows = levels.iter().map(|it| it.texts().into());
    columns(header.into(), rows, &numbers)
}

/// The run that a name means: a folder, a name among the runs, or `SWEEP:METHOD`.
fn read(name: &str, runs: &Path) -> Result<Named, Failure> {
    let whole = locate(Path::new(name), runs);
    let found = match (whole, name.rsplit_once(':')) {
        (Ok(subject), _) => subject,
        (Err(_), Some((sweep, method))) => return of_sweep(sweep, method, runs),
        (Err(failure), None) => return Err(failure),
    };
    match found {
        Subject::Run(folder) => Ok(Named {
            name: name.trim_end_matches('/').to_owned(),
            results: Results::read(&folder, None),
        }),
        Subject::Sweep(folder) => {
            let record = sweep(&folder)?;
            Err(Failure::bad_input(format!(
                "{name} is a sweep: name one of its runs as {name}:RUN; it has {}",
                cells(&record).join(", ")
            )))
        }
        Subject::Neuron(_) => Err(Failure::bad_input(format!(
            "{name} is a simulation of the hidden neuron, which has no levels to compare"
        ))),
    }
}

fn of_sweep(name: &str, method: &str, runs: &Path) -> Result<Named, Failure> {
    let Subject::Sweep(folder) = locate(Path::new(name), runs)? else {
        return Err(Failure::bad_input(format!(
            "{name} is no sweep, so it has no method `{method}`: name a run by its folder"
        )));
    };
    let record = sweep(&folder)?;
    let (file, method) = match method.split_once('/') {
        Some((file, method)) => (Some(file), method),
        None => (None, method),
    };
    let parts = || (record.parts.iter()).filter(|it| file.is_none_or(|file| it.name == file));
    let all = || parts().flat_map(|it| &it.cells);
    let mut found: Vec<_> = all().filter(|it| it.name == method).collect();
    if found.is_empty() {
        found = all().filter(|it| it.method == method).collect();
    }
    let mut folders: Vec<&PathBuf> = found.iter().map(|it| &it.run).collect();
    folders.sort();
    folders.dedup();
    match (found.as_slice(), folders.as_slice()) {
        ([], _) => Err(Failure::bad_input(format!(
            "{name} has no run `{method}`; it has {}",
            cells(&record).join(", ")
        ))),
        ([cell, ..], [_]) => Ok(Named {
            name: format!("{name}:{method}"),
            results: Results::read(&cell.folder(&folder), Some(&cell.seeds)),
        }),
        (_, folders) => {
            let names = folders.iter().filter_map(|it| it.file_name());
            let names: Vec<_> = names.map(|it| it.to_string_lossy()).collect();
            Err(Failure::bad_input(format!(
                "{name} has several runs of `{method}`: {}",
                names.join(", ")
            )))
        }
    }
}

fn sweep(folder: &Path) -> Result<SweepRecord, Failure> {
    SweepRecord::read(folder).map_err(|error| Failure::new(Exit::Failed, error))
}

fn cells(record: &SweepRecord) -> Vec<String> {
    let name = |part: &str, cell: &str| name_in_sweep(record.parts.len(), part, cell);
    (record.parts.iter())
        .flat_map(|part| part.cells.iter().map(|cell| name(&part.name, &cell.name)))
        .collect()
}

/// Refuses runs on other data; says so where the networks are others.
fn check(first: &Named, second: &Named) -> Result<(), Failure> {
    let mut damaged = [first, second]
        .into_iter()
        .filter_map(|it| it.results.damage.as_ref());
    if let Some(damage) = damaged.next() {
        return Err(Failure::new(Exit::Failed, damage));
    }
    let checksum = |it: &Named| it.results.identity["canonical"]["data_checksum"].clone();
    let (Some(a), Some(b)) = (&first.results.experiment, &second.results.experiment) else {
        return Ok(());
    };
    if a.data != b.data || checksum(first) != checksum(second) {
        return Err(Failure::bad_input(format!(
            "{} and {} are not measured on the same data: {} and {}",
            first.name,
            second.name,
            json!(a.data),
            json!(b.data)
        )));
    }
    if a.model != b.model {
        log::warn!(
            "the networks differ, so their seeds share no initial weights: {} and {}",
            json!(a.model),
            json!(b.model)
        );
    }
    Ok(())
}

/// What a reader of the differences must know.
fn notes(first: &Named, second: &Named, levels: &[PairedLevel]) -> Vec<String> {
    let mut notes = Vec::new();
    for (own, other) in [(first, second), (second, first)] {
        let known: Vec<u64> = other.results.seeds.iter().map(|it| it.seed).collect();
        let seeds = own
            .results
            .seeds
            .iter()
            .filter(|it| !known.contains(&it.seed));
        let seeds: Vec<String> = seeds.map(|it| it.seed.to_string()).collect();
        if !seeds.is_empty() {
            let noun = if seeds.len() == 1 { "seed" } else { "seeds" };
            let seeds = seeds.join(", ");
            notes.push(format!(
                "{noun} {seeds} of {} left out: not in {}",
                own.name, other.name
            ));
        }
    }
    let builds = [first, second]
        .into_iter()
        .filter_map(|it| it.results.builds.as_ref());
    notes.extend(builds.map(|it| it.note.clone()));
    let most = levels.iter().map(|it| it.seeds.len()).max().unwrap_or(0);
    if let Some(fewer) = levels.iter().find(|it| it.seeds.len() < most) {
        notes.push(format!(
            "from level {} on, some seeds are not finished in both and are left out there",
            fewer.level
        ));
    }
    let (a, b) = (first.results.levels(), second.results.levels());
    if a != b {
        notes.push(format!(
            "{} has {}, {} has {b}",
            first.name,
            counted(a, "level"),
            second.name
        ));
    }
    let other = levels
        .iter()
        .find(|it| (it.density[0] - it.density[1]).abs() > 1e-3);
    if let Some(other) = other {
        notes.push(format!(
            "densities differ from level {} on: levels are compared, not densities",
            other.level
        ));
    }
    notes
}

fn standing(results: &Results) -> String {
    let seeds = results
        .seeds
        .iter()
        .map(|it| format!("{} of seed {}", it.levels.len(), it.seed));
    let seeds: Vec<String> = seeds.collect();
    match seeds.is_empty() {
        true => "no seed".to_owned(),
        false => format!("levels {}", seeds.join(", ")),
    }
}

fn as_json(first: &Named, second: &Named, measure: Measure, levels: &[PairedLevel]) -> Value {
    let row = |level: &PairedLevel| {
        let mut row = Map::new();
        for (column, text) in PAIRED_COLUMNS.into_iter().zip(level.texts()) {
            // The same digits as in the table; an empty bound is null.
            let value = serde_json::from_str(&text).unwrap_or(Value::Null);
            row.insert(column.to_owned(), value);
        }
        row.insert("seeds".to_owned(), json!(level.seeds));
        Value::Object(row)
    };
    let builds = |it: &Named| {
        let builds = it.results.builds.as_ref();
        builds.map(|it| it.levels.clone()).unwrap_or_default()
    };
    json!({
        "other_builds": { "above": builds(first), "below": builds(second) },
        "above": first.name, "below": second.name, "measure": measured(measure),
        "levels": levels.iter().map(row).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests;
