//! How long the levels will be, asked of the rewind policies before anything trains.

use plugin_api::{Schedule, Step};

use super::Course;
use crate::experiment::LevelEnd;
use crate::levels::running::ScheduleStart;
use crate::strategy::Strategy;
use crate::strategy::still::Still;

/// How long a level is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Length {
    /// Its optimizer steps.
    pub steps: u64,
    /// The policy by which its schedule goes on from a time, and that time.
    pub goes_on: Option<(usize, Step)>,
}

impl Course<'_> {
    /// The length of each level of a seed. Where the rewind policies decide it, they plan in a scene of a
    /// few weights: what they say of the schedule does not depend on weights. One that fails there is
    /// passed over. The strategy is one that nothing is trained with.
    pub fn lengths(&self, seed: u64, strategy: &mut Strategy) -> Vec<Length> {
        let whole = Length {
            steps: self.trainer.steps_per_level(),
            goes_on: None,
        };
        let last = self.experiment.last_level();
        let mut lengths = vec![whole; last as usize + 1];
        if self.experiment.prune.level_end == LevelEnd::Epochs {
            return lengths;
        }
        let mut still = Still::new(&[&[4, 4]], seed);
        still.facts.last_level = last;
        still.facts.steps_per_epoch = self.trainer.steps_per_epoch();
        let mut schedule = ScheduleStart::default();
        for level in 1..=last {
            let steps = schedule.steps(self.trainer);
            still.facts.level = level - 1;
            (still.facts.step, still.facts.steps_per_level) = (steps, steps);
            still.facts.target = self.experiment.keep(level, still.len());
            still.facts.density = self.experiment.density(level);
            schedule = self.held(schedule);
            let mut goes_on = None;
            for policy in 0..strategy.policies() {
                let Ok(plan) = strategy.plan(policy, &still) else {
                    continue;
                };
                schedule = self.rewound(schedule, &plan.schedule);
                goes_on = match plan.schedule {
                    Schedule::From(time) => Some((policy, time)),
                    Schedule::Keep => goes_on,
                    _ => None,
                };
            }
            lengths[level as usize] = Length {
                steps: schedule.steps(self.trainer),
                goes_on,
            };
        }
        lengths
    }
}
