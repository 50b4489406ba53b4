//! Networks: their parameters by PyTorch's names and layouts, and their forward pass.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use kernels::Taps;
use plugin_api::{Layer, LayerKind};
use tch::Tensor;

use crate::registry::{Entry, Options};
use crate::rng::Stream;
pub use crate::samples::InputSpec;

mod cnn1d;
mod connections;
mod drop_path;
mod dropout;
mod extent;
mod graph;
pub mod hidden_neuron;
mod lenet;
mod mlp;
pub mod names;
mod parts;
mod pt2;
mod residual;
mod resnet;
mod units;
mod vgg;
mod vit;
mod weights;

pub use cnn1d::Cnn1dOptions;
pub use connections::Connections;
pub use dropout::StepKey;
pub use graph::{Graph, Operation, Value};
pub use lenet::LenetOptions;
pub use mlp::MlpOptions;
pub use parts::{Initialisation, LAYER_NORM_EPSILON, NORM_EPSILON, NORM_MOMENTUM};
pub use pt2::{Pt2Options, Start, spec_of};
pub use resnet::{CifarResnetOptions, Resnet50Options, ResnetOptions, Stem};
pub use units::{LeftOut, Side, Slice, UnitSet, Units, indices, places, units_of};
pub use vgg::VggOptions;
pub use vit::{Pool, VitOptions};
pub(crate) use weights::numbers_of_state_dict;
pub use weights::{Given, Misfit, ReplaceHead, given, network, with_start};

/// The models that an experiment file can name.
pub static MODELS: &[Entry<Build>] = &[
    mlp::ENTRY,
    lenet::ENTRY,
    cnn1d::ENTRY,
    resnet::RESNET_20,
    resnet::RESNET_32,
    resnet::RESNET_44,
    resnet::RESNET_56,
    resnet::RESNET_18,
    resnet::RESNET_34,
    resnet::RESNET_50,
    vgg::ENTRY,
    vit::ENTRY,
    pt2::ENTRY,
    hidden_neuron::ENTRY,
];

/// Makes a network from its options for a dataset's inputs.
pub type Build = fn(&Options, &InputSpec) -> Result<Box<dyn Network>, ModelError>;

