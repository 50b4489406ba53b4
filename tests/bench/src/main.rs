//! `bench`: measures the host beside PyTorch, as `make bench` asks for it, and writes `BENCHMARKS.md`.
//!
//! `bench [ROW...]` runs the rows whose names match one of the patterns, or all; `bench --scaling`
//! measures how the host's costs grow. `bench --device cuda [ROW...]` measures the rows for GPUs, and writes the page's section
//! on them; `bench --device cpu --dry-run` goes through these rows in seconds, on the CPU, and prints what it would write,
//! `--without-pytorch` the host's sides alone. `BENCH_THREADS`, `BENCH_ROUNDS` and `BENCH_SECONDS` change how;
//! `BENCH_PYTHON` names another Python with PyTorch than that of `make bench`.

mod affinity;
mod bench;
mod error;
mod files;
mod machine;
mod measure;
mod ours;
mod peer;
mod pictures;
mod place;
mod results;
mod rows;
mod scaling;
mod settings;
mod statistics;
mod table;

use kernels_native as _;

use std::process::ExitCode;

use bench::Bench;
use error::BenchError;
use settings::{Settings, Task};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), BenchError> {
    let settings = Settings::from_environment()?;
    // Before any thread exists: threads and children inherit both.
    affinity::pin(settings.threads)?;
    host::memory::keep_freed();
    host::cli::spin::sleep_soon(settings.threads);
    tch::set_num_threads(settings.threads as i32);
    if let Some(reason) = settings.place.absence()? {
        println!("bench: nothing to measure: {reason}");
        return Ok(());
    }
    match settings.task.clone() {
        Task::Rows(patterns) => rows::run(&mut Bench::new(settings)?, &patterns),
        Task::Scaling => scaling::run(&mut Bench::new(settings)?),
        Task::Table => {
            let results = results::Results::read(&settings.results())?;
            table::write(&results, settings.place)
        }
        Task::Child(child) => rows::child(&child),
    }
}
