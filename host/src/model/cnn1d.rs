//! Small one-dimensional convolution net for MNIST-1D.

use std::num::NonZeroU16;

use plugin_api::schemars::{self, JsonSchema, schema_for};
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::dropout::Dropout;
use super::parts::{Assembly, Convolution, Initialisation, Linear, Norm, Pass, parse};
use super::{Buffer, Build, Graph, InputSpec, Mode, ModelError, Network, Operation, Parameter};
use crate::registry::{Entry, Options};

pub(super) const ENTRY: Entry<Build> = Entry {
    name: NAME,
    summary: "three one-dimensional convolutions with batch norm, for sequences such as MNIST-1D's",
    schema: || schema_for!(Cnn1dOptions),
    build,
};
const NAME: &str = "cnn1d";

/// Options of `cnn1d`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Cnn1dOptions {
    /// Channels of each convolution.
    pub width: NonZeroU16,
    /// Probability that an input of the linear layer is dropped in training.
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))]
    pub dropout: f64,
    /// How the weights start.
    pub init: Initialisation,
}

impl Default for Cnn1dOptions {
    fn default() -> Self {
        const WIDTH: NonZeroU16 = NonZeroU16::new(16).expect("16 is not zero");
        Self {
            width: WIDTH,
            dropout: 0.0,
            init: Initialisation::default(),
        }
    }
}

fn build(options: &Options, spec: &InputSpec) -> Result<Box<dyn Network>, ModelError> {
    let options: Cnn1dOptions = parse(NAME, options, spec)?;
    let length = match spec.shape[..] {
        [length] if length > 0 => length,
        _ => {
            return Err(ModelError::Input {
                model: NAME,
                got: spec.shape.clone(),
                expected: "[features], a sequence of one channel".to_owned(),
            });
        }
    };
    let width = options.width.get().into();
    let mut assembly = Assembly::new(options.init);
    let blocks =
        [(1, 1, 5, 1), (2, width, 3, 2), (3, width, 3, 2)].map(|(i, channels, kernel, stride)| {
            let conv = assembly
                .conv1d(&format!("conv{i}"), [channels, width], kernel)
                .stride(stride);
            (conv, assembly.norm(&format!("bn{i}"), width))
        });
    // Each of two strides halves the length, upwards.
    let last = assembly.linear(
        "fc",
        width * (length as u64).div_ceil(4) as i64,
        spec.classes,
    );
    Ok(Box::new(Cnn1d {
        assembly,
        blocks,
        dropout: Dropout::before("fc", options.dropout),
        last,
    }))
}

/// `conv1`, `bn1`, ..., `conv3`, `bn3`, and `fc` on all that is left.
#[derive(Debug)]
struct Cnn1d {
    assembly: Assembly,
    blocks: [(Convolution, Norm); 3],
    dropout: Dropout,
    last: Linear,
}

impl Network for Cnn1d {
    fn parameters(&self) -> &[Parameter] {
        &self.assembly.parameters
    }

    fn buffers(&self) -> &[Buffer] {
        &self.assembly.buffers
    }

    fn graph(&self) -> Graph {
        let (mut graph, input) = Graph::of_input();
        let mut at = graph.add(Operation::AddChannel(input));
        for (conv, norm) in &self.blocks {
            at = conv.describe(&self.assembly, &mut graph, at);
            at = norm.describe(&self.assembly, &mut graph, at);
            at = graph.add(Operation::Relu(at));
        }
        at = graph.add(Operation::Flatten(at));
        self.last.describe(&self.assembly, &mut graph, at);
        graph
    }

    fn forward(
        &self,
        parameters: &[Tensor],
        buffers: &[Tensor],
        input: &Tensor,
        mode: Mode<'_>,
    ) -> Tensor {
        let pass = Pass {
            parameters,
            buffers,
            mode,
            taps: &[],
        };
        let mut x = input.unsqueeze(1);
        for (conv, norm) in &self.blocks {
            x = norm.forward_relu(pass, conv.forward(pass, &x));
        }
        let features = self.dropout.forward(pass, x.flatten(1, -1));
        self.last.forward(pass, &features)
    }
}
