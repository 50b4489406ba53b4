//! VGG-16 with batch norm for small images.

use std::num::NonZeroU16;

use plugin_api::schemars::{self, JsonSchema, schema_for};
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::dropout::Dropout;
use super::parts::{
    Assembly, Convolution, Initialisation, Linear, Norm, Pass, image_channels, parse,
};
use super::{Buffer, Build, Graph, InputSpec, Mode, ModelError, Network, Operation, Parameter};
use crate::registry::{Entry, Options};

pub(super) const ENTRY: Entry<Build> = Entry {
    name: NAME,
    summary: "VGG-16 with batch norm and one linear layer on the mean over the image",
    schema: || schema_for!(VggOptions),
    build,
};
const NAME: &str = "vgg-16";

/// Convolutions of each stage, with their channels in multiples of the first stage's. A max-pool
/// stands between stages; the mean over the image takes the place of the last one.
const STAGES: [(usize, i64); 5] = [(2, 1), (2, 2), (3, 4), (3, 8), (3, 8)];

/// Options of `vgg-16`.
///
/// # Source
/// Simonyan & Zisserman 2015, arXiv:1409.1556, table 1, configuration D, with batch norm in place
/// of the convolutions' biases, and the mean over the image with one linear layer in place of the
/// last max-pool and the three linear layers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct VggOptions {
    /// Channels of the first stage; the later ones have 2, 4, 8 and 8 times as many.
    pub width: NonZeroU16,
    /// Probability that an input of the linear layer is dropped in training.
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))]
    pub dropout: f64,
    /// How the weights start.
    pub init: Initialisation,
}

impl Default for VggOptions {
    fn default() -> Self {
        const WIDTH: NonZeroU16 = NonZeroU16::new(64).expect("64 is not zero");
        Self {
            width: WIDTH,
            dropout: 0.0,
            init: Initialisation::default(),
        }
    }
}

fn build(options: &Options, spec: &InputSpec) -> Result<Box<dyn Network>, ModelError> {
    let options: VggOptions = parse(NAME, options, spec)?;
    // At least one pixel is left after the max-pools.
    let mut channels = image_channels(NAME, spec, 1 << (STAGES.len() - 1))?;
    let width: i64 = options.width.get().into();
    let mut assembly = Assembly::new(options.init);
    // Names count convolutions, batch norms, ReLUs and max-pools, as torchvision's do.
    let mut index = 0;
    let stages = STAGES.map(|(count, multiple)| {
        let mut stage = Vec::with_capacity(count);
        for _ in 0..count {
            let outputs = width * multiple;
            stage.push((
                assembly.conv2d(&format!("features.{index}"), [channels, outputs], 3),
                assembly.norm(&format!("features.{}", index + 1), outputs),
            ));
            channels = outputs;
            index += 3;
        }
        index += 1;
        stage
    });
    let last = assembly.linear("classifier", channels, spec.classes);
    Ok(Box::new(Vgg {
        assembly,
        stages,
        dropout: Dropout::before("classifier", options.dropout),
        last,
    }))
}

/// `features.N`, and `classifier` on the mean over the image.
#[derive(Debug)]
struct Vgg {
    assembly: Assembly,
    stages: [Vec<(Convolution, Norm)>; STAGES.len()],
    dropout: Dropout,
    last: Linear,
}

impl Network for Vgg {
    fn parameters(&self) -> &[Parameter] {
        &self.assembly.parameters
    }

    fn buffers(&self) -> &[Buffer] {
        &self.assembly.buffers
    }

    fn graph(&self) -> Graph {
        let (mut graph, mut at) = Graph::of_input();
        for (i, stage) in self.stages.iter().enumerate() {
            if i > 0 {
                at = graph.add(Operation::MaxPool {
                    kernel: 2,
                    stride: 2,
                    padding: 0,
                    from: at,
                });
            }
            for (conv, norm) in stage {
                at = conv.describe(&self.assembly, &mut graph, at);
                at = norm.describe(&self.assembly, &mut graph, at);
                at = graph.add(Operation::Relu(at));
            }
        }
        at = graph.add(Operation::Mean(at));
        self.last.describe(&self.assembly, &mut graph, at);
        graph
    }

    fn channels_last(&self) -> bool {
        true
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
        let mut x = input.shallow_clone();
        for (i, stage) in self.stages.iter().enumerate() {
            if i > 0 {
                x = x.max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false);
            }
            for (conv, norm) in stage {
                x = norm.forward_relu(pass, conv.forward(pass, &x));
            }
        }
        let mean = x.mean_dim([2i64, 3].as_slice(), false, None::<Kind>);
        self.last.forward(pass, &self.dropout.forward(pass, mean))
    }
}