/// A network that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The options are not the model's.
    #[error("options of model `{model}`: {source}")]
    Options {
        /// Name of the model.
        model: &'static str,
        /// What is wrong with them.
        source: serde_json::Error,
    },
    /// The dataset's samples do not fit.
    #[error(
        "model `{model}` cannot take samples of shape {got:?}: expected {expected}; choose another model or dataset"
    )]
    Input {
        /// Name of the model.
        model: &'static str,
        /// Shape of one sample.
        got: Vec<i64>,
        /// Shapes that fit.
        expected: String,
    },
    /// There is nothing to tell apart.
    #[error("model `{model}` cannot tell {got} classes apart: expected a dataset of at least 2")]
    Classes {
        /// Name of the model.
        model: &'static str,
        /// Number of classes.
        got: i64,
    },
    /// The dataset's samples are tokens.
    #[error(
        "model `{model}` takes numbers, and the samples are whole numbers, which stand for tokens: save them as float32 (`x.astype(\"float32\")`) or as bytes (uint8) if they are quantities; for tokens choose `pt2`, a network with an embedding"
    )]
    Tokens {
        /// Name of the model.
        model: &'static str,
    },
    /// The dataset has a class at each position.
    #[error(
        "model `{model}` has one output for each class, and a sample has targets of shape {got:?}: expected a dataset with one target a sample, or the model `pt2`"
    )]
    Positions {
        /// Name of the model.
        model: &'static str,
        /// Shape of the targets of one sample.
        got: Vec<i64>,
    },
    /// The dataset has classes where the network has one output.
    #[error(
        "model `{model}` has one output and cannot tell {got} classes apart: expected a dataset whose targets are numbers, such as `hidden-neuron`"
    )]
    OneOutput {
        /// Name of the model.
        model: &'static str,
        /// Number of classes.
        got: i64,
    },
    /// An option does not go with another one, or with the samples.
    #[error("model `{model}`: {option} = {got} {reason}")]
    Unfit {
        /// Name of the model.
        model: &'static str,
        /// The option.
        option: &'static str,
        /// Its value.
        got: String,
        /// What it does not go with, and what would.
        reason: String,
    },
    /// A network's archive cannot be read.
    #[error("model `pt2`: {0}")]
    Archive(Box<::pt2::ArchiveError>),
    /// A network's archive holds what cannot be trained here.
    #[error("model `pt2`: {path}: {reason}")]
    Imported {
        /// The archive.
        path: PathBuf,
        /// What it is, and what to do.
        reason: String,
    },
    /// An imported network tells another number of classes apart.
    #[error(
        "model `pt2`: {path} has {got} outputs, the dataset has {expected} classes: model.replace_head = true draws its output layer anew, with as many; or export the network with them, or choose another dataset"
    )]
    Outputs {
        /// The archive.
        path: PathBuf,
        /// Its outputs.
        got: i64,
        /// The dataset's classes.
        expected: i64,
    },
    /// A file of weights cannot be read.
    #[error("model `{model}`: weights {path}: {reason}")]
    Weights {
        /// Name of the model.
        model: &'static str,
        /// The file.
        path: PathBuf,
        /// What it is instead, and what to do.
        reason: String,
    },
    /// A file of weights is another network's.
    #[error("model `{model}`: weights {path} do not fit the network: {misfit}")]
    Misfit {
        /// Name of the model.
        model: &'static str,
        /// The file.
        path: PathBuf,
        /// All that does not fit.
        misfit: Box<Misfit>,
    },
    /// What is to be drawn anew is not there.
    #[error("model `{model}`: replace_head: {source}")]
    Head {
        /// Name of the model.
        model: &'static str,
        /// Which name.
        source: names::Unmatched,
    },
    /// An imported network's output layer cannot be drawn anew.
    #[error("model `pt2`: {path}: {reason}")]
    FixedHead {
        /// The archive.
        path: PathBuf,
        /// Why, and what to do.
        reason: String,
    },
}

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

