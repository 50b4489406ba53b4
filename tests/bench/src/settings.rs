//! What to measure and for how long.

use std::env;
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;

use crate::error::BenchError;
use crate::place::Place;

/// What is asked for.
#[derive(Clone, Debug)]
pub enum Task {
    /// The rows that match one of these patterns; all if there is none.
    Rows(Vec<String>),
    /// How costs grow.
    Scaling,
    /// Write the page anew from stored results.
    Table,
    /// What a row measures in a process of its own.
    Child(Vec<String>),
}

/// How it is measured.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What is asked for.
    pub task: Task,
    /// On what.
    pub place: Place,
    /// Whether PyTorch is measured, too.
    pub with_peers: bool,
    /// Threads, and processors, of either side.
    pub threads: usize,
    /// Measurements of each side.
    pub rounds: usize,
    /// Least duration of a measurement.
    pub seconds: f64,
    /// The folder of the build: `target`.
    pub target: PathBuf,
}

impl Settings {
    /// From the arguments and the variables `BENCH_*`.
    ///
    /// # Errors
    /// Names what is not understood.
    pub fn from_environment() -> Result<Self, BenchError> {
        let program = env::current_exe().map_err(BenchError::ours)?;
        // The program is target/release/bench.
        let target = program.ancestors().nth(2).unwrap_or(Path::new("target"));
        let mut arguments: Vec<String> = env::args().skip(1).collect();
        let dry = take(&mut arguments, "--dry-run");
        let with_peers = !take(&mut arguments, "--without-pytorch");
        let place = match arguments.iter().position(|it| it == "--device") {
            None => Place::parse("cpu", dry)?,
            Some(at) => {
                let device = arguments.drain(at..arguments.len().min(at + 2)).nth(1);
                Place::parse(&device.unwrap_or_default(), dry)?
            }
        };
        let task = match arguments.first().map(String::as_str) {
            Some("--scaling") => Task::Scaling,
            Some("--table") => Task::Table,
            Some("--child") => Task::Child(arguments[1..].to_vec()),
            Some(flag) if flag.starts_with('-') => {
                return Err(BenchError::Setting {
                    name: "the argument".to_owned(),
                    got: flag.to_owned(),
                    expected: "--device, --dry-run, --without-pytorch, --scaling, --table or patterns of rows",
                });
            }
            _ => Task::Rows(arguments),
        };
        // On a GPU nothing is shared between two of them that has to be kept equal.
        let threads = match place {
            Place::Gpu(_) => available_parallelism().map_or(1, usize::from) as f64,
            _ => 2.0,
        };
        // A dry run is to end, not to measure.
        let (rounds, seconds) = if dry { (1.0, 0.01) } else { (7.0, 0.7) };
        Ok(Self {
            task,
            place,
            with_peers,
            threads: number("BENCH_THREADS", threads)?.max(1.0) as usize,
            rounds: number("BENCH_ROUNDS", rounds)?.max(1.0) as usize,
            seconds: number("BENCH_SECONDS", seconds)?,
            target: target.to_owned(),
        })
    }

    /// The folder of all that is made here.
    pub fn folder(&self) -> PathBuf {
        self.target.join("bench")
    }

    /// The file of results.
    pub fn results(&self) -> PathBuf {
        self.folder().join(match self.place {
            Place::Processors => "results.json",
            Place::Gpu(_) => "results-cuda.json",
            Place::Dry => "results-dry.json",
        })
    }

    /// A program that was built beside this one.
    pub fn program(&self, name: &str) -> PathBuf {
        let name = format!("{name}{}", env::consts::EXE_SUFFIX);
        self.target.join("release").join(name)
    }
}

/// The checkout.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Whether a flag was given; it is gone afterwards.
fn take(arguments: &mut Vec<String>, flag: &str) -> bool {
    let before = arguments.len();
    arguments.retain(|it| it != flag);
    arguments.len() < before
}

fn number(name: &str, default: f64) -> Result<f64, BenchError> {
    let Ok(text) = env::var(name) else {
        return Ok(default);
    };
    match text.parse() {
        Ok(number) if number > 0.0 => Ok(number),
        _ => Err(BenchError::Setting {
            name: name.to_owned(),
            got: text,
            expected: "a positive number",
        }),
    }
}
