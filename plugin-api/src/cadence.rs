//! When masks change.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Step;

/// When a mask update is called.
///
/// The parts combine. Level 0 is always dense: whatever its cadence, a mask update is first called
/// for level 1. The number to keep, [`target`](crate::Context::target), is each time the level's
/// exact count but for these two:
/// - In rounds before training it falls exponentially from the last level's count to this level's.
/// - Where calls within a level are the only ones, masks may keep more than it until the level's
///   last call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Cadence {
    /// Rounds of score and update at the start of every level from 1 on: after rewinding and before
    /// the first step, on the point that the level starts from. 0 for none.
    ///
    /// Round r of R, from 0, keeps `N_last^(1-(r+1)/R) * N_this^((r+1)/R)` weights, rounded; the
    /// last one exactly `N_this`. The masks are nested. Together with `between_levels` all rounds
    /// keep `N_this`.
    ///
    /// # Source
    /// The schedule of SynFlow: Tanaka et al. 2020 (arXiv:2006.05467), algorithm 1.
    #[serde(default)]
    pub rounds_before_training: u64,
    /// Whether score and update are called after each level but the last, before rewinding. The
    /// masks are nested and keep the next level's count.
    #[serde(default)]
    pub between_levels: bool,
    /// Calls of score and update within every level from 1 on, after the optimizer step.
    ///
    /// Weights may grow back: a grown weight starts at 0 and the host resets its optimizer state.
    /// With one of the other two parts the level starts with its count, and every call must keep
    /// exactly that. Without, the level starts with the last level's mask, and the number kept may
    /// fall from call to call, never rise, and must be the level's count at the last call: gradual
    /// pruning.
    #[serde(default)]
    pub within_level: Option<Interval>,
}

/// Every so many steps of a level: at `from`, `from + every`, `from + 2 every`, ... up to `until`.
///
/// Step s is the time right after the level's s-th optimizer step, so there is no call at 0. Nor is
/// there one after the level's last step: nothing would be trained with its masks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interval {
    /// Distance of two calls.
    pub every: Step,
    /// Time of the level's first call; [`Cadence::and_every`] sets it to `every`.
    pub from: Step,
    /// Time of the level after which there is no call, though there may be one at it; if not given,
    /// the level's end.
    pub until: Option<Step>,
}

impl Interval {
    /// Whether there is a call at this step of a level. An `every` of 0 counts as 1.
    pub fn is_due(&self, step: u64, steps_per_epoch: u64, steps_per_level: u64) -> bool {
        let from = self.from.steps(steps_per_epoch);
        step > 0
            && step >= from
            && step <= self.end(steps_per_epoch, steps_per_level)
            && (step - from).is_multiple_of(self.distance(steps_per_epoch))
    }

    /// Step of a level's last call, at which gradual pruning must have come to the target; none if
    /// the level has no call.
    pub fn last_call(&self, steps_per_epoch: u64, steps_per_level: u64) -> Option<u64> {
        let from = self.from.steps(steps_per_epoch);
        let room = self
            .end(steps_per_epoch, steps_per_level)
            .checked_sub(from)?;
        let last = from + room - room % self.distance(steps_per_epoch);
        (last > 0).then_some(last)
    }

    fn distance(&self, steps_per_epoch: u64) -> u64 {
        self.every.steps(steps_per_epoch).max(1)
    }

    fn end(&self, steps_per_epoch: u64, steps_per_level: u64) -> u64 {
        let last = steps_per_level.saturating_sub(1);
        self.until
            .map_or(last, |until| until.steps(steps_per_epoch).min(last))
    }
}

impl Cadence {
    /// Before a level's training, in this many rounds. With a rewind to init and one level this is
    /// pruning at initialisation.
    pub fn before_training(rounds: u64) -> Self {
        Self {
            rounds_before_training: rounds,
            ..Self::default()
        }
    }

    /// After each level: iterative pruning.
    pub fn between_levels() -> Self {
        Self {
            between_levels: true,
            ..Self::default()
        }
    }

    /// Also every `every` within a level, the first time after that long, until `until`: dynamic
    /// sparse training. On `Cadence::default()` it is gradual pruning.
    #[must_use]
    pub fn and_every(mut self, every: Step, until: Option<Step>) -> Self {
        self.within_level = Some(Interval {
            every,
            from: every,
            until,
        });
        self
    }
}

/// When in a run a component is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Phase {
    /// Before a level's first step, in round `round` of `rounds`.
    BeforeTraining {
        /// From 0.
        round: u64,
        /// In all.
        rounds: u64,
    },
    /// After a level.
    BetweenLevels,
    /// Within a level.
    WithinLevel,
    /// A time that came with a later host.
    Other,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls(interval: &Interval, steps_per_epoch: u64, steps_per_level: u64) -> Vec<u64> {
        (0..=steps_per_level + 100)
            .filter(|&step| interval.is_due(step, steps_per_epoch, steps_per_level))
            .collect()
    }

    #[test]
    fn calls_come_every_so_many_steps_as_long_as_training_goes_on_after_them() {
        let every = |every, until| {
            Cadence::between_levels()
                .and_every(every, until)
                .within_level
                .unwrap()
        };
        let steps = Step::Iterations;
        assert_eq!(calls(&every(steps(3), None), 4, 9), [3, 6]);
        assert_eq!(calls(&every(steps(3), None), 4, 10), [3, 6, 9]);
        assert_eq!(calls(&every(steps(3), Some(steps(6))), 4, 9), [3, 6]);
        assert_eq!(calls(&every(steps(3), Some(steps(99))), 4, 10), [3, 6, 9]);
        assert_eq!(calls(&every(steps(3), Some(steps(5))), 4, 10), [3]);
        assert_eq!(calls(&every(Step::Epochs(1), None), 4, 9), [4, 8]);
        assert_eq!(calls(&every(steps(10), None), 4, 9), [0; 0]);
        let late = Interval {
            from: steps(2),
            ..every(steps(3), None)
        };
        assert_eq!(calls(&late, 4, 9), [2, 5, 8]);
        let at_once = Interval {
            from: Step::ZERO,
            ..every(steps(4), None)
        };
        assert_eq!(calls(&at_once, 4, 9), [4, 8]);
    }

    #[test]
    fn the_last_call_is_the_last_that_is_due() {
        for (every, from, until, level) in
            (0..5).flat_map(|every| (0..5).map(move |from| (every, from, from * 3, 11 + every)))
        {
            let interval = Interval {
                every: Step::Iterations(every),
                from: Step::Iterations(from),
                until: (until > 0).then_some(Step::Iterations(until)),
            };
            assert_eq!(
                interval.last_call(4, level),
                calls(&interval, 4, level).last().copied(),
                "{interval:?} in {level} steps"
            );
        }
        let beyond = Cadence::default().and_every(Step::Iterations(10), None);
        assert_eq!(beyond.within_level.unwrap().last_call(4, 9), None);
    }
}
