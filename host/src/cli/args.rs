//! What the command line may say.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueHint};
use clap_complete::Shell;
use indicatif::MultiProgress;
use indicatif_log_bridge::LogWrapper;
use plugin_api::Step;
use tch::Device;

use crate::neuron::Settings;
use crate::printable::printable;
use crate::run::Setting;
use crate::strategy::Trust;
use crate::strategy::guard::Limits;

mod compare;
mod export;
mod inventory;
mod submit;

pub use compare::{
    BarrierArgs, BestArgs, Between, CompareArgs, OverlapArgs, ReportArgs, TensorboardArgs,
};
pub use export::{BenchExportArgs, ExportArgs, Format, InferArgs, ModelArgs};
pub use inventory::{CleanArgs, InitArgs, LsArgs, Order, WatchArgs};
pub use submit::{CancelArgs, Engine, SubmitArgs, parse_time, time_text};

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

/// Which experiment, and what to change in it.
#[derive(ClapArgs, Debug)]
pub struct ExperimentArgs {
    /// The experiment file.
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// Override a key: `--set train.epochs=5`. May be given more than once.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Run these seeds instead of the file's: `0..5` (5 left out), `0..=5`, or `1,4,7`.
    #[arg(long, value_name = "SEEDS", value_parser = parse_seeds)]
    pub seeds: Option<SeedList>,
    /// Load every plugin that the experiment file names, whoever wrote it: plugins run with your
    /// rights. `plugin trust` says so once and for all.
    #[arg(long, help_heading = "Plugins")]
    pub allow_plugins: bool,
    /// Where the datasets are.
    #[command(flatten)]
    pub data: DataArgs,
}

impl ExperimentArgs {
    /// What the command line changes in the experiment file.
    pub fn overrides(&self) -> Vec<String> {
        let mut set = self.set.clone();
        if let Some(seeds) = &self.seeds {
            set.push(format!("seeds={:?}", seeds.0));
        }
        set
    }

    /// Where the experiment is found and computed, with runs kept in this folder.
    pub fn setting(&self, runs: &Path) -> Setting {
        Setting {
            overrides: self.overrides(),
            trust: trust(self.allow_plugins),
            data_dir: self.data.data_dir.clone(),
            runs: runs.to_owned(),
            ..Setting::default()
        }
    }

    /// As [`setting`](Self::setting), on the device and with the threads of a command.
    pub fn setting_at(&self, place: &PlaceArgs) -> Setting {
        Setting {
            device: place.device,
            threads: place.threads(),
            ranks: 1,
            threads_by_default: place.threads.is_none(),
            ..self.setting(&place.runs)
        }
    }
}

/// Whose plugins may be loaded, if the user allows all of them for once or not.
pub fn trust(allow_plugins: bool) -> Trust {
    match allow_plugins {
        true => Trust::Everything,
        false => Trust::Own,
    }
}

/// Where the datasets are.
#[derive(ClapArgs, Debug)]
pub struct DataArgs {
    /// Folder of datasets; the folder `rewind` among the user's data if not given.
    #[arg(
        long, value_name = "DIR", value_hint = ValueHint::DirPath,
        env = "HOST_DATA_DIR", hide_env_values = true,
        default_value_os_t = crate::data::default_dir(), hide_default_value = true,
    )]
    pub data_dir: PathBuf,
}

/// What computes and where runs are kept.
#[derive(ClapArgs, Debug)]
pub struct PlaceArgs {
    /// Where to train: `cpu`, `cuda` or `cuda:1`.
    #[arg(long, default_value = "cpu", value_parser = parse_device)]
    pub device: Device,
    /// Threads to compute with; the cores of this machine if not given, and 1 where a network is so
    /// small that more would wait for each other.
    #[arg(long, value_name = "N")]
    pub threads: Option<std::num::NonZeroU16>,
    /// Folder in which runs are kept.
    #[arg(long, value_name = "DIR", default_value = "runs", value_hint = ValueHint::DirPath)]
    pub runs: PathBuf,
}

