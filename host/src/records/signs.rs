//! What is recorded of signs within a level.

use serde::{Deserialize, Serialize};

/// The weights that cross zero in one epoch of one seed: a line of `signs.jsonl`. Lists have a number for each
/// prunable layer, in the order of `layers.jsonl`.
///
/// Counted are survivors at the epoch's end whose sign is the opposite one. A weight that is 0 at either end, as one
/// that just grew, has no sign and has crossed nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignRecord {
    /// Level.
    pub level: u64,
    /// Epoch within the level, from 0.
    pub epoch: u64,
    /// Surviving weights at the epoch's end.
    pub survivors: Vec<u64>,
    /// Of these, those whose sign was the opposite one at the epoch's start.
    pub crossed_epoch: Vec<u64>,
    /// Of these, those whose sign was the opposite one at the level's start.
    pub crossed_start: Vec<u64>,
}

impl SignRecord {
    /// Share of the survivors that crossed zero over the epoch; none where nothing survives.
    pub fn share_epoch(&self) -> Option<f64> {
        self.share(&self.crossed_epoch)
    }

    /// Share of the survivors whose sign is the opposite of that at the level's start.
    pub fn share_start(&self) -> Option<f64> {
        self.share(&self.crossed_start)
    }

    fn share(&self, crossed: &[u64]) -> Option<f64> {
        let sum = |counts: &[u64]| counts.iter().fold(0u64, |sum, it| sum.saturating_add(*it));
        let survivors = sum(&self.survivors);
        (survivors > 0).then(|| sum(crossed) as f64 / survivors as f64)
    }
}
