//! Arguments of the commands that run an experiment or a sweep, or say what that would do.

use std::fmt;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args as ClapArgs, ValueHint};
use plugin_api::Step;
use tch::Device;

use super::common::{ExperimentArgs, PlaceArgs, parse_device, positive};
use super::time::parse_time;
use crate::strategy::guard::Limits;

/// How to run it.
#[derive(ClapArgs, Debug)]
pub struct RunArgs {
    /// Which experiment.
    #[command(flatten)]
    pub experiment: ExperimentArgs,
    /// Where.
    #[command(flatten)]
    pub place: PlaceArgs,
    /// Record a step on a GPU as one graph and replay it, where it can be recorded: the same bytes, sooner.
    #[arg(long)]
    pub cuda_graphs: bool,
    /// Compute on a GPU by kernels of this program's own where there are some: other bytes than without, to rounding,
    /// and the same whenever they are computed so. A run goes on as it began.
    #[arg(long)]
    pub cuda_kernels: bool,
    /// Seeds that train side by side where the network takes one at a time: with --cuda-graphs in one launch. The bytes
    /// are those of each alone. With `auto` twice as many are tried as long as that pays. Perceptrons train all seeds so.
    #[arg(long, value_name = "N|auto", default_value = "1")]
    pub seeds_together: HowMany,
    /// Seconds between two checkpoints within a level.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub checkpoint_every: u64,
    /// Throw away what another build of a plugin made, all levels but a dense one in which it had no part, and make it anew.
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
    pub ranks: Option<NonZeroU16>,
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

/// How many go on side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HowMany {
    /// So many.
    Number(NonZeroU16),
    /// As many as raise what they do together.
    Auto,
}

impl fmt::Display for HowMany {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Auto => f.write_str("auto"),
        }
    }
}

impl FromStr for HowMany {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            number => (number.parse().map(Self::Number))
                .map_err(|_| "expected a number from 1 to 65535, or `auto`"),
        }
    }
}

/// How a sweep is run.
#[derive(ClapArgs, Debug)]
pub struct SweepArgs {
    /// Runs of a sweep that go on side by side, each with `--threads` threads (1 if not given); as
    /// many as the cores allow, or one a GPU, if not given. With `auto` one more after another is tried, as long as
    /// that raises what they do together and there is memory.
    #[arg(long, value_name = "N|auto", help_heading = "Sweeps")]
    pub jobs: Option<HowMany>,
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
