//! The program by the name that it was called by: `host`, `rewind`, or whatever a link says.

use std::ffi::OsString;
use std::path::Path;

use clap::{Command, CommandFactory};

use super::args::Args;

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  2  wrong input: the command line, an experiment file, missing data; nothing was started
  3  a plugin cannot be used or broke a rule; the run goes on once it is mended
  4  interrupted; the same command goes on from there
  5  failed while running; the same command goes on from the last checkpoint";

/// The name that the program was called by.
pub fn name() -> String {
    let called: OsString = std::env::args_os().next().unwrap_or_default();
    let stem = Path::new(&called).file_stem();
    stem.and_then(|stem| stem.to_str())
        .filter(|stem| !stem.is_empty())
        .unwrap_or("host")
        .to_owned()
}

/// The command line under that name.
pub fn command() -> Command {
    let name = name();
    let examples = format!(
        "Examples:\n  \
         {name} plan experiments/lrr.toml    what a run would do\n  \
         {name} run experiments/lrr.toml     run it, or go on with it\n  \
         {name} plugin show lrr              a plugin's components and their options\n\n{EXIT_CODES}"
    );
    Args::command()
        .bin_name(&name)
        .name(name)
        .after_help(examples)
}
