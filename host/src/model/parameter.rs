//! Parameters and buffers of networks, and their first values.

use std::fmt;
use std::sync::Arc;

use plugin_api::LayerKind;
use tch::Tensor;

use crate::rng::Stream;

/// What a parameter is for; decides what is prunable and how it is rewound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Weight of a linear or convolution layer: prunable.
    Weight(LayerKind),
    /// Weight that is never pruned, such as a class token or positions.
    FixedWeight,
    /// Bias of a linear or convolution layer.
    Bias,
    /// Scale of a norm: a batch norm, a layer norm.
    NormWeight,
    /// Shift of a norm.
    NormBias,
}

/// How a parameter starts.
#[derive(Clone, Debug, PartialEq)]
pub enum Init {
    /// Every element has this value.
    Constant(f32),
    /// Uniform on [-bound, bound].
    Uniform(f64),
    /// Normal with mean 0 and this standard deviation.
    Normal(f64),
    /// All elements together a vector of this L2 norm, in any direction.
    Sphere(f64),
    /// Of this magnitude, with a random sign.
    Sign(f64),
    /// These values, row-major, whatever the seed.
    Values(Arc<[f32]>),
}

impl fmt::Display for Init {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Constant(value) => write!(f, "{value}"),
            Self::Uniform(bound) => write!(f, "uniform on ±{bound:.4}"),
            Self::Normal(deviation) => write!(f, "normal, deviation {deviation:.4}"),
            Self::Sphere(norm) => write!(f, "any direction, norm {norm}"),
            Self::Sign(magnitude) => write!(f, "±{magnitude}"),
            Self::Values(_) => f.write_str("as in the file"),
        }
    }
}

impl Init {
    /// The first values of a parameter with this many elements.
    pub fn draw(&self, count: usize, stream: &mut Stream) -> Vec<f32> {
        if let Self::Values(values) = self {
            return values.to_vec();
        }
        if let &Self::Sphere(norm) = self {
            let numbers: Vec<f64> = (0..count).map(|_| stream.normal().into()).collect();
            let length = numbers.iter().map(|it| it * it).sum::<f64>().sqrt();
            return numbers
                .iter()
                .map(|it| (it / length * norm) as f32)
                .collect();
        }
        let mut value = || match *self {
            Self::Constant(value) => value,
            Self::Uniform(bound) => ((2.0 * f64::from(stream.uniform()) - 1.0) * bound) as f32,
            Self::Normal(deviation) | Self::Sphere(deviation) => {
                (f64::from(stream.normal()) * deviation) as f32
            }
            Self::Sign(magnitude) if stream.below(2) == 0 => -magnitude as f32,
            Self::Sign(magnitude) => magnitude as f32,
            // Given as they are above.
            Self::Values(_) => 0.0,
        };
        (0..count).map(|_| value()).collect()
    }
}

/// One parameter of a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// PyTorch's name, such as `layer1.0.conv1.weight`.
    pub name: String,
    /// PyTorch's shape: `[out, in]` for linear, `[out, in, ...kernel]` for convolution layers.
    pub shape: Vec<i64>,
    /// What it is for.
    pub role: Role,
    /// How it starts.
    pub init: Init,
}

/// One buffer of a network: a running statistic of a batch norm, with the value it starts at. Imported
/// networks may have others that training changes.
#[derive(Clone, Debug, PartialEq)]
pub struct Buffer {
    /// PyTorch's name, such as `bn1.running_mean`.
    pub name: String,
    /// Number of features.
    pub features: i64,
    /// 0 for a mean, 1 for a variance.
    pub initial: f32,
    /// What each feature starts at, where it is not the same for all.
    pub values: Option<Arc<[f32]>>,
    /// Weight of a new batch in a running statistic; none for what is no statistic of a batch norm.
    pub momentum: Option<f64>,
}

/// What a network's state_dict holds besides its parameters and buffers.
#[derive(Debug)]
pub enum Held {
    /// Another name of the parameter or buffer of this name.
    Tied(String),
    /// What training leaves as it is.
    Constant(Tensor),
}
