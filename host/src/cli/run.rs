//! `host run`.

use std::path::Path;
use std::time::Duration;

use indicatif::MultiProgress;
use serde_json::{Value, json};

use super::args::{Output, RunArgs};
use super::assemble::{self, Identities, Read};
use super::exit::{Exit, Failure};
use super::stdout;
use super::watch::Watcher;
use crate::interrupt::Interrupt;
use crate::levels::{Levels, Outcome, RunError};
use crate::records::Summary;
use crate::report;
use crate::shim;
use crate::store::{self, RunDir};

/// Runs an experiment, or goes on with it.
///
/// # Errors
/// What is wrong with the input, or what stopped the run.
pub fn run(args: &RunArgs, output: &Output, bars: &MultiProgress) -> Result<Exit, Failure> {
    let mut read = assemble::read(&args.experiment)?;
    let (device, runs) = (args.place.device, &args.place.runs);
    if device.is_cuda() {
        shim::set_deterministic(true).map_err(|error| Failure::new(Exit::Failed, error))?;
    }
    let data = read
        .data(&args.experiment, device)
        .map_err(|error| Failure::bad_input(assemble::data_failure(&error)))?;
    let identities = read.identities(&data);
    let trainer = read.trainer(data, device)?;
    let (run, dense) = folders(runs, &read, &identities);
    let _lock = run
        .lock()
        .map_err(|error| Failure::new(Exit::Failed, error))?;
    describe(&run, &read, &identities, args.allow_changed_plugins)?;
    let experiment = &read.loaded.experiment;
    let interrupt = Interrupt::listen(Exit::Interrupted as i32).map_err(|error| {
        Failure::new(
            Exit::Failed,
            format!("failed to listen to signals: {error}"),
        )
    })?;
    let levels = Levels {
        experiment,
        trainer: &trainer,
        run: run.clone(),
        dense,
        threads: args.place.threads(),
        checkpoint_every: Duration::from_secs(args.checkpoint_every),
        interrupt,
    };
    let mut watcher = Watcher::new(output, bars, experiment, &run);
    let outcome = levels.run(&mut read.seeds, &mut watcher);
    watcher.finish();
    // Whatever came of the run, its table says what is there; what stopped it is said first.
    let summarised = summarise(&run, &experiment.seeds);
    let outcome = outcome.map_err(failed)?;
    let summaries = summarised?;
    let table = report::table(&summaries);
    stdout::line(if output.json {
        let interrupted = matches!(outcome, Outcome::Interrupted);
        json!({ "event": "finished", "run": run.path(), "interrupted": interrupted }).to_string()
    } else if output.quiet {
        table
    } else {
        format!("{table}\n\n{}", run.path().display())
    })?;
    match outcome {
        Outcome::Interrupted => {
            log::info!("stopped; the same command goes on from here");
            Ok(Exit::Interrupted)
        }
        Outcome::Finished { failed } if failed.is_empty() => Ok(Exit::Success),
        Outcome::Finished { failed } => {
            for (seed, reason) in &failed {
                log::error!("seed {seed} was given up: {reason}");
            }
            Ok(Exit::Failed)
        }
    }
}

/// Collects the finished levels and writes them as CSV.
fn summarise(run: &RunDir, seeds: &[u64]) -> Result<Vec<Summary>, Failure> {
    let summaries = report::collect(run, seeds).map_err(failed)?;
    let csv = report::summary_csv(&summaries).map_err(|error| Failure::new(Exit::Failed, error))?;
    store::write(&run.file("summary.csv"), &csv).map_err(|error| failed(error.into()))?;
    Ok(summaries)
}

fn failed(error: RunError) -> Failure {
    let exit = if error.is_plugin_failure() {
        Exit::Plugin
    } else {
        Exit::Failed
    };
    Failure::new(exit, error)
}

/// The folder of an experiment's run, and that of its dense level.
pub fn folders(runs: &Path, read: &Read, identities: &Identities) -> (RunDir, RunDir) {
    let name = &read.loaded.experiment.name;
    let own = format!("{name}-{}", identities.own.short());
    let dense = dense_folder(identities.dense.short());
    (RunDir::new(runs.join(own)), RunDir::new(runs.join(dense)))
}

/// Name of the folder of a dense level.
pub fn dense_folder(short: &str) -> String {
    format!("dense-{short}")
}

/// Writes what the run is, or checks that it still is.
fn describe(
    run: &RunDir,
    read: &Read,
    identities: &Identities,
    allow_changed: bool,
) -> Result<(), Failure> {
    let plugins: serde_json::Map<String, Value> = read
        .plugins
        .iter()
        .map(|(name, plugin)| {
            let known = json!({ "version": plugin.manifest.version, "blake3": plugin.digest });
            (name.clone(), known)
        })
        .collect();
    let now = json!({
        "identity": identities.own.hash,
        "canonical": identities.own.canonical,
        "dense": identities.dense.hash,
        "plugins": plugins,
    });
    let path = run.file("identity.json");
    if path.exists() {
        let bytes = store::read(&path).map_err(|error| Failure::new(Exit::Failed, error))?;
        let before: Value = serde_json::from_slice(&bytes).map_err(|error| {
            Failure::new(
                Exit::Failed,
                format!("{} is damaged: {error}", path.display()),
            )
        })?;
        check_same(run, &before, &now, allow_changed)?;
    }
    let text = format!("{now:#}\n");
    let write = |name: &str, text: &str| {
        store::write(&run.file(name), text.as_bytes())
            .map_err(|error| Failure::new(Exit::Failed, error))
    };
    write("identity.json", &text)?;
    write("experiment.toml", &read.loaded.text)
}

fn check_same(
    run: &RunDir,
    before: &Value,
    now: &Value,
    allow_changed: bool,
) -> Result<(), Failure> {
    if before["identity"] != now["identity"] {
        return Err(Failure::bad_input(format!(
            "{} belongs to another experiment (identity {}, this one's is {}); give this one another name",
            run.path().display(),
            before["identity"],
            now["identity"]
        )));
    }
    for (name, plugin) in now["plugins"].as_object().into_iter().flatten() {
        let old = &before["plugins"][name]["blake3"];
        if *old == plugin["blake3"] {
            continue;
        }
        let what = format!(
            "plugin `{name}` was built anew since {} started (BLAKE3 {} is now {})",
            run.path().display(),
            old,
            plugin["blake3"]
        );
        if !allow_changed {
            return Err(Failure::new(
                Exit::Plugin,
                format!("{what}; put the old file back, or go on with --allow-changed-plugins"),
            ));
        }
        log::warn!("{what}");
    }
    Ok(())
}