impl PlaceArgs {
    /// Threads to compute with.
    pub fn threads(&self) -> usize {
        threads(self.threads)
    }
}

/// How to run it.
#[derive(ClapArgs, Debug)]
pub struct RunArgs {
    /// Which experiment.
    #[command(flatten)]
    pub experiment: ExperimentArgs,
    /// Where.
    #[command(flatten)]
    pub place: PlaceArgs,
    /// Seconds between two checkpoints within a level.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub checkpoint_every: u64,
    /// Throw away what another build of a plugin made, all levels but the dense one, and make it anew.
    #[arg(long, conflicts_with = "allow_changed_plugins")]
    pub fresh: bool,
    /// Go on with a run although one of its plugins was built anew, and keep what the other build made.
    #[arg(long)]
    pub allow_changed_plugins: bool,
    /// What plugins may cost.
    #[command(flatten)]
    pub limits: LimitArgs,
    /// Also store these times of level 0, such as `4ep`, for experiments that will rewind to them.
    #[arg(long, value_name = "TIME", value_delimiter = ',')]
    pub store_points: Vec<Step>,
    /// How a sweep is run.
    #[command(flatten)]
    pub sweep: SweepArgs,
    /// Processes on this machine that train one experiment together: a number that divides its `train.shards`, by
    /// which the result does not change. In a step of srun, and where torchrun's variables are set, the processes are
    /// those that were started; 1 trains in this one alone all the same.
    #[arg(long, value_name = "N", help_heading = "Ranks")]
    pub ranks: Option<std::num::NonZeroU16>,
    /// Seconds after which a rank that says nothing is lost, and all others end with it.
    #[arg(
        long, value_name = "SECONDS", default_value_t = crate::ranks::LIMIT.as_secs(),
        value_parser = clap::value_parser!(u64).range(1..=86_400), help_heading = "Ranks",
    )]
    pub rank_limit: u64,
    /// Stop in order when stdin ends, as programs want it that start this one; a byte asks for a checkpoint.
    #[arg(long)]
    pub until_stdin_closes: bool,
    /// Stop in order after this time, as if asked to, with 4: minutes, `H:MM:SS` or `D-HH:MM`. For jobs
    /// with a time limit.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub time_limit: Option<Duration>,
    /// Leave out what has no effect: a sweep that starts its runs has told it already.
    #[arg(long, hide = true)]
    pub told: bool,
    /// End after this level: a sweep with `[sweep.stop]` decides there who goes on.
    #[arg(long, value_name = "LEVEL", hide = true)]
    pub to_level: Option<u64>,
}

/// What one call of a plugin may cost; a call that costs more ends the run, which can go on later.
#[derive(ClapArgs, Clone, Copy, Debug, Default)]
pub struct LimitArgs {
    /// Seconds within which every call of a plugin has to return.
    #[arg(long, value_name = "SECONDS", value_parser = positive, help_heading = "Plugins")]
    pub plugin_time_limit: Option<f64>,
    /// GiB by which the process may grow during a call of a plugin.
    #[arg(long, value_name = "GIB", value_parser = positive, help_heading = "Plugins")]
    pub plugin_memory_limit: Option<f64>,
}

impl LimitArgs {
    /// The limits for the guard.
    pub fn limits(self) -> Limits {
        Limits {
            time: self.plugin_time_limit.map(Duration::from_secs_f64),
            memory: (self.plugin_memory_limit).map(|gib| (gib * f64::from(1 << 30)) as u64),
        }
    }
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if number > 0.0 && number <= 1e9 => Ok(number),
        _ => Err("expected a positive number".to_owned()),
    }
}

