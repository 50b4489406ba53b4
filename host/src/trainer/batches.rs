//! Which samples a step sees, and how they reach the network.

use std::sync::Arc;

use kernels::shim::{self, ShimError};
use tch::Tensor;

use super::feed::Feed;
use super::lanes::Lane;
use super::{Position, TrainError, Trainer};
use crate::data::{ImageFiles, Inputs, Split};
use crate::rng::{Moment, Purpose, Stream};

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
    /// Inputs and labels of the training samples with these indices, augmented as was drawn for them: what this
    /// process computes of the step at `position`. `feed` is what has been read ahead for it.
    ///
    /// # Shapes
    /// `index`: `[lanes, samples]` of the whole step; `draws`, of augmented images in memory: `[3, lanes, samples]`;
    /// inputs: as the network takes them; labels: `[lanes, batch, ...target_shape]`, both of this process's share,
    /// which is all if it is alone.
    pub(super) fn training_batch(
        &self,
        (index, draws): (&Tensor, Option<&Tensor>),
        lanes: &[Lane],
        position: Position,
        feed: &mut Feed,
    ) -> Result<(Tensor, Tensor), TrainError> {
        let own = self.shards.share().samples(index.size()[1]);
        let index = &index.narrow(1, own.start, own.end - own.start);
        if let Inputs::Files(files) = &self.data.train.inputs {
            return self.fed_batch(files, index, lanes, position, feed);
        }
        let draws = draws.map(|it| it.narrow(2, own.start, own.end - own.start));
        self.batch_in_memory(index, draws.as_ref())
    }

    /// As [`training_batch`](Trainer::training_batch) of samples in memory, all of them.
    pub(super) fn batch_in_memory(
        &self,
        index: &Tensor,
        draws: Option<&Tensor>,
    ) -> Result<(Tensor, Tensor), TrainError> {
        let train = &self.data.train;
        let draws = draws.map(|it| it.reshape([3, -1]).contiguous());
        let changes = self.data.augment.as_ref().zip(draws.as_ref());
        if let Some(kernels) = &self.kernels {
            let flat = index.reshape([-1]);
            let channels_last = self.channels_last && !self.lanes();
            if let Some(inputs) = train.gather_by(kernels, &flat, changes, channels_last)? {
                let labels = self.by_lane(&train.labels_at(&flat), index);
                return Ok((self.arrange(inputs, index.size()[0])?, labels));
            }
        }
        let Some((augment, draws)) = changes else {
            return self.batch(train, index);
        };
        let (inputs, labels) = train.gather_augmented(&index.reshape([-1]), augment, draws)?;
        let inputs = self.arrange(inputs, index.size()[0])?;
        Ok((inputs, self.by_lane(&labels, index)))
    }

    /// As [`training_batch`](Trainer::training_batch) of image files, which are read ahead.
    fn fed_batch(
        &self,
        files: &Arc<ImageFiles>,
        index: &Tensor,
        lanes: &[Lane],
        position: Position,
        feed: &mut Feed,
    ) -> Result<(Tensor, Tensor), TrainError> {
        let pixels = feed.batch(self, files, lanes, position)?;
        self.batch_of(&self.data.train, &pixels, index)
    }

    /// Inputs and labels of the samples with these indices, whose pixels were read.
    ///
    /// # Shapes
    /// `pixels`: `[lanes * samples, ...]`; else as [`training_batch`](Trainer::training_batch).
    pub(super) fn batch_of(
        &self,
        split: &Split,
        pixels: &Tensor,
        index: &Tensor,
    ) -> Result<(Tensor, Tensor), TrainError> {
        let inputs = self.arrange(split.normalise(pixels), index.size()[0])?;
        let labels = split.labels_at(&index.reshape([-1]));
        Ok((inputs, self.by_lane(&labels, index)))
    }

    /// Inputs and labels of the samples with these indices, as they are.
    ///
    /// # Shapes
    /// As [`training_batch`](Trainer::training_batch).
    pub(super) fn batch(
        &self,
        split: &Split,
        index: &Tensor,
    ) -> Result<(Tensor, Tensor), TrainError> {
        let (inputs, labels) = split.gather(&index.reshape([-1]))?;
        let inputs = self.arrange(inputs, index.size()[0])?;
        Ok((inputs, self.by_lane(&labels, index)))
    }

    /// Targets `[lanes * batch, ...]` of the samples at `index` by lanes.
    fn by_lane(&self, targets: &Tensor, index: &Tensor) -> Tensor {
        targets.view(&[&index.size()[..], &self.data.target_shape].concat()[..])
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
