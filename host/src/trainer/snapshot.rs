//! What of one lane is stored: all of it together continues training bit by bit.

use serde::{Deserialize, Serialize};
use tch::Tensor;

/// One lane's parameters and running statistics: row-major copies by PyTorch's names.
#[derive(Debug, PartialEq)]
pub struct Snapshot {
    /// Parameters in the network's order, then running statistics.
    pub tensors: Vec<(String, Tensor)>,
}

impl Snapshot {
    /// The tensor called `name`.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        find(&self.tensors, name)
    }

    /// Puts another tensor in the place of the one called `name`, if there is one.
    pub fn replace(&mut self, name: &str, tensor: Tensor) {
        if let Some((_, own)) = self.tensors.iter_mut().find(|(own, _)| own == name) {
            *own = tensor;
        }
    }
}

impl Clone for Snapshot {
    /// A deep copy.
    fn clone(&self) -> Self {
        Self {
            tensors: copy(&self.tensors),
        }
    }
}

/// One lane's optimizer state.
#[derive(Debug, Default, PartialEq)]
pub struct OptimizerState {
    /// `state.parameter`, such as `momentum.fc.weight`: row-major copies; empty if cleared.
    pub tensors: Vec<(String, Tensor)>,
    /// Steps that the state has seen.
    pub steps: u64,
}

impl OptimizerState {
    /// The tensor called `name`.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        find(&self.tensors, name)
    }
}

impl Clone for OptimizerState {
    /// A deep copy.
    fn clone(&self) -> Self {
        Self {
            tensors: copy(&self.tensors),
            steps: self.steps,
        }
    }
}

/// Where in its level one lane is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Epochs whose record has been read.
    pub epoch: u64,
    /// Steps of the epoch that is under way.
    pub step_in_epoch: u64,
    /// Steps since the level's start.
    pub step: u64,
}

/// What one lane has to remember of an epoch that is under way.
#[derive(Debug)]
pub struct Progress {
    /// Where it is.
    pub position: Position,
    /// `losses` (f64, sums over the samples of each step) and `correct` (i64) of the epoch so far, and for each
    /// prunable layer `signs.LAYER` (u8), its signs at the starts of the level and of the epoch.
    pub tensors: Vec<(String, Tensor)>,
}

impl Progress {
    /// The tensor called `name`.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        find(&self.tensors, name)
    }
}

impl Clone for Progress {
    /// A deep copy.
    fn clone(&self) -> Self {
        Self {
            position: self.position,
            tensors: copy(&self.tensors),
        }
    }
}

fn find<'a>(tensors: &'a [(String, Tensor)], name: &str) -> Option<&'a Tensor> {
    tensors
        .iter()
        .find(|(known, _)| known == name)
        .map(|(_, tensor)| tensor)
}

fn copy(tensors: &[(String, Tensor)]) -> Vec<(String, Tensor)> {
    tensors
        .iter()
        .map(|(name, tensor)| (name.clone(), tensor.copy()))
        .collect()
}