/// How a sweep is run.
#[derive(ClapArgs, Debug)]
pub struct SweepArgs {
    /// Runs of a sweep that go on side by side, each with `--threads` threads (1 if not given); as
    /// many as the cores allow if not given.
    #[arg(long, value_name = "N", help_heading = "Sweeps")]
    pub jobs: Option<std::num::NonZeroU16>,
    /// Devices to spread a sweep's runs over: `cuda:0,cuda:1`.
    #[arg(
        long, value_name = "DEVICES", value_delimiter = ',', value_parser = parse_device,
        conflicts_with = "device", help_heading = "Sweeps",
    )]
    pub devices: Vec<Device>,
    /// Run only these cells of a sweep, and those that they take masks or points from: a cell, a
    /// method, a file's name, or `file/cell`. May be given more than once.
    #[arg(
        long,
        value_name = "NAME",
        value_delimiter = ',',
        help_heading = "Sweeps"
    )]
    pub only: Vec<String>,
    /// Run share I of N of a sweep, from 1 to N, while other processes run the others:
    /// `--task $SLURM_ARRAY_TASK_ID/8` in a job array `1-8`.
    #[arg(
        long, value_name = "I/N", value_parser = parse_share, conflicts_with = "claim",
        help_heading = "Sweeps",
    )]
    pub task: Option<Share>,
    /// Take what no other process has of a sweep and is not done, until nothing is left. Any number of
    /// processes may do so at once, on all machines that share the folder of runs.
    #[arg(long, help_heading = "Sweeps")]
    pub claim: bool,
    /// With `--claim` or `--task`: also take runs that failed three times, which they leave alone otherwise.
    #[arg(long, help_heading = "Sweeps")]
    pub retry_failed: bool,
    /// What `submit` made for the tasks of a sweep: stop once it says that they are cancelled.
    #[arg(
        long, value_name = "DIR", value_hint = ValueHint::DirPath, help_heading = "Sweeps",
    )]
    pub submission: Option<PathBuf>,
}

/// One of several shares of a sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Which, from 1.
    pub number: u64,
    /// Of how many.
    pub of: u64,
}

fn parse_share(text: &str) -> Result<Share, String> {
    let numbers = (text.split_once('/'))
        .and_then(|(number, of)| Some((number.trim().parse().ok()?, of.trim().parse().ok()?)));
    let is_one = |&(number, of): &(u64, u64)| (1..=of).contains(&number);
    match numbers.filter(is_one) {
        Some((number, of)) => Ok(Share { number, of }),
        None => Err(
            "expected a share and their number, such as 3/8, counted from 1: number a job array's tasks from 1 \
             to N"
            .to_owned(),
        ),
    }
}

/// What to plan.
#[derive(ClapArgs, Debug)]
pub struct PlanArgs {
    /// Which experiment.
    #[command(flatten)]
    pub experiment: ExperimentArgs,
    /// Where.
    #[command(flatten)]
    pub place: PlaceArgs,
    /// Train no steps to estimate the time.
    #[arg(long)]
    pub no_estimate: bool,
    /// Show one cell of a sweep as an experiment of its own.
    #[arg(long, value_name = "NAME", help_heading = "Sweeps")]
    pub cell: Option<String>,
}

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
    /// Threads to compute with; those that the run was computed with, where that is known to matter.
    #[arg(long, value_name = "N")]
    pub threads: Option<std::num::NonZeroU16>,
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
    /// Threads to compute with; the cores of this machine if not given.
    #[arg(long, value_name = "N")]
    pub threads: Option<std::num::NonZeroU16>,
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

/// The number of threads that was asked for, or that of this machine's cores.
fn threads(wanted: Option<std::num::NonZeroU16>) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    wanted.map_or_else(cores, |threads| usize::from(threads.get()))
}

/// What to do with networks.
#[derive(Subcommand, Debug)]
pub enum ModelCommand {
    /// Show a network's layers: shapes, weights that are pruned, products for a sample, first values.
    ///
    /// Also which operations of a network from PyTorch are not understood, and whether it can be written as ONNX.
    Show(ModelShowArgs),
}

