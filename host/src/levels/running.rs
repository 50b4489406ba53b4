//! What the level loop remembers of a seed while a level of it is trained.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::dense::Goal;
use super::error::RunError;
use crate::records::{Epoch, SignRecord};
use crate::store::{LevelDir, SeedDir};
use crate::trainer::Trainer;

/// Position in the learning-rate schedule of a level's first step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ScheduleStart {
    /// Step of the schedule.
    pub step: u64,
    /// Factor at which the schedule is held instead of running.
    pub hold: Option<f64>,
}

impl ScheduleStart {
    /// Optimizer steps of a level that starts there.
    pub fn steps(&self, trainer: &Trainer) -> u64 {
        trainer.steps_from(self.step, self.hold)
    }
}

/// What a level's files do not say and the next level needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Carry {
    /// Where the schedule was at the level's start.
    pub schedule: ScheduleStart,
    /// Level whose data order was used.
    pub order_level: u64,
    /// States of the strategy's components at the level's end, hexadecimal, by place; components
    /// without state are left out. None at level 0, which is shared: components begin at level 1.
    pub states: BTreeMap<String, String>,
}

/// A seed in training.
#[derive(Clone)]
pub struct Running {
    /// Its place among the run's seeds.
    pub index: usize,
    /// Seed.
    pub seed: u64,
    /// Level.
    pub level: u64,
    /// Folder of the seed in which the level is trained.
    pub home: SeedDir,
    /// Folder of the level.
    pub dir: LevelDir,
    /// Surviving weights at the start.
    pub survivors: u64,
    /// Where the schedule was at the level's start.
    pub schedule: ScheduleStart,
    /// Level whose data order is used.
    pub order_level: u64,
    /// Epochs that are done.
    pub epochs: Vec<Epoch>,
    /// What crossed zero in each of them; none where the level goes on from a checkpoint without signs.
    pub signs: Vec<SignRecord>,
    /// What of the level is trained.
    pub goal: Goal,
    /// Steps of level 0 after which the point is stored.
    pub stored_steps: Vec<u64>,
    /// Files of the level that are written already.
    pub files: Vec<String>,
}

impl Running {
    pub(super) fn error(&self, source: crate::strategy::StrategyError) -> RunError {
        RunError::Strategy {
            seed: self.seed,
            level: self.level,
            source,
        }
    }
}
