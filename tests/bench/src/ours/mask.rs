//! Masks.

use host::model::Side;
use host::rng::{Moment, Purpose, Stream};
use host::strategy::select::select;
use host::trainer::Trainer;
use plugin_api::{Among, Counts, Layer};
use tch::Tensor;

use crate::error::BenchError;

/// Masks that keep exactly this share of all weights, rounded, anywhere.
///
/// # Errors
/// The host's.
pub fn random_masks(layers: &[Layer], density: f64) -> Result<Vec<Tensor>, BenchError> {
    let mut stream = Stream::new(0, Purpose::Strategy("bench mask"), Moment::default());
    let mut scores = |layer: &Layer| {
        let values: Vec<f32> = (0..layer.len()).map(|_| stream.uniform()).collect();
        Tensor::from_slice(&values).view(&layer.shape[..])
    };
    let scores: Vec<Tensor> = layers.iter().map(&mut scores).collect();
    let total: u64 = layers.iter().map(Layer::len).sum();
    let counts = Counts::Total((density * total as f64).round() as u64);
    select(layers, &scores, &scores, Among::All, &counts).map_err(BenchError::ours)
}

/// Masks that lack every second unit of each set, with all that goes with it.
pub fn half_of_the_units(trainer: &Trainer) -> Vec<Tensor> {
    let masks = trainer.dense_mask();
    for set in trainer.unit_sets().0 {
        for slice in set.slices.iter().filter(|it| it.side != Side::Follows) {
            let own = |layer: &Layer| layer.name == slice.tensor;
            let Some(layer) = trainer.layers().iter().position(own) else {
                continue;
            };
            for (place, unit) in (0..).zip(&slice.units) {
                if unit.is_some_and(|unit| unit % 2 == 1) {
                    let _ = masks[layer].narrow(slice.axis as i64, place, 1).fill_(0.0);
                }
            }
        }
    }
    masks
}
