//! Arguments of the commands that begin an experiment and look after a folder of runs.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as ClapArgs, ValueHint};

/// What to write an experiment for.
#[derive(ClapArgs, Debug)]
pub struct InitArgs {
    /// The file to write; its name without the ending becomes the experiment's.
    #[arg(value_name = "FILE", default_value = "experiment.toml", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// A dataset's name, a folder of pictures (train/CLASS/*.jpg, val/CLASS/*.jpg), or a file of arrays: .csv, .npz,
    /// .safetensors.
    #[arg(long, value_name = "DATA", default_value = "mnist1d", value_hint = ValueHint::AnyPath)]
    pub data: String,
    /// A network's name, or an archive of PyTorch's, such as net.pt2; what suits the data if not given.
    #[arg(long, value_name = "MODEL", value_hint = ValueHint::AnyPath)]
    pub model: Option<String>,
    /// A plugin with a strategy.
    #[arg(long, value_name = "PLUGIN", default_value = "lrr")]
    pub strategy: String,
}

/// What to show in the browser.
#[derive(ClapArgs, Debug)]
pub struct WatchArgs {
    /// Folder in which runs are kept.
    #[arg(value_name = "RUNS", default_value = "runs", value_hint = ValueHint::DirPath)]
    pub runs: PathBuf,
    /// Port; 7394 if it is free and any other one if not. 0 is any that is free.
    #[arg(long, value_name = "PORT")]
    pub port: Option<u16>,
    /// Address of this machine that browsers come to: 0.0.0.0 for all of them. Nothing is encrypted.
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub bind: IpAddr,
}

/// What to list.
#[derive(ClapArgs, Debug)]
pub struct LsArgs {
    /// Folder in which runs are kept.
    #[arg(value_name = "RUNS", default_value = "runs", value_hint = ValueHint::DirPath)]
    pub runs: PathBuf,
    /// The order.
    #[arg(long, value_enum, default_value_t = Order::Name)]
    pub by: Order,
}

/// An order of runs.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// By their names.
    Name,
    /// Those first that take most room.
    Size,
    /// Those first that were written to last.
    Time,
}

/// What to remove.
#[derive(ClapArgs, Debug)]
pub struct CleanArgs {
    /// Remove these: names of folders among the runs.
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Remove runs and sweeps that are not finished and that nobody is at work on.
    #[arg(long)]
    pub unfinished: bool,
    /// Remove runs of which a later one of the same name is done, with other settings, and that are of no sweep.
    #[arg(long)]
    pub superseded: bool,
    /// Remove dense levels that no run needs.
    #[arg(long)]
    pub unused: bool,
    /// Of what the other options name, or of all runs and sweeps, only what was not written to for so long:
    /// `12h`, `30d`.
    #[arg(long, value_name = "TIME", value_parser = parse_age)]
    pub older_than: Option<Duration>,
    /// Remove it; without this nothing is removed, and what would be is shown.
    #[arg(long)]
    pub yes: bool,
    /// Folder in which runs are kept.
    #[arg(long, value_name = "DIR", default_value = "runs", value_hint = ValueHint::DirPath)]
    pub runs: PathBuf,
}

/// Parses `45min`, `12h`, `30d` or `2w`.
fn parse_age(text: &str) -> Result<Duration, String> {
    let units = [
        ("min", 60.0),
        ("h", 3600.0),
        ("d", 86400.0),
        ("w", 7.0 * 86400.0),
    ];
    let parsed = units.iter().find_map(|(unit, seconds)| {
        let number: f64 = text.strip_suffix(unit)?.trim().parse().ok()?;
        Duration::try_from_secs_f64(number * seconds).ok()
    });
    parsed.ok_or_else(|| "expected a number with min, h, d or w, such as `30d`".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_a_unit() {
        let seconds = |text| parse_age(text).map(|it| it.as_secs());
        assert_eq!(seconds("45min"), Ok(2700));
        assert_eq!(seconds("0h"), Ok(0));
        assert_eq!(seconds("1.5d"), Ok(129_600));
        assert_eq!(seconds("2w"), Ok(1_209_600));
        for wrong in ["", "30", "d", "-1d", "1e300w", "NaNd", "3 months"] {
            assert!(parse_age(wrong).is_err(), "{wrong}");
        }
    }
}
