//! Batches that are cut into shards, each of which is computed by itself.
//!
//! A shard's gradient follows from its samples alone, and the shards are added up in the order of one tree,
//! whichever process computed them and however many did so side by side: the sum has the same bits.

mod bundle;
mod exchange;
mod share;
mod slot;
mod step;
#[cfg(test)]
mod tests;
mod tree;
mod works;

use std::sync::Arc;

pub(super) use share::Share;
pub(super) use step::Workshop;

use super::TrainError;
use crate::data::Dataset;
use crate::experiment::Train;
use crate::ranks::Ranks;

/// How batches are cut, and what of them this process computes.
pub(super) struct Shards {
    /// Shards of a step's samples.
    pub count: u64,
    /// Batches that a step is made of.
    pub batches: u64,
    /// Whether batch norms see the whole batch.
    pub synchronised: bool,
    /// Shards that this process computes side by side.
    pub abreast: usize,
    /// The processes that share the shards out, if there are several.
    pub ranks: Option<Arc<Ranks>>,
}

impl Shards {
    /// Those that an experiment asks for, all of them here, one after the other.
    pub fn of(train: &Train) -> Self {
        Self {
            count: train.shards.saturating_mul(train.accumulate),
            batches: train.accumulate,
            synchronised: train.sync_batch_norm && train.shards > 1,
            abreast: 1,
            ranks: None,
        }
    }

    /// Whether a step's samples are one piece.
    pub fn is_one(&self) -> bool {
        self.count == 1
    }

    /// What of a batch this process computes.
    pub fn share(&self) -> Share {
        let (rank, of) = match &self.ranks {
            Some(ranks) => (ranks.rank() as u64, ranks.count() as u64),
            None => (0, 1),
        };
        Share::new(self.count, rank, of)
    }

    /// Fails if a step has fewer samples than shards, or leaves a lone one to a batch norm that `needs_two`.
    pub fn check(
        &self,
        data: &Dataset,
        batch_size: u64,
        needs_two: bool,
    ) -> Result<(), TrainError> {
        if self.is_one() {
            return Ok(());
        }
        let step = |size: u64| size.saturating_mul(self.batches);
        let samples = data.train.len() as u64;
        let least = match needs_two && !self.synchronised {
            true => 2 * self.count,
            false => self.count,
        };
        let smallest = |size: u64| match samples % size {
            0 => size.min(samples),
            rest => rest,
        };
        let got = smallest(step(batch_size));
        if got >= least {
            return Ok(());
        }
        Err(TrainError::Shards {
            shards: self.count,
            samples: got,
            least,
            batches: self.batches,
            suggestion: (batch_size + 1..=samples).find(|size| smallest(step(*size)) >= least),
        })
    }
}
