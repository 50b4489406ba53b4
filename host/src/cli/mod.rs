//! The command line.

mod args;
mod assemble;
mod barrier;
mod catalog;
mod compare;
mod data;
mod describe;
mod disk;
mod estimate;
mod exit;
mod locate;
mod man;
mod neuron;
mod options;
mod outline;
mod overlap;
mod plan;
mod plugin;
mod program;
mod report;
mod run;
mod show;
mod spin;
mod stdout;
mod sweep;
mod tensorboard;
mod verify;
mod watch;

use std::process::ExitCode;

use clap::FromArgMatches;
use indicatif::MultiProgress;

use crate::strategy::guard::{self, Farewell, Limits};
use crate::strategy::trial;

use args::{Args, Command, PluginCommand};
pub use exit::{Exit, Failure};

/// Parses the command line, does what it says and maps the result to an exit code.
pub fn main() -> ExitCode {
    let matches = program::command().get_matches();
    let args = match Args::from_arg_matches(&matches) {
        Ok(args) => args,
        Err(error) => error.exit(),
    };
    let bars = MultiProgress::new();
    args.output.start_logging(&bars);
    let output = &args.output;
    guard::watch(limits(&args.command), farewell(&args));
    let result = match &args.command {
        Command::Run(run) => run::run(run, output, &bars),
        Command::Plan(plan) => plan::plan(plan, output),
        Command::Show(show) => show::show(show, output),
        Command::Verify(args) => verify::verify(args, output),
        Command::Report(report) => report::report(report, output),
        Command::Compare(compare) => compare::compare(compare, output),
        Command::Neuron(neuron) => neuron::neuron(neuron, output),
        Command::Overlap(overlap) => overlap::overlap(overlap, output),
        Command::Barrier(barrier) => barrier::barrier(barrier, output),
        Command::Tensorboard(args) => tensorboard::tensorboard(args, output),
        Command::Plugin(command) => plugin::plugin(command, output),
        Command::Data(command) => data::data(command, output, &bars),
        Command::Completions { shell } => man::completions(*shell),
        Command::Man => man::man(),
    };
    match result {
        Ok(exit) => exit.into(),
        Err(failure) => {
            failure.report(&args.output);
            failure.exit.into()
        }
    }
}

/// What the calls of plugins may cost.
fn limits(command: &Command) -> Limits {
    match command {
        Command::Run(run) => run.limits.limits(),
        Command::Plugin(PluginCommand::Probe { .. }) => trial::LIMITS,
        _ => Limits::default(),
    }
}

/// What is said when a plugin ends the process.
fn farewell(args: &Args) -> Farewell {
    let line: fn(&str) -> String = match (&args.command, args.output.json) {
        (Command::Plugin(PluginCommand::Probe { .. }), _) => {
            |message| format!("error: did not pass its trial: {message}")
        }
        (Command::Run(_), true) => |message| exit::as_json(&can_go_on(message)),
        (Command::Run(_), false) => |message| format!("error: {}", can_go_on(message)),
        (_, true) => exit::as_json,
        (_, false) => |message| format!("error: {message}"),
    };
    Farewell {
        line,
        exit: Exit::Plugin as i32,
    }
}

fn can_go_on(message: &str) -> String {
    format!(
        "{message}; what is stored is whole: the same command goes on once the plugin is mended"
    )
}
