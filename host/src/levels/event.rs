//! What happens in a run, for whoever watches.

use crate::records::{Epoch, Summary};

/// Something that happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// A level was done before this process started.
    LevelFound {
        /// What it came to.
        summary: &'a Summary,
    },
    /// A level of a seed starts, or goes on from a checkpoint.
    LevelStarted {
        /// Seed.
        seed: u64,
        /// Level.
        level: u64,
        /// Surviving weights.
        survivors: u64,
        /// Prunable weights.
        weights: u64,
        /// Step it goes on from.
        step: u64,
        /// Steps of the level.
        steps: u64,
    },
    /// All seeds of the group made a step; nothing was read back from the device.
    Step {
        /// Level.
        level: u64,
        /// Steps done.
        step: u64,
        /// Steps of the level.
        steps: u64,
    },
    /// A seed finished an epoch.
    Epoch {
        /// Seed.
        seed: u64,
        /// Epochs of the level.
        epochs: u64,
        /// Its record.
        record: &'a Epoch,
    },
    /// A level of a seed is done and on disk.
    LevelDone {
        /// What it came to.
        summary: &'a Summary,
    },
    /// A seed was given up.
    SeedFailed {
        /// Seed.
        seed: u64,
        /// Level.
        level: u64,
        /// Why.
        reason: &'a str,
    },
}

/// Watches a run.
pub trait Observer {
    /// Called for each event, also for each step: it must be quick.
    fn observe(&mut self, event: &Event<'_>);
}
