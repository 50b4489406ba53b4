//! The parts that networks are made of: each remembers where its parameters and buffers are.

use kernels::shim;
use kernels::{BatchNorm, Taps};
use plugin_api::LayerKind;
use plugin_api::schemars::{self, JsonSchema};
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::{Buffer, Graph, Init, InputSpec, Mode, ModelError, Operation, Parameter, Role, Value};
use crate::registry::{self, Options};
use crate::samples::{InputType, Task};

/// PyTorch's default weight of a new batch in the running statistics.
pub const NORM_MOMENTUM: f64 = 0.1;
/// PyTorch's default addend to the variance.
pub const NORM_EPSILON: f64 = 1e-5;
/// What transformers add to the variance, which is not PyTorch's default.
pub const LAYER_NORM_EPSILON: f64 = 1e-6;

/// How the weights of linear and convolution layers start. Biases start uniform on
/// ±1/√fan_in, batch norms as the identity, with either.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Initialisation {
    /// Uniform on ±1/√fan_in, as PyTorch's layers start.
    #[default]
    Pytorch,
    /// Normal with standard deviation √(2/fan_in), which keeps the variance through ReLUs.
    ///
    /// # Source
    /// He et al. 2015, arXiv:1502.01852, equation 10.
    KaimingNormal,
}

/// The options of `model` as its struct, and `spec` checked for what all models need.
pub(super) fn parse<T: serde::de::DeserializeOwned>(
    model: &'static str,
    options: &Options,
    spec: &InputSpec,
) -> Result<T, ModelError> {
    if spec.input_type == InputType::Tokens {
        return Err(ModelError::Tokens { model });
    }
    if spec.outputs().len() > 1 {
        let got = spec.target_shape.clone();
        return Err(ModelError::Positions { model, got });
    }
    if spec.task == Task::Classes && spec.classes < 2 {
        let got = spec.classes;
        return Err(ModelError::Classes { model, got });
    }
    registry::parse(options).map_err(|source| ModelError::Options { model, source })
}

/// Channels of the images that `spec` describes, each side of which must have `smallest` pixels.
pub(super) fn image_channels(
    model: &'static str,
    spec: &InputSpec,
    smallest: i64,
) -> Result<i64, ModelError> {
    match spec.shape[..] {
        [channels, height, width] if channels > 0 && height.min(width) >= smallest => Ok(channels),
        _ => Err(ModelError::Input {
            model,
            got: spec.shape.clone(),
            expected: format!(
                "[channels, height, width] with a height and a width of at least {smallest}"
            ),
        }),
    }
}

/// Collects the parameters and buffers of a network, in PyTorch's order if its parts are added in it.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    pub(super) parameters: Vec<Parameter>,
    pub(super) buffers: Vec<Buffer>,
    initialisation: Initialisation,
}

impl Assembly {
    /// Nothing yet; weights will start by `initialisation`.
    pub(super) fn new(initialisation: Initialisation) -> Self {
        Self {
            initialisation,
            ..Self::default()
        }
    }

    /// A linear layer with bias.
    pub(super) fn linear(&mut self, name: &str, inputs: i64, outputs: i64) -> Linear {
        let weight = self.weight(name, LayerKind::Linear, vec![outputs, inputs]);
        let bias = self.parameter(
            format!("{name}.bias"),
            vec![outputs],
            Role::Bias,
            Init::Uniform(1.0 / (inputs as f64).sqrt()),
        );
        Linear { weight, bias }
    }

    /// A linear layer whose weight and bias start so.
    pub(super) fn linear_of(
        &mut self,
        name: &str,
        inputs: i64,
        outputs: i64,
        [weight, bias]: [Init; 2],
    ) -> Linear {
        let role = Role::Weight(LayerKind::Linear);
        let weight = self.parameter(
            format!("{name}.weight"),
            vec![outputs, inputs],
            role,
            weight,
        );
        let bias = self.parameter(format!("{name}.bias"), vec![outputs], Role::Bias, bias);
        Linear { weight, bias }
    }

    /// A one-dimensional convolution without bias; `kernel` is odd and the input padded by its half.
    pub(super) fn conv1d(&mut self, name: &str, channels: [i64; 2], kernel: i64) -> Convolution {
        let shape = vec![channels[1], channels[0], kernel];
        self.convolution(name, LayerKind::Conv1d, shape, kernel)
    }

