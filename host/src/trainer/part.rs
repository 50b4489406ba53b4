//! Lanes that the network is computed with at once.

use std::ops::Range;

use tch::Tensor;

use super::compact::Tensors;

/// Some lanes of a session, as the network takes them: all if it knows lanes, else one.
pub(super) struct Part {
    pub lanes: Range<usize>,
    /// Detached views of the weights with `requires_grad`.
    pub leaves: Vec<Tensor>,
    /// Views of the gradients, laid out like the leaves.
    pub slopes: Vec<Tensor>,
    /// Views of the running statistics.
    pub statistics: Vec<Tensor>,
}

impl Part {
    /// Its part of what lies lane by lane along a dimension.
    pub fn narrow(&self, all: &Tensor, dimension: i64) -> Tensor {
        all.narrow(dimension, self.lanes.start as i64, self.lanes.len() as i64)
    }

    /// Its part of a batch of all lanes: inputs as the network takes them, `[lanes * batch, ...]` of one that knows no
    /// lanes, labels `[lanes, batch, ...]`. Of several parts a copy, which is aligned alike wherever it lies in the batch.
    pub fn of_batch(&self, inputs: &Tensor, labels: &Tensor) -> (Tensor, Tensor) {
        let (lanes, size) = (labels.size()[0], labels.size()[1]);
        if lanes == self.lanes.len() as i64 {
            return (inputs.shallow_clone(), labels.shallow_clone());
        }
        let inputs = inputs.narrow(0, self.lanes.start as i64 * size, size);
        (inputs.copy(), self.narrow(labels, 0))
    }

    /// What a step takes and writes.
    pub fn tensors(&self) -> Tensors<'_> {
        Tensors {
            leaves: &self.leaves,
            slopes: &self.slopes,
            statistics: &self.statistics,
        }
    }

    /// The same memory once more.
    pub fn share(&self) -> Self {
        let share = |all: &[Tensor]| all.iter().map(Tensor::shallow_clone).collect();
        Self {
            lanes: self.lanes.clone(),
            leaves: share(&self.leaves),
            slopes: share(&self.slopes),
            statistics: share(&self.statistics),
        }
    }
}
