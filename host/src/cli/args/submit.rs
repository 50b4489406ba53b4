//! What `host submit` and `host cancel` may be told.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as ClapArgs, ValueEnum, ValueHint};

use super::run::RunArgs;
use super::time::parse_time;

/// Which sweep to hand over, and to whom.
#[derive(ClapArgs, Debug)]
pub struct SubmitArgs {
    /// What each task runs.
    #[command(flatten)]
    pub run: RunArgs,
    /// Who starts the tasks.
    #[arg(long, value_enum, default_value_t = Engine::Slurm, help_heading = "Tasks")]
    pub engine: Engine,
    /// Number of tasks; as many as there are runs to do if not given, and 100 at most.
    #[arg(long, value_name = "N", help_heading = "Tasks")]
    pub tasks: Option<NonZeroU32>,
    /// Give each task a share of its own, as `run --task` does, instead of what nobody has yet.
    #[arg(long, help_heading = "Tasks")]
    pub shares: bool,
    /// Write what would be submitted, print it, and submit nothing.
    #[arg(long, help_heading = "Tasks")]
    pub dry_run: bool,
    /// Time that a task has, as Slurm writes it: minutes, `H:MM:SS` or `D-HH:MM`. A minute before its end
    /// the task writes checkpoints and asks to be started again.
    #[arg(long, value_name = "TIME", value_parser = parse_time, help_heading = "Tasks")]
    pub time: Option<Duration>,
    /// Processors of a task, which does that many runs side by side unless `--jobs` says otherwise.
    #[arg(long, value_name = "N", help_heading = "Tasks")]
    pub cpus: Option<NonZeroU32>,
    /// GPUs of a task, over which its runs are spread.
    #[arg(long, value_name = "N", help_heading = "Tasks")]
    pub gpus: Option<NonZeroU32>,
    /// The partition whose nodes run the tasks.
    #[arg(long, value_name = "NAME", help_heading = "Slurm")]
    pub partition: Option<String>,
    /// The account that pays.
    #[arg(long, value_name = "NAME", help_heading = "Slurm")]
    pub account: Option<String>,
    /// Memory of a task, as Slurm writes it: `16G`.
    #[arg(long, value_name = "SIZE", help_heading = "Slurm")]
    pub mem: Option<String>,
    /// Tasks that run at the same time at most.
    #[arg(long, value_name = "N", help_heading = "Slurm")]
    pub array_limit: Option<NonZeroU32>,
    /// Another option of `sbatch`, such as `--extra '--constraint=a100'`. May be given more than once.
    #[arg(
        long,
        value_name = "OPTION",
        allow_hyphen_values = true,
        help_heading = "Slurm"
    )]
    pub extra: Vec<String>,
    /// A job script of your own, with the modules, the environment and the container that the program needs.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Slurm")]
    pub template: Option<PathBuf>,
    /// Print the job script that is used without `--template`, to begin one from.
    #[arg(long, help_heading = "Slurm")]
    pub print_template: bool,
}

/// Who starts the tasks of a sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Engine {
    /// A job array of Slurm.
    Slurm,
    /// Processes on this machine, which go on when this command has ended.
    Local,
    /// Whoever takes a list of commands, a line for each task.
    Script,
}

impl Engine {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Slurm => "slurm",
            Self::Local => "local",
            Self::Script => "script",
        }
    }
}

/// Which sweep to stop.
#[derive(ClapArgs, Debug)]
pub struct CancelArgs {
    /// The sweep's folder, or its name among the runs.
    #[arg(value_hint = ValueHint::DirPath)]
    pub sweep: PathBuf,
    /// Folder in which runs are kept.
    #[arg(long, value_name = "DIR", default_value = "runs", value_hint = ValueHint::DirPath)]
    pub runs: PathBuf,
}
