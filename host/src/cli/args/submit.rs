//! What `host submit` and `host cancel` may be told.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as ClapArgs, ValueEnum, ValueHint};

use super::RunArgs;

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

/// A time as Slurm writes it: `M`, `M:S`, `H:M:S`, `D-H`, `D-H:M` or `D-H:M:S`.
pub fn parse_time(text: &str) -> Result<Duration, String> {
    let wrong = || {
        "expected a time such as 90 (minutes), 30:00 (minutes and seconds), 4:00:00 (hours, minutes and seconds) \
         or 2-12 (days and hours)"
            .to_owned()
    };
    let numbers = |text: &str| -> Option<Vec<u64>> {
        let is_number = |it: &str| !it.is_empty() && it.bytes().all(|byte| byte.is_ascii_digit());
        let number = |it: &str| is_number(it).then(|| it.parse().ok()).flatten();
        text.split(':').map(number).collect()
    };
    let [days, hours, minutes, seconds] = match text.split_once('-') {
        Some((days, rest)) => match (numbers(days).as_deref(), numbers(rest).as_deref()) {
            (Some(&[d]), Some(&[h])) => [d, h, 0, 0],
            (Some(&[d]), Some(&[h, m])) => [d, h, m, 0],
            (Some(&[d]), Some(&[h, m, s])) => [d, h, m, s],
            _ => return Err(wrong()),
        },
        None => match numbers(text).as_deref() {
            Some(&[m]) => [0, 0, m, 0],
            Some(&[m, s]) => [0, 0, m, s],
            Some(&[h, m, s]) => [0, h, m, s],
            _ => return Err(wrong()),
        },
    };
    let all = [(days, 86_400), (hours, 3600), (minutes, 60), (seconds, 1)].map(|(count, each)| {
        // No cluster grants a thousand years, and the sum cannot overflow.
        (count < 1 << 30).then(|| count * each)
    });
    let sum = all.into_iter().sum::<Option<u64>>().ok_or_else(wrong)?;
    match sum {
        0 => Err(wrong()),
        seconds => Ok(Duration::from_secs(seconds)),
    }
}

/// A time as [`parse_time`] takes it, with hours.
pub fn time_text(time: Duration) -> String {
    let seconds = time.as_secs();
    format!(
        "{}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_slurm_reads_them() {
        for (text, seconds) in [
            ("90", 5400),
            ("1:30", 90),
            ("0:14400", 14_400),
            ("4:00:00", 14_400),
            ("2-12", 216_000),
            ("1-1:1", 90_060),
            ("1-1:1:1", 90_061),
        ] {
            let time = Duration::from_secs(seconds);
            assert_eq!(parse_time(text), Ok(time), "{text}");
            assert_eq!(parse_time(&time_text(time)), Ok(time), "{text}");
        }
        for text in [
            "", "0", "0:00", "1h", "-5", "+5", "1:", "1:2:3:4", "1-", "-1:00", "1-2-3",
        ] {
            assert!(parse_time(text).unwrap_err().contains("4:00:00"), "{text}");
        }
        assert!(parse_time("99999999999999999999").is_err());
        assert!(parse_time("18446744073709551615-1").is_err());
    }
}
