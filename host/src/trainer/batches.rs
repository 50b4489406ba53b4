//! Which samples a step sees, and how they reach the network.

use tch::Tensor;

use super::lanes::Lane;
use super::{Position, Trainer};
use crate::data::Split;
use crate::rng::{Moment, Purpose, Stream};
use crate::shim::{self, ShimError};

/// The order in which one lane sees the training samples in one epoch.
pub(super) fn order(seed: u64, level: u64, epoch: u64, samples: i64) -> Vec<i64> {
    let moment = Moment {
        level,
        epoch,
        step: 0,
    };
    Stream::new(seed, Purpose::Shuffle, moment).permutation(samples as usize)
}

impl Trainer {
    /// Inputs and labels of the training samples with these indices, augmented as the experiment
    /// says: what the step at `position` sees.
    ///
    /// # Shapes
    /// `index`: `[lanes, batch]`; inputs: as the network takes them; labels: `[lanes, batch]`.
    pub(super) fn training_batch(
        &self,
        index: &Tensor,
        lanes: &[Lane],
        position: Position,
    ) -> Result<(Tensor, Tensor), ShimError> {
        let Some(augment) = &self.data.augment else {
            return self.batch(&self.data.train, index);
        };
        let of_lane = |(slot, lane): (i64, &Lane)| {
            let moment = Moment {
                level: lane.order_level,
                epoch: position.epoch,
                step: position.step,
            };
            let mut stream = Stream::new(lane.seed, Purpose::Augment, moment);
            let index = index.select(0, slot);
            self.data
                .train
                .gather_augmented(&index, augment, &mut stream)
        };
        let (mut inputs, labels): (Vec<_>, Vec<_>) = (0..).zip(lanes).map(of_lane).unzip();
        let inputs = if inputs.len() == 1 {
            inputs.remove(0)
        } else {
            Tensor::cat(&inputs, 0)
        };
        let inputs = self.arrange(inputs, lanes.len() as i64)?;
        Ok((inputs, Tensor::stack(&labels, 0)))
    }

    /// Inputs and labels of the samples with these indices, as they are.
    ///
    /// # Shapes
    /// As [`training_batch`](Trainer::training_batch).
    pub(super) fn batch(
        &self,
        split: &Split,
        index: &Tensor,
    ) -> Result<(Tensor, Tensor), ShimError> {
        let (inputs, labels) = split.gather(&index.reshape([-1]));
        let inputs = self.arrange(inputs, index.size()[0])?;
        Ok((inputs, labels.view_as(index)))
    }

    /// Inputs `[lanes * batch, ...]` as the network takes them.
    pub(super) fn arrange(&self, inputs: Tensor, lanes: i64) -> Result<Tensor, ShimError> {
        if self.lanes() {
            let shape = inputs.size();
            let shape = [&[lanes, shape[0] / lanes], &shape[1..]].concat();
            Ok(inputs.view(&shape[..]))
        } else if self.channels_last && inputs.dim() == 4 {
            shim::channels_last(&inputs)
        } else {
            Ok(inputs)
        }
    }
}
