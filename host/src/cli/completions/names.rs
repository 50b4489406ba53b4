//! Which names a word of a command line can become.

use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, Command};

use crate::cli::locate::{Lying, lying};
use crate::records::{SweepRecord, name_in_sweep};
use crate::strategy::{Loader, Trust};

/// The names that the last of these words can become; none where it is no name.
pub fn of(command: &Command, words: &[String]) -> Vec<String> {
    let Some((current, before)) = words.split_last() else {
        return Vec::new();
    };
    let typed = Typed::new(command, before);
    let runs = typed.runs.clone().unwrap_or_else(|| "runs".into());
    let Some(argument) = typed.argument(current) else {
        return Vec::new();
    };
    let mut names = match (typed.path.as_slice(), argument) {
        (["status" | "cancel" | "best"], "sweep") => lying(&runs, &[Lying::Sweep]),
        (["show" | "verify" | "bench-export"], "run") => lying(&runs, &[Lying::Run, Lying::Sweep]),
        (["report"], "run") => lying(&runs, &[Lying::Run, Lying::Sweep, Lying::Simulation]),
        (["overlap" | "tensorboard" | "export"], "run") => lying(&runs, &[Lying::Run]),
        (["compare"], "first" | "second") | (["barrier"], "a" | "b") => lying(&runs, &[Lying::Run]),
        (["clean"], "names") => lying(&runs, &[Lying::Run, Lying::Sweep, Lying::Simulation]),
        (["run" | "submit"], "only") | (["plan"], "cell") => cells(&typed, &runs),
        (["plugin", "show"], "name") => components(current),
        _ => Vec::new(),
    };
    names.retain(|it| it.starts_with(current.as_str()));
    names
}

/// What the words before the last say.
struct Typed<'a> {
    command: &'a Command,
    /// The command and those within it.
    path: Vec<&'a str>,
    /// Words that are no options and no commands.
    plain: Vec<String>,
    /// The option whose value comes next.
    open: Option<&'a Arg>,
    runs: Option<PathBuf>,
}

impl<'a> Typed<'a> {
    fn new(command: &'a Command, words: &[String]) -> Self {
        let mut typed = Self {
            command,
            path: Vec::new(),
            plain: Vec::new(),
            open: None,
            runs: None,
        };
        let mut are_options_over = false;
        for word in words {
            if let Some(option) = typed.open.take() {
                typed.take(option, word);
            } else if word == "--" {
                are_options_over = true;
            } else if !are_options_over && word.starts_with('-') && word.len() > 1 {
                typed.option(word);
            } else if let Some(inner) = typed.command.find_subcommand(word)
                && typed.plain.is_empty()
            {
                typed.command = inner;
                typed.path.push(inner.get_name());
            } else {
                typed.plain.push(word.clone());
            }
        }
        typed
    }

    fn option(&mut self, word: &str) {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (word, None),
        };
        let mut all = self.command.get_arguments();
        let found = all.find(|arg| match name.strip_prefix("--") {
            Some(long) => arg.get_long() == Some(long),
            None => arg.get_short() == name[1..].chars().next(),
        });
        let takes = |arg: &&Arg| matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
        let Some(arg) = found.filter(takes) else {
            return;
        };
        match value {
            Some(value) => self.take(arg, value),
            None => self.open = Some(arg),
        }
    }

    fn take(&mut self, option: &Arg, value: &str) {
        if option.get_id() == "runs" {
            self.runs = Some(value.into());
        }
    }

    /// The argument that the next word is of.
    fn argument(&self, word: &str) -> Option<&'a str> {
        if let Some(option) = self.open {
            return Some(option.get_id().as_str());
        }
        if word.starts_with('-') {
            return None;
        }
        let places: Vec<&Arg> = self.command.get_positionals().collect();
        let own = places.get(self.plain.len()).or_else(|| {
            let is_list = |arg: &&&Arg| matches!(arg.get_action(), ArgAction::Append);
            places.last().filter(is_list)
        });
        own.map(|arg| arg.get_id().as_str())
    }
}

