//! Multi-layer perceptron.

use std::num::NonZeroU16;

use plugin_api::schemars::{self, JsonSchema, schema_for};
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::dropout::Dropout;
use super::parts::{Assembly, Initialisation, Linear, Norm, Pass, parse, relu};
use super::{Buffer, Build, Graph, InputSpec, Mode, ModelError, Network, Operation, Parameter};
use crate::registry::{Entry, Options};

pub(super) const ENTRY: Entry<Build> = Entry {
    name: NAME,
    summary: "multi-layer perceptron on the flattened input, with or without batch norm",
    schema: || schema_for!(MlpOptions),
    build,
};
const NAME: &str = "mlp";

/// Options of `mlp`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MlpOptions {
    /// Widths of the hidden layers; none makes logistic regression.
    pub hidden: Vec<NonZeroU16>,
    /// Whether a batch norm stands between each hidden layer and its ReLU.
    pub batch_norm: bool,
    /// Probability that an activation of a hidden layer is dropped in training.
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))]
    pub dropout: f64,
    /// How the weights start.
    pub init: Initialisation,
}

impl Default for MlpOptions {
    fn default() -> Self {
        const WIDTH: NonZeroU16 = NonZeroU16::new(128).expect("128 is not zero");
        Self {
            hidden: vec![WIDTH; 2],
            batch_norm: true,
            dropout: 0.0,
            init: Initialisation::default(),
        }
    }
}

fn build(options: &Options, spec: &InputSpec) -> Result<Box<dyn Network>, ModelError> {
    let options: MlpOptions = parse(NAME, options, spec)?;
    let hidden: Vec<i64> = options
        .hidden
        .iter()
        .map(|width| width.get().into())
        .collect();
    Ok(Box::new(Mlp::new(
        NAME,
        spec,
        &hidden,
        options.batch_norm,
        options.dropout,
        options.init,
    )?))
}

/// Hidden layers `fc1`, `fc2`, ... with batch norms `bn1`, `bn2`, ..., and a linear layer to the classes.
#[derive(Debug)]
pub(super) struct Mlp {
    assembly: Assembly,
    hidden: Vec<(Linear, Option<Norm>, Dropout)>,
    last: Linear,
}

impl Mlp {
    /// The network with hidden layers of these widths, under the name `model` in errors.
    pub(super) fn new(
        model: &'static str,
        spec: &InputSpec,
        widths: &[i64],
        batch_norm: bool,
        dropout: f64,
        initialisation: Initialisation,
    ) -> Result<Self, ModelError> {
        let mut features = spec.shape.iter().product();
        if spec.shape.is_empty() || features < 1 {
            return Err(ModelError::Input {
                model,
                got: spec.shape.clone(),
                expected: "at least one feature".to_owned(),
            });
        }
        let mut assembly = Assembly::new(initialisation);
        let mut hidden = Vec::with_capacity(widths.len());
        for (i, &width) in widths.iter().enumerate() {
            let linear = assembly.linear(&format!("fc{}", i + 1), features, width);
            let norm = batch_norm.then(|| assembly.norm(&format!("bn{}", i + 1), width));
            let dropout = Dropout::before(&format!("fc{}", i + 2), dropout);
            hidden.push((linear, norm, dropout));
            features = width;
        }
        let last = assembly.linear(&format!("fc{}", widths.len() + 1), features, spec.classes);
        Ok(Self {
            assembly,
            hidden,
            last,
        })
    }
}

impl Network for Mlp {
    fn parameters(&self) -> &[Parameter] {
        &self.assembly.parameters
    }

    fn buffers(&self) -> &[Buffer] {
        &self.assembly.buffers
    }

    fn graph(&self) -> Graph {
        let (mut graph, input) = Graph::of_input();
        let mut at = graph.add(Operation::Flatten(input));
        for (linear, norm, _) in &self.hidden {
            at = linear.describe(&self.assembly, &mut graph, at);
            if let Some(norm) = norm {
                at = norm.describe(&self.assembly, &mut graph, at);
            }
            at = graph.add(Operation::Relu(at));
        }
        self.last.describe(&self.assembly, &mut graph, at);
        graph
    }

    fn lanes(&self) -> bool {
        true
    }

    fn drops_out(&self) -> bool {
        self.hidden.iter().any(|(.., dropout)| dropout.is_on())
    }

    // Features come before samples, so that every sum over samples (batch statistics, gradients of
    // biases) runs along memory, one row at a time: how it rounds does not depend on how many rows,
    // and so lanes, there are.
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
        let mut x = input.flatten(2, -1).transpose(1, 2);
        for (linear, norm, dropout) in &self.hidden {
            x = linear.forward_lanes(pass, &x);
            x = match norm {
                Some(norm) => norm.forward_lanes_relu(pass, &x),
                None => relu(x),
            };
            x = dropout.forward(pass, x);
        }
        self.last
            .forward_lanes(pass, &x)
            .transpose(1, 2)
            .contiguous()
    }
}
