//! Which samples a step sees.

use tch::{Kind, Tensor};

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
    let flat = index.reshape([-1]);
    let labels = split.labels.index_select(0, &flat).view_as(index);
    let inputs = arrange(inputs(split, &flat), index.size()[0], lanes, channels_last)?;
    Ok((inputs, labels))
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

/// The samples with these indices, normalised.
fn inputs(split: &Split, index: &Tensor) -> Tensor {
    let raw = split.inputs.index_select(0, index);
    match &split.normalisation {
        Some(normalisation) => {
            (raw.to_kind(Kind::Float) / 255.0 - &normalisation.mean) / &normalisation.std
        }
        None => raw,
    }
}