/// Which network to show.
#[derive(ClapArgs, Debug)]
pub struct ModelShowArgs {
    /// An archive of torch.export (.pt2), or an experiment file, whose network is shown as it is trained.
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// Override a key of the experiment file: `--set model.width=32`. May be given more than once.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Load every plugin that the experiment file names, whoever wrote it: plugins run with your
    /// rights.
    #[arg(long, help_heading = "Plugins")]
    pub allow_plugins: bool,
    /// Where the datasets are.
    #[command(flatten)]
    pub data: DataArgs,
}

/// What to do with plugins.
#[derive(Subcommand, Debug)]
pub enum PluginCommand {
    /// List the plugins that are found, and where they are looked for.
    List,
    /// Show what a plugin provides, with the options of its components.
    Show {
        /// `plugin`, `plugin/component`, or the path of a plugin's file.
        #[arg(value_name = "NAME[/COMPONENT]")]
        name: String,
    },
    /// Check that a plugin keeps every rule.
    ///
    /// Its components are made and called in a process of their own, on networks of all kinds. Ends
    /// with 3 if a rule is broken.
    Check(CheckArgs),
    /// Write a new plugin: a crate with components, tests, an experiment, a README and CI, or a file of Python.
    New(NewArgs),
    /// Let experiment files load a plugin from where it lies, from now on.
    ///
    /// A library is trusted by its digest, so that another file is not; a folder with whatever is
    /// built in it. Your configuration keeps what you trust: `plugin list` shows it.
    Trust(TrustArgs),
    /// Load a file, to see whether it takes the process down.
    #[command(hide = true)]
    Probe {
        /// The file.
        file: PathBuf,
        /// The plugin's name, if the file has another one.
        #[arg(long)]
        name: Option<String>,
    },
}

/// Which plugin is checked, and how.
#[derive(ClapArgs, Clone, Debug)]
pub struct CheckArgs {
    /// The plugin's file: a library, or a strategy in Python.
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// Check these components only: `score/NAME`, or NAME for all kinds. May be given more than once.
    #[arg(long, value_name = "COMPONENT", value_delimiter = ',')]
    pub only: Vec<String>,
    /// Check these rules only. May be given more than once.
    #[arg(long, value_name = "RULE", value_delimiter = ',')]
    pub rule: Vec<String>,
    /// Seed that the cases are drawn from.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Try fewer cases, and leave out the rules that take seconds.
    #[arg(long)]
    pub quick: bool,
    /// Seconds that a rule may take of its own: computing, or asleep. Waiting for a processor is not.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub time_limit: u64,
    /// GiB of memory that the process of a component may hold.
    #[arg(long, value_name = "GIB", default_value_t = 4)]
    pub memory_limit: u64,
    /// Also write the report as JUnit's XML.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub junit: Option<PathBuf>,
    /// Be the process that checks this component.
    #[arg(long, hide = true, value_name = "COMPONENT")]
    pub worker: Option<String>,
}

/// A new plugin.
#[derive(ClapArgs, Debug)]
pub struct NewArgs {
    /// Name of the crate, and of the folder to write it to.
    pub name: String,
    /// What the plugin decides.
    #[arg(long, value_enum, default_value_t = NewKind::Score)]
    pub kind: NewKind,
    /// Write a file of Python with a test and an experiment, instead of a crate.
    #[arg(long, conflicts_with_all = ["sdk", "repository", "commit"])]
    pub python: bool,
    /// Folder with the plugin API's sources; those that came with this program if not given.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub sdk: Option<PathBuf>,
    /// Git repository of Rewind that the crate's CI is to install from; without one the crate gets no CI.
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url, requires = "commit")]
    pub repository: Option<String>,
    /// Commit or tag of that repository.
    #[arg(long, value_name = "REV", requires = "repository")]
    pub commit: Option<String>,
    /// Do not trust what will be built in the crate's folder `target`, or lie in the folder of a file of Python.
    #[arg(long)]
    pub no_trust: bool,
}

