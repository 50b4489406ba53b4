//! `host run`.

use std::time::Duration;

use indicatif::MultiProgress;
use serde_json::json;
use tch::Device;

use super::args::{Output, PlaceArgs, RunArgs};
use super::assemble::{self, Identities, Read};
use super::catalog::run_folder;
use super::describe::{describe, list};
use super::exit::{Exit, Failure};
use super::neuron;
use super::spin;
use super::stdout;
use super::sweep;
use super::watch::Watcher;
use crate::experiment::{self, FileKind};
use crate::interrupt::Interrupt;
use crate::levels::{Levels, Outcome, RunError};
use crate::records::Summary;
use crate::report;
use crate::shim;
use crate::store::{self, RunDir};
use crate::trainer::Trainer;

/// Within this time a run ends whose sweep was killed: it makes its step and writes its checkpoint.
const ORPHAN_ENDS: Duration = Duration::from_secs(30);

/// Runs an experiment, or goes on with it.
///
/// # Errors
/// What is wrong with the input, or what stopped the run.
pub fn run(args: &RunArgs, output: &Output, bars: &MultiProgress) -> Result<Exit, Failure> {
    match experiment::kind_of(&args.experiment.file) {
        FileKind::Neuron => return neuron::run(&args.experiment, &args.place, output),
        FileKind::Sweep => return sweep::run(args, output, bars),
        FileKind::Experiment => {}
    }
    spin::sleep_soon(args.place.threads());
    let interrupt = listen()?;
    if args.until_stdin_closes {
        interrupt.follow(std::io::stdin());
    }
    let mut read = assemble::read(&args.experiment, &args.place.runs)?;
    let device = args.place.device;
    if device.is_cuda() {
        shim::set_deterministic(true).map_err(|error| Failure::new(Exit::Failed, error))?;
    }
    let data = read
        .data(&args.experiment, device)
        .map_err(|error| Failure::bad_input(assemble::data_failure(&error)))?;
    let identities = read.identities(&data);
    let trainer = read.trainer(data, device)?;
    let (run, dense) = folders(&args.place, &trainer, &read, &identities);
    let experiment = &read.loaded.experiment;
    let levels = Levels {
        experiment,
        trainer: &trainer,
        run: run.clone(),
        dense: dense.clone(),
        store_points: args.store_points.clone(),
        threads: args.place.threads(),
        checkpoint_every: Duration::from_secs(args.checkpoint_every),
        interrupt,
    };
    for seed in &read.seeds {
        levels.stored_steps(seed).map_err(Failure::bad_input)?;
    }
    let lock = match args.until_stdin_closes {
        // The process before it was led by a sweep that was killed, and is on its way out.
        true => run.lock_within(ORPHAN_ENDS),
        false => run.lock(),
    };
    let _lock = lock.map_err(|error| Failure::new(Exit::Failed, error))?;
    let before = describe(&run, &dense, &read, &identities, args)?;
    let mut watcher = Watcher::new(output, bars, experiment, &run);
    let outcome = levels.run(&mut read.seeds, &mut watcher);
    watcher.finish();
    // Whatever came of the run, its table says what is there; what stopped it is said first.
    let own = &experiment.seeds;
    let summarised = summarise(&run).and_then(|summaries| {
        list(&run, own, before.as_ref()).map_err(failed)?;
        Ok(summaries)
    });
    let outcome = outcome.map_err(failed)?;
    let summaries = summarised?;
    let table = match summaries.is_empty() {
        true => "no level is finished yet".to_owned(),
        false => report::table(&summaries),
    };
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
            log::error!(
                "{} of {} seeds were given up",
                failed.len(),
                experiment.seeds.len()
            );
            Ok(Exit::Failed)
        }
    }
}

/// Listens to signals.
pub fn listen() -> Result<Interrupt, Failure> {
    Interrupt::listen(Exit::Interrupted as i32).map_err(|error| {
        let text = format!("failed to listen to signals: {error}");
        Failure::new(Exit::Failed, text)
    })
}

/// Collects the finished levels of all seeds that the run ever had and writes them as CSV.
fn summarise(run: &RunDir) -> Result<Vec<Summary>, Failure> {
    let summaries = report::collect(run, &run.seeds()).map_err(failed)?;
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
///
/// A dense level is shared only where it would have the same bytes: on the same kind of device and,
/// for networks whose products libtorch splits over threads, with the same number of them.
pub fn folders(
    place: &PlaceArgs,
    trainer: &Trainer,
    read: &Read,
    identities: &Identities,
) -> (RunDir, RunDir) {
    let name = &read.loaded.experiment.name;
    let short = identities.dense.short();
    let dense = match place.device {
        Device::Cpu if trainer.lanes() => format!("dense-{short}"),
        Device::Cpu => format!("dense-{short}-{}t", place.threads()),
        _ => format!("dense-{short}-cuda"),
    };
    (
        run_folder(&place.runs, name, &identities.own),
        RunDir::new(place.runs.join(dense)),
    )
}
