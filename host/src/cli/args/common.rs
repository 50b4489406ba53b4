//! Arguments that several commands share.

use std::num::NonZeroU16;
use std::path::{Path, PathBuf};

use clap::{Args as ClapArgs, ValueHint};
use kernels::shim;
use tch::Device;

use crate::gpu;
use crate::run::Setting;
use crate::strategy::Trust;

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
    pub threads: Option<NonZeroU16>,
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

/// The number of threads that was asked for, or that of this machine's cores.
pub(super) fn threads(wanted: Option<NonZeroU16>) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    wanted.map_or_else(cores, |threads| usize::from(threads.get()))
}

pub(super) fn parse_device(text: &str) -> Result<Device, String> {
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
        return Err(no_gpu(
            number,
            tch::Cuda::device_count(),
            shim::why_no_gpu(),
        ));
    }
    Ok(device)
}

/// That there is no such GPU, and why, where libtorch says so.
fn no_gpu(number: usize, there: i64, why: Option<String>) -> String {
    let why = match why.as_deref().and_then(gpu::said) {
        Some(said) if there == 0 => said.with_advice(),
        _ => "a lean libtorch (make libtorch TORCH=lean) shows none".to_owned(),
    };
    format!("there is no CUDA device {number}: this machine shows {there}; {why}")
}

pub(super) fn positive(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if number > 0.0 && number <= 1e9 => Ok(number),
        _ => Err("expected a positive number".to_owned()),
    }
}

/// A list of seeds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeedList(pub Vec<u64>);

pub(in crate::cli) fn parse_seeds(text: &str) -> Result<SeedList, String> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_there_is_no_gpu_libtorch_says_why() {
        let told = |there, why: Option<&str>| no_gpu(1, there, why.map(str::to_owned));
        let lean = told(0, Some("Cannot initialize CUDA without ATen_cuda library."));
        assert!(
            lean.ends_with("a lean libtorch (make libtorch TORCH=lean) shows none"),
            "{lean}"
        );
        let old = told(
            0,
            Some("The NVIDIA driver on your system is too old (found version 12040)."),
        );
        assert!(
            old.starts_with("there is no CUDA device 1: this machine shows 0; "),
            "{old}"
        );
        assert!(old.contains("update the driver"), "{old}");
        let hidden = told(0, Some("No CUDA GPUs are available"));
        assert!(hidden.contains("CUDA_VISIBLE_DEVICES"), "{hidden}");
        assert_eq!(told(1, None), lean.replace("shows 0", "shows 1"));
    }

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
}
