//! Learning-rate schedules: how the optimizer's learning rate changes within a level.

use plugin_api::Step;

use crate::registry::{Entry, Options};

mod constant;
mod cosine;
mod linear;
mod step;
mod triangular;

pub use constant::ConstantOptions;
pub use cosine::CosineOptions;
pub use linear::LinearOptions;
pub use step::StepOptions;
pub use triangular::TriangularOptions;

/// The schedules that an experiment file can name.
pub static SCHEDULES: &[Entry<Build>] = &[
    constant::ENTRY,
    step::ENTRY,
    cosine::ENTRY,
    linear::ENTRY,
    triangular::ENTRY,
];

/// Makes a schedule from its options for levels of this length.
pub type Build = fn(&Options, Span) -> Result<Box<dyn Schedule>, serde_json::Error>;

/// The length of a level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Optimizer steps of an epoch.
    pub steps_per_epoch: u64,
    /// Optimizer steps of a level.
    pub total_steps: u64,
}

/// A learning-rate schedule.
pub trait Schedule: Send + Sync {
    /// What the optimizer's learning rate is multiplied with at `step` (0 is a level's first). A
    /// step past the level's end, where a level that goes on from a time of it may come, has the value
    /// that the end has, but for times that the options put there.
    fn factor(&self, step: u64) -> f64;
}

/// Linear warm-up from 0: at step s of w it is (s + 1) / w, from step w on it is 1. The first step
/// thus moves a little, and the last of the warm-up has the whole learning rate. A schedule that begins
/// after it has it once more, at step w. PyTorch's `LinearLR` with `start_factor = 1 / w` and
/// `total_iters = w - 1` is the same.
#[derive(Clone, Copy, Debug)]
struct Warmup {
    steps: u64,
}

impl Warmup {
    fn new(warmup: Step, span: Span) -> Self {
        Self {
            steps: warmup.steps(span.steps_per_epoch),
        }
    }

    fn factor(self, step: u64) -> f64 {
        if step < self.steps {
            (step + 1) as f64 / self.steps as f64
        } else {
            1.0
        }
    }

