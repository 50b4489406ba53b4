//! The metrics that an experiment asks for, against those that the stored weights give.

use super::levels::Level;
use super::metrics::{Agreement, most_others};
use crate::levels::{classes_of, summary_of};
use crate::records::{ClassRecord, METRICS, Summary, read_lines};
use crate::trainer::Tested;

/// What may differ by rounding: the loss as a share of it, and the share of the samples whose class may be another.
pub(super) type Rounding = (f64, f64);

/// The first file that does not agree, and how.
type Wrong = (&'static str, String);

/// Compares a level's metrics with those of its stored weights.
pub(super) fn agree(
    level: &Level<'_>,
    written: &Summary,
    tested: &Tested,
    rounding: Rounding,
) -> Result<Agreement, Wrong> {
    let now = summary_of(tested, written.clone());
    let numbers = numbers_agree(written, &now, rounding)?;
    let expected = classes_of(tested, level.level);
    if expected.is_empty() {
        return Ok(numbers);
    }
    const FILE: &str = "classes.jsonl";
    let records: Vec<ClassRecord> =
        read_lines(&level.dir.file(FILE)).map_err(|error| (FILE, super::files::reason(&error)))?;
    let most = most_others(now.test_samples, rounding);
    Ok(numbers.and(classes_agree(&records, &expected, most)?))
}

fn numbers_agree(written: &Summary, now: &Summary, rounding: Rounding) -> Result<Agreement, Wrong> {
    let mut agreement = Agreement::Exact;
    for (name, pick) in METRICS {
        let [before, after] = [written, now].map(pick);
        let same = |it: f64| it.is_finite().then(|| it.to_bits());
        if before.map(same) == after.map(same) {
            continue;
        }
        let is_close = match (before, after) {
            (Some(before), Some(after)) => (before - after).abs() <= reach(name, after, rounding),
            _ => false,
        };
        if !is_close {
            let said = |it: Option<f64>| it.map_or("none".to_owned(), |it| it.to_string());
            let (before, after) = (said(before), said(after));
            let reason = format!("it says test_{name} {before}, the stored weights give {after}");
            return Err(("summary.json", reason));
        }
        agreement = Agreement::Close;
    }
    Ok(agreement)
}

/// How far rounding may move a metric that is `now`.
fn reach(name: &str, now: f64, (loss, share): Rounding) -> f64 {
    match name {
        "nll" | "rmse" => loss * now.abs(),
        "perplexity" => now * (loss * now.ln().abs()).exp_m1(),
        // The residual is a square.
        "r2" => 2.0 * loss * (1.0 - now).abs(),
        // A sample that passes from one bin to another counts in both.
        "ece" => 2.0 * share + loss,
        _ => share,
    }
}

fn classes_agree(
    written: &[ClassRecord],
    now: &[ClassRecord],
    most: u64,
) -> Result<Agreement, Wrong> {
    // As text: an accuracy may be no number, which equals nothing.
    let text = |it: &[ClassRecord]| format!("{it:?}");
    if text(written) == text(now) {
        return Ok(Agreement::Exact);
    }
    let near = |(before, after): (u64, u64)| before.abs_diff(after) <= most;
    let is_close = |(before, after): &(&ClassRecord, &ClassRecord)| {
        let facts = |it: &ClassRecord| (it.level, it.class, it.test_samples);
        let correct = match (before.test_correct, after.test_correct) {
            (Some(before), Some(after)) => near((before, after)),
            (before, after) => before == after,
        };
        let predicted = match (&before.predicted, &after.predicted) {
            (Some(before), Some(after)) => {
                let pairs = before.iter().copied().zip(after.iter().copied());
                before.len() == after.len() && pairs.into_iter().all(near)
            }
            (before, after) => before == after,
        };
        facts(before) == facts(after) && correct && predicted
    };
    let other = written.iter().zip(now).find(|pair| !is_close(pair));
    match other {
        None if written.len() == now.len() => Ok(Agreement::Close),
        None => Err((
            "classes.jsonl",
            format!("it is of {} classes, expected {}", written.len(), now.len()),
        )),
        Some((written, now)) => Err((
            "classes.jsonl",
            format!("it says {written:?}, the stored weights give {now:?}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FP32: Rounding = (1e-4, 1e-3);

    fn summary(nll: Option<f64>, ece: Option<f64>, r2: Option<f64>) -> Summary {
        Summary {
            test_samples: 10_000,
            test_nll: nll,
            test_perplexity: nll.map(f64::exp),
            test_ece: ece,
            test_r2: r2,
            ..Summary::of_layers(0, 0, 1, &[])
        }
    }

    #[test]
    fn numbers_that_rounding_explains_pass_and_others_are_named() {
        let now = summary(Some(0.5), Some(0.04), Some(f64::NAN));
        let of = |nll, ece, r2| numbers_agree(&summary(nll, ece, r2), &now, FP32);
        let nan = Some(f64::NAN);
        assert_eq!(of(Some(0.5), Some(0.04), nan), Ok(Agreement::Exact));
        assert_eq!(of(Some(0.500_01), Some(0.041), nan), Ok(Agreement::Close));
        for (nll, ece, r2, said) in [
            (
                Some(0.501),
                Some(0.04),
                nan,
                "test_nll 0.501, the stored weights give 0.5",
            ),
            (
                Some(0.5),
                Some(0.05),
                nan,
                "test_ece 0.05, the stored weights give 0.04",
            ),
            (
                Some(0.5),
                None,
                nan,
                "test_ece none, the stored weights give 0.04",
            ),
            (
                Some(0.5),
                Some(0.04),
                Some(0.9),
                "test_r2 0.9, the stored weights give NaN",
            ),
        ] {
            let (file, reason) = of(nll, ece, r2).unwrap_err();
            assert_eq!((file, reason), ("summary.json", format!("it says {said}")));
        }
    }

    #[test]
    fn counts_of_classes_may_differ_by_few() {
        let record = |class, correct, predicted: [u64; 2]| ClassRecord {
            level: 2,
            class,
            test_samples: 100,
            test_correct: Some(correct),
            test_accuracy: Some(correct as f64 / 100.0),
            predicted: Some(predicted.into()),
        };
        let now = [record(0, 90, [90, 10]), record(1, 80, [20, 80])];
        let of = |written: &[ClassRecord]| classes_agree(written, &now, 2);
        assert_eq!(of(&now), Ok(Agreement::Exact));
        let near = [record(0, 91, [91, 9]), record(1, 80, [20, 80])];
        assert_eq!(of(&near), Ok(Agreement::Close));
        let far = [record(0, 90, [90, 10]), record(1, 80, [17, 83])];
        let (_, reason) = of(&far).unwrap_err();
        assert!(
            reason.contains("[17, 83]") && reason.contains("[20, 80]"),
            "{reason}"
        );
        let (_, reason) = of(&now[..1]).unwrap_err();
        assert_eq!(reason, "it is of 1 classes, expected 2");
    }
}
