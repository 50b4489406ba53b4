//! Test and validation metrics, by evaluating the stored weights again; and the initial weights, drawn again.

use super::further::Rounding;
use super::levels::Level;
use super::masks::Stored;
use super::{Means, Verdict, further};
use crate::experiment::Precision;
use crate::records::Summary;
use crate::store;
use crate::trainer::{Evaluation, On, Snapshot, TrainError};

/// What may differ where another device, another libtorch or another number of threads rounds
/// differently: the loss, as a share of it, and the share of the test samples whose class may be
/// another, which are always two at least.
const fn rounding(precision: Precision) -> Rounding {
    match precision {
        Precision::Fp32 => (1e-4, 1e-3),
        // 10 bits of what products read, where 23 are rounded elsewhere.
        Precision::Tf32 => (5e-3, 5e-3),
        // A bfloat16 has 8 bits, 16 fewer than an f32.
        Precision::Bf16 => (2e-2, 1e-2),
    }
}

pub(super) fn check(
    level: &Level<'_>,
    stored: &Stored,
    means: &Means<'_>,
    checked: &mut Vec<&'static str>,
    verdict: &mut Verdict,
) {
    let Ok(trainer) = &means.trainer else {
        return;
    };
    if level.level == 0 {
        let drawn = trainer.initial(level.seed);
        let other = drawn.tensors.iter().find(|(name, tensor)| {
            let own = stored.start.iter().find(|(other, _)| other == name);
            own.is_none_or(|(_, own)| *own != tensor.to_device(tch::Device::Cpu))
        });
        match other {
            None => checked.push("init"),
            Some((name, _)) => verdict.problem(
                level.named("start.safetensors"),
                format!(
                    "`{name}` is not what seed {} draws as initial values",
                    level.seed
                ),
            ),
        }
    }
    let end = Snapshot {
        tensors: (stored.end.iter())
            .map(|(name, tensor)| (name.clone(), tensor.to_device(trainer.device())))
            .collect(),
    };
    let path = level.dir.file("summary.json");
    let summary = store::read(&path)
        .map_err(|error| error.to_string())
        .and_then(|bytes| {
            serde_json::from_slice::<Summary>(&bytes).map_err(|error| error.to_string())
        });
    let Ok(summary) = summary else {
        return; // Named with the records.
    };
    let precision = means.experiment.as_ref().ok().map(|it| it.train.precision);
    let rounding = rounding(precision.unwrap_or_default());
    let has_validation = trainer.data().validation.is_some();
    if has_validation != summary.validation_samples.is_some() {
        let (says, holds) = match has_validation {
            true => ("nothing", "validation samples"),
            false => ("something", "no validation samples"),
        };
        verdict.problem(
            level.named("summary.json"),
            format!("it says {says} of validation, and the experiment has {holds}"),
        );
        return;
    }
    let failed = |error: TrainError| (level.named("end.safetensors"), error.to_string());
    let of_test = trainer.test(&end).map_err(failed).and_then(|tested| {
        let written = Written::of_test(&summary);
        let of_loss = agree(level, &written, &tested.evaluation, rounding)?;
        let of_metrics = further::agree(level, &summary, &tested, rounding)
            .map_err(|(file, reason)| (level.named(file), reason))?;
        Ok(of_loss.and(of_metrics))
    });
    report("test metrics", of_test, checked, verdict);
    if has_validation {
        let point = std::slice::from_ref(&end);
        let evaluated = trainer.evaluate(point, On::Validation).map_err(failed);
        let of_validation = evaluated.and_then(|evaluated| {
            let written = Written::of_validation(&summary);
            // One evaluation for each point.
            let one = evaluated.first();
            one.map_or(Ok(Agreement::Exact), |now| {
                agree(level, &written, now, rounding)
            })
        });
        report("validation metrics", of_validation, checked, verdict);
    }
}

/// The file that is wrong, and how.
type Wrong = (String, String);