    /// How much of what follows the warm-up has passed at `step`: 0 at its first step, 1 at the level's end.
    fn progress(self, step: u64, span: Span) -> f64 {
        let past = step.saturating_sub(self.steps);
        let length = span.total_steps.saturating_sub(self.steps);
        if past >= length {
            1.0
        } else {
            past as f64 / length as f64
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::registry::find;

    /// Factors of every step of a level of 10 epochs of 4 steps, and of the step at its end.
    pub(super) fn factors(name: &str, options: serde_json::Value) -> Vec<f64> {
        let span = Span {
            steps_per_epoch: 4,
            total_steps: 40,
        };
        let entry = find(SCHEDULES, name).unwrap();
        let schedule = (entry.build)(options.as_object().unwrap(), span).unwrap();
        (0..=40).map(|step| schedule.factor(step)).collect()
    }

    #[test]
    fn every_schedule_warms_up_to_the_whole_learning_rate() {
        for entry in SCHEDULES {
            let cold = factors(entry.name, json!({}));
            let warm = factors(entry.name, json!({"warmup": "1ep"}));
            // It begins after the warm-up, or is multiplied with it.
            let is = |shape: &dyn Fn(usize) -> f64| {
                (0..4).all(|s| (warm[s] - shape(s) * (s + 1) as f64 / 4.0).abs() < 1e-15)
            };
            assert!(is(&|_| 1.0) || is(&|s| cold[s]), "{}: {warm:?}", entry.name);
        }
    }

    #[test]
    fn no_schedule_changes_after_the_end_of_the_level() {
        let span = Span {
            steps_per_epoch: 4,
            total_steps: 40,
        };
        for entry in SCHEDULES {
            let schedule = (entry.build)(&Options::new(), span).unwrap();
            assert_eq!(
                schedule.factor(40),
                schedule.factor(u64::MAX),
                "{}",
                entry.name
            );
        }
    }

    #[test]
    fn the_warm_up_is_that_of_pytorch_with_one_iteration_less_and_peaks_twice() {
        // LinearLR: start + (1 - start) * min(s, total) / total; then cosine from its own step 0.
        let (steps, level) = (4.0, 40.0);
        let (start, total) = (1.0 / steps, steps - 1.0);
        let warm = factors("cosine", json!({"warmup": "1ep"}));
        for (s, got) in warm.iter().enumerate() {
            let s = s as f64;
            let expected = match s < steps {
                true => start + (1.0 - start) * s / total,
                false => {
                    let past = (s - steps) / (level - steps);
                    (1.0 + (std::f64::consts::PI * past).cos()) / 2.0
                }
            };
            assert!((got - expected).abs() < 1e-15, "{s}: {got} {expected}");
        }
        let whole: Vec<usize> = (0..=40).filter(|&s| warm[s] == 1.0).collect();
        assert_eq!(whole, [3, 4]);
        assert!(warm[39] > 0.0);
        assert!(warm[40].abs() < 1e-15);
    }

    #[test]
    fn a_warm_up_longer_than_the_level_never_ends() {
        let warm = factors("cosine", json!({"warmup": "20ep"}));
        assert_eq!(warm[39], 0.5);
    }

    /// The same factors, written down in another way: with times as shares of the level. None for a schedule whose
    /// own file compares it with a formula.
    fn closed_form(
        name: &str,
        step: u64,
        warmup: u64,
        total: u64,
        floor: f64,
        peak: f64,
    ) -> Option<f64> {
        let warm = match step < warmup {
            true => (step + 1) as f64 / warmup as f64,
            false => 1.0,
        };
        let rest = total.saturating_sub(warmup) as f64;
        let past = (step.max(warmup) - warmup) as f64;
        let after_warmup = if past >= rest { 1.0 } else { past / rest };
        let whole = (step as f64 / total as f64).min(1.0);
        let quarter = std::f64::consts::FRAC_PI_2;
        Some(match name {
            "constant" => warm,
            "cosine" if step < warmup => warm,
            "cosine" => floor + (1.0 - floor) * (quarter * after_warmup).cos().powi(2),
            "linear" if step < warmup => warm,
            "linear" => floor * after_warmup + (1.0 - after_warmup),
            "triangular" => {
                let side = match whole < peak {
                    true => whole / peak,
                    false if whole < 1.0 => (1.0 - whole) / (1.0 - peak),
                    false => 0.0,
                };
                warm * (floor * (1.0 - side) + side)
            }
            // Milestones at a quarter and a half of the level.
            "step" => {
                let passed = [total / 4, total / 2]
                    .iter()
                    .filter(|it| **it <= step)
                    .count();
                warm * [1.0, floor, floor * floor][passed]
            }
            _ => return None,
        })
    }

    proptest! {
        #[test]
        fn every_schedule_is_its_closed_form_and_stays_between_zero_and_one(
            steps_per_epoch in 1u64..200,
            epochs in 1u64..50,
            warmup in 0u64..400,
            floor in 0.0f64..=1.0,
            peak in 0.0f64..=1.0,
        ) {
            let total = steps_per_epoch * epochs;
            let span = Span { steps_per_epoch, total_steps: total };
            for entry in SCHEDULES {
                let warm = format!("{warmup}it");
                let options = match entry.name {
                    "cosine" | "linear" => json!({ "warmup": warm, "floor": floor }),
                    "triangular" => json!({ "warmup": warm, "floor": floor, "peak": peak }),
                    "step" => json!({
                        "warmup": warm, "gamma": floor,
                        "milestones": [format!("{}it", total / 4), format!("{}it", total / 2)],
                    }),
                    _ => json!({ "warmup": warm }),
                };
                let schedule = (entry.build)(options.as_object().unwrap(), span).unwrap();
                let around = [0, 1, warmup.saturating_sub(1), warmup, warmup + 1, total / 4, total / 3];
                let ends = [total / 2, total - 1, total, total + 7, u64::MAX];
                for step in around.into_iter().chain(ends) {
                    let got = schedule.factor(step);
                    let expected = closed_form(entry.name, step, warmup, total, floor, peak);
                    prop_assert!((0.0..=1.0).contains(&got), "{} {step}: {got}", entry.name);
                    if let Some(expected) = expected {
                        prop_assert!((got - expected).abs() < 1e-9, "{} {step}: {got} {expected}", entry.name);
                    }
                }
                // Nothing jumps where the warm-up ends, but for a drop that was asked for there.
                if warmup > 1 && warmup < total && matches!(entry.name, "constant" | "cosine" | "linear") {
                    prop_assert_eq!(schedule.factor(warmup - 1), 1.0);
                    prop_assert!((schedule.factor(warmup) - 1.0).abs() < 1e-12);
                }
            }
        }
    }
}
