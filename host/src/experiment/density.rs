//! How many weights each level keeps.

use super::{Experiment, Prune};

impl Experiment {
    /// Number of the last level; level 0 is dense.
    pub fn last_level(&self) -> u64 {
        self.prune.last_level()
    }

    /// Target density of every level from 0 (which is 1) to the last.
    pub fn densities(&self) -> Vec<f64> {
        (0..=self.last_level()).map(|l| self.density(l)).collect()
    }

    /// Target density of one level: `(1 - rate)^level`, or what the file lists.
    ///
    /// The power is taken by repeated multiplication in f64, which, unlike `f64::powi`, gives the
    /// same bits on every machine. Levels beyond the last keep the last's density.
    pub fn density(&self, level: u64) -> f64 {
        let level = level.min(self.last_level());
        match (&self.prune.densities, level) {
            (_, 0) => 1.0,
            (Some(densities), _) => densities[level as usize - 1],
            (None, _) => (0..level).fold(1.0, |density, _| density * (1.0 - self.prune.rate)),
        }
    }

    /// Number of weights that `level` keeps of `total` prunable ones: density times total in f64,
    /// rounded to the nearest integer, halves away from zero.
    pub fn keep(&self, level: u64, total: u64) -> u64 {
        match self.density(level) {
            1.0 => total,
            density => (density * total as f64).round() as u64,
        }
    }
}

impl Prune {
    fn last_level(&self) -> u64 {
        match (&self.densities, self.levels) {
            (Some(densities), _) => densities.len() as u64,
            (None, levels) => levels.unwrap_or(0),
        }
    }
}
