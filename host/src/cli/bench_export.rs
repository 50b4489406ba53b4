//! `host bench-export`.

use std::time::Duration;

use serde_json::json;
use tch::Device;

use super::args::{BenchExportArgs, Output};
use super::exit::{Exit, Failure};
use super::export::{failed, read};
use super::plan::grouped;
use super::{locate, spin, stdout};
use crate::counted::counted;
use crate::export::{self, Bench, Latency, Measured, Variant};
use crate::records::read_summary;
use crate::report::{columns, warn_of_other_builds};
use crate::statistics;
use crate::store::RunDir;

/// Times a level's forward pass with weights in full, without dead units, in sparse rows, in the runtime, and in ONNX
/// Runtime, with the accuracy of each where the run's data are.
///
/// # Errors
/// What is no run or no finished level, a file that cannot be read.
pub fn bench(args: &BenchExportArgs, output: &Output) -> Result<Exit, Failure> {
    let threads = args.threads();
    spin::sleep_soon(threads);
    tch::set_num_threads(threads as i32);
    let run = RunDir::new(locate::find(&args.model.run, &args.model.runs)?);
    warn_of_other_builds(&run);
    let source = read(&run, &args.model)?;
    let (seed, level, density) = (source.seed, source.level, source.density());
    let tests = match args.no_data {
        true => Err("--no-data".to_owned()),
        false => statistics::trainer(&run, &args.data.data_dir, Device::Cpu)
            .map_err(|error| error.to_string()),
    };
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
            "threads": threads, "sparse_kernel": SPARSE, "onnx_runtime": onnx_runtime,
            "test_samples": tests.as_ref().ok().map(|it| it.data().test.len()),
            "recorded_accuracy": recorded, "latencies": rows,
        }))?;
        return Ok(Exit::Success);
    }
    let title = format!(
        "Forward passes of level {level} of seed {seed} of {}, density {density:.4}, {}",
        run.name(),
        counted(threads, "thread")
    );
    let mut parts = vec![title, table(&rows)];
    parts.push(match &tests {
        Ok(tests) => accuracies(tests.data().test.len(), recorded),
        Err(reason) => format!("Without accuracies: {reason}."),
    });
    parts.extend(verdicts(&rows));
    parts.push(format!("Sparse rows: {SPARSE}."));
    if let Some(version) = onnx_runtime {
        parts.push(format!("ONNX Runtime: {version}."));
    }
    stdout::line(parts.join("\n\n"))?;
    Ok(Exit::Success)
}

fn accuracies(samples: i64, recorded: Option<f64>) -> String {
    let of = format!("Accuracies are of {} test samples", grouped(samples as u64));
    match recorded {
        Some(recorded) => format!("{of}; the record of training has {recorded:.4}."),
        None => format!("{of}."),
    }
}

/// What multiplies sparse rows.
const SPARSE: &str = "libtorch's product of a CSR matrix and a dense one; windows of convolutions are written out first (im2col)";

fn table(rows: &[Latency]) -> String {
    let header = [
        "batch",
        "weights",
        "bytes",
        "median ms",
        "quartiles ms",
        "passes",
        "difference",
        "accuracy",
    ];
    let cells = |row: &Latency| {
        let [first, median, third] = match row.quartiles_ms {
            Some(quartiles) => quartiles.map(|it| format!("{it:.3}")),
            None => [const { String::new() }; 3],
        };
        let quartiles = match first.is_empty() {
            true => String::new(),
            false => format!("{first} to {third}"),
        };
        vec![
            row.batch.to_string(),
            name(row.variant).to_owned(),
            row.bytes.to_string(),
            median,
            quartiles,
            row.passes.to_string(),
            row.difference
                .map_or_else(String::new, |it| format!("{it:.0e}")),
            row.accuracy
                .map_or_else(String::new, |it| format!("{it:.4}")),
        ]
    };
    let header = header.map(str::to_owned).to_vec();
    columns(header, rows.iter().map(cells), &[0, 2, 3, 5, 6, 7])
}

fn name(variant: Variant) -> &'static str {
    match variant {
        Variant::Dense => "in full",
        Variant::Compact => "without dead units",
        Variant::Csr => "sparse rows",
        Variant::Infer => "rewind-infer",
        Variant::Onnx => "ONNX Runtime, in full",
        Variant::OnnxCompact => "ONNX Runtime, without dead units",
        Variant::OnnxInt8 => "ONNX Runtime, without dead units, 8 bits",
    }
}