/// The cells of the sweep of a file, as far as it was run before.
fn cells(typed: &Typed<'_>, runs: &Path) -> Vec<String> {
    let Some(file) = typed.plain.first() else {
        return Vec::new();
    };
    let is_of = |record: &SweepRecord| record.file == Path::new(file);
    let sweeps = lying(runs, &[Lying::Sweep]).into_iter();
    let record = sweeps
        .filter_map(|name| SweepRecord::read(&runs.join(name)).ok())
        .find(is_of);
    let record = record.unwrap_or_default();
    let cells = record.parts.iter().flat_map(|part| {
        let own = part.cells.iter();
        own.map(|cell| name_in_sweep(record.parts.len(), &part.name, &cell.name))
    });
    cells.collect()
}

/// Plugins, and behind a slash their components.
fn components(current: &str) -> Vec<String> {
    let mut loader = Loader::for_this_program(Trust::Own);
    let Some((plugin, _)) = current.split_once('/') else {
        return loader.names();
    };
    let Ok(plugin) = loader.load(plugin, None) else {
        return Vec::new();
    };
    let components = plugin.manifest.components.iter();
    let names = components.map(|it| format!("{}/{}", plugin.name, it.name));
    names.collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::cli::usage;

    struct Desk(tempfile::TempDir);

    impl Desk {
        fn new() -> Self {
            let desk = Self(tempfile::tempdir().unwrap());
            for run in ["lrr-301ce8ac", "imp-0badcafe"] {
                fs::create_dir(desk.0.path().join(run)).unwrap();
                fs::write(desk.0.path().join(run).join("identity.json"), "{}").unwrap();
            }
            fs::create_dir(desk.0.path().join("paper")).unwrap();
            let sweep = r#"{ "name": "paper", "file": "paper.toml", "parts": [{ "name": "p", "title": "p",
                "cells": [{ "name": "lrr", "method": "lrr", "values": {}, "seeds": [0], "run": "../lrr-301ce8ac" }],
                "claims": [], "neuron": null }] }"#;
            fs::write(desk.0.path().join("paper/sweep.json"), sweep).unwrap();
            // Neither a run nor a sweep.
            fs::create_dir(desk.0.path().join("notes")).unwrap();
            desk
        }

        /// The names for the last of these words, with RUNS in place of the folder.
        fn names(&self, line: &str) -> Vec<String> {
            let runs = self.0.path().display().to_string();
            let words = line.split(' ').map(|it| it.replace("RUNS", &runs));
            of(&usage::command(), &words.collect::<Vec<_>>())
        }
    }

    #[test]
    fn a_word_becomes_the_name_of_what_its_command_takes() {
        let desk = Desk::new();
        let (runs, all) = (
            ["imp-0badcafe", "lrr-301ce8ac"],
            ["imp-0badcafe", "lrr-301ce8ac", "paper"],
        );
        assert_eq!(desk.names("show --runs RUNS "), all);
        assert_eq!(desk.names("show --runs=RUNS l"), runs[1..]);
        assert_eq!(desk.names("-q status --runs RUNS "), ["paper"]);
        assert_eq!(desk.names("export --runs RUNS "), runs);
        assert_eq!(desk.names("compare --runs RUNS lrr-301ce8ac i"), runs[..1]);
        assert_eq!(
            desk.names("verify lrr-301ce8ac --no-data --runs RUNS p"),
            ["paper"]
        );
        assert_eq!(desk.names("run paper.toml --runs RUNS --only "), ["lrr"]);
        assert_eq!(desk.names("run --jobs 2 --runs RUNS --only l"), [""; 0]);
    }

    #[test]
    fn options_files_and_words_too_many_become_no_name() {
        let desk = Desk::new();
        for line in [
            "show --runs RUNS -",
            "run --runs RUNS ",
            "show --runs RUNS lrr ",
            "sho",
            "show --runs ",
            "plugin ",
        ] {
            assert!(desk.names(line).is_empty(), "{line}");
        }
        assert!(of(&usage::command(), &[]).is_empty());
    }
}
