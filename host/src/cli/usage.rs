//! How the program is used, under the name that it was called by.

use clap::builder::ArgPredicate;
use clap::parser::ValueSource;
use clap::{Args as _, Command, CommandFactory};

use super::args::{Args, RunArgs};
use super::exit::Exit;
use crate::program;

/// What the program's exit codes mean.
pub fn exit_codes() -> String {
    let codes = Exit::ALL.map(|exit| format!("  {}  {}", exit as u8, exit.means()));
    codes.join("\n")
}

/// The argument of `submit` that asks for nothing else.
const TEMPLATE: &str = "print_template";

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
    let command = command.mut_subcommand("submit", |submit| {
        submit.mut_arg("file", |file| {
            // A template is printed of no experiment.
            let file = file.required(false).required_unless_present(TEMPLATE);
            file.default_value_if(TEMPLATE, ArgPredicate::IsPresent, "-")
        })
    });
    match std::env::var("COLUMNS").map(|it| it.parse::<usize>()) {
        // A shell without a terminal may say 0, and every word would get a line of its own.
        Ok(Ok(columns)) if columns < LEAST_COLUMNS => command.term_width(WIDEST),
        _ => command,
    }
}

/// The words of this process's command line, one of `submit`, that `run` takes, too, without those that are
/// left out.
pub fn words_of_run(left_out: &[&str]) -> Vec<String> {
    let matches = command().get_matches();
    let Some(("submit", given)) = matches.subcommand() else {
        return Vec::new();
    };
    let run = RunArgs::augment_args(Command::new("run"));
    let mut words = Vec::new();
    for arg in run.get_arguments() {
        let id = arg.get_id().as_str();
        let source = given.value_source(id);
        let is_given = matches!(
            source,
            Some(ValueSource::CommandLine | ValueSource::EnvVariable)
        );
        if !is_given || left_out.contains(&id) {
            continue;
        }
        let values = given.get_raw(id).into_iter().flatten();
        let values = values.map(|it| it.to_string_lossy().into_owned());
        match arg.get_long() {
            Some(long) if arg.get_action().takes_values() => {
                words.extend(values.map(|it| format!("--{long}={it}")));
            }
            Some(long) => words.push(format!("--{long}")),
            // The experiment file stands first.
            None => words.splice(..0, values).for_each(drop),
        }
    }
    words
}

/// What one does most.
pub fn examples(name: &str) -> String {
    format!(
        "  {name} plan experiments/lrr.toml    what a run would do\n  \
         {name} run experiments/lrr.toml     run it, or go on with it\n  \
         {name} plugin show lrr              a plugin's components and their options"
    )
}
