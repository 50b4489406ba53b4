//! Which samples a step sees.

use tch::Tensor;

use crate::data::{Augment, Split};
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

/// Inputs and labels of the samples with these indices, as the network takes them.
///
/// # Shapes
/// `index`: `[lanes, batch]`; inputs: `[lanes, batch, ...]` with `lanes`, else `[batch, ...]`;
/// labels: `[lanes, batch]`.
pub(super) fn gather(
    split: &Split,
    index: &Tensor,
    lanes: bool,
    channels_last: bool,
) -> Result<(Tensor, Tensor), ShimError> {
    let (inputs, labels) = split.gather(&index.reshape([-1]));
    let inputs = arrange(inputs, index.size()[0], lanes, channels_last)?;
    Ok((inputs, labels.view_as(index)))
}

/// [`gather`] with random crops and flips, each lane's from its own stream.
pub(super) fn gather_augmented(
    split: &Split,
    index: &Tensor,
    lanes: bool,
    channels_last: bool,
    augment: &Augment,
    streams: &mut [Stream],
) -> Result<(Tensor, Tensor), ShimError> {
    let (inputs, labels): (Vec<Tensor>, Vec<Tensor>) = (0..)
        .zip(streams)
        .map(|(lane, stream)| split.gather_augmented(&index.get(lane), augment, stream))
        .unzip();
    let inputs = arrange(
        Tensor::cat(&inputs, 0),
        index.size()[0],
        lanes,
        channels_last,
    )?;
    Ok((inputs, Tensor::stack(&labels, 0)))
}

/// Inputs `[lanes * batch, ...]` as the network takes them.
pub(super) fn arrange(
    inputs: Tensor,
    count: i64,
    lanes: bool,
    channels_last: bool,
) -> Result<Tensor, ShimError> {
    if lanes {
        let shape = inputs.size();
        let shape = [&[count, shape[0] / count], &shape[1..]].concat();
        Ok(inputs.view(&shape[..]))
    } else if channels_last && inputs.dim() == 4 {
        shim::channels_last(&inputs)
    } else {
        Ok(inputs)
    }
}
