//! Test metrics, by evaluating the stored weights again; and the initial weights, drawn again.

use super::further::Rounding;
use super::levels::Level;
use super::masks::Stored;
use super::{Means, Verdict, further};
use crate::experiment::Precision;
use crate::records::Summary;
use crate::store;
use crate::trainer::{Evaluation, Snapshot};

/// What may differ where another device, another libtorch or another number of threads rounds
/// differently: the loss, as a share of it, and the share of the test samples whose class may be
/// another, which are always two at least.
const fn rounding(precision: Precision) -> Rounding {
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
    let tested = match trainer.test(&end) {
        Ok(tested) => tested,
        Err(error) => {
            verdict.problem(level.named("end.safetensors"), error);
            return;
        }
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
    let (now, rounding) = (&tested.evaluation, rounding(precision.unwrap_or_default()));
    let of_loss = agree(&summary, now, rounding);
    let of_metrics = match further::agree(level, &summary, &tested, rounding) {
        _ if of_loss == Agreement::None => Agreement::Exact,
        Ok(agreement) => agreement,
        Err((file, reason)) => {
            verdict.problem(level.named(file), reason);
            return;
        }
    };
    match of_loss.and(of_metrics) {
        Agreement::Exact => checked.push("test metrics"),
        Agreement::Close => {
            checked.push("test metrics (rounded differently)");
            verdict.unchecked(
                "the last bits of the test metrics",
                "another device, libtorch or number of threads rounds differently",
            );
        }
        Agreement::None => verdict.problem(
            level.named("summary.json"),
            format!(
                "it says a test loss of {} with {} of {} right, the stored weights give {} with {} of {}",
                summary.test_loss,
                summary.test_correct,
                summary.test_samples,
                now.loss,
                now.correct,
                now.samples
            ),
        ),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(super) enum Agreement {
    Exact,
    Close,
    None,
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

fn agree(written: &Summary, now: &Evaluation, rounding: Rounding) -> Agreement {
    // What is no number is written as null and read as NaN.
    let same_loss =
        written.test_loss == now.loss || (!written.test_loss.is_finite() && !now.loss.is_finite());
    if same_loss && (written.test_correct, written.test_samples) == (now.correct, now.samples) {
        return Agreement::Exact;
    }
    let (loss, most) = (rounding.0, most_others(now.samples, rounding));
    let is_close = written.test_samples == now.samples
        && written.test_correct.abs_diff(now.correct) <= most
        && (written.test_loss - now.loss).abs() <= loss * now.loss.abs();
    match is_close {
        true => Agreement::Close,
        false => Agreement::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(test_loss: f64, test_correct: u64) -> Summary {
        let text = format!(
            r#"{{"seed":0,"level":0,"weights":1,"survivors":1,"density":1.0,"train_loss":0.5,
            "test_loss":{test_loss},"test_correct":{test_correct},"test_samples":10000,
            "test_accuracy":0.0,"flips_init":0.0,"flips_start":0.0,"flips_previous":null}}"#
        );
        serde_json::from_str(&text).unwrap()
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
            (summary(0.5, 9000), fp32, Agreement::Exact),
            (summary(0.500_000_1, 9000), fp32, Agreement::Close),
            (summary(0.5, 9009), fp32, Agreement::Close),
            (summary(0.5, 9011), fp32, Agreement::None),
            (summary(0.500_1, 9000), fp32, Agreement::None),
            (summary(0.501, 9090), bf16, Agreement::Close),
            (summary(0.501, 9110), bf16, Agreement::None),
            (summary(0.52, 9000), bf16, Agreement::None),
        ] {
            assert_eq!(
                agree(&written, &now, rounding(precision)),
                expected,
                "{written:?}"
            );
        }
    }
}
