//! `host neuron`, and experiment files with the table `[neuron]`.

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::json;

use super::args::{ExperimentArgs, NeuronArgs, Output, PlaceArgs};
use super::exit::{Exit, Failure};
use super::stdout;
use crate::counted::counted;
use crate::experiment::{NeuronFile, load_neuron};
use crate::neuron::{self, Fraction, Method, NeuronRecord, Quadrant, Settings, Update};
use crate::report::columns;
use crate::run::HostCatalog;
use crate::store::Lock;

/// Simulates the single hidden neuron with settings from the command line.
///
/// # Errors
/// Settings that cannot be simulated; files that cannot be written.
pub fn neuron(args: &NeuronArgs, output: &Output) -> Result<Exit, Failure> {
    let settings = Settings {
        dimensions: args.dimensions.clone(),
        inits: args.inits,
        time: args.time,
        step: args.step,
        scale: args.scale,
        seed: args.seed,
        update: args.update.update().map_err(Failure::bad_input)?,
    };
    settings.check().map_err(|error| {
        let name = error.name.replace('_', "-");
        let said = error
            .to_string()
            .replacen(error.name, &format!("--{name}"), 1);
        Failure::bad_input(said)
    })?;
    let file = NeuronFile {
        name: "neuron".to_owned(),
        neuron: settings,
    };
    show(&file, &args.runs, args.threads(), output)
}

/// Simulates what an experiment file says.
///
/// # Errors
/// As [`neuron()`], and everything that is wrong with the file.
pub fn run(args: &ExperimentArgs, place: &PlaceArgs, output: &Output) -> Result<Exit, Failure> {
    show(&load(args)?, &place.runs, place.threads(), output)
}

/// Shows what [`run`] would do.
///
/// # Errors
/// Everything that is wrong with the file.
pub fn plan(args: &ExperimentArgs, place: &PlaceArgs, output: &Output) -> Result<Exit, Failure> {
    let file = load(args)?;
    let folder = folder(&file, &place.runs);
    let done = folder.join(neuron::FILE).exists();
    let NeuronFile { neuron, .. } = &file;
    let dimensions: Vec<String> = neuron.dimensions.iter().map(u64::to_string).collect();
    let descents = 3 * neuron.inits * neuron.dimensions.len() as u64;
    stdout::line(if output.json {
        json!({
            "name": file.name, "run": folder, "done": done, "neuron": neuron,
            "descents": descents, "steps_per_descent": neuron.steps(),
        })
        .to_string()
    } else {
        let state = if done { "done" } else { "new" };
        let rows = [
            ("run", format!("{} ({state})", folder.display())),
            ("neuron", format!("dimensions {}", dimensions.join(", "))),
            (
                "inits",
                format!(
                    "{} a dimension, of scale {}, seed {}",
                    neuron.inits, neuron.scale, neuron.seed
                ),
            ),
            ("update", update(&neuron.update)),
            (
                "descents",
                format!(
                    "{descents} (dense, IMP, LRR), each of time {} in {} of {}",
                    neuron.time,
                    counted(neuron.steps(), "step"),
                    neuron.step
                ),
            ),
        ];
        let line = |(name, what): &(&str, String)| format!("{name:<9} {what}");
        let said = |(name, _): &&(&str, String)| *name != "update" || !neuron.update.is_gradient();
        rows.iter()
            .filter(said)
            .map(line)
            .collect::<Vec<_>>()
            .join("\n")
    })?;
    Ok(Exit::Success)
}

/// The record of a simulation and its folder: read if it is finished, computed if not.
///
/// # Errors
/// If it cannot be computed, read or written.
pub fn simulate(
    file: &NeuronFile,
    runs: &Path,
    threads: usize,
) -> Result<(PathBuf, NeuronRecord), Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::new(Exit::Failed, error);
    let folder = folder(file, runs);
    if let Some(record) = finished(&folder)? {
        return Ok((folder, record));
    }
    let lock = Lock::wait(&folder.join("lock"), &|| false);
    let _lock = lock.map_err(|error| failed(&error))?;
    // Another process may have simulated it meanwhile.
    if let Some(record) = finished(&folder)? {
        return Ok((folder, record));
    }
    let start = Instant::now();
    let record = neuron::simulate(&file.neuron, threads).map_err(|error| failed(&error))?;
    neuron::write(&folder, &record).map_err(|error| failed(&error))?;
    log::info!("simulated in {:.1} s", start.elapsed().as_secs_f64());
    Ok((folder, record))
}

