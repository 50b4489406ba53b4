//! `host show`.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};

use super::args::{Output, ShowArgs};
use super::exit::{Exit, Failure};
use super::locate;
use super::stdout;
use crate::counted::counted;
use crate::experiment::{self, Experiment};
use crate::records::{self, SweepRecord, stopped_beside};
use crate::report::{self, OtherBuilds, Overview, Part, Subject};
use crate::store::{self, RunDir, StoreError};

/// Where a seed of a run stands.
struct Standing {
    seed: u64,
    levels: u64,
    failure: Option<Value>,
}

/// Shows the levels of a run, or what the runs of a sweep came to.
///
/// # Errors
/// A folder that is neither, or one that cannot be read.
pub fn show(args: &ShowArgs, output: &Output) -> Result<Exit, Failure> {
    if let Ok(Subject::Sweep(folder)) = locate::locate(&args.run, &args.runs) {
        return show_sweep(&folder, output);
    }
    let path = locate::find(&args.run, &args.runs)?;
    let run = RunDir::new(&path);
    let experiment = experiment(&run)?;
    let mut seeds: BTreeSet<u64> = run.seeds().into_iter().collect();
    seeds.extend(experiment.iter().flat_map(|it| &it.seeds));
    let seeds: Vec<u64> = seeds.into_iter().collect();
    let failed = |error| Failure::new(Exit::Failed, error);
    let summaries = records::summaries(&run, &seeds).map_err(failed)?;
    let standings: Vec<Standing> = (seeds.iter())
        .map(|&seed| Standing {
            seed,
            levels: summaries.iter().filter(|it| it.seed == seed).count() as u64,
            failure: failure(&run, seed),
        })
        .collect();
    let wanted = experiment.as_ref().map(|it| it.last_level() + 1);
    let builds = OtherBuilds::read(&run);
    if output.json {
        let seeds: Vec<Value> = (standings.iter())
            .map(|it| json!({ "seed": it.seed, "levels": it.levels, "failure": it.failure }))
            .collect();
        stdout::line(json!({
            "run": path, "levels": wanted, "seeds": seeds, "summaries": summaries,
            "other_builds": builds.map(|it| it.levels).unwrap_or_default(),
        }))?;
        return Ok(Exit::Success);
    }
    let mut text = match summaries.is_empty() {
        true => "no level is finished yet".to_owned(),
        false => report::table(&summaries, builds.as_ref()),
    };
    // A level at which a sweep stopped the run is as good as its last.
    let stopped = wanted.and_then(|wanted| {
        let is_unfinished = standings.iter().any(|it| it.levels < wanted);
        stopped_beside(&path).filter(|_| is_unfinished)
    });
    let wanted = match &stopped {
        Some(it) => Some(it.level + 1),
        None => wanted,
    };
    let mut notes: Vec<String> = standings.iter().filter_map(|it| note(it, wanted)).collect();
    notes.extend(stopped.map(|it| it.to_string()));
    if !notes.is_empty() {
        text = format!("{text}\n\n{}", notes.join("\n"));
    }
    stdout::line(text)?;
    Ok(Exit::Success)
}

fn show_sweep(folder: &Path, output: &Output) -> Result<Exit, Failure> {
    let failed = |error| Failure::new(Exit::Failed, error);
    let parts = parts(folder).map_err(failed)?;
    if output.json {
        let parts: Vec<Value> = (parts.iter().filter_map(Overview::of))
            .map(|it| it.json())
            .collect();
        stdout::line(json!({ "sweep": folder, "parts": parts }))?;
        return Ok(Exit::Success);
    }
    let tables = overviews(&parts);
    stdout::line(match tables.is_empty() {
        true => "no level is finished yet".to_owned(),
        false => tables.join("\n\n"),
    })?;
    Ok(Exit::Success)
}

/// The parts of a sweep that have runs.
///
/// # Errors
/// If its record is missing or damaged.
pub(super) fn parts(folder: &Path) -> Result<Vec<Part>, StoreError> {
    let record = SweepRecord::read(folder)?;
    let mut parts = Part::all_of_sweep(folder, &record);
    parts.retain(|it| !it.cells.is_empty());
    Ok(parts)
}

/// A table for each part with a finished level, under its title if there are several.
pub(super) fn overviews(parts: &[Part]) -> Vec<String> {
    let overviews = parts
        .iter()
        .filter_map(|part| Some((part, Overview::of(part)?)));
    let text = |(part, overview): (&Part, Overview<'_>)| match parts.len() {
        1 => overview.text(),
        _ => format!("{}\n\n{}", part.title, overview.text()),
    };
    overviews.map(text).collect()
}

/// What the run was started with; none for a folder of dense levels.
fn experiment(run: &RunDir) -> Result<Option<Experiment>, Failure> {
    let path = run.file("experiment.toml");
    if !path.exists() {
        return Ok(None);
    }
    let read = experiment::read_stored(&path).map(Some);
    read.map_err(|error| Failure::new(Exit::Failed, error))
}

fn failure(run: &RunDir, seed: u64) -> Option<Value> {
    serde_json::from_slice(&store::read(&run.seed(seed).failure()).ok()?).ok()
}

/// What is to be said of a seed besides its levels.
fn note(standing: &Standing, wanted: Option<u64>) -> Option<String> {
    let (seed, levels) = (standing.seed, standing.levels);
    if let Some(failure) = &standing.failure {
        let reason = failure["reason"].as_str().unwrap_or("the reason is lost");
        return Some(format!(
            "seed {seed} was given up at level {}: {reason}",
            failure["level"]
        ));
    }
    let wanted = wanted.filter(|&wanted| levels < wanted)?;
    Some(format!(
        "seed {seed} is not finished: {levels} of {} done",
        counted(wanted, "level")
    ))
}
