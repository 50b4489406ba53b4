//! `host run`.

use std::time::Duration;

use indicatif::MultiProgress;
use serde_json::json;

use super::args::{HowMany, Output, RunArgs};
use super::early;
use super::exit::{Exit, Failure};
use super::neuron;
use super::ranks::{self, Team};
use super::review;
use super::spin;
use super::stdout;
use super::sweep;
use super::together;
use super::watcher::Watcher;
use crate::counted::counted;
use crate::experiment::{self, FileKind};
use crate::interrupt::Interrupt;
use crate::levels::Outcome;
use crate::report::{self, OtherBuilds};
use crate::run::{Changed, Conduct, Ended, Run};
use crate::store::be_led;

/// The event of a run that another process has, or took over.
pub const ELSEWHERE: &str = "elsewhere";

/// Within this time a run ends whose sweep was killed: it makes its step and writes its checkpoint.
const ORPHAN_ENDS: Duration = Duration::from_secs(30);

/// Runs an experiment, or goes on with it.
///
/// # Errors
/// What is wrong with the input, or what stopped the run.
pub fn run(args: &RunArgs, output: &Output, bars: &MultiProgress) -> Result<Exit, Failure> {
    let kind = experiment::kind_of(&args.experiment.file);
    if kind != FileKind::Experiment && args.ranks.is_some_and(|ranks| ranks.get() > 1) {
        return Err(Failure::bad_input(format!(
            "{} is no experiment: --ranks has processes train one network together, and those of a sweep are shared \
             out with --jobs, --task and --claim",
            args.experiment.file.display()
        )));
    }
    match kind {
        FileKind::Neuron => return neuron::run(&args.experiment, &args.place, output),
        FileKind::Sweep => return sweep::run(args, output, bars),
        FileKind::Experiment => {}
    }
    if args.sweep.claim || args.sweep.task.is_some() || args.sweep.submission.is_some() {
        return Err(Failure::bad_input(format!(
            "{} is one experiment: --task, --claim and --submission share out the runs of a sweep",
            args.experiment.file.display()
        )));
    }
    spin::sleep_soon(args.place.threads());
    let interrupt = listen()?;
    interrupt.stop_after(args.time_limit);
    if args.until_stdin_closes {
        be_led();
        interrupt.follow(std::io::stdin());
    }
    if ranks::is_led() {
        interrupt.follow(std::io::stdin());
        // Rank 0 says it.
        log::set_max_level(log::LevelFilter::Warn);
    }
    let team = Team::of(args)?;
    let mut setting = args.experiment.setting_at(&args.place);
    setting.graphs = args.cuda_graphs;
    setting.kernels = args.cuda_kernels;
    if let HowMany::Number(number) = args.seeds_together {
        setting.seeds_together = number.get().into();
    }
    ranks::share_threads(&mut setting, &team);
    let mut joined = ranks::join((args, output), team, &setting, &interrupt)?;
    let ended = match &joined.ranks {
        Some(ranks) if !ranks.leads() => follow(&joined.run, &interrupt),
        _ => train((args, output, bars), &mut joined.run, interrupt),
    };
    joined.part(ended.as_ref().copied());
    ended
}

/// Does what rank 0 says.
fn follow(run: &Run, interrupt: &Interrupt) -> Result<Exit, Failure> {
    // Rank 0 is asked to stop in its place, and has it leave.
    let _saving = interrupt.save();
    let code = run.follow()?;
    let exit = Exit::ALL.into_iter().find(|exit| *exit as u8 == code);
    Ok(exit.unwrap_or(Exit::Failed))
}

/// Trains what is not done yet, and says what came of it.
fn train(
    (args, output, bars): (&RunArgs, &Output, &MultiProgress),
    run: &mut Run,
    interrupt: Interrupt,
) -> Result<Exit, Failure> {
    if !args.told {
        review::warn(run.warnings(), output);
    }
    if args.seeds_together == HowMany::Auto {
        let seeds = run.experiment().seeds.clone();
        let found = together::measure(run.trainer_mut(), &seeds)
            .map_err(|error| Failure::new(Exit::Failed, error))?;
        run.trainer_mut().set_seeds_together(found);
        log::debug!("--seeds-together auto: {found}");
    }
    let conduct = Conduct {
        checkpoint_every: Some(Duration::from_secs(args.checkpoint_every)),
        store_points: args.store_points.clone(),
        interrupt,
        changed_plugins: match (args.fresh, args.allow_changed_plugins) {
            (true, _) => Changed::Fresh,
            (_, true) => Changed::Allow,
            _ => Changed::Refuse,
        },
        // The process before it was led by a sweep that was killed, and is on its way out.
        to_level: args.to_level,
        patience: args.until_stdin_closes.then_some(ORPHAN_ENDS),
    };
    let mut watcher = Watcher::new(output, bars, run.experiment(), &run.folders().run);
    let ended = run.train(conduct, &mut watcher);
    watcher.finish();
    if output.json
        && let Err(error) = &ended
        && let Some(by) = error.owner()
    {
        stdout::line(json!({ "event": ELSEWHERE, "run": run.folders().run.path(), "owner": by }))?;
    }
    let Ended { outcome, summaries } = ended?;
    let builds = OtherBuilds::read(&run.folders().run);
    let folder = run.folders().run.path();
    let table = match summaries.is_empty() {
        true => "no level is finished yet".to_owned(),
        false => report::table(&summaries, builds.as_ref()),
    };
    stdout::line(if output.json {
        let interrupted = matches!(outcome, Outcome::Interrupted);
        json!({
            "event": "finished", "run": folder, "interrupted": interrupted,
            "other_builds": builds.map(|it| it.levels).unwrap_or_default(),
        })
        .to_string()
    } else if output.quiet {
        table
    } else {
        format!("{table}\n\n{}", folder.display())
    })?;
    match outcome {
        Outcome::Interrupted => {
            log::info!("stopped; the same command goes on from here");
            Ok(Exit::Interrupted)
        }
        Outcome::Finished { failed } if failed.is_empty() => Ok(Exit::Success),
        Outcome::Finished { failed } => {
            log::error!(
                "given up: {} of {}",
                failed.len(),
                counted(run.experiment().seeds.len(), "seed")
            );
            Ok(Exit::Failed)
        }
    }
}

/// Listens to signals.
pub fn listen() -> Result<Interrupt, Failure> {
    let interrupt = Interrupt::listen(Exit::Interrupted as i32).map_err(|error| {
        let text = format!("failed to listen to signals: {error}");
        Failure::new(Exit::Failed, text)
    })?;
    early::end();
    Ok(interrupt)
}