    /// A two-dimensional convolution without bias; `kernel` is odd and the input padded by its half.
    pub(super) fn conv2d(&mut self, name: &str, channels: [i64; 2], kernel: i64) -> Convolution {
        let shape = vec![channels[1], channels[0], kernel, kernel];
        self.convolution(name, LayerKind::Conv2d, shape, kernel)
    }

    /// A batch norm with scale, shift and running statistics.
    pub(super) fn norm(&mut self, name: &str, features: i64) -> Norm {
        let affine = [
            ("weight", Role::NormWeight, 1.0),
            ("bias", Role::NormBias, 0.0),
        ]
        .map(|(part, role, value)| {
            let name = format!("{name}.{part}");
            self.parameter(name, vec![features], role, Init::Constant(value))
        });
        let running = [("running_mean", 0.0), ("running_var", 1.0)].map(|(part, initial)| {
            self.buffers.push(Buffer {
                name: format!("{name}.{part}"),
                features,
                initial,
                values: None,
                momentum: Some(NORM_MOMENTUM),
            });
            self.buffers.len() - 1
        });
        Norm { affine, running }
    }

    /// The name of the layer that has this parameter, such as `fc1` for that called `fc1.weight`.
    pub(super) fn layer(&self, parameter: usize) -> String {
        let name = &self.parameters[parameter].name;
        let layer = name.rsplit_once('.').map_or(&name[..], |(layer, _)| layer);
        layer.to_owned()
    }

    /// Starts the scale of this batch norm at 0.
    pub(super) fn silence(&mut self, norm: &Norm) {
        self.parameters[norm.affine[0]].init = Init::Constant(0.0);
    }

    fn convolution(
        &mut self,
        name: &str,
        kind: LayerKind,
        shape: Vec<i64>,
        kernel: i64,
    ) -> Convolution {
        Convolution {
            kind,
            channels: shape[1],
            weight: self.weight(name, kind, shape),
            stride: 1,
            padding: kernel / 2,
        }
    }

    /// A weight that starts as the network's do.
    pub(super) fn weight(&mut self, name: &str, kind: LayerKind, shape: Vec<i64>) -> usize {
        let fan_in = shape[1..].iter().product::<i64>() as f64;
        let init = match self.initialisation {
            Initialisation::Pytorch => Init::Uniform(1.0 / fan_in.sqrt()),
            Initialisation::KaimingNormal => Init::Normal((2.0 / fan_in).sqrt()),
        };
        self.parameter(format!("{name}.weight"), shape, Role::Weight(kind), init)
    }

    /// A parameter's place.
    pub(super) fn parameter(
        &mut self,
        name: String,
        shape: Vec<i64>,
        role: Role,
        init: Init,
    ) -> usize {
        self.parameters.push(Parameter {
            name,
            shape,
            role,
            init,
        });
        self.parameters.len() - 1
    }
}

/// The tensors of one forward pass.
#[derive(Clone, Copy)]
pub(super) struct Pass<'a> {
    pub(super) parameters: &'a [Tensor],
    pub(super) buffers: &'a [Tensor],
    pub(super) mode: Mode<'a>,
    /// The survivors of the convolutions' weights, where these are computed at them: activations are
    /// then `[channels, height, width, batch]`. Empty elsewhere.
    pub(super) taps: &'a [Option<Taps>],
}

/// A linear layer.
#[derive(Debug)]
pub(super) struct Linear {
    weight: usize,
    bias: usize,
}

impl Linear {
    /// Its part in the description of what the network computes.
    pub(super) fn describe(&self, assembly: &Assembly, graph: &mut Graph, from: Value) -> Value {
        graph.add(Operation::Linear {
            layer: assembly.layer(self.weight),
            bias: true,
            from,
        })
    }

    /// `[batch, ..., in]` to `[batch, ..., out]`.
    pub(super) fn forward(&self, pass: Pass<'_>, input: &Tensor) -> Tensor {
        kernels::rounded(self.operands(pass, input), |[bias, weight, input]| {
            input.linear(weight, Some(bias))
        })
    }

    /// `[lanes, in, batch]` to `[lanes, out, batch]`.
    pub(super) fn forward_lanes(&self, pass: Pass<'_>, input: &Tensor) -> Tensor {
        kernels::rounded(self.operands(pass, input), |[bias, weight, input]| {
            shim::lane_linear(bias, weight, input).unwrap_or_else(|error| panic!("{error}"))
        })
    }

