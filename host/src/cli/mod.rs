//! The command line.

mod args;
mod assemble;
mod catalog;
mod exit;
mod run;
mod watch;

use std::process::ExitCode;

use clap::Parser;

use args::{Args, Command};
pub use exit::{Exit, Failure};

/// Parses the command line, does what it says and maps the result to an exit code.
pub fn main() -> ExitCode {
    let args = Args::parse();
    args.output.start_logging();
    let result = match &args.command {
        Command::Run(run) => run::run(run, &args.output),
    };
    match result {
        Ok(exit) => exit.into(),
        Err(failure) => {
            failure.report(&args.output);
            failure.exit.into()
        }
    }
}
