//! What the command line may say.

use std::io::{IsTerminal, Write};

use clap::{Args as ClapArgs, Parser, Subcommand};
use clap_complete::Shell;
use indicatif::MultiProgress;
use indicatif_log_bridge::LogWrapper;

use crate::printable::printable;

mod common;
mod compare;
mod export;
mod inventory;
mod look;
mod parts;
mod plugin;
mod run;
mod submit;
mod time;
mod update;

pub(super) use common::parse_seeds;
pub use common::{ExperimentArgs, PlaceArgs, trust};

pub use compare::{
    BarrierArgs, BestArgs, Between, CompareArgs, OverlapArgs, ReportArgs, TensorboardArgs,
};
pub use export::{BenchExportArgs, ExportArgs, Format, InferArgs, ModelArgs};
pub use inventory::{CleanArgs, InitArgs, LsArgs, Order, WatchArgs};
pub use look::{NeuronArgs, ShowArgs, StatusArgs, VerifyArgs};
pub use parts::{DataCommand, ModelCommand, ModelShowArgs};
pub use plugin::{CheckArgs, NewArgs, NewKind, PluginCommand, TrustArgs};
pub use run::{HowMany, PlanArgs, RunArgs, Share, SweepArgs};
pub use submit::{CancelArgs, Engine, SubmitArgs};
pub use time::{parse_time, time_text};

/// Trains networks and prunes them level by level with strategies that are plugins.
#[derive(Parser, Debug)]
#[command(version, about, max_term_width = super::usage::WIDEST)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// How to say it.
    #[command(flatten)]
    pub output: Output,
}

/// How results and progress are shown.
#[derive(ClapArgs, Clone, Debug)]
pub struct Output {
    /// Show results only.
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Write one JSON object a line to stdout: events of a run, and results.
    #[arg(long, global = true)]
    pub json: bool,
    /// Say more on stderr: -v what each level does, -vv everything.
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

impl Output {
    /// Whether messages are coloured.
    pub fn colour(&self) -> bool {
        std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()
    }

    /// Whether progress is shown as moving bars.
    pub fn bars(&self) -> bool {
        !self.quiet && !self.json && std::io::stderr().is_terminal()
    }

    /// Sends the log to stderr, where it makes room for these bars.
    pub fn start_logging(&self, bars: &MultiProgress) {
        let level = match (self.quiet, self.verbose) {
            (true, _) => "warn",
            (false, 0) => "info",
            (false, 1) => "debug",
            (false, _) => "trace",
        };
        let environment = env_logger::Env::default().default_filter_or(level);
        let logger = env_logger::Builder::from_env(environment)
            .format(|out, record| {
                let style = out.default_level_style(record.level());
                let text = record.args().to_string();
                // What a log tells may be a stranger's text: no line of it looks like another message.
                let text = printable(&text).replace('\n', "\n    ");
                writeln!(out, "[{style}{:<5}{style:#}] {text}", record.level())
            })
            // It warns of every line without a length, such as the bar of an interval that is a point.
            .filter_module("resvg", log::LevelFilter::Off)
            .build();
        let most = logger.filter();
        // It fails only if a logger was installed before, which is then as good.
        if LogWrapper::new(bars.clone(), logger).try_init().is_ok() {
            log::set_max_level(most);
        }
    }
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Write a commented experiment file for some data and a network.
    Init(InitArgs),
    /// Run an experiment, or go on with it where it stopped.
    Run(RunArgs),
    /// Show what a run would do, without training anything.
    Plan(PlanArgs),
    /// Show the levels of a run, or what the runs of a sweep came to.
    Show(ShowArgs),
    /// Show how far a sweep is, from its files, wherever its processes run.
    Status(StatusArgs),
    /// Show a folder of runs as a page in the browser: how runs go on, their curves, logs and settings.
    ///
    /// It reads files alone, wherever the runs' processes are, and needs no network.
    Watch(WatchArgs),
    /// List what lies in a folder of runs: state, room, what shares a dense level.
    Ls(LsArgs),
    /// Remove runs that are unfinished, superseded or old, and dense levels that nothing needs.
    ///
    /// Nothing that something else needs is removed, and nothing at all without --yes.
    Clean(CleanArgs),
    /// Hand a sweep over: a job array of Slurm, processes here, or a list of commands.
    ///
    /// The job script stays in the sweep's folder. Nothing watches over the tasks: they share the runs out by
    /// themselves.
    Submit(SubmitArgs),
    /// Stop what was submitted of a sweep; submitting it again goes on from there.
    Cancel(CancelArgs),
    /// Check runs from their files: every byte, masks, zeros, records, test metrics.
    ///
    /// Also sweeps, with all their runs. Nothing is written. Ends with 5 if something is wrong.
    Verify(VerifyArgs),
    /// Simulate the single hidden neuron: how often IMP and LRR learn their target.
    Neuron(NeuronArgs),
    /// Compare the masks of levels, methods or seeds.
    Overlap(OverlapArgs),
    /// Evaluate the networks on the straight line between two stored points.
    ///
    /// With one run, the ends of its consecutive levels; with two, their ends of each level.
    Barrier(BarrierArgs),
    /// Bring TensorBoard's event files up to date, as every finished level of a run does.
    Tensorboard(TensorboardArgs),
    /// Draw all figures of runs or of a sweep on one page, and judge its claims.
    Report(ReportArgs),
    /// Compare two runs seed by seed.
    Compare(CompareArgs),
    /// Find the run of a sweep that is best by validation.
    Best(BestArgs),
    /// Write a level's model as safetensors, sparse rows, ONNX, PyTorch's archive or for `infer`.
    Export(ExportArgs),
    /// Time a level's forward pass in full, without dead units, in sparse rows, and by `rewind-infer`.
    BenchExport(BenchExportArgs),
    /// Run a model that `export --format rewind` wrote, at its surviving weights.
    ///
    /// The program `rewind-infer` does the same, and needs no libtorch.
    Infer(InferArgs),
    /// List the units of a network that can be removed whole: channels, hidden units, heads of attention.
    ///
    /// With what goes with each: the rows that make it and the columns that read it, as weights and multiply-adds. With
    /// --json, which places of which tensors they are. Also which layers' units stay, and why.
    Groups(ModelShowArgs),
    /// Look at networks.
    #[command(subcommand)]
    Model(ModelCommand),
    /// Look at plugins.
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// List and fetch datasets.
    #[command(subcommand)]
    Data(DataCommand),
    /// Write a shell's completions to stdout.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Write the manual page to stdout.
    Man,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Args::command().debug_assert();
    }
}
