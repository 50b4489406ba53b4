//! Random masks.

use host::rng::{Moment, Purpose, Stream};
use host::strategy::select::select;
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
