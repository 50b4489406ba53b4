//! The tables of a report that are no figure's: all results, the claims, and times of forward passes.

use std::collections::BTreeSet;

use super::paired::{measured, percent};
use super::part::Part;
use super::theory::Prediction;
use super::verdict::Judged;
use crate::records::{Timing, summary_table};

/// Columns of `claims.csv`; differences are percentage points.
const CLAIM_COLUMNS: [&str; 18] = [
    "part",
    "claim",
    "grid",
    "above",
    "below",
    "measure",
    "density_low",
    "density_high",
    "levels",
    "seeds",
    "difference",
    "low",
    "high",
    "verdict",
    "by_seed",
    "note",
    "p",
    "p_holm",
];

/// The claims, each with its part's name, and after them what the theory of the hidden neuron claims,
/// which has no difference.
///
/// # Errors
/// If they cannot be written.
pub fn claims_csv(
    claims: &[(String, Judged)],
    predictions: &[(String, Prediction)],
) -> Result<Vec<u8>, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(CLAIM_COLUMNS)?;
    for (part, judged) in claims {
        writer.write_record(claim_row(part, judged))?;
    }
    for (part, it) in predictions {
        let mut row = vec![String::new(); CLAIM_COLUMNS.len()];
        row[0].clone_from(part);
        row[1].clone_from(&it.claim);
        row[13] = it.verdict.word().to_owned();
        row[15].clone_from(&it.seen);
        writer.write_record(row)?;
    }
    writer
        .into_inner()
        .map_err(|error| error.into_error().into())
}

fn claim_row(part: &str, judged: &Judged) -> Vec<String> {
    let difference = judged.difference;
    let bound = |sign: f64| {
        let bound = difference.and_then(|it| Some(it.mean + sign * it.half_width?));
        bound.map_or_else(String::new, percent)
    };
    let density = |at: usize| {
        let densities = judged.densities;
        densities.map_or_else(String::new, |it| format!("{:.6}", it[at]))
    };
    let by_seed = judged.seeds.iter();
    let by_seed = by_seed.map(|(seed, difference)| format!("{seed}: {}", percent(*difference)));
    vec![
        part.to_owned(),
        judged.claim.clone(),
        judged.combination.clone(),
        judged.above.clone(),
        judged.below.clone(),
        measured(judged.measure).to_owned(),
        density(0),
        density(1),
        judged.levels.len().to_string(),
        judged.seeds.len().to_string(),
        difference.map_or_else(String::new, |it| percent(it.mean)),
        bound(-1.0),
        bound(1.0),
        judged.verdict.word().to_owned(),
        by_seed.collect::<Vec<_>>().join("; "),
        judged.note.clone(),
        p_text(judged.p),
        p_text(judged.p_holm),
    ]
}

/// A p value with the digits that mean something.
fn p_text(p: Option<f64>) -> String {
    p.map_or_else(String::new, |it| format!("{it:.6}"))
}

/// Columns of `latencies.csv`; shares are of the time in full, in the same turns.
const LATENCY_COLUMNS: [&str; 18] = [
    "part",
    "run",
    "seed",
    "level",
    "density",
    "processor",
    "threads",
    "multiple",
    "onnx_runtime",
    "batch",
    "weights",
    "bytes",
    "median_ms",
    "of_libtorch",
    "of_onnx_runtime",
    "difference",
    "accuracy",
    "unavailable",
];

/// Times of forward passes, each with its part's and its run's name; none if nobody measured any.
///
/// # Errors
/// If they cannot be written.
pub fn latencies_csv(timings: &[(String, String, Timing)]) -> Result<Option<Vec<u8>>, csv::Error> {
    if timings.is_empty() {
        return Ok(None);
    }
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(LATENCY_COLUMNS)?;
    for (part, run, timing) in timings {
        for latency in &timing.latencies {
            let number = |it: Option<f64>| it.map_or_else(String::new, |it| it.to_string());
            let median = |it: Option<[f64; 3]>| number(it.map(|it| it[1]));
            let variant = serde_json::to_value(latency.variant).unwrap_or_default();
            writer.write_record([
                part.as_str(),
                run,
                &timing.seed.to_string(),
                &timing.level.to_string(),
                &format!("{:.6}", timing.density),
                &timing.processor,
                &timing.threads.to_string(),
                &timing.multiple.to_string(),
                timing.onnx_runtime.as_deref().unwrap_or_default(),
                &timing.batch.to_string(),
                variant.as_str().unwrap_or_default(),
                &latency.bytes.to_string(),
                &median(latency.quartiles_ms),
                &median(latency.of_dense),
                &median(latency.of_onnx),
                &number(latency.difference),
                &number(latency.accuracy),
                latency.unavailable.as_deref().unwrap_or_default(),
            ])?;
        }
    }
    let bytes = writer.into_inner().map_err(|error| error.into_error())?;
    Ok(Some(bytes))
}

/// All summaries of all runs in one table: part, run, method and the grid's values before the columns
/// of a run's `summary.csv`. Metrics that a run did not ask for are empty in its rows.
///
/// # Errors
/// If they cannot be written.
pub fn merge(parts: &[&Part]) -> Result<Vec<u8>, csv::Error> {
    let cells = || (parts.iter()).flat_map(|part| part.cells.iter().map(|cell| (&part.name, cell)));
    let keys: BTreeSet<&String> = cells().flat_map(|(_, cell)| cell.values.keys()).collect();
    let all = cells().flat_map(|(_, cell)| cell.results.summaries());
    let (columns, rows) = summary_table(all)?;
    let mut rows = rows.into_iter();
    let mut writer = csv::Writer::from_writer(Vec::new());
    if !columns.is_empty() {
        let own = ["part", "run", "method"].into_iter();
        let all = own.chain(keys.iter().map(|it| it.as_str()));
        writer.write_record(all.chain(columns.iter().map(String::as_str)))?;
    }
    for (part, cell) in cells() {
        let mut first = vec![part.clone(), cell.name.clone(), cell.method.clone()];
        first.extend(keys.iter().map(|key| {
            let value = cell.values.get(*key);
            value.map_or_else(String::new, ToString::to_string)
        }));
        for row in rows.by_ref().take(cell.results.summaries().count()) {
            let all = first.iter().chain(&row);
            writer.write_record(all)?;
        }
    }
    writer
        .into_inner()
        .map_err(|error| error.into_error().into())
}
