//! A level's times in words.

use crate::cli::plan::grouped;
use crate::counted::counted;
use crate::records::{Latency, Variant};
use crate::report::{Speeds, Timed as Compared, columns};

/// How many samples accuracies are of, and what training recorded.
pub fn accuracies(samples: i64, recorded: Option<f64>) -> String {
    let of = format!("Accuracies are of {} test samples", grouped(samples as u64));
    match recorded {
        Some(recorded) => format!("{of}; the record of training has {recorded:.4}."),
        None => format!("{of}."),
    }
}

/// What multiplies sparse rows.
pub const SPARSE: &str = "libtorch's product of a CSR matrix and a dense one; windows of convolutions are written out first (im2col)";

/// The times and what goes with them, a row each.
pub fn table(rows: &[Latency]) -> String {
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
pub fn verdicts(rows: &[Latency]) -> Vec<String> {
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

/// All networks of a machine side by side: how many times as fast each way is as the first.
pub fn side_by_side(speeds: &Speeds) -> String {
    let base = format!("{} ms", speeds.base);
    let header = ["run", "seed", "level", "density", "batch"].map(str::to_owned);
    let ways = speeds.ways.iter().map(|it| (*it).to_owned());
    let header: Vec<String> = header.into_iter().chain([base]).chain(ways).collect();
    let accuracy = |it: &Compared| {
        (it.accuracy).map_or_else(String::new, |it| format!(" ({:.1} %)", 100.0 * it))
    };
    let rows = speeds.rows.iter().map(|row| {
        let mut cells = vec![
            row.network.clone(),
            row.seed.to_string(),
            row.level.to_string(),
            format!("{:.4}", row.density),
            row.batch.to_string(),
            format!("{:.3}{}", row.base.ms, accuracy(&row.base)),
        ];
        cells.extend(row.ways.iter().map(|way| {
            way.map_or_else(String::new, |it| {
                format!("{:.2}{}", it.times[1], accuracy(&it))
            })
        }));
        cells
    });
    let numbers: Vec<usize> = (1..header.len()).collect();
    format!(
        "On {}, times as fast as {} in full (accuracy):\n\n{}",
        speeds.machine,
        speeds.base,
        columns(header, rows, &numbers)
    )
}

/// What a table is of.
pub fn title(run: &str, timed: (u64, u64, f64), threads: usize) -> String {
    let (seed, level, density) = timed;
    format!(
        "Forward passes of level {level} of seed {seed} of {run}, density {density:.4}, {}",
        counted(threads, "thread")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::latency;

    fn row(variant: Variant, of_dense: [f64; 3]) -> Latency {
        latency(variant, 1, [of_dense.map(|share| 2.0 * share), of_dense])
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
