//! Test and validation metrics, by evaluating the stored weights again; and the initial weights, drawn again.

use super::levels::Level;
use super::masks::Stored;
use super::{Means, Verdict};
use crate::experiment::Precision;
use crate::records::Summary;
use crate::store;
use crate::trainer::{Evaluation, On, Snapshot};

/// What may differ where another device, another libtorch or another number of threads rounds
/// differently: the loss, as a share of it, and the share of the test samples whose class may be
/// another, which are always two at least.
const fn rounding(precision: Precision) -> (f64, f64) {
    match precision {
        Precision::Fp32 => (1e-4, 1e-3),
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
            own.is_none_or(|(_, own)| own != tensor)
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
    let validation = has_validation.then(|| Written::of_validation(&summary));
    for written in [Some(Written::of_test(&summary)), validation]
        .into_iter()
        .flatten()
    {
        let evaluated = match trainer.evaluate(std::slice::from_ref(&end), written.on) {
            Ok(evaluated) => evaluated,
            Err(error) => {
                verdict.problem(level.named("end.safetensors"), error);
                return;
            }
        };
        let Some(now) = evaluated.first() else {
            return; // One for each point.
        };
        compare(
            level,
            &written,
            now,
            precision.unwrap_or_default(),
            checked,
            verdict,
        );
    }
}

/// What a summary says of a split.
#[derive(Debug)]
struct Written {
    on: On,
    loss: f64,
    correct: u64,
    samples: u64,
}

impl Written {
    fn of_test(summary: &Summary) -> Self {
        Self {
            on: On::Test,
            loss: summary.test_loss,
            correct: summary.test_correct,
            samples: summary.test_samples,
        }
    }

    fn of_validation(summary: &Summary) -> Self {
        Self {
            on: On::Validation,
            loss: summary.validation_loss.unwrap_or(f64::NAN),
            correct: summary.validation_correct.unwrap_or_default(),
            samples: summary.validation_samples.unwrap_or_default(),
        }
    }
}

fn compare(
    level: &Level<'_>,
    written: &Written,
    now: &Evaluation,
    precision: Precision,
    checked: &mut Vec<&'static str>,
    verdict: &mut Verdict,
) {
    let (what, metrics, rounded) = match written.on {
        On::Validation => (
            "validation",
            "validation metrics",
            "validation metrics (rounded differently)",
        ),
        _ => ("test", "test metrics", "test metrics (rounded differently)"),
    };
    match agree(written, now, precision) {
        Agreement::Exact => checked.push(metrics),
        Agreement::Close => {
            checked.push(rounded);
            verdict.unchecked(
                format!("the last bits of the {metrics}"),
                "another device, libtorch or number of threads rounds differently",
            );
        }
        Agreement::None => verdict.problem(
            level.named("summary.json"),
            format!(
                "it says a {what} loss of {} with {} of {} right, the stored weights give {} with {} of {}",
                written.loss, written.correct, written.samples, now.loss, now.correct, now.samples
            ),
        ),
    }
}

#[derive(Debug, PartialEq)]
enum Agreement {
    Exact,
    Close,
    None,
}

fn agree(written: &Written, now: &Evaluation, precision: Precision) -> Agreement {
    // What is no number is written as null and read as NaN.
    let same_loss =
        written.loss == now.loss || (!written.loss.is_finite() && !now.loss.is_finite());
    if same_loss && (written.correct, written.samples) == (now.correct, now.samples) {
        return Agreement::Exact;
    }
    let (loss, samples) = rounding(precision);
    let most = ((samples * now.samples as f64) as u64).max(2);
    let is_close = written.samples == now.samples
        && written.correct.abs_diff(now.correct) <= most
        && (written.loss - now.loss).abs() <= loss * now.loss.abs();
    match is_close {
        true => Agreement::Close,
        false => Agreement::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(loss: f64, correct: u64) -> Written {
        Written {
            on: On::Test,
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
            (written(0.5, 9000), fp32, Agreement::Exact),
            (written(0.500_000_1, 9000), fp32, Agreement::Close),
            (written(0.5, 9009), fp32, Agreement::Close),
            (written(0.5, 9011), fp32, Agreement::None),
            (written(0.500_1, 9000), fp32, Agreement::None),
            (written(0.501, 9090), bf16, Agreement::Close),
            (written(0.501, 9110), bf16, Agreement::None),
            (written(0.52, 9000), bf16, Agreement::None),
        ] {
            assert_eq!(agree(&written, &now, precision), expected, "{written:?}");
        }
    }
}
