//! What the targets of a dataset are, and how outputs stand beside them.

use kernels::shim::ShimError;
use tch::Tensor;

use crate::data::Dataset;
use crate::experiment::PlainLoss;
use crate::samples::Task;

/// What the targets of a dataset are. Losses, counts and metrics are chosen by it alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Targets {
    /// A class a sample: targets `[samples]` i64, outputs `[batch, classes]`.
    Classes,
    /// A class at each position of a sample: targets `[samples, length]` i64, outputs
    /// `[batch, classes, length]`.
    Positions,
    /// Several labels a sample, each there or not: targets `[samples, labels]` f32 of 0 and 1, outputs
    /// `[batch, labels]`.
    Labels,
    /// A number a sample: targets `[samples]` f32, outputs `[batch, 1]`.
    Numbers,
}

impl Targets {
    /// That of a dataset.
    pub fn of(data: &Dataset) -> Self {
        match data.task {
            Task::Labels => Self::Labels,
            Task::Numbers => Self::Numbers,
            Task::Classes if data.target_shape.is_empty() => Self::Classes,
            Task::Classes => Self::Positions,
        }
    }

    /// What its targets are, in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Classes => "classes",
            Self::Positions => "classes at positions",
            Self::Labels => "several labels",
            Self::Numbers => "numbers",
        }
    }

    /// The loss for them.
    pub fn loss(self) -> PlainLoss {
        match self {
            Self::Classes | Self::Positions => PlainLoss::CrossEntropy,
            Self::Labels => PlainLoss::BinaryCrossEntropy,
            Self::Numbers => PlainLoss::Mse,
        }
    }

    /// Whether a target is a class.
    pub fn has_classes(self) -> bool {
        matches!(self, Self::Classes | Self::Positions)
    }

    /// Outputs of lanes as losses take them: positions are rows as samples are.
    ///
    /// # Shapes
    /// `outputs`: `[lanes, batch, classes]`, of positions `[lanes, batch, classes, length]`; result:
    /// `[lanes, rows, classes]`.
    ///
    /// # Errors
    /// If there is another number of dimensions.
    pub fn rows(self, outputs: &Tensor) -> Result<Tensor, ShimError> {
        let size = outputs.size();
        match (self, &size[..]) {
            (Self::Positions, &[lanes, batch, classes, length]) => Ok(outputs
                .transpose(2, 3)
                .reshape([lanes, batch * length, classes])),
            (Self::Classes | Self::Labels | Self::Numbers, [_, _, _]) => {
                Ok(outputs.shallow_clone())
            }
            (_, got) => Err(ShimError::new(format!(
                "the network's outputs have shape {:?}, expected {} for targets that are {}",
                &got[1.min(got.len())..],
                match self {
                    Self::Positions => "[batch, classes, length]",
                    Self::Labels => "[batch, labels]",
                    _ => "[batch, classes]",
                },
                self.words()
            ))),
        }
    }

    /// What lies as [`rows`](Targets::rows) do, as outputs of this shape do.
    pub fn like_outputs(self, rows: Tensor, outputs: &Tensor) -> Tensor {
        match (self, &outputs.size()[..]) {
            (Self::Positions, &[lanes, batch, classes, length]) => rows
                .view([lanes, batch, length, classes])
                .transpose(2, 3)
                .contiguous(),
            _ => rows,
        }
    }

    /// Targets of lanes as losses take them.
    ///
    /// # Shapes
    /// `targets`: `[lanes, batch]`, of positions `[lanes, batch, length]`, of labels `[lanes, batch, labels]`;
    /// result: `[lanes, rows]`, of labels as they are.
    pub fn target_rows(self, targets: &Tensor) -> Tensor {
        match self {
            Self::Positions => targets.flatten(1, -1),
            _ => targets.shallow_clone(),
        }
    }
}

#[cfg(test)]
mod tests;
