//! When masks change.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Step;

/// When a mask update is called. The parts combine: gradual pruning at initialisation and growth
/// within a level, say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Cadence {
    /// Rounds of score and update before a level's first step; 0 for none. A level then starts at
    /// its density, and level 0 starts at the first density below 1.
    #[serde(default)]
    pub rounds_before_training: u64,
    /// Whether it is called after each level but the last.
    #[serde(default)]
    pub between_levels: bool,
    /// Calls within a level.
    #[serde(default)]
    pub within_level: Option<Interval>,
}

/// Every so many steps of a level.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interval {
    /// Distance of two calls.
    pub every: Step,
    /// No call before this time of the level.
    pub from: Step,
    /// No call after this time of the level; none is the level's end.
    pub until: Option<Step>,
}

impl Cadence {
    /// Once before training starts, in this many rounds: pruning at initialisation.
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

    /// Also every `every` within a level, until `until`: dynamic sparse training.
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
    /// Before the first step, in round `round` of `rounds`.
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
}
