//! Arguments of the commands that look at what was run, and at the hidden neuron.

use std::num::NonZeroU16;
use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueHint};
use tch::Device;

use super::common::{DataArgs, parse_device, threads};
use super::update::UpdateArgs;
use crate::neuron::Settings;

/// Which run to show.
#[derive(ClapArgs, Debug)]
pub struct ShowArgs {
    /// The folder of a run or a sweep, or its name among the runs, of a run also without the identity.
    #[arg(value_hint = ValueHint::DirPath)]
    pub run: PathBuf,
    /// Folder in which runs are kept.
    #[arg(long, value_name = "DIR", default_value = "runs", value_hint = ValueHint::DirPath)]
    pub runs: PathBuf,
}

/// Which sweep to show.
#[derive(ClapArgs, Debug)]
pub struct StatusArgs {
    /// The sweep's folder, or its name among the runs.
    #[arg(value_hint = ValueHint::DirPath)]
    pub sweep: PathBuf,
    /// Show it again every few seconds, until all is done.
    #[arg(long)]
    pub watch: bool,
    /// Folder in which runs are kept.
    #[arg(long, value_name = "DIR", default_value = "runs", value_hint = ValueHint::DirPath)]
    pub runs: PathBuf,
}

/// Which runs to check.
#[derive(ClapArgs, Debug)]
pub struct VerifyArgs {
    /// Folders of runs, sweeps or shared dense levels, or their names among the runs.
    #[arg(required = true, value_hint = ValueHint::DirPath)]
    pub run: Vec<PathBuf>,
    /// Leave out what needs the data: test metrics, initial weights, the strategy's own masks.
    #[arg(long)]
    pub no_data: bool,
    /// Call every plugin that a run's experiment file names, whoever wrote it: plugins run with your
    /// rights.
    #[arg(long, help_heading = "Plugins")]
    pub allow_plugins: bool,
    /// Where to compute: `cpu`, `cuda` or `cuda:1`.
    #[arg(long, default_value = "cpu", value_parser = parse_device)]
    pub device: Device,
    /// Threads to compute with; those that the run was computed with, where that is known to matter.
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZeroU16>,
    /// Folder in which runs are kept.
    #[arg(long, value_name = "DIR", default_value = "runs", value_hint = ValueHint::DirPath)]
    pub runs: PathBuf,
    /// Where the datasets are.
    #[command(flatten)]
    pub data: DataArgs,
}

impl VerifyArgs {
    /// Threads to compute with.
    pub fn threads(&self) -> usize {
        threads(self.threads)
    }
}

/// What to simulate of the hidden neuron.
#[derive(ClapArgs, Debug)]
pub struct NeuronArgs {
    /// Dimensions of the input, separated by commas.
    #[arg(
        long, value_name = "D,...", value_delimiter = ',',
        default_values_t = Settings::default().dimensions,
    )]
    pub dimensions: Vec<u64>,
    /// Initial weights that are drawn for each dimension.
    #[arg(long, value_name = "N", default_value_t = Settings::default().inits)]
    pub inits: u64,
    /// Time that each of the two trainings lasts, in units of the gradient flow.
    #[arg(long, value_name = "TIME", default_value_t = Settings::default().time)]
    pub time: f64,
    /// Length of an Euler step, in the same units.
    #[arg(long, value_name = "TIME", default_value_t = Settings::default().step)]
    pub step: f64,
    /// L2 norm of the initial input weights, and magnitude of the initial output weight.
    #[arg(long, value_name = "NORM", default_value_t = Settings::default().scale)]
    pub scale: f64,
    /// Seed of the initial weights.
    #[arg(long, value_name = "SEED", default_value_t = Settings::default().seed)]
    pub seed: u64,
    /// How a step of training moves the weights.
    #[command(flatten)]
    pub update: UpdateArgs,
    /// Threads to compute with; the cores of this machine if not given.
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZeroU16>,
    /// Folder in which runs are kept.
    #[arg(long, value_name = "DIR", default_value = "runs", value_hint = ValueHint::DirPath)]
    pub runs: PathBuf,
}

impl NeuronArgs {
    /// Threads to compute with.
    pub fn threads(&self) -> usize {
        threads(self.threads)
    }
}
