//! What a level starts from, made once more from the level before as it is stored.

use tch::Tensor;

use super::{Course, Seed};
use crate::levels::RunError;
use crate::store::redefined_file;

/// What a level starts from.
pub struct Replayed {
    /// Parameters and running statistics, by name.
    pub point: Vec<(String, Tensor)>,
    /// One mask for each prunable layer.
    pub masks: Vec<Tensor>,
    /// Weights of the prunable layers that a policy gave a stored point, by the name of their file.
    pub redefined: Vec<(String, Vec<Tensor>)>,
}

impl Course<'_> {
    /// Calls score, mask and rewind on the stored level before, as the run did. Nothing is written.
    ///
    /// # Errors
    /// If something is missing or a component fails.
    pub fn replay(&self, level: u64, seed: &mut Seed) -> Result<Replayed, RunError> {
        let start = self.pruned_start(level, seed)?;
        let file = |(point, weights)| (redefined_file(&point), weights);
        Ok(Replayed {
            point: start.point.tensors,
            masks: start.masks,
            redefined: start.redefined.into_iter().map(file).collect(),
        })
    }
}