fn report(
    what: &'static str,
    found: Result<Agreement, Wrong>,
    checked: &mut Vec<&'static str>,
    verdict: &mut Verdict,
) {
    match found {
        Ok(Agreement::Exact) => checked.push(what),
        Ok(Agreement::Close) => {
            checked.push(match what {
                "test metrics" => "test metrics (rounded differently)",
                _ => "validation metrics (rounded differently)",
            });
            verdict.unchecked(
                format!("the last bits of the {what}"),
                "another device, libtorch or number of threads rounds differently",
            );
        }
        Err((file, reason)) => verdict.problem(file, reason),
    }
}

/// What a summary says of a split.
#[derive(Debug)]
struct Written {
    split: &'static str,
    loss: f64,
    correct: u64,
    samples: u64,
}

impl Written {
    fn of_test(summary: &Summary) -> Self {
        Self {
            split: "test",
            loss: summary.test_loss,
            correct: summary.test_correct,
            samples: summary.test_samples,
        }
    }

    fn of_validation(summary: &Summary) -> Self {
        Self {
            split: "validation",
            loss: summary.validation_loss.unwrap_or(f64::NAN),
            correct: summary.validation_correct.unwrap_or_default(),
            samples: summary.validation_samples.unwrap_or_default(),
        }
    }
}

/// How far what is written agrees with what the stored weights give now.
fn agree(
    level: &Level<'_>,
    written: &Written,
    now: &Evaluation,
    rounding: Rounding,
) -> Result<Agreement, Wrong> {
    let wrong = || {
        let reason = format!(
            "it says a {} loss of {} with {} of {} right, the stored weights give {} with {} of {}",
            written.split,
            written.loss,
            written.correct,
            written.samples,
            now.loss,
            now.correct,
            now.samples
        );
        (level.named("summary.json"), reason)
    };
    compare(written, now, rounding).ok_or_else(wrong)
}

#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(super) enum Agreement {
    Exact,
    Close,
}

impl Agreement {
    /// Both together.
    pub fn and(self, other: Self) -> Self {
        match self >= other {
            true => self,
            false => other,
        }
    }
}

/// How many of so many samples may have another class.
pub(super) fn most_others(samples: u64, (_, share): Rounding) -> u64 {
    ((share * samples as f64) as u64).max(2)
}

/// None if they do not agree.
fn compare(written: &Written, now: &Evaluation, rounding: Rounding) -> Option<Agreement> {
    // What is no number is written as null and read as NaN.
    let same_loss =
        written.loss == now.loss || (!written.loss.is_finite() && !now.loss.is_finite());
    if same_loss && (written.correct, written.samples) == (now.correct, now.samples) {
        return Some(Agreement::Exact);
    }
    let (loss, most) = (rounding.0, most_others(now.samples, rounding));
    let is_close = written.samples == now.samples
        && written.correct.abs_diff(now.correct) <= most
        && (written.loss - now.loss).abs() <= loss * now.loss.abs();
    is_close.then_some(Agreement::Close)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(loss: f64, correct: u64) -> Written {
        Written {
            split: "test",
            loss,
            correct,
            samples: 10_000,
        }
    }

    #[test]
    fn rounding_passes_and_other_weights_do_not() {
        let now = Evaluation {
            loss: 0.5,
            accuracy: 0.9,
            correct: 9000,
            samples: 10_000,
        };
        let (fp32, bf16) = (Precision::Fp32, Precision::Bf16);
        for (written, precision, expected) in [
            (written(0.5, 9000), fp32, Some(Agreement::Exact)),
            (written(0.500_000_1, 9000), fp32, Some(Agreement::Close)),
            (written(0.5, 9009), fp32, Some(Agreement::Close)),
            (written(0.5, 9011), fp32, None),
            (written(0.500_1, 9000), fp32, None),
            (written(0.501, 9090), bf16, Some(Agreement::Close)),
            (written(0.501, 9110), bf16, None),
            (written(0.52, 9000), bf16, None),
        ] {
            assert_eq!(
                compare(&written, &now, rounding(precision)),
                expected,
                "{written:?}"
            );
        }
    }
}
