//! `host run`.

use std::time::Duration;

use serde_json::{Value, json};

use super::args::{Output, RunArgs};
use super::assemble::{Assembled, assemble};
use super::exit::{Exit, Failure};
use super::watch::Watcher;
use crate::interrupt::Interrupt;
use crate::levels::{Levels, Outcome, RunError};
use crate::report;
use crate::store::{self, RunDir};

/// Runs an experiment, or goes on with it.
///
/// # Errors
/// What is wrong with the input, or what stopped the run.
pub fn run(args: &RunArgs, output: &Output) -> Result<Exit, Failure> {
    let mut assembled = assemble(&args.experiment, args.device)?;
    let experiment = &assembled.loaded.experiment;
    let name = format!("{}-{}", experiment.name, assembled.identity.short());
    let run = RunDir::new(args.runs.join(name));
    let _lock = run
        .lock()
        .map_err(|error| Failure::new(Exit::Failed, error))?;
    describe(&run, &assembled, args.allow_changed_plugins)?;
    let interrupt = Interrupt::listen(Exit::Interrupted as i32).map_err(|error| {
        Failure::new(
            Exit::Failed,
            format!("failed to listen to signals: {error}"),
        )
    })?;
    let levels = Levels {
        experiment,
        trainer: &assembled.trainer,
        run: run.clone(),
        dense: RunDir::new(args.runs.join(format!("dense-{}", assembled.dense.short()))),
        threads: threads(args),
        checkpoint_every: Duration::from_secs(args.checkpoint_every),
        interrupt,
    };
    let mut watcher = Watcher::new(output, experiment, &run);
    let outcome = levels.run(&mut assembled.seeds, &mut watcher);
    watcher.finish();
    // Whatever came of the run, its table says what is there.
    let summaries = report::collect(&run, &experiment.seeds).map_err(failed)?;
    let csv = report::summary_csv(&summaries).map_err(|error| Failure::new(Exit::Failed, error))?;
    store::write(&run.file("summary.csv"), &csv).map_err(|error| failed(error.into()))?;
    let outcome = outcome.map_err(failed)?;
    if output.json {
        println!(
            "{}",
            json!({ "event": "finished", "run": run.path(), "interrupted": matches!(outcome, Outcome::Interrupted) })
        );
    } else {
        println!("{}\n\n{}", report::table(&summaries), run.path().display());
    }
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

fn failed(error: RunError) -> Failure {
    let exit = if error.is_plugin_failure() {
        Exit::Plugin
    } else {
        Exit::Failed
    };
    Failure::new(exit, error)
}

/// Threads to compute with.
fn threads(args: &RunArgs) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    args.threads
        .map_or_else(cores, |threads| usize::from(threads.get()))
}

/// Writes what the run is, or checks that it still is.
fn describe(run: &RunDir, assembled: &Assembled, allow_changed: bool) -> Result<(), Failure> {
    let plugins: serde_json::Map<String, Value> = assembled
        .plugins
        .iter()
        .map(|(name, plugin)| {
            let known = json!({ "version": plugin.manifest.version, "blake3": plugin.digest });
            (name.clone(), known)
        })
        .collect();
    let identity = &assembled.identity;
    let now =
        json!({ "identity": identity.hash, "canonical": identity.canonical, "plugins": plugins });
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
    write("experiment.toml", &assembled.loaded.text)
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
