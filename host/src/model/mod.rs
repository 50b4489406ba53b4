//! Networks: their parameters by PyTorch's names and layouts, and their forward pass.

use kernels::Taps;
use plugin_api::Layer;
use tch::Tensor;

use crate::registry::{Entry, Options};
pub use crate::samples::InputSpec;

mod cnn1d;
mod connections;
mod drop_path;
mod dropout;
mod error;
mod extent;
#[cfg(test)]
pub mod forms;
mod graph;
pub mod hidden_neuron;
mod lenet;
mod mlp;
pub mod names;
mod parameter;
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
pub use dropout::{DeviceKeys, Drawn, Keys, StepKey, drawn_in};
pub use error::ModelError;
pub use graph::{Graph, Operation, Value};
pub use lenet::LenetOptions;
pub use mlp::MlpOptions;
pub use parameter::{Buffer, Held, Init, Parameter, Role};
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

/// What batch norm and dropout do.
#[derive(Clone, Copy, Debug)]
pub enum Mode<'a> {
    /// Batch statistics; running statistics are updated in place, to their [`momentum`](Buffer::momentum) of the
    /// batch's mean and unbiased variance and the rest of their own. With a key for each lane there
    /// is dropout; without any there is none.
    Train(Keys<'a>),
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