/// For each batch what compact and sparse weights gain or cost, by their share of the dense time in the
/// same turns.
fn verdicts(rows: &[Latency]) -> Vec<String> {
    let others = rows.iter().filter(|row| row.variant != Variant::Dense);
    let lines: Vec<String> = others.filter_map(verdict).collect();
    match lines.is_empty() {
        true => Vec::new(),
        false => vec![lines.join("\n")],
    }
}

fn verdict(row: &Latency) -> Option<String> {
    let (what, batch) = (name(row.variant), row.batch);
    if let Some(reason) = &row.unavailable {
        let text = format!("Batch {batch}, {what}: cannot be computed: {reason}.");
        return Some(text);
    }
    let quartiles = row.of_dense?;
    let mut verdict = compared(quartiles, "in full");
    let same = row.variant == Variant::Onnx;
    if let Some(quartiles) = row.of_onnx.filter(|_| !same) {
        let onnx = compared(quartiles, "of ONNX Runtime in full");
        verdict = format!("{verdict}; {onnx}");
    }
    Some(format!("Batch {batch}, {what}: {verdict}."))
}

/// Whether shares of a time say faster or slower.
fn compared([first, median, third]: [f64; 3], base: &str) -> String {
    let verdict = if first > 1.0 {
        "slower"
    } else if third < 1.0 {
        "faster"
    } else {
        "no clear difference"
    };
    format!("{verdict}, {median:.2} times the time {base} ({first:.2} to {third:.2})")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(variant: Variant, of_dense: [f64; 3]) -> Latency {
        Latency {
            variant,
            batch: 1,
            bytes: 100,
            passes: 9,
            quartiles_ms: Some(of_dense.map(|share| 2.0 * share)),
            of_dense: Some(of_dense),
            of_onnx: None,
            difference: Some(0.0),
            accuracy: None,
            unavailable: None,
        }
    }

    #[test]
    fn what_is_slower_is_said_and_what_overlaps_is_not_taken_for_faster() {
        let rows = [
            row(Variant::Dense, [1.0; 3]),
            row(Variant::Compact, [0.8, 0.9, 1.1]),
            row(Variant::Csr, [1.2, 1.5, 1.6]),
        ];
        let expected = "Batch 1, without dead units: no clear difference, 0.90 times the time in full (0.80 to 1.10).\n\
                        Batch 1, sparse rows: slower, 1.50 times the time in full (1.20 to 1.60).";
        assert_eq!(verdicts(&rows), [expected]);
        let fast = [row(Variant::Csr, [0.4, 0.5, 0.6])];
        let expected = "Batch 1, sparse rows: faster, 0.50 times the time in full (0.40 to 0.60).";
        assert_eq!(verdicts(&fast), [expected]);
        let mut onnx = [
            row(Variant::Onnx, [0.8, 0.9, 0.95]),
            row(Variant::Infer, [0.4; 3]),
        ];
        (onnx[0].of_onnx, onnx[1].of_onnx) = (Some([1.0; 3]), Some([0.5, 0.6, 0.7]));
        onnx[1].accuracy = Some(0.912_34);
        let expected = "Batch 1, ONNX Runtime, in full: faster, 0.90 times the time in full (0.80 to 0.95).\n\
                        Batch 1, rewind-infer: faster, 0.40 times the time in full (0.40 to 0.40); \
                        faster, 0.60 times the time of ONNX Runtime in full (0.50 to 0.70).";
        assert_eq!(verdicts(&onnx), [expected]);
        assert!(table(&onnx).ends_with("0.9123"), "{}", table(&onnx));
        assert!(table(&rows).contains("2.400 to 3.200"), "{}", table(&rows));
    }

    #[test]
    fn a_variant_that_cannot_be_computed_has_its_reason() {
        let mut rows = [row(Variant::Dense, [1.0; 3]), row(Variant::Csr, [1.0; 3])];
        (rows[1].quartiles_ms, rows[1].of_dense) = (None, None);
        rows[1].unavailable = Some("no MKL".to_owned());
        let expected = "Batch 1, sparse rows: cannot be computed: no MKL.";
        assert_eq!(verdicts(&rows), [expected]);
        assert!(table(&rows).contains("sparse rows"));
    }
}
