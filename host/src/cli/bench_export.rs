//! `host bench-export`.

use std::path::Path;
use std::time::Duration;

use serde_json::json;
use tch::Device;

use super::args::{BenchExportArgs, Output};
use super::exit::{Exit, Failure};
use super::export::failed;
use super::locate::{locate, run_of};
use super::{spin, stdout};
use crate::export::{self, Bench, Measured};
use crate::processor;
use crate::records::{LATENCIES, SweepRecord, Timing, read_summary};
use crate::report::{Subject, speeds, warn_of_other_builds};
use crate::statistics;
use crate::store::RunDir;
use crate::trainer::Trainer;

mod words;

/// Times levels' forward passes with weights in full, without dead units, in sparse rows, in the runtime, and in ONNX
/// Runtime, with the accuracy of each where the run's data are, and keeps the times in the runs' folders.
///
/// # Errors
/// What is no run or no finished level, a file that cannot be read.
pub fn bench(args: &BenchExportArgs, output: &Output) -> Result<Exit, Failure> {
    let threads = args.threads();
    spin::sleep_soon(threads);
    tch::set_num_threads(threads as i32);
    let mut all = Vec::new();
    for run in runs(args)? {
        warn_of_other_builds(&run);
        let tests = match args.no_data {
            true => Err("--no-data".to_owned()),
            false => statistics::trainer(&run, &args.data.data_dir, Device::Cpu)
                .map_err(|error| error.to_string()),
        };
        for level in levels(args, &run) {
            let timings = time(&run, level, &tests, args, output)?;
            all.extend(timings.into_iter().map(|it| (run.name(), it)));
        }
    }
    let networks = all.chunk_by(|(a, x), (b, y)| a == b && x.level == y.level);
    if !output.json && networks.count() > 1 {
        for speeds in speeds(&all) {
            stdout::line(format!("\n{}", words::side_by_side(&speeds)))?;
        }
    }
    Ok(Exit::Success)
}

/// The runs that were meant, each once: of a sweep those that have finished a level.
fn runs(args: &BenchExportArgs) -> Result<Vec<RunDir>, Failure> {
    let mut runs: Vec<RunDir> = Vec::new();
    for name in &args.run {
        let own = match locate(name, &args.runs)? {
            Subject::Sweep(folder) => of_sweep(&folder)?,
            other => vec![RunDir::new(run_of(other)?)],
        };
        for run in own {
            if !runs.iter().any(|it| it.name() == run.name()) {
                runs.push(run);
            }
        }
    }
    Ok(runs)
}

fn of_sweep(folder: &Path) -> Result<Vec<RunDir>, Failure> {
    let record = SweepRecord::read(folder).map_err(Failure::bad_input)?;
    let cells = record.parts.iter().flat_map(|it| &it.cells);
    let (finished, other): (Vec<RunDir>, Vec<RunDir>) = cells
        .map(|it| RunDir::new(it.folder(folder)))
        .partition(|run| last_level(run).is_some());
    for run in &other {
        log::warn!("{} has finished no level: it is left out", run.name());
    }
    match finished.is_empty() {
        true => Err(Failure::bad_input(format!(
            "no run of {} has finished a level",
            folder.display()
        ))),
        false => Ok(finished),
    }
}

fn last_level(run: &RunDir) -> Option<u64> {
    statistics::last_common_level(std::slice::from_ref(run))
}

/// The levels that are asked for of a run: those of them that it has finished, or else the first, which it lacks; the
/// last one if none is named.
fn levels(args: &BenchExportArgs, run: &RunDir) -> Vec<Option<u64>> {
    let finished = match args.seed {
        Some(seed) => run.seed(seed).finished_levels().checked_sub(1),
        None => last_level(run),
    };
    let is_here = |level: &&u64| finished.is_some_and(|last| **level <= last);
    let here: Vec<_> = args
        .level
        .iter()
        .filter(is_here)
        .copied()
        .map(Some)
        .collect();
    match here.is_empty() {
        true => vec![args.level.first().copied()],
        false => here,
    }
}

/// Times one level, says and keeps how long it took.
fn time(
    run: &RunDir,
    level: Option<u64>,
    tests: &Result<Trainer, String>,
    args: &BenchExportArgs,
    output: &Output,
) -> Result<Vec<Timing>, Failure> {
    let source = export::read(run, args.seed, level).map_err(failed)?;
    let (seed, level, density) = (source.seed, source.level, source.density());
    let threads = args.threads();
    let bench = Bench {
        batches: &args.batch,
        time: Duration::from_secs_f64(args.seconds),
        threads,
        multiple: args.multiple.unwrap_or(1),
        python: &export::interpreter(args.python.as_deref()),
        tests: tests.as_ref().ok(),
    };
    let Measured { rows, onnx_runtime } = export::measure(source, &bench).map_err(failed)?;
    let recorded = read_summary(&run.seed(seed).level(level)).ok();
    let recorded = recorded.map(|it| it.test_accuracy);
    if output.json {
        stdout::line(json!({
            "run": run.path(), "seed": seed, "level": level, "density": density,
            "threads": threads, "sparse_kernel": words::SPARSE, "onnx_runtime": onnx_runtime,
            "test_samples": tests.as_ref().ok().map(|it| it.data().test.len()),
            "recorded_accuracy": recorded, "latencies": rows,
        }))?;
    } else {
        let title = words::title(&run.name(), (seed, level, density), threads);
        let mut parts = vec![title, words::table(&rows)];
        parts.push(match tests {
            Ok(tests) => words::accuracies(tests.data().test.len(), recorded),
            Err(reason) => format!("Without accuracies: {reason}."),
        });
        parts.extend(words::verdicts(&rows));
        parts.push(format!("Sparse rows: {}.", words::SPARSE));
        if let Some(version) = &onnx_runtime {
            parts.push(format!("ONNX Runtime: {version}."));
        }
        stdout::line(parts.join("\n\n"))?;
    }
    let of_batch = |&batch: &i64| Timing {
        seed,
        level,
        density,
        batch,
        threads,
        multiple: bench.multiple,
        processor: processor::name(),
        onnx_runtime: onnx_runtime.clone(),
        latencies: (rows.iter().filter(|it| it.batch == batch).cloned()).collect(),
    };
    let timings: Vec<Timing> = args.batch.iter().map(of_batch).collect();
    keep(run, &timings);
    Ok(timings)
}

/// Adds times to the run's. Who may not write there has seen them.
fn keep(run: &RunDir, timings: &[Timing]) {
    let kept = LATENCIES.lock(run).map_err(|error| error.to_string());
    let kept = kept.and_then(|_lock| {
        let old = LATENCIES.read(run).map_err(|error| error.to_string())?;
        let new = timings.iter().map(|it| it.with_accuracies_of(&old));
        let added = LATENCIES.add(run, new.collect(), Timing::is_of_same);
        added.map_err(|error| error.to_string())
    });
    if let Err(reason) = kept {
        log::warn!("a report of the run will lack these times: {reason}");
    }
}