    /// Bias, weight and input.
    fn operands<'a>(&self, pass: Pass<'a>, input: &'a Tensor) -> [&'a Tensor; 3] {
        let Pass { parameters, .. } = pass;
        [&parameters[self.bias], &parameters[self.weight], input]
    }
}

/// Numbers that the widest vector of a processor holds.
const VECTOR: i64 = 16;
/// Input channels below which a strided convolution of 1x1 leaves out first what it does not read.
pub(super) const SKIPPED_BELOW: i64 = VECTOR;

/// A convolution without bias.
#[derive(Debug)]
pub(super) struct Convolution {
    kind: LayerKind,
    weight: usize,
    channels: i64,
    stride: i64,
    padding: i64,
}

impl Convolution {
    /// Its part in the description of what the network computes.
    pub(super) fn describe(&self, assembly: &Assembly, graph: &mut Graph, from: Value) -> Value {
        graph.add(Operation::Convolution {
            layer: assembly.layer(self.weight),
            bias: false,
            stride: self.stride,
            padding: self.padding,
            from,
        })
    }

    /// The same with this stride.
    pub(super) fn stride(self, stride: i64) -> Self {
        Self { stride, ..self }
    }

    /// `[batch, in, ...]` to `[batch, out, ...]`; with taps `[in, ..., batch]` to `[out, ..., batch]`.
    pub(super) fn forward(&self, pass: Pass<'_>, input: &Tensor) -> Tensor {
        let weight = &pass.parameters[self.weight];
        if let Some(Some(taps)) = pass.taps.get(self.weight) {
            return taps
                .convolve(weight, input)
                .unwrap_or_else(|error| panic!("{error}"));
        }
        let (stride, padding) = (self.stride, self.padding);
        if kernels::convolves(input, weight) {
            return kernels::convolve(input, weight, stride, padding)
                .unwrap_or_else(|error| panic!("{error}"));
        }
        kernels::rounded([input, weight], |[input, weight]| {
            self.by_libtorch(input, weight)
        })
    }

    fn by_libtorch(&self, input: &Tensor, weight: &Tensor) -> Tensor {
        let (stride, padding, none) = (self.stride, self.padding, None::<&Tensor>);
        let conv2d = |input: &Tensor, stride| {
            input.conv2d(weight, none, [stride; 2], [padding; 2], [1; 2], 1)
        };
        match self.kind {
            LayerKind::Conv1d => input.conv1d(weight, none, [stride], [padding], [1], 1),
            _ if self.skips() => {
                let skipped = input.slice(2, None, None, stride);
                conv2d(&skipped.slice(3, None, None, stride), 1)
            }
            _ => conv2d(input, stride),
        }
    }

    /// Whether what the stride leaves out is left out before the convolution. On the CPU the gradient
    /// of a strided convolution of 1x1 needs it where there are fewer input channels than a vector has
    /// numbers: oneDNN 3 writes past its workspace there, which ends the process or gives a wrong
    /// gradient (uxlfoundation/oneDNN#6035).
    fn skips(&self) -> bool {
        self.padding == 0 && self.stride > 1 && self.channels < SKIPPED_BELOW
    }
}

/// A batch norm.
#[derive(Debug)]
pub(super) struct Norm {
    affine: [usize; 2],
    running: [usize; 2],
}

impl Norm {
    /// Its part in the description of what the network computes.
    pub(super) fn describe(&self, assembly: &Assembly, graph: &mut Graph, from: Value) -> Value {
        graph.add(Operation::Norm {
            layer: assembly.layer(self.affine[0]),
            from,
        })
    }

    /// `[batch, features, ...]` to the same; with taps `[features, ..., batch]` to the same.
    pub(super) fn forward(&self, pass: Pass<'_>, input: Tensor) -> Tensor {
        self.apply(pass, input, None, false)
    }

    /// [`forward`](Norm::forward) and then a ReLU.
    pub(super) fn forward_relu(&self, pass: Pass<'_>, input: Tensor) -> Tensor {
        self.apply(pass, input, None, true)
    }

    /// [`forward`](Norm::forward), the addition of `shortcut`, and then a ReLU.
    pub(super) fn join(&self, pass: Pass<'_>, input: Tensor, shortcut: &Tensor) -> Tensor {
        self.apply(pass, input, Some(shortcut), true)
    }

