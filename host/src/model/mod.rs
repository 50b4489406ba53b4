//! Networks: their parameters by PyTorch's names and layouts, and their forward pass.

use plugin_api::LayerKind;
use tch::Tensor;

/// What a parameter is for; decides what is prunable and how it is rewound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Weight of a linear or convolution layer: prunable.
    Weight(LayerKind),
    /// Bias of a linear or convolution layer.
    Bias,
    /// Scale of a batch norm.
    NormWeight,
    /// Shift of a batch norm.
    NormBias,
}

/// How a parameter starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// Every element has this value.
    Constant(f32),
    /// Uniform on [-bound, bound].
    Uniform(f64),
    /// Normal with mean 0 and this standard deviation.
    Normal(f64),
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

/// One buffer of a network: a running statistic of a batch norm, with the value it starts at.
#[derive(Clone, Debug, PartialEq)]
pub struct Buffer {
    /// PyTorch's name, such as `bn1.running_mean`.
    pub name: String,
    /// Number of features.
    pub features: i64,
    /// 0 for a mean, 1 for a variance.
    pub initial: f32,
}

/// Whether batch norm uses the batch's statistics and updates the running ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Batch statistics; running statistics are updated in place.
    Train,
    /// Running statistics, unchanged.
    Eval,
}

/// A network. It owns no tensor: the trainer hands it the parameters of every lane as views of one flat buffer.
///
/// # Lanes
/// Where [`lanes`](Network::lanes) is true, every tensor has a leading lane dimension (one lane a
/// seed) and a lane's values must not depend on its neighbours' values or number. Where it is
/// false, tensors have no lane dimension and the trainer runs one seed at a time.
pub trait Network: Send + Sync {
    /// The parameters, in the order of the flat buffer and of the arguments of [`forward`](Network::forward).
    fn parameters(&self) -> &[Parameter];

    /// The buffers, in the order of the arguments of [`forward`](Network::forward).
    fn buffers(&self) -> &[Buffer];

    /// Whether several seeds can be trained as lanes of one computation.
    fn lanes(&self) -> bool {
        false
    }

    /// Whether four-dimensional weights and inputs should be stored `channels_last`.
    fn channels_last(&self) -> bool {
        false
    }

    /// The logits.
    ///
    /// # Shapes
    /// With lanes: `parameters[i]`: `[lanes, ...shape]`, `buffers[i]`: `[lanes, features]`
    /// (contiguous), `input`: `[lanes, batch, ...]`, result: `[lanes, batch, classes]`.
    /// Without: the same without the leading dimension.
    fn forward(
        &self,
        parameters: &[Tensor],
        buffers: &[Tensor],
        input: &Tensor,
        mode: Mode,
    ) -> Tensor;
}
