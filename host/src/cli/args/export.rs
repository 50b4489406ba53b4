//! Arguments of the commands that export a level's model.

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueHint};

use super::common::{DataArgs, positive, threads};

/// Which model.
#[derive(ClapArgs, Debug)]
pub struct ModelArgs {
    /// The run's folder, or its name among the runs, also without the identity.
    #[arg(value_hint = ValueHint::DirPath)]
    pub run: PathBuf,
    /// The level at whose end the model stands; the last that is finished if not given.
    #[arg(long, value_name = "N")]
    pub level: Option<u64>,
    /// The seed; the first that finished the level if not given.
    #[arg(long, value_name = "SEED")]
    pub seed: Option<u64>,
    /// Folder in which runs are kept.
    #[arg(long, value_name = "DIR", default_value = "runs", value_hint = ValueHint::DirPath)]
    pub runs: PathBuf,
}

/// Which model to export, and how.
#[derive(ClapArgs, Debug)]
pub struct ExportArgs {
    /// Which.
    #[command(flatten)]
    pub model: ModelArgs,
    /// What to write.
    #[arg(long, value_enum)]
    pub format: Format,
    /// The file; RUN-seed-S-level-L in this folder, with the format's ending, if not given.
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub out: Option<PathBuf>,
    /// Leave out units that nothing reads or that read nothing: layers get smaller, outputs stay.
    #[arg(long)]
    pub compact: bool,
    /// Keep of the units that --compact leaves out so many, without a weight, that a layer has a multiple of N (onnx,
    /// int8, safetensors).
    #[arg(
        long, value_name = "N", requires = "compact", value_parser = clap::value_parser!(u16).range(1..=4096),
    )]
    pub multiple: Option<u16>,
    /// Training samples that the ranges of activations come from; 512 if not given (int8).
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub calibration: Option<u32>,
    /// Percent of a tensor's activations that lie within its range from below, and from above: 100 for all; 99.99 if
    /// not given (int8).
    #[arg(long, value_name = "P", value_parser = percentile)]
    pub percentile: Option<f64>,
    /// Where the datasets are.
    #[command(flatten)]
    pub data: DataArgs,
    /// Make batch norms part of the layers before them (onnx).
    #[arg(long)]
    pub fold: bool,
    /// Let the model take bytes, 0 to 255, and normalise them itself (onnx, int8).
    #[arg(long)]
    pub normalise: bool,
}

/// More than half of all, in percent.
fn percentile(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(value) if value > 50.0 && value <= 100.0 => Ok(value),
        _ => Err("expected more than 50 and at most 100, such as 99.99".to_owned()),
    }
}

/// A form in which other programs read a model.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Weights in full, zeros too, under PyTorch's names.
    Safetensors,
    /// The same file format, with pruned weights in compressed sparse rows.
    Csr,
    /// Operations and weights, for ONNX runtimes.
    Onnx,
    /// The same in 8 bits, calibrated on training samples (QDQ).
    Int8,
    /// The archive of a network from PyTorch, with the level's weights.
    Pt2,
    /// Operations and weights, for `rewind-infer`, which skips what was pruned.
    Rewind,
}

/// Which models to time, and how.
#[derive(ClapArgs, Debug)]
pub struct BenchExportArgs {
    /// The runs' folders, or their names among the runs, also without the identity; of a sweep all its runs.
    #[arg(required = true, value_hint = ValueHint::DirPath)]
    pub run: Vec<PathBuf>,
    /// The levels at whose ends the models stand, of each run those that it has finished; the last that is finished if
    /// not given.
    #[arg(long, value_name = "N,...", value_delimiter = ',')]
    pub level: Vec<u64>,
    /// The seed; the first that finished the level if not given.
    #[arg(long, value_name = "SEED")]
    pub seed: Option<u64>,
    /// Folder in which runs are kept.
    #[arg(long, value_name = "DIR", default_value = "runs", value_hint = ValueHint::DirPath)]
    pub runs: PathBuf,
    /// Samples of a forward pass.
    #[arg(
        long, value_name = "N,...", value_delimiter = ',', default_values_t = [1, 128],
        value_parser = clap::value_parser!(i64).range(1..=1_000_000),
    )]
    pub batch: Vec<i64>,
    /// Seconds to time each variant with each batch.
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0, value_parser = positive)]
    pub seconds: f64,
    /// Threads to compute with; the cores of this machine if not given.
    #[arg(long, value_name = "N")]
    pub threads: Option<std::num::NonZeroU16>,
    /// Keep so many dead units that a layer has a multiple of N, as `export --compact --multiple N` does.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub multiple: Option<u16>,
    /// The Python that has ONNX Runtime; that of REWIND_PYTHON, of the virtual environment that is active, or python3 if
    /// not given.
    #[arg(long, value_name = "PROGRAM", value_hint = ValueHint::ExecutablePath)]
    pub python: Option<PathBuf>,
    /// Leave out accuracies, which need the data.
    #[arg(long)]
    pub no_data: bool,
    /// Where the datasets are.
    #[command(flatten)]
    pub data: DataArgs,
}

impl BenchExportArgs {
    /// Threads to compute with.
    pub fn threads(&self) -> usize {
        threads(self.threads)
    }
}

/// Which model to run, on what.
#[derive(ClapArgs, Debug)]
pub struct InferArgs {
    /// The model's file.
    #[arg(value_hint = ValueHint::FilePath)]
    pub model: PathBuf,
    /// Inputs, `[batch, ...]` or one sample: an array of NumPy's (.npy), float32; zeros if not given.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "batch")]
    pub input: Option<PathBuf>,
    /// Where the outputs go, as such a file; a line of numbers a sample on stdout if not given.
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,
    /// Samples of an input of zeros; 1 if not given.
    #[arg(long, value_name = "N")]
    pub batch: Option<std::num::NonZeroU16>,
    /// Threads; 1 if not given.
    #[arg(long, value_name = "N")]
    pub threads: Option<std::num::NonZeroU16>,
    /// Kernels: `avx512`, `avx2`, `neon` or `plain`; the first that the processor has if not given.
    #[arg(long, value_name = "NAME")]
    pub kernels: Option<String>,
    /// Seconds in which passes are timed, after the first.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2", value_parser = positive)]
    pub time: Option<f64>,
    /// Say what the model is, and how its steps are computed.
    #[arg(long)]
    pub show: bool,
}