/// What is trusted.
#[derive(ClapArgs, Debug)]
pub struct TrustArgs {
    /// A plugin's file or a folder; with `--remove` also a digest.
    #[arg(value_hint = ValueHint::AnyPath)]
    pub path: PathBuf,
    /// Trust it no longer.
    #[arg(long)]
    pub remove: bool,
}

/// What a new plugin decides.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewKind {
    /// Which weights matter.
    Score,
    /// Which weights survive.
    Mask,
    /// What is reset before training goes on.
    Rewind,
    /// All three.
    All,
}

/// What to do with datasets.
#[derive(Subcommand, Debug)]
pub enum DataCommand {
    /// List the datasets and whether they are here.
    List(DataArgs),
    /// Get a dataset: from a system package, or by a download whose digest is checked.
    Fetch {
        /// The dataset.
        name: String,
        /// Install no system package, even where one has the dataset.
        #[arg(long)]
        no_apt: bool,
        /// Where to.
        #[command(flatten)]
        data: DataArgs,
    },
}

/// A list of seeds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeedList(pub Vec<u64>);

pub(super) fn parse_seeds(text: &str) -> Result<SeedList, String> {
    let number = |text: &str| {
        text.trim()
            .parse::<u64>()
            .map_err(|_| format!("`{text}` is no seed: expected a whole number"))
    };
    let seeds: Vec<u64> = if let Some((from, to)) = text.split_once("..=") {
        (number(from)?..=number(to)?).take(MOST_SEEDS + 1).collect()
    } else if let Some((from, to)) = text.split_once("..") {
        (number(from)?..number(to)?).take(MOST_SEEDS + 1).collect()
    } else {
        text.split(',').map(number).collect::<Result<_, _>>()?
    };
    let mut sorted = seeds.clone();
    sorted.sort_unstable();
    sorted.dedup();
    if seeds.is_empty() || seeds.len() > MOST_SEEDS {
        return Err(format!("expected 1 to {MOST_SEEDS} seeds"));
    }
    if sorted.len() < seeds.len() {
        return Err("a seed is given twice".to_owned());
    }
    Ok(SeedList(seeds))
}

/// More seeds in one command are a typing error.
const MOST_SEEDS: usize = 10_000;

fn parse_device(text: &str) -> Result<Device, String> {
    let device = match text.split_once(':') {
        None if text == "cpu" => Device::Cpu,
        None if text == "cuda" => Device::Cuda(0),
        Some(("cuda", number)) => Device::Cuda(
            number
                .parse()
                .map_err(|_| format!("`{number}` is no device number"))?,
        ),
        _ => return Err("expected cpu, cuda or cuda:N".to_owned()),
    };
    if let Device::Cuda(number) = device
        && number as i64 >= tch::Cuda::device_count()
    {
        let there = tch::Cuda::device_count();
        return Err(format!(
            "there is no CUDA device {number}: this machine shows {there}; a lean libtorch (make libtorch TORCH=lean) shows none"
        ));
    }
    Ok(device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_ranges_or_lists() {
        let seeds = |text| parse_seeds(text).map(|list| list.0);
        assert_eq!(seeds("0..3"), Ok(vec![0, 1, 2]));
        assert_eq!(seeds("2..=3"), Ok(vec![2, 3]));
        assert_eq!(seeds("7,1"), Ok(vec![7, 1]));
        for wrong in ["", "a", "1,1", "3..3", "0..=18446744073709551615", "-1"] {
            assert!(seeds(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn shares_are_counted_from_one() {
        let share = |number, of| Ok(Share { number, of });
        assert_eq!(parse_share("1/1"), share(1, 1));
        assert_eq!(parse_share("3/8"), share(3, 8));
        for wrong in ["0/8", "9/8", "1/0", "3", "/8", "3/", "-1/8", "a/b", "1/2/3"] {
            assert!(
                parse_share(wrong).unwrap_err().contains("from 1"),
                "{wrong}"
            );
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Args::command().debug_assert();
    }
}
