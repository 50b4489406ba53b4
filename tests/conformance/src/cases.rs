//! The networks and weights that components are tried on.

use plugin_api::{Layer, LayerKind};
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

/// Shapes of prunable layers.
pub struct Network {
    /// What is special about it.
    pub name: &'static str,
    shapes: &'static [&'static [i64]],
}

/// Small networks of every kind of layer.
pub const NETWORKS: &[Network] = &[
    Network {
        name: "one linear layer",
        shapes: &[&[6, 4]],
    },
    Network {
        name: "an MLP",
        shapes: &[&[16, 12], &[16, 16], &[4, 16]],
    },
    Network {
        name: "convolutions",
        shapes: &[&[8, 4, 3, 3], &[8, 8, 1, 1], &[8, 8, 3, 3], &[10, 8]],
    },
    Network {
        name: "a one-dimensional convolution",
        shapes: &[&[4, 2, 5], &[6, 8]],
    },
    Network {
        name: "layers of one weight",
        shapes: &[&[1, 1], &[8, 4], &[1, 1]],
    },
    Network {
        name: "inputs in groups of 32",
        shapes: &[&[16, 32], &[8, 32, 3, 3], &[10, 32]],
    },
];

/// A network of middling size, for calls that are repeated.
pub const MIDDLING: Network = Network {
    name: "40,000 weights",
    shapes: &[&[128, 128], &[32, 64, 3, 3], &[40, 128]],
};

/// A network with a layer of ten million weights.
pub const LARGE: Network = Network {
    name: "10 million weights",
    shapes: &[&[2500, 4000]],
};

impl Network {
    /// Its layers.
    pub fn layers(&self) -> Vec<Layer> {
        let layer = |(index, shape): (usize, &&[i64])| {
            let kind = match shape.len() {
                2 => LayerKind::Linear,
                3 => LayerKind::Conv1d,
                _ => LayerKind::Conv2d,
            };
            Layer::new(format!("layer{index}.weight"), kind, *shape)
        };
        self.shapes.iter().enumerate().map(layer).collect()
    }
}

/// What the weights are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    /// Normal numbers.
    Normal,
    /// Whole multiples of 1/4, so that many are equal in magnitude.
    Ties,
    /// All the same.
    Equal,
    /// All 0.
    Zeros,
    /// From denormal to 1e15, with both zeros.
    Extremes,
}

impl Values {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Normal,
        Self::Ties,
        Self::Equal,
        Self::Zeros,
        Self::Extremes,
    ];

    /// What they are, for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal weights",
            Self::Ties => "weights with ties",
            Self::Equal => "equal weights",
            Self::Zeros => "weights of 0",
            Self::Extremes => "extreme weights",
        }
    }

    /// One list for each layer.
    pub fn draw(self, layers: &[Layer], seed: u64) -> Vec<Vec<f32>> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let one = |random: &mut ChaCha8Rng| match self {
            Self::Normal => normal(random),
            Self::Ties => (normal(random) * 4.0).round() / 4.0,
            Self::Equal => 0.5,
            Self::Zeros => 0.0,
            Self::Extremes => {
                let sizes = [1e-40, 0.0, -0.0, 1e-20, 1e-3, 1.0, 1e3, 1e15];
                let size: f32 = sizes[random.next_u32() as usize % sizes.len()];
                if random.next_u32().is_multiple_of(2) {
                    size
                } else {
                    -size
                }
            }
        };
        let list = |layer: &Layer| (0..layer.len()).map(|_| one(&mut random)).collect();
        layers.iter().map(list).collect()
    }
}

/// A standard normal number, by Box and Muller.
fn normal(random: &mut ChaCha8Rng) -> f32 {
    // In (0, 1], so that the logarithm is finite.
    let uniform = |bits: u32| (f64::from(bits) + 1.0) / (f64::from(u32::MAX) + 1.0);
    let radius = (-2.0 * uniform(random.next_u32()).ln()).sqrt();
    let angle = std::f64::consts::TAU * uniform(random.next_u32());
    (radius * angle.cos()) as f32
}

/// Zeros and ones: the `target` largest magnitudes, lower index first among equals, of those that
/// survive `masks`.
pub fn largest(weights: &[Vec<f32>], masks: &[Vec<f32>], target: u64) -> Vec<Vec<f32>> {
    let mut order: Vec<(usize, usize)> = Vec::new();
    for (layer, mask) in masks.iter().enumerate() {
        let alive = mask.iter().enumerate().filter(|(_, mask)| **mask != 0.0);
        order.extend(alive.map(|(index, _)| (layer, index)));
    }
    let size = |&(layer, index): &(usize, usize)| weights[layer][index].abs();
    order.sort_by(|a, b| size(b).total_cmp(&size(a)));
    let mut kept: Vec<Vec<f32>> = masks.iter().map(|mask| vec![0.0; mask.len()]).collect();
    for (layer, index) in order.into_iter().take(target as usize) {
        kept[layer][index] = 1.0;
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_survivors_are_kept_and_lower_indices_first() {
        let weights = [vec![1.0, -3.0, 2.0], vec![2.0, 5.0]];
        let masks = [vec![1.0, 1.0, 1.0], vec![1.0, 0.0]];
        let kept = largest(&weights, &masks, 2);
        assert_eq!(kept, [vec![0.0, 1.0, 1.0], vec![0.0, 0.0]]);
    }

    #[test]
    fn normal_weights_have_mean_0_and_deviation_1() {
        let layers = LARGE.layers();
        let layers = [Layer::new("x", layers[0].kind, [100, 1000])];
        let drawn = &Values::Normal.draw(&layers, 1)[0];
        let mean = drawn.iter().map(|&x| f64::from(x)).sum::<f64>() / 1e5;
        let square = drawn.iter().map(|&x| f64::from(x * x)).sum::<f64>() / 1e5;
        assert!(
            mean.abs() < 0.02 && (square - 1.0).abs() < 0.02,
            "{mean} {square}"
        );
    }
}
