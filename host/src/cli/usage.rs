//! How the program is used, under the name that it was called by.

use clap::{Command, CommandFactory};

use super::args::Args;
use crate::program;

/// What the program's exit codes mean.
pub const EXIT_CODES: &str = "  0  done
  2  wrong input: the command line, an experiment file, missing data; nothing was started
  3  a plugin cannot be used or broke a rule; the run goes on once it is mended
  4  interrupted; the same command goes on from there
  5  failed while running; the same command goes on from the last checkpoint";

/// The command line.
pub fn command() -> Command {
    let name = program::name();
    let help = format!(
        "Examples:\n{}\n\nExit codes:\n{EXIT_CODES}",
        examples(&name)
    );
    Args::command().bin_name(&name).name(name).after_help(help)
}

/// What one does most.
pub fn examples(name: &str) -> String {
    format!(
        "  {name} plan experiments/lrr.toml    what a run would do\n  \
         {name} run experiments/lrr.toml     run it, or go on with it\n  \
         {name} plugin show lrr              a plugin's components and their options"
    )
}
