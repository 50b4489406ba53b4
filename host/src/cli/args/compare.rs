//! Arguments of the commands that look at several runs.

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueHint};

use super::common::{DataArgs, PlaceArgs, SeedList, parse_seeds};
use crate::experiment::Measure;
use crate::statistics::{BatchNorm, Settings};
use crate::trainer::On;

/// Which masks to compare.
#[derive(ClapArgs, Debug)]
pub struct OverlapArgs {
    /// Folders of runs, or their names among the runs.
    #[arg(required = true, value_name = "RUN", value_hint = ValueHint::DirPath)]
    pub run: Vec<PathBuf>,
    /// What to compare: the levels of each run, the runs with each other at one level, or the seeds
    /// of each run at one level. Levels for one run, runs for several, if not given.
    #[arg(long, value_name = "WHAT")]
    pub between: Option<Between>,
    /// The level at which runs or seeds are compared; the last that is finished if not given.
    #[arg(long, value_name = "N")]
    pub level: Option<u64>,
    /// Compare these seeds only: `0..5` (5 left out), `0..=5`, or `1,4,7`.
    #[arg(long, value_name = "SEEDS", value_parser = parse_seeds)]
    pub seeds: Option<SeedList>,
    /// Show the layers too, one table each.
    #[arg(long)]
    pub layers: bool,
    /// Write all counts, also each layer's, to this file.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub csv: Option<PathBuf>,
    /// Folder in which runs are kept.
    #[arg(long, value_name = "DIR", default_value = "runs", value_hint = ValueHint::DirPath)]
    pub runs: PathBuf,
}

/// Of which sweep to find the best run.
#[derive(ClapArgs, Debug)]
pub struct BestArgs {
    /// A sweep's folder, or its name among the runs.
    #[arg(value_name = "SWEEP", value_hint = ValueHint::DirPath)]
    pub sweep: PathBuf,
    /// The level at which runs are compared; the last that all have finished if not given.
    #[arg(long, value_name = "N")]
    pub level: Option<u64>,
    /// Folder in which runs are kept.
    #[arg(long, value_name = "DIR", default_value = "runs", value_hint = ValueHint::DirPath)]
    pub runs: PathBuf,
}

/// What masks are compared between.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Between {
    /// Levels of a run.
    Levels,
    /// Runs at a level.
    Runs,
    /// Seeds of a run at a level.
    Seeds,
}

/// Which points to connect, and how.
#[derive(ClapArgs, Debug)]
pub struct BarrierArgs {
    /// A run's folder or its name among the runs, or a stored point of it: `RUN#level-3-end`.
    #[arg(value_name = "RUN[#POINT]", value_hint = ValueHint::DirPath)]
    pub a: String,
    /// Another run, or a point of it or of the same run.
    #[arg(value_name = "RUN[#POINT]", value_hint = ValueHint::DirPath)]
    pub b: Option<String>,
    /// Evenly spaced points of a line, its ends among them.
    #[arg(long, value_name = "N", default_value_t = Settings::default().points)]
    pub points: usize,
    /// Where the running statistics of batch norms come from between the ends.
    #[arg(long, value_enum, default_value_t)]
    pub batch_norm: BatchNorm,
    /// Samples to evaluate.
    #[arg(long = "data", value_name = "SPLIT", value_enum, default_value_t)]
    pub on: On,
    /// Only these seeds: `0..5` (5 left out), `0..=5`, or `1,4,7`.
    #[arg(long, value_name = "SEEDS", value_parser = parse_seeds)]
    pub seeds: Option<SeedList>,
    /// Where the datasets are.
    #[command(flatten)]
    pub data: DataArgs,
    /// What computes, and where the runs are.
    #[command(flatten)]
    pub place: PlaceArgs,
}

/// Which runs to show in TensorBoard.
#[derive(ClapArgs, Debug)]
pub struct TensorboardArgs {
    /// Folders of runs, or their names among the runs.
    #[arg(required = true, value_name = "RUN", value_hint = ValueHint::DirPath)]
    pub run: Vec<PathBuf>,
    /// Folder in which runs are kept.
    #[arg(long, value_name = "DIR", default_value = "runs", value_hint = ValueHint::DirPath)]
    pub runs: PathBuf,
}

/// What to report.
#[derive(ClapArgs, Debug)]
pub struct ReportArgs {
    /// Folders of runs, of sweeps or of hidden neurons, or their names among the runs.
    #[arg(required = true, value_hint = ValueHint::DirPath)]
    pub run: Vec<PathBuf>,
    /// Where to write the report; if not given, the folder that was named, or `report` among the
    /// runs for several.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub out: Option<PathBuf>,
    /// Write every figure as PNG too.
    #[arg(long)]
    pub png: bool,
    /// Folder in which runs are kept.
    #[arg(long, value_name = "DIR", default_value = "runs", value_hint = ValueHint::DirPath)]
    pub runs: PathBuf,
}

/// What to compare.
#[derive(ClapArgs, Debug)]
pub struct CompareArgs {
    /// A run's folder, its name among the runs, or `SWEEP:METHOD`; `SWEEP:FILE/METHOD` where the sweep
    /// includes several files.
    #[arg(value_name = "A", value_hint = ValueHint::DirPath)]
    pub first: String,
    /// The run that is subtracted from it.
    #[arg(value_name = "B", value_hint = ValueHint::DirPath)]
    pub second: String,
    /// Compare by `test-accuracy`, `validation-accuracy`, `flips-init` or `flips-start`; test accuracy if not given.
    #[arg(long, value_parser = parse_measure)]
    pub measure: Option<Measure>,
    /// Folder in which runs are kept.
    #[arg(long, value_name = "DIR", default_value = "runs", value_hint = ValueHint::DirPath)]
    pub runs: PathBuf,
}

fn parse_measure(text: &str) -> Result<Measure, String> {
    let value = serde_json::Value::String(text.to_owned());
    serde_json::from_value(value).map_err(|_| {
        "expected test-accuracy, validation-accuracy, flips-init or flips-start".to_owned()
    })
}