    fn apply(&self, pass: Pass<'_>, input: Tensor, added: Option<&Tensor>, relus: bool) -> Tensor {
        let [scale, shift] = self.affine.map(|i| &pass.parameters[i]);
        let running = self.running.map(|i| &pass.buffers[i]);
        let dimension = if pass.taps.is_empty() { 1 } else { 0 };
        let trains = matches!(pass.mode, Mode::Train(_));
        check_count(&input, running[0], trains);
        let whole = BatchNorm {
            scale,
            shift,
            running,
            trains,
            epsilon: NORM_EPSILON,
            momentum: NORM_MOMENTUM,
        };
        if trains && kernels::sees_all_shards() {
            let mut output = whole
                .of_all_shards(&input, dimension)
                .unwrap_or_else(|error| panic!("{error}"));
            if let Some(added) = added {
                output += added;
            }
            return if relus { relu(output) } else { output };
        }
        if whole.fits(&input, dimension, added) {
            return whole
                .apply(&input, dimension, added, relus)
                .unwrap_or_else(|error| panic!("{error}"));
        }
        let [affine, running] = [[scale, shift], running].map(|it| it.map(Tensor::shallow_clone));
        let mut output = match dimension {
            0 => {
                let rows = input.view([1, input.size()[0], -1]);
                normalise(&rows, affine, running, trains, false).view_as(&input)
            }
            _ => normalise(&input, affine, running, trains, true),
        };
        if let Some(added) = added {
            output += added;
        }
        if relus { relu(output) } else { output }
    }

    /// `[lanes, features, batch]` to the same, and then a ReLU: every feature of every lane is a channel of one
    /// batch norm, reduced on its own, whatever is beside it.
    pub(super) fn forward_lanes_relu(&self, pass: Pass<'_>, input: &Tensor) -> Tensor {
        let (lanes, features, batch) = input.size3().unwrap_or_else(|error| panic!("{error}"));
        let channels = lanes * features;
        let affine = self.affine.map(|i| pass.parameters[i].reshape([channels]));
        // A view, not a reshape: a copy would swallow the update.
        let running = self.running.map(|i| pass.buffers[i].view([channels]));
        let trains = matches!(pass.mode, Mode::Train(_));
        check_count(input, &running[0], trains);
        let rows = input.view([1, channels, batch]);
        let whole = BatchNorm {
            scale: &affine[0],
            shift: &affine[1],
            running: running.each_ref(),
            trains,
            epsilon: NORM_EPSILON,
            momentum: NORM_MOMENTUM,
        };
        // The results are views, whose overwriting autograd would have to copy around: no ReLU is in place.
        let lanes_of = |rows: Tensor| rows.view([lanes, features, batch]);
        if trains && kernels::sees_all_shards() {
            let rows = whole.of_all_shards(&rows, 1);
            return lanes_of(rows.unwrap_or_else(|error| panic!("{error}"))).relu();
        }
        if whole.fits_elsewhere(&rows, 1, None) {
            let rows = whole.apply(&rows, 1, None, true);
            return lanes_of(rows.unwrap_or_else(|error| panic!("{error}")));
        }
        // cuDNN chooses among algorithms by the number of channels; libtorch's own kernels do not.
        lanes_of(normalise(&rows, affine, running, trains, false)).relu()
    }
}

fn check_count(input: &Tensor, running: &Tensor, trains: bool) {
    assert!(
        !trains || input.numel() > running.numel() || kernels::sees_all_shards(),
        "batch norm cannot be trained on one value per feature, which has no variance: train on batches of two samples or more"
    );
}

fn normalise(
    input: &Tensor,
    affine: [Tensor; 2],
    running: [Tensor; 2],
    trains: bool,
    cudnn: bool,
) -> Tensor {
    let [weight, bias] = affine;
    let [mean, variance] = running;
    input.batch_norm(
        Some(weight),
        Some(bias),
        Some(mean),
        Some(variance),
        trains,
        NORM_MOMENTUM,
        NORM_EPSILON,
        cudnn,
    )
}

/// ReLU of a tensor that nothing else reads: batch norms, products and sums do not need their
/// result for their gradient, so it is overwritten.
pub(super) fn relu(mut input: Tensor) -> Tensor {
    let _ = input.relu_();
    input
}

#[cfg(test)]
mod tests;
