//! `host bench-export`.

use std::time::Duration;

use serde_json::json;

use super::args::{BenchExportArgs, Output};
use super::exit::{Exit, Failure};
use super::export::{failed, read};
use super::{locate, spin, stdout};
use crate::counted::counted;
use crate::export::{self, Latency, Variant};
use crate::report::{columns, warn_of_other_builds};
use crate::store::RunDir;

/// Times a level's forward pass with weights in full, without dead units, in sparse rows, and in the runtime.
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
    let time = Duration::from_secs_f64(args.seconds);
    let rows = export::measure(source, &args.batch, time).map_err(failed)?;
    if output.json {
        stdout::line(json!({
            "run": run.path(), "seed": seed, "level": level, "density": density,
            "threads": threads, "sparse_kernel": SPARSE, "latencies": rows,
        }))?;
        return Ok(Exit::Success);
    }
    let title = format!(
        "Forward passes of level {level} of seed {seed} of {}, density {density:.4}, {}",
        run.name(),
        counted(threads, "thread")
    );
    let mut parts = vec![title, table(&rows)];
    parts.extend(verdicts(&rows));
    parts.push(format!("Sparse rows: {SPARSE}."));
    stdout::line(parts.join("\n\n"))?;
    Ok(Exit::Success)
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
        ]
    };
    let header = header.map(str::to_owned).to_vec();
    columns(header, rows.iter().map(cells), &[0, 2, 3, 5, 6])
}

fn name(variant: Variant) -> &'static str {
    match variant {
        Variant::Dense => "in full",
        Variant::Compact => "without dead units",
        Variant::Csr => "sparse rows",
        Variant::Infer => "rewind-infer",
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
    let [first, median, third] = row.of_dense?;
    let verdict = if first > 1.0 {
        format!("slower, {median:.2} times the time")
    } else if third < 1.0 {
        format!("faster, {median:.2} times the time")
    } else {
        format!("no clear difference, {median:.2} times the time")
    };
    Some(format!(
        "Batch {batch}, {what}: {verdict} in full ({first:.2} to {third:.2})."
    ))
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
            difference: Some(0.0),
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
