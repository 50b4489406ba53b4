//! The course of a run: what each level keeps, where its seeds stand, what a level starts from, and
//! where its points lie. Nothing here waits, listens to signals or chooses threads, so that planning
//! and verifying a run stand on the same answers as running it.

pub(super) mod checkpoint;
pub(super) mod ends;
pub(super) mod guarded;
mod lengths;
mod place;
pub(super) mod points;
mod replay;
mod rewind;
mod scene;
pub(super) mod source;
mod start;
pub(super) mod step;

pub use ends::Ends;
pub use lengths::Length;
pub use replay::Replayed;
pub(super) use start::encode;

use plugin_api::Step;

use super::RunError;
use crate::experiment::Experiment;
use crate::store::{RunDir, SeedDir};
use crate::strategy::Strategy;
use crate::trainer::Trainer;

/// One repetition of the experiment.
pub struct Seed {
    /// Its number.
    pub seed: u64,
    /// Its components.
    pub strategy: Strategy,
}

/// The course of one run.
pub struct Course<'a> {
    /// What is run.
    pub experiment: &'a Experiment,
    /// Who trains.
    pub trainer: &'a Trainer,
    /// The run's folder.
    pub run: RunDir,
    /// The folder of the dense level, which experiments share.
    pub dense: RunDir,
    /// Times of level 0 to store for other experiments, besides those that the strategy rewinds to.
    pub store_points: Vec<Step>,
    /// What is being written of it.
    pub ends: Ends,
}

impl Course<'_> {
    /// Where a seed stands: the first level that is not done, and the step of it that its checkpoint
    /// holds.
    ///
    /// # Errors
    /// If a component fails.
    pub fn place(&self, seed: &Seed) -> Result<(u64, u64), RunError> {
        Ok(self.place_within(seed, self.next_level(seed, 0)?))
    }

    pub(super) fn place_within(&self, seed: &Seed, level: u64) -> (u64, u64) {
        match checkpoint::step(&self.home(seed, level), level) {
            step if level == 0 && step > 0 => (level, self.dense_step(seed, step)),
            step => (level, step),
        }
    }

    /// The first level from `level` on that is not done.
    pub(super) fn next_level(&self, seed: &Seed, mut level: u64) -> Result<u64, RunError> {
        let own = self.run.seed(seed.seed);
        while level <= self.experiment.last_level() && self.is_done(seed, &own.level(level))? {
            level += 1;
        }
        Ok(level)
    }

    /// The folder in which a level of a seed is trained: the shared one for level 0.
    pub(super) fn home(&self, seed: &Seed, level: u64) -> SeedDir {
        if level == 0 {
            self.dense.seed(seed.seed)
        } else {
            self.run.seed(seed.seed)
        }
    }

    /// Number of prunable weights.
    pub(super) fn weights(&self) -> u64 {
        self.trainer
            .layers()
            .iter()
            .map(plugin_api::Layer::len)
            .sum()
    }

    /// What a level of a strategy keeps: so many weights, or by the rule of its mask at most so many of what that
    /// counts.
    pub fn target(&self, level: u64, strategy: &Strategy) -> u64 {
        match strategy.unit_rule() {
            None => self.keep(level),
            Some(rule) => {
                let trainer = self.trainer;
                let total = trainer.units().total(rule.measure, trainer.layers());
                self.experiment.keep(level, total)
            }
        }
    }

    /// Number of weights that a level keeps.
    pub fn keep(&self, level: u64) -> u64 {
        self.experiment.keep(level, self.weights())
    }
}
