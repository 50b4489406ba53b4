//! The sum over the shards of several processes.

use tch::{Device, Kind, Tensor};

use super::bundle::Bundle;
use super::share::Share;
use super::tree::{self, Node};
use crate::ranks::{Ranks, RanksError};

/// Numbers to whose multiple a part is made longer.
const ALIGNMENT: i64 = 16;

/// What an exchange needs room for, reused from step to step.
pub(super) struct Exchange {
    /// `[ranks, subtrees, part]`: what goes to each rank, and what comes from each.
    sent: Tensor,
    received: Tensor,
    /// `[ranks, part]`: the sums of all.
    sums: Tensor,
    /// The subtrees that each rank sends.
    subtrees: Vec<Vec<Node>>,
    part: i64,
}

impl Exchange {
    /// For bundles of so many numbers.
    pub fn new(ranks: &Ranks, share: &Share, numbers: i64) -> Self {
        let count = ranks.count() as u64;
        let subtrees: Vec<Vec<Node>> = (0..count)
            .map(|rank| tree::cover(share.count, &Share::new(share.count, rank, count).shards))
            .collect();
        let most = subtrees.iter().map(Vec::len).max().unwrap_or(1) as i64;
        let count = count as i64;
        let part = (numbers + count - 1) / count;
        let part = (part + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
        let room = |shape: &[i64]| Tensor::zeros(shape, (Kind::Float, Device::Cpu));
        Self {
            sent: room(&[count, most, part]),
            received: room(&[count, most, part]),
            sums: room(&[count, part]),
            subtrees,
            part,
        }
    }

    /// Writes the sum of all ranks' subtrees into the first of this rank's.
    ///
    /// Each rank adds up a part of every subtree, in the tree's order, and all are told the sums: as much is sent
    /// as by any sum that knows no order.
    pub fn add_up(&mut self, ranks: &Ranks, count: u64, own: &[Bundle]) -> Result<(), RanksError> {
        for (at, bundle) in (0..).zip(own) {
            self.spread(&bundle.flat, at);
        }
        ranks.exchange(&self.sent, &self.received)?;
        let places = self.subtrees.iter().enumerate();
        let places: Vec<(usize, usize, &Node)> = places
            .flat_map(|(rank, nodes)| {
                nodes
                    .iter()
                    .enumerate()
                    .map(move |(at, node)| (rank, at, node))
            })
            .collect();
        let mut known = |wanted: &Node| {
            let (rank, at, _) = places.iter().find(|(_, _, node)| *node == wanted)?;
            Some(self.received.select(0, *rank as i64).select(0, *at as i64))
        };
        let add = |mut left: Tensor, right: Tensor| left.g_add_(&right);
        if let Some(sum) = tree::sum(count, &mut known, &add) {
            ranks.gather(&sum, &self.sums)?;
        }
        if let Some(first) = own.first() {
            let numbers = first.flat.numel() as i64;
            let all = self.sums.view([-1]).narrow(0, 0, numbers);
            first.flat.shallow_clone().copy_(&all);
        }
        Ok(())
    }

    /// Writes the parts of a subtree's sum to where they are sent from.
    fn spread(&self, flat: &Tensor, at: i64) {
        let numbers = flat.numel() as i64;
        for rank in 0..self.subtrees.len() as i64 {
            let start = (rank * self.part).min(numbers);
            let len = self.part.min(numbers - start);
            if len > 0 {
                let to = self.sent.select(0, rank).select(0, at).narrow(0, 0, len);
                to.shallow_clone().copy_(&flat.narrow(0, start, len));
            }
        }
    }
}
