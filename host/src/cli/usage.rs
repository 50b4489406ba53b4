//! How the program is used, under the name that it was called by.

use clap::{Command, CommandFactory};

use super::args::Args;
use super::exit::Exit;
use crate::program;

/// What the program's exit codes mean.
pub fn exit_codes() -> String {
    let codes = Exit::ALL.map(|exit| format!("  {}  {}", exit as u8, exit.means()));
    codes.join("\n")
}

/// Columns of a help that is wider than any terminal needs, and of one that nobody could read.
pub const WIDEST: usize = 100;
const LEAST_COLUMNS: usize = 20;

/// The command line.
pub fn command() -> Command {
    let name = program::name();
    let help = format!(
        "Examples:\n{}\n\nExit codes:\n{}",
        examples(&name),
        exit_codes()
    );
    let command = Args::command().bin_name(&name).name(name).after_help(help);
    match std::env::var("COLUMNS").map(|it| it.parse::<usize>()) {
        // A shell without a terminal may say 0, and every word would get a line of its own.
        Ok(Ok(columns)) if columns < LEAST_COLUMNS => command.term_width(WIDEST),
        _ => command,
    }
}

/// What one does most.
pub fn examples(name: &str) -> String {
    format!(
        "  {name} plan experiments/lrr.toml    what a run would do\n  \
         {name} run experiments/lrr.toml     run it, or go on with it\n  \
         {name} plugin show lrr              a plugin's components and their options"
    )
}
