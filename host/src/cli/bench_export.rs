//! `host bench-export`.

use std::time::Duration;

use serde_json::json;

use super::args::{BenchExportArgs, Output};
use super::exit::{Exit, Failure};
use super::{export::read, locate, spin, stdout};
use crate::export::{self, Latency, Variant};
use crate::report::columns;
use crate::store::RunDir;

/// Times a level's forward pass with weights in full, without dead units, and in sparse rows.
///
/// # Errors
/// What is no run or no finished level, a file that cannot be read.
pub fn bench(args: &BenchExportArgs, output: &Output) -> Result<Exit, Failure> {
    let threads = args.threads();
    spin::sleep_soon(threads);
    tch::set_num_threads(threads as i32);
    let run = RunDir::new(locate::find(&args.model.run, &args.model.runs)?);
    let source = read(&run, &args.model)?;
    let (seed, level, density) = (source.seed, source.level, source.density());
    let time = Duration::from_secs_f64(args.seconds);
    let rows = export::measure(source, &args.batch, time);
    if output.json {
        stdout::line(json!({
            "run": run.path(), "seed": seed, "level": level, "density": density,
            "threads": threads, "sparse_kernel": SPARSE, "latencies": rows,
        }))?;
        return Ok(Exit::Success);
    }
    let title = format!(
        "Forward passes of level {level} of seed {seed} of {}, density {density:.4}, {threads} threads",
        run.name()
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
    }
}

/// For each batch what sparse rows gain or cost, which is easily hoped for and rarely so.
fn verdicts(rows: &[Latency]) -> Vec<String> {
    let mut lines = Vec::new();
    for row in rows.iter().filter(|row| row.variant != Variant::Dense) {
        let dense = (rows.iter())
            .find(|it| it.variant == Variant::Dense && it.batch == row.batch)
            .and_then(|it| it.quartiles_ms);
        let (what, batch) = (name(row.variant), row.batch);
        match (row.quartiles_ms, dense, &row.unavailable) {
            (_, _, Some(reason)) => {
                lines.push(format!(
                    "Batch {batch}, {what}: cannot be computed: {reason}."
                ));
            }
            (Some([first, median, third]), Some([below, dense, above]), None) => {
                let clear = first > above || third < below;
                let verdict = match (clear, median > dense) {
                    (false, _) => "as fast as".to_owned(),
                    (true, true) => format!("{:.2} times slower than", median / dense),
                    (true, false) => format!("{:.2} times faster than", dense / median),
                };
                lines.push(format!("Batch {batch}, {what}: {verdict} in full."));
            }
            _ => {}
        }
    }
    match lines.is_empty() {
        true => Vec::new(),
        false => vec![lines.join("\n")],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(variant: Variant, quartiles_ms: [f64; 3]) -> Latency {
        Latency {
            variant,
            batch: 1,
            bytes: 100,
            passes: 9,
            quartiles_ms: Some(quartiles_ms),
            difference: Some(0.0),
            unavailable: None,
        }
    }

    #[test]
    fn what_is_slower_is_said_and_what_overlaps_is_not_taken_for_faster() {
        let rows = [
            row(Variant::Dense, [1.0, 1.1, 1.2]),
            row(Variant::Compact, [0.9, 1.0, 1.1]),
            row(Variant::Csr, [2.1, 2.2, 2.3]),
        ];
        let expected = "Batch 1, without dead units: as fast as in full.\n\
                        Batch 1, sparse rows: 2.00 times slower than in full.";
        assert_eq!(verdicts(&rows), [expected]);
        let fast = [row(Variant::Dense, [2.0; 3]), row(Variant::Csr, [1.0; 3])];
        assert_eq!(
            verdicts(&fast),
            ["Batch 1, sparse rows: 2.00 times faster than in full."]
        );
        assert!(table(&rows).contains("1.000 to 1.200"), "{}", table(&rows));
    }

    #[test]
    fn a_variant_that_cannot_be_computed_has_its_reason() {
        let mut rows = [row(Variant::Dense, [2.0; 3]), row(Variant::Csr, [1.0; 3])];
        rows[1].quartiles_ms = None;
        rows[1].unavailable = Some("no MKL".to_owned());
        let expected = "Batch 1, sparse rows: cannot be computed: no MKL.";
        assert_eq!(verdicts(&rows), [expected]);
        assert!(table(&rows).contains("sparse rows"));
    }
}
