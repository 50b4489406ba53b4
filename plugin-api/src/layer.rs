//! The prunable layers of a network.

use serde::{Deserialize, Serialize};

/// What a prunable layer computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum LayerKind {
    /// `[out, in]`.
    Linear,
    /// `[out, in, width]`.
    Conv1d,
    /// `[out, in, height, width]`.
    Conv2d,
    /// A parameter that is no layer's weight and is pruned because the experiment names it, such as an embedding;
    /// or a kind that came with a later host.
    #[serde(other)]
    Other,
}

/// One prunable layer: the weight of a linear or convolution layer.
///
/// Every list of tensors that passes between host and plugin has one tensor for each prunable
/// layer, in this order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Layer {
    /// PyTorch's name of the weight, such as `layer1.0.conv1.weight`.
    pub name: String,
    /// What the layer computes.
    pub kind: LayerKind,
    /// PyTorch's shape: `[out, in, ...kernel]`; of the kind [`LayerKind::Other`] any, with one dimension or more.
    pub shape: Vec<i64>,
}

impl Layer {
    /// A layer with this name, kind and shape.
    pub fn new(name: impl Into<String>, kind: LayerKind, shape: impl Into<Vec<i64>>) -> Self {
        Self {
            name: name.into(),
            kind,
            shape: shape.into(),
        }
    }

    /// Number of weights.
    pub fn len(&self) -> u64 {
        self.shape.iter().product::<i64>() as u64
    }

    /// Whether the layer has no weight.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Inputs of one output: in-channels times the kernel's size.
    pub fn fan_in(&self) -> u64 {
        self.shape.iter().skip(1).product::<i64>() as u64
    }

    /// Outputs of one input: out-channels times the kernel's size.
    pub fn fan_out(&self) -> u64 {
        let kernel: i64 = self.shape.iter().skip(2).product();
        (self.shape.first().unwrap_or(&1) * kernel) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fans_count_the_kernel() {
        let conv = Layer::new("conv1.weight", LayerKind::Conv2d, [16, 3, 5, 7]);
        assert_eq!(
            (conv.len(), conv.fan_in(), conv.fan_out()),
            (1680, 105, 560)
        );
        let linear = Layer::new("fc.weight", LayerKind::Linear, [10, 64]);
        assert_eq!(
            (linear.len(), linear.fan_in(), linear.fan_out()),
            (640, 64, 10)
        );
        // Numbers that no input is multiplied with by itself.
        let bias = Layer::new("fc.bias", LayerKind::Other, [10]);
        assert_eq!((bias.len(), bias.fan_in(), bias.fan_out()), (10, 1, 10));
    }
}
