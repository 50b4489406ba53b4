//! One hidden neuron, `a relu(w . x)`: the network of the theory of learning-rate rewinding.
//!
//! # Source
//! Gadhikar & Burkholz 2024 (arXiv:2402.19262), section 2.

use kernels::shim;
use plugin_api::LayerKind;
use plugin_api::schemars::{self, JsonSchema, schema_for};
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::parts::relu;
use super::{
    Buffer, Build, Graph, Init, InputSpec, Mode, ModelError, Network, Operation, Parameter, Role,
};
use crate::registry::{self, Entry, Options};
use crate::rng::{Moment, Purpose, Stream};
use crate::samples::InputType;

pub(super) const ENTRY: Entry<Build> = Entry {
    name: NAME,
    summary: "one hidden neuron without biases, a relu(w . x), from balanced weights",
    schema: || schema_for!(HiddenNeuronOptions),
    build,
};
const NAME: &str = "hidden-neuron";
const INPUT: &str = "fc1.weight";
const OUTPUT: &str = "fc2.weight";

/// Options of `hidden-neuron`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HiddenNeuronOptions {
    /// L2 norm of the initial input weights, and magnitude of the initial output weight.
    #[schemars(range(max = 1.0), extend("exclusiveMinimum" = 0.0))]
    pub scale: f64,
}

impl Default for HiddenNeuronOptions {
    fn default() -> Self {
        Self { scale: 0.1 }
    }
}

fn build(options: &Options, spec: &InputSpec) -> Result<Box<dyn Network>, ModelError> {
    let options: HiddenNeuronOptions =
        registry::parse(options).map_err(|source| ModelError::Options {
            model: NAME,
            source,
        })?;
    if spec.input_type == InputType::Tokens {
        return Err(ModelError::Tokens { model: NAME });
    }
    if spec.classes != 1 {
        return Err(ModelError::OneOutput {
            model: NAME,
            got: spec.classes,
        });
    }
    match spec.shape[..] {
        [dimension] if dimension > 0 => Ok(Box::new(HiddenNeuron {
            parameters: parameters(dimension, options.scale),
        })),
        _ => Err(ModelError::Input {
            model: NAME,
            got: spec.shape.clone(),
            expected: "[features]".to_owned(),
        }),
    }
}

/// The input weights point anywhere, the output weight has either sign; they are balanced,
/// `|a| = |w|`, as the gradient flow keeps them.
fn parameters(dimension: i64, scale: f64) -> [Parameter; 2] {
    [
        Parameter {
            name: INPUT.to_owned(),
            shape: vec![1, dimension],
            role: Role::Weight(LayerKind::Linear),
            init: Init::Sphere(scale),
        },
        Parameter {
            name: OUTPUT.to_owned(),
            shape: vec![1, 1],
            role: Role::FixedWeight,
            init: Init::Sign(scale),
        },
    ]
}

/// The initial input weights and output weight of a seed, without making the network.
pub fn initial(dimension: u64, scale: f64, seed: u64) -> (Vec<f32>, f32) {
    let stream = |name| Stream::new(seed, Purpose::Init(name), Moment::default());
    let input = Init::Sphere(scale).draw(dimension as usize, &mut stream(INPUT));
    let output = Init::Sign(scale).draw(1, &mut stream(OUTPUT));
    (input, output[0])
}

/// `fc1` with ReLU and `fc2`, both without bias; only `fc1` is prunable.
struct HiddenNeuron {
    parameters: [Parameter; 2],
}

impl Network for HiddenNeuron {
    fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    fn buffers(&self) -> &[Buffer] {
        &[]
    }

    fn lanes(&self) -> bool {
        true
    }

    fn graph(&self) -> Graph {
        let (mut graph, from) = Graph::of_input();
        let linear = |layer: &str, from| Operation::Linear {
            layer: layer.to_owned(),
            bias: false,
            from,
        };
        let hidden = graph.add(linear("fc1", from));
        let open = graph.add(Operation::Relu(hidden));
        graph.add(linear("fc2", open));
        graph
    }

    fn forward(
        &self,
        parameters: &[Tensor],
        _buffers: &[Tensor],
        input: &Tensor,
        _mode: Mode<'_>,
    ) -> Tensor {
        let no_bias = Tensor::zeros([input.size()[0], 1], (input.kind(), input.device()));
        let linear = |weight: &Tensor, input: &Tensor| {
            shim::lane_linear(&no_bias, weight, input).unwrap_or_else(|error| panic!("{error}"))
        };
        let hidden = relu(linear(&parameters[0], &input.transpose(1, 2)));
        linear(&parameters[1], &hidden).transpose(1, 2).contiguous()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(shape: &[i64], classes: i64) -> InputSpec {
        InputSpec {
            shape: shape.to_vec(),
            classes,
            ..InputSpec::default()
        }
    }

    #[test]
    fn computes_its_formula_and_its_gradient() {
        let network = build(&Options::new(), &spec(&[2], 1)).unwrap();
        let leaf = |values: &[f32], shape: &[i64]| {
            Tensor::from_slice(values)
                .view(shape)
                .set_requires_grad(true)
        };
        // Two lanes of three samples.
        let w = leaf(&[1.0, -2.0, 0.5, 0.25], &[2, 1, 2]);
        let a = leaf(&[3.0, -4.0], &[2, 1, 1]);
        let x = [[1.0f32, 0.0], [0.0, 1.0], [2.0, 0.5]];
        let input = Tensor::from_slice(&x.concat())
            .view([1, 3, 2])
            .repeat([2, 1, 1]);
        let leaves = [w, a];
        let output = network.forward(&leaves, &[], &input, Mode::Train(crate::model::Keys::NONE));
        assert_eq!(output.size(), [2, 3, 1]);
        let values = Vec::<f32>::try_from(output.reshape([-1])).unwrap();
        assert_eq!(values, [3.0, 0.0, 3.0, -2.0, -1.0, -4.5]);
        let slopes = Tensor::run_backward(&[output.sum(tch::Kind::Float)], &leaves, false, false);
        let slope = |i: usize| Vec::<f32>::try_from(slopes[i].reshape([-1])).unwrap();
        // a times the sum of the inputs on the open side.
        assert_eq!(slope(0), [9.0, 1.5, -12.0, -6.0]);
        assert_eq!(slope(1), [2.0, 1.875]);
    }

    #[test]
    fn initial_weights_are_balanced_and_take_all_signs() {
        let mut signs = std::collections::BTreeSet::new();
        for seed in 0..40 {
            let (w, a) = initial(7, 0.1, seed);
            let norm = w.iter().map(|&w| f64::from(w).powi(2)).sum::<f64>().sqrt();
            assert!((norm - 0.1).abs() < 1e-8 && (f64::from(a).abs() - 0.1).abs() < 1e-8);
            signs.insert((a > 0.0, w[0] > 0.0));
        }
        assert_eq!(signs.len(), 4);
        let (w, _) = initial(1, 0.1, 3);
        assert_eq!(w[0].abs(), 0.1);
    }

    #[test]
    fn refuses_classes_and_images() {
        let message = |shape: &[i64], classes| {
            build(&Options::new(), &spec(shape, classes))
                .err()
                .unwrap()
                .to_string()
        };
        assert!(message(&[40], 10).contains("cannot tell 10 classes apart"));
        assert!(message(&[1, 28, 28], 1).contains("expected [features]"));
    }
}