/// The record of a finished simulation, with its other files.
fn finished(folder: &Path) -> Result<Option<NeuronRecord>, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::new(Exit::Failed, error);
    let record = neuron::read(folder).map_err(|error| failed(&error))?;
    if let Some(record) = &record {
        neuron::complete(folder, record).map_err(|error| failed(&error))?;
        log::info!("{} is finished", folder.display());
    }
    Ok(record)
}

fn load(args: &ExperimentArgs) -> Result<NeuronFile, Failure> {
    if args.seeds.is_some() {
        let message = "a simulation of the hidden neuron has one seed: use --set neuron.seed=1 instead of --seeds";
        return Err(Failure::bad_input(message));
    }
    let catalog = HostCatalog::new(&args.setting(Path::new("")));
    Ok(load_neuron(&args.file, &args.set, &catalog)?)
}

/// The folder of a simulation.
pub fn folder(file: &NeuronFile, runs: &Path) -> PathBuf {
    runs.join(format!("{}-{}", file.name, file.neuron.short()))
}

fn show(file: &NeuronFile, runs: &Path, threads: usize, output: &Output) -> Result<Exit, Failure> {
    let (folder, record) = simulate(file, runs, threads)?;
    stdout::line(if output.json {
        json!({
            "event": "finished", "run": folder, "neuron": file.neuron, "gap": record.gap,
            "fractions": record.fractions, "step_errors": record.step_errors,
        })
        .to_string()
    } else if output.quiet {
        text(&record)
    } else {
        format!("{}\n\n{}", text(&record), folder.display())
    })?;
    Ok(Exit::Success)
}

/// Three tables: how often each method succeeds, by which signs, and how exact the steps are; before
/// them the update, where it is not gradient descent.
fn text(record: &NeuronRecord) -> String {
    let mut parts = vec![fractions(record), quadrants(record), errors(record)];
    if !record.update.is_gradient() {
        parts.insert(0, format!("update: {}", update(&record.update)));
    }
    parts.join("\n\n")
}

fn update(update: &Update) -> String {
    let options = update.options();
    let options = options
        .iter()
        .map(|(name, value)| format!(" {name} {value}"));
    let options: Vec<String> = options.collect();
    match options.is_empty() {
        true => update.name().to_owned(),
        false => format!("{} with{}", update.name(), options.join(",")),
    }
}

fn of(record: &NeuronRecord, method: Method) -> impl Iterator<Item = &Fraction> {
    record
        .fractions
        .iter()
        .filter(move |it| it.method == method)
}

fn fractions(record: &NeuronRecord) -> String {
    let rows = of(record, Method::Imp)
        .zip(of(record, Method::Lrr))
        .map(|(imp, lrr)| {
            let mut row = vec![imp.dimension.to_string()];
            for it in [imp, lrr] {
                row.push(format!("{:.4}", it.fraction()));
                row.push(format!("{:.4} to {:.4}", it.low, it.high));
            }
            row.push(imp.inits.to_string());
            row
        });
    let header = [
        "dimension",
        "IMP",
        "95 % interval",
        "LRR",
        "95 % interval",
        "inits",
    ];
    columns(header.map(str::to_owned).into(), rows, &[0, 1, 2, 3, 4, 5])
}

fn quadrants(record: &NeuronRecord) -> String {
    let header = ["successes by signs", "a+ w1+", "a+ w1-", "a- w1+", "a- w1-"];
    let count = |it: &Quadrant| format!("{} of {}", it.successes, it.inits);
    let rows = Method::BOTH.into_iter().flat_map(|method| {
        of(record, method).map(move |it| {
            let name = method.name().to_uppercase();
            let mut row = vec![format!("{name}, dimension {}", it.dimension)];
            row.extend(it.quadrants.iter().map(count));
            row
        })
    });
    columns(header.map(str::to_owned).into(), rows, &[1, 2, 3, 4])
}

fn errors(record: &NeuronRecord) -> String {
    let header = ["step", "distance from the closed form (dimension 1)"];
    let row = |it: &neuron::StepError| vec![it.step.to_string(), format!("{:.2e}", it.error)];
    let table = match record.step_errors.is_empty() {
        true => String::new(),
        false => {
            let rows = record.step_errors.iter().map(row);
            columns(header.map(str::to_owned).into(), rows, &[0]) + "\n\n"
        }
    };
    let loss = |loss: Option<f64>| loss.map_or_else(|| "none".to_owned(), |it| format!("{it:.1e}"));
    let gap = &record.gap;
    format!(
        "{table}success is a final loss below {}: the greatest below it is {}, the least above {}",
        gap.threshold,
        loss(gap.greatest_success),
        loss(gap.least_failure)
    )
}
