//! What to measure and for how long.

use std::env;
use std::path::{Path, PathBuf};

use crate::error::BenchError;

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
        let arguments: Vec<String> = env::args().skip(1).collect();
        let task = match arguments.first().map(String::as_str) {
            Some("--scaling") => Task::Scaling,
            Some("--table") => Task::Table,
            Some("--child") => Task::Child(arguments[1..].to_vec()),
            Some(flag) if flag.starts_with('-') => {
                return Err(BenchError::Setting {
                    name: "the argument".to_owned(),
                    got: flag.to_owned(),
                    expected: "--scaling, --table or patterns of rows",
                });
            }
            _ => Task::Rows(arguments),
        };
        Ok(Self {
            task,
            threads: number("BENCH_THREADS", 2.0)?.max(1.0) as usize,
            rounds: number("BENCH_ROUNDS", 7.0)?.max(1.0) as usize,
            seconds: number("BENCH_SECONDS", 0.7)?,
            target: target.to_owned(),
        })
    }

    /// The folder of all that is made here.
    pub fn folder(&self) -> PathBuf {
        self.target.join("bench")
    }

    /// The file of results.
    pub fn results(&self) -> PathBuf {
        self.folder().join("results.json")
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
