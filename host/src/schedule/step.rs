//! Drops at milestones.

use plugin_api::Step;
use plugin_api::schemars::{self, JsonSchema, schema_for};
use serde::{Deserialize, Serialize};

use super::{Build, Schedule, Span, Warmup};
use crate::registry::{Entry, parse};

pub(super) const ENTRY: Entry<Build> = Entry {
    name: "step",
    summary: "multiplied by gamma at each milestone",
    schema: || schema_for!(StepOptions),
    build: |options, span| Ok(Box::new(StepDrop::new(parse(options)?, span))),
};

/// Options of `step`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct StepOptions {
    /// Times, from the start of the level, at which the learning rate is multiplied by `gamma`.
    pub milestones: Vec<Step>,
    /// What a milestone multiplies the learning rate with.
    #[schemars(range(min = 0.0))]
    pub gamma: f64,
    /// Time over which the learning rate rises from 0.
    pub warmup: Step,
}

impl Default for StepOptions {
    fn default() -> Self {
        Self {
            milestones: Vec::new(),
            gamma: 0.1,
            warmup: Step::ZERO,
        }
    }
}

struct StepDrop {
    milestones: Vec<u64>,
    gamma: f64,
    warmup: Warmup,
}

impl StepDrop {
    fn new(options: StepOptions, span: Span) -> Self {
        let steps = |milestone: &Step| milestone.steps(span.steps_per_epoch);
        Self {
            milestones: options.milestones.iter().map(steps).collect(),
            gamma: options.gamma,
            warmup: Warmup::new(options.warmup, span),
        }
    }
}

impl Schedule for StepDrop {
    fn factor(&self, step: u64) -> f64 {
        let passed = self.milestones.iter().filter(|&&at| at <= step).count();
        self.warmup.factor(step) * self.gamma.powi(passed as i32)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Build, ENTRY};
    use crate::schedule::Span;
    use crate::schedule::tests::factors;

    #[test]
    fn a_milestone_past_the_level_is_met_by_a_level_that_goes_on_from_a_time_of_it() {
        let build: Build = ENTRY.build;
        let options = json!({"milestones": ["5ep", "12ep"], "gamma": 0.5});
        let span = Span {
            steps_per_epoch: 4,
            total_steps: 40,
        };
        let schedule = build(options.as_object().unwrap(), span).unwrap();
        let factors = [19, 20, 40, 47, 48, u64::MAX].map(|step| schedule.factor(step));
        assert_eq!(factors, [1.0, 0.5, 0.5, 0.5, 0.25, 0.25]);
    }

    #[test]
    fn drops_at_its_milestones_whether_in_epochs_or_steps() {
        let got = factors("step", json!({"milestones": ["5ep", "30it"], "gamma": 0.5}));
        let expected = |s| {
            if s < 20 {
                1.0
            } else if s < 30 {
                0.5
            } else {
                0.25
            }
        };
        assert_eq!(got, (0..=40).map(expected).collect::<Vec<_>>());
    }
}
