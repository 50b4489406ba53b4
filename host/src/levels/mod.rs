//! The level loop: train, record, score, mask, rewind.
//!
//! Seeds that stand at the same place train side by side as lanes of one session. A level starts
//! from what the level before left on disk, whether that was written a moment or a month ago: going
//! on after an interruption is the ordinary path.

mod checkpoint;
mod dense;
mod error;
mod event;
mod finish;
mod give_up;
mod guarded;
pub mod invariants;
mod place;
mod points;
mod replay;
mod rewind;
mod running;
mod scene;
mod source;
mod start;
mod train;

use std::time::Duration;

pub use checkpoint::check_checkpoint;
pub(crate) use checkpoint::read_text as read_checkpoint_text;
pub use error::RunError;
pub use event::{Event, Observer};
pub use points::stored_at;
pub use replay::Replayed;

use plugin_api::Step;

use crate::experiment::Experiment;
use crate::interrupt::Interrupt;
use crate::records::Summary;
use crate::store::{LevelDir, RunDir, SeedDir};
use crate::strategy::Strategy;
use crate::tensorboard;
use crate::trainer::Trainer;
use train::Pause;

/// One repetition of the experiment.
pub struct Seed {
    /// Its number.
    pub seed: u64,
    /// Its components.
    pub strategy: Strategy,
}

/// How a run came to its end.
#[derive(Debug)]
pub enum Outcome {
    /// Every seed is at its last level, or was given up.
    Finished {
        /// Seeds that were given up, with the reason.
        failed: Vec<(u64, String)>,
    },
    /// The user stopped it; the same command goes on from here.
    Interrupted,
}

/// A run of an experiment.
pub struct Levels<'a> {
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
    /// Threads to compute with.
    pub threads: usize,
    /// Time between two checkpoints within a level.
    pub checkpoint_every: Duration,
    /// What the user asks for by signals.
    pub interrupt: Interrupt,
}

impl Levels<'_> {
    /// Runs what is not done yet.
    ///
    /// # Errors
    /// What stopped the whole run; what was finished stays.
    pub fn run(
        &self,
        seeds: &mut [Seed],
        observer: &mut dyn Observer,
    ) -> Result<Outcome, RunError> {
        let mut failed: Vec<(u64, String)> = Vec::new();
        // Read once: checking what is done reads every file of it.
        let mut next = Vec::new();
        for seed in seeds.iter() {
            if self.interrupt.wants_stop() {
                return Ok(Outcome::Interrupted);
            }
            next.push(self.next_level(seed, 0)?);
        }
        for (seed, &next) in seeds.iter().zip(&next) {
            self.tidy(seed, next)?;
        }
        self.announce(seeds, &next, observer)?;
        seeds.iter().for_each(|seed| self.show_events(seed));
        while let Some((level, group)) = self.next_group(seeds, &next, &failed) {
            // Another experiment may have trained the same dense level meanwhile.
            let Some(_locks) = self.wait_for_dense(level, seeds, &group)? else {
                return Ok(Outcome::Interrupted);
            };
            let left = self.adopt_dense(level, seeds, &group)?;
            if !left.is_empty() {
                let mut train = || self.train(level, seeds, &left, &mut failed, observer);
                match give_up::caught(&mut train) {
                    Ok(Pause::Done) => {}
                    Ok(Pause::Interrupted) => return Ok(Outcome::Interrupted),
                    Err(error) => {
                        self.go_on_without(level, seeds, &left, error, &mut failed, observer)?;
                    }
                }
            }
            for index in group {
                if failed.iter().all(|(seed, _)| *seed != seeds[index].seed) {
                    next[index] = self.next_level(&seeds[index], level + 1)?;
                }
                self.show_events(&seeds[index]);
            }
        }
        Ok(Outcome::Finished { failed })
    }

    /// Brings a seed's TensorBoard file up to date. The records that it shows are on disk: a run does
    /// not stop for it.
    fn show_events(&self, seed: &Seed) {
        if let Err(error) = tensorboard::export(&self.run, seed.seed) {
            log::warn!("seed {} is not shown in TensorBoard: {error}", seed.seed);
        }
    }

    /// The seeds that stand furthest behind and at the same place, as indices.
    fn next_group(
        &self,
        seeds: &[Seed],
        next: &[u64],
        failed: &[(u64, String)],
    ) -> Option<(u64, Vec<usize>)> {
        let mut places = Vec::new();
        for (index, (seed, &level)) in seeds.iter().zip(next).enumerate() {
            let given_up = failed.iter().any(|(number, _)| *number == seed.seed);
            if !given_up && level <= self.experiment.last_level() {
                places.push((self.place_within(seed, level), index));
            }
        }
        let &(place, first) = places.iter().min()?;
        let same = places
            .iter()
            .filter(|(other, _)| *other == place)
            .map(|(_, index)| *index);
        let group = if self.trainer.lanes() {
            same.collect()
        } else {
            vec![first]
        };
        Some((place.0, group))
    }

    /// Where a seed stands: the first level that is not done, and the step of it that its checkpoint
    /// holds.
    ///
    /// # Errors
    /// If a component fails.
    pub fn place(&self, seed: &Seed) -> Result<(u64, u64), RunError> {
        Ok(self.place_within(seed, self.next_level(seed, 0)?))
    }

    fn place_within(&self, seed: &Seed, level: u64) -> (u64, u64) {
        (level, checkpoint::step(&self.home(seed, level), level))
    }

    /// The first level from `level` on that is not done.
    fn next_level(&self, seed: &Seed, mut level: u64) -> Result<u64, RunError> {
        let own = self.run.seed(seed.seed);
        while level <= self.experiment.last_level() && self.is_done(seed, &own.level(level))? {
            level += 1;
        }
        Ok(level)
    }

    /// The folder in which a level of a seed is trained: the shared one for level 0.
    fn home(&self, seed: &Seed, level: u64) -> SeedDir {
        if level == 0 {
            self.dense.seed(seed.seed)
        } else {
            self.run.seed(seed.seed)
        }
    }

    /// Number of prunable weights.
    fn weights(&self) -> u64 {
        self.trainer
            .layers()
            .iter()
            .map(plugin_api::Layer::len)
            .sum()
    }

    /// Number of weights that a level keeps.
    fn keep(&self, level: u64) -> u64 {
        self.experiment.keep(level, self.weights())
    }

    /// Tells the observer what is done already.
    fn announce(
        &self,
        seeds: &[Seed],
        next: &[u64],
        observer: &mut dyn Observer,
    ) -> Result<(), RunError> {
        for (seed, &next) in seeds.iter().zip(next) {
            for level in 0..next {
                let summary = read_summary(&self.run.seed(seed.seed).level(level))?;
                observer.observe(&Event::LevelFound { summary: &summary });
            }
        }
        Ok(())
    }
}

/// The summary of a finished level.
///
/// # Errors
/// If it cannot be read.
pub fn read_summary(level: &LevelDir) -> Result<Summary, RunError> {
    let path = level.file("summary.json");
    let bytes = crate::store::read(&path)?;
    serde_json::from_slice(&bytes).map_err(|error| RunError::damaged(&path, &error))
}