/// What batch norm and dropout do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode<'a> {
    /// Batch statistics; running statistics are updated in place, to their [`momentum`](Buffer::momentum) of the
    /// batch's mean and unbiased variance and the rest of their own. With a key for each lane there
    /// is dropout; without any there is none.
    Train(&'a [StepKey]),
    /// Running statistics, unchanged, and no dropout.
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

    /// What the network computes in evaluation: the same as [`forward`](Network::forward). All else that
    /// depends on how its layers are connected follows from it: [`Connections`], exports, and whether it
    /// is a perceptron.
    fn graph(&self) -> Graph;

    /// Whether [`forward`](Network::forward) computes [`graph`](Network::graph) in training too, but for dropout,
    /// with the batch's statistics and [`NORM_MOMENTUM`] in batch norms.
    fn trains_its_graph(&self) -> bool {
        true
    }

    /// Places of the parameters of the output layer, whose outputs are the logits.
    fn head(&self) -> Vec<usize> {
        let graph = self.graph();
        let Some((_, Operation::Linear { layer, .. })) = graph.operations().last() else {
            return Vec::new();
        };
        let own = |parameter: &Parameter| {
            let rest = parameter.name.strip_prefix(layer.as_str());
            rest.is_some_and(|it| [".weight", ".bias"].contains(&it))
        };
        let all = self.parameters().iter().enumerate();
        all.filter(|(_, it)| own(it)).map(|(at, _)| at).collect()
    }

    /// What the network's state_dict in PyTorch holds besides parameters and buffers, but for counters of batches.
    fn held(&self) -> Vec<(String, Held)> {
        Vec::new()
    }

    /// Products of two numbers that the network adds up for one sample, by the parameter that holds one of them;
    /// none where no parameter does, as in attention.
    ///
    /// # Shapes
    /// `input`: one sample.
    fn multiply_adds(&self, input: &[i64]) -> Vec<(Option<String>, u64)> {
        extent::multiply_adds(&self.graph(), self.parameters(), input)
    }

    /// The fewest values that a batch norm of the network sees of one feature of one sample: 1 behind a
    /// linear layer, height times width behind a convolution of images. None without a batch norm.
    ///
    /// # Shapes
    /// `input`: one sample.
    fn values_per_feature(&self, input: &[i64]) -> Option<i64> {
        match self.buffers().is_empty() {
            true => None,
            false => extent::values_per_feature(&self.graph(), self.parameters(), input),
        }
    }

    /// The units that can be removed, with all that goes with each of them.
    ///
    /// # Shapes
    /// `input`: one sample.
    fn units(&self, input: &[i64]) -> Units {
        units::units(&self.graph(), self.parameters(), self.buffers(), input)
    }

    /// Whether its batch norms can see the whole batch where it is cut into shards.
    fn synchronises(&self) -> bool {
        true
    }

    /// Whether [`forward`](Network::forward) computes the same with parameters of these shapes, of layers that lost
    /// some of their units whole.
    ///
    /// # Errors
    /// Why it does not.
    fn takes(&self, _shapes: &[Vec<i64>]) -> Result<(), String> {
        Ok(())
    }

    /// Whether several seeds can be trained as lanes of one computation.
    fn lanes(&self) -> bool {
        false
    }

    /// Whether [`forward_at_survivors`](Network::forward_at_survivors) exists.
    fn computes_at_survivors(&self) -> bool {
        false
    }

    /// The logits, with every convolution computed at its surviving weights; activations in between
    /// are `[channels, height, width, batch]` in memory. To rounding the same as
    /// [`forward`](Network::forward).
    ///
    /// # Shapes
    /// As [`forward`](Network::forward); `taps`: one for each convolution's weight, none elsewhere.
    ///
    /// # Panics
    /// As [`forward`](Network::forward), and for networks without [`computes_at_survivors`](Network::computes_at_survivors).
    fn forward_at_survivors(
        &self,
        _parameters: &[Tensor],
        _buffers: &[Tensor],
        _input: &Tensor,
        _mode: Mode<'_>,
        _taps: &[Option<Taps>],
    ) -> Tensor {
        unimplemented!("this network is computed with all its weights")
    }

    /// Whether activations are dropped in training.
    fn drops_out(&self) -> bool {
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
    /// Without: the same without the leading dimension. A lane's parameters are contiguous, the
    /// lanes need not be neighbours in memory.
    ///
    /// # Panics
    /// If a tensor's shape or device is not as stated, or if a batch norm is to be trained on a
    /// single value per feature, which has no variance: two samples, or images of several pixels.
    fn forward(
        &self,
        parameters: &[Tensor],
        buffers: &[Tensor],
        input: &Tensor,
        mode: Mode<'_>,
    ) -> Tensor;
}

/// The prunable layers of `network`, in the order of its parameters.
pub fn layers(network: &dyn Network) -> Vec<Layer> {
    let layer = |parameter: &Parameter| match parameter.role {
        Role::Weight(kind) => Some(Layer::new(
            parameter.name.clone(),
            kind,
            parameter.shape.clone(),
        )),
        _ => None,
    };
    network.parameters().iter().filter_map(layer).collect()
}

/// Number of prunable weights of `network`.
pub fn prunable_count(network: &dyn Network) -> u64 {
    layers(network).iter().map(Layer::len).sum()
}

/// Number of all parameters of `network`.
pub fn parameter_count(network: &dyn Network) -> u64 {
    let count = |parameter: &Parameter| parameter.shape.iter().product::<i64>() as u64;
    network.parameters().iter().map(count).sum()
}

#[cfg(test)]
mod tests;
