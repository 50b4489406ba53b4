//! Residual networks, for small images and large ones.

use std::num::NonZeroU16;

use kernels::Taps;
use plugin_api::schemars::{self, JsonSchema, schema_for};
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::dropout::Dropout;
use super::parts::{Assembly, Initialisation, Linear, Pass, image_channels, parse};
use super::residual::{BASIC, BOTTLENECK, Block, Kind, Unit};
use super::{Buffer, Build, Graph, InputSpec, Mode, ModelError, Network, Operation, Parameter};
use crate::registry::{Entry, Options};

pub(super) const RESNET_20: Entry<Build> = cifar(
    "resnet-20",
    "ResNet-20 for CIFAR: three stages of three basic blocks",
    |options, spec| build_cifar("resnet-20", 3, options, spec),
);
pub(super) const RESNET_32: Entry<Build> = cifar(
    "resnet-32",
    "ResNet-32 for CIFAR: three stages of five basic blocks",
    |options, spec| build_cifar("resnet-32", 5, options, spec),
);
pub(super) const RESNET_44: Entry<Build> = cifar(
    "resnet-44",
    "ResNet-44 for CIFAR: three stages of seven basic blocks",
    |options, spec| build_cifar("resnet-44", 7, options, spec),
);
pub(super) const RESNET_56: Entry<Build> = cifar(
    "resnet-56",
    "ResNet-56 for CIFAR: three stages of nine basic blocks",
    |options, spec| build_cifar("resnet-56", 9, options, spec),
);
pub(super) const RESNET_18: Entry<Build> = Entry {
    name: "resnet-18",
    summary: "ResNet-18: four stages of two basic blocks",
    schema: || schema_for!(ResnetOptions),
    build: |options, spec| build_basic("resnet-18", &[2, 2, 2, 2], options, spec),
};
pub(super) const RESNET_34: Entry<Build> = Entry {
    name: "resnet-34",
    summary: "ResNet-34: four stages of three, four, six and three basic blocks",
    schema: || schema_for!(ResnetOptions),
    build: |options, spec| build_basic("resnet-34", &[3, 4, 6, 3], options, spec),
};
pub(super) const RESNET_50: Entry<Build> = Entry {
    name: "resnet-50",
    summary: "ResNet-50: four stages of three, four, six and three bottleneck blocks",
    schema: || schema_for!(Resnet50Options),
    build: |options, spec| {
        let options: Resnet50Options = parse("resnet-50", options, spec)?;
        build("resnet-50", BOTTLENECK, &[3, 4, 6, 3], options.into(), spec)
    },
};

/// A network of basic blocks with the options of ResNet-18.
fn build_basic(
    name: &'static str,
    blocks: &[usize],
    options: &Options,
    spec: &InputSpec,
) -> Result<Box<dyn Network>, ModelError> {
    let options: ResnetOptions = parse(name, options, spec)?;
    build(name, BASIC, blocks, options, spec)
}

const fn cifar(name: &'static str, summary: &'static str, build: Build) -> Entry<Build> {
    Entry {
        name,
        summary,
        schema: || schema_for!(CifarResnetOptions),
        build,
    }
}

/// Options of `resnet-20`, `resnet-32`, `resnet-44` and `resnet-56`.
///
/// # Source
/// He et al. 2016, arXiv:1512.03385, section 4.2, but with 1x1 convolutions as the shortcuts where
/// the shape changes (option B).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CifarResnetOptions {
    /// Channels of the first stage; the second and third have twice and four times as many.
    pub width: NonZeroU16,
    /// Probability that an input of the linear layer is dropped in training.
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))]
    pub dropout: f64,
    /// How the weights start.
    pub init: Initialisation,
}

impl Default for CifarResnetOptions {
    fn default() -> Self {
        const WIDTH: NonZeroU16 = NonZeroU16::new(16).expect("16 is not zero");
        Self {
            width: WIDTH,
            dropout: 0.0,
            init: Initialisation::default(),
        }
    }
}

/// What comes before the first stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Stem {
    /// A convolution of 3x3, for images of 32 or 64 pixels.
    Cifar,
    /// A convolution of 7x7 and a max-pool, each of which halves the image.
    Imagenet,
}

/// Options of `resnet-18` and `resnet-34`.
///
/// # Source
/// He et al. 2016, arXiv:1512.03385, table 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ResnetOptions {
    /// Channels of the first stage; each later one has twice as many as the one before.
    pub width: NonZeroU16,
    /// What comes before the first stage.
    pub stem: Stem,
    /// Whether the last batch norm of each block starts at 0, so that the block passes its input on.
    pub zero_init_residual: bool,
    /// Probability that an input of the linear layer is dropped in training.
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))]
    pub dropout: f64,
    /// How the weights start.
    pub init: Initialisation,
}

impl Default for ResnetOptions {
    fn default() -> Self {
        Self {
            width: USUAL_WIDTH,
            stem: Stem::Cifar,
            zero_init_residual: false,
            dropout: 0.0,
            init: Initialisation::default(),
        }
    }
}

/// Options of `resnet-50`.
///
/// # Source
/// He et al. 2016, arXiv:1512.03385, table 1; the stride of a block is that of its 3x3 convolution,
/// as in torchvision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Resnet50Options {
    /// Channels within the blocks of the first stage, whose outputs have four times as many; each
    /// later stage has twice as many as the one before.
    pub width: NonZeroU16,
    /// What comes before the first stage.
    pub stem: Stem,
    /// Whether the last batch norm of each block starts at 0, so that the block passes its input on.
    pub zero_init_residual: bool,
    /// Probability that an input of the linear layer is dropped in training.
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))]
    pub dropout: f64,
    /// How the weights start.
    pub init: Initialisation,
}

impl Default for Resnet50Options {
    fn default() -> Self {
        Self {
            width: USUAL_WIDTH,
            stem: Stem::Imagenet,
            zero_init_residual: false,
            dropout: 0.0,
            init: Initialisation::default(),
        }
    }
}

/// The same choices; the two differ in what is usual.
impl From<Resnet50Options> for ResnetOptions {
    fn from(options: Resnet50Options) -> Self {
        let Resnet50Options {
            width,
            stem,
            zero_init_residual,
            dropout,
            init,
        } = options;
        Self {
            width,
            stem,
            zero_init_residual,
            dropout,
            init,
        }
    }
}

const USUAL_WIDTH: NonZeroU16 = NonZeroU16::new(64).expect("64 is not zero");

fn build_cifar(
    model: &'static str,
    blocks: usize,
    options: &Options,
    spec: &InputSpec,
) -> Result<Box<dyn Network>, ModelError> {
    let options: CifarResnetOptions = parse(model, options, spec)?;
    let options = ResnetOptions {
        width: options.width,
        dropout: options.dropout,
        init: options.init,
        ..ResnetOptions::default()
    };
    build(model, BASIC, &[blocks; 3], options, spec)
}

fn build(
    model: &'static str,
    kind: Kind,
    stages: &[usize],
    options: ResnetOptions,
    spec: &InputSpec,
) -> Result<Box<dyn Network>, ModelError> {
    let stem = options.stem;
    let (halvings, kernel) = match stem {
        Stem::Cifar => (stages.len() - 1, 3),
        Stem::Imagenet => (stages.len() + 1, 7),
    };
    // At least one pixel is left after the halvings.
    let channels = image_channels(model, spec, 1 << halvings)?;
    let width = i64::from(options.width.get());
    let mut assembly = Assembly::new(options.init);
    let stem_unit = Unit::new(
        assembly
            .conv2d("conv1", [channels, width], kernel)
            .stride(if stem == Stem::Imagenet { 2 } else { 1 }),
        assembly.norm("bn1", width),
    );
    let mut channels = width;
    let mut blocks = Vec::with_capacity(stages.iter().sum());
    for (stage, &count) in stages.iter().enumerate() {
        for block in 0..count {
            let name = format!("layer{}.{block}", stage + 1);
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            let inner = width << stage;
            blocks.push(Block::new(
                &mut assembly,
                &name,
                kind,
                [channels, inner],
                stride,
            ));
            channels = inner * kind.expansion;
        }
    }
    if options.zero_init_residual {
        for block in &blocks {
            assembly.silence(block.last_norm());
        }
    }
    let last = assembly.linear("fc", channels, spec.classes);
    Ok(Box::new(Resnet {
        assembly,
        stem: stem_unit,
        pools: stem == Stem::Imagenet,
        blocks,
        dropout: Dropout::before("fc", options.dropout),
        last,
    }))
}

/// `conv1`, `bn1`, stages `layer1`, `layer2`, ..., and `fc` on the mean over the image.
#[derive(Debug)]
struct Resnet {
    assembly: Assembly,
    stem: Unit,
    /// Whether a max-pool follows the stem.
    pools: bool,
    blocks: Vec<Block>,
    dropout: Dropout,
    last: Linear,
}

impl Network for Resnet {
    fn parameters(&self) -> &[Parameter] {
        &self.assembly.parameters
    }

    fn buffers(&self) -> &[Buffer] {
        &self.assembly.buffers
    }

    fn graph(&self) -> Graph {
        let (mut graph, input) = Graph::of_input();
        let mut at = self.stem.describe(&self.assembly, &mut graph, input);
        at = graph.add(Operation::Relu(at));
        if self.pools {
            at = graph.add(Operation::MaxPool {
                kernel: 3,
                stride: 2,
                padding: 1,
                from: at,
            });
        }
        for block in &self.blocks {
            at = block.describe(&self.assembly, &mut graph, at);
        }
        at = graph.add(Operation::Mean(at));
        self.last.describe(&self.assembly, &mut graph, at);
        graph
    }

    fn channels_last(&self) -> bool {
        true
    }

    fn computes_at_survivors(&self) -> bool {
        !self.pools
    }

    fn forward_at_survivors(
        &self,
        parameters: &[Tensor],
        buffers: &[Tensor],
        input: &Tensor,
        mode: Mode<'_>,
        taps: &[Option<Taps>],
    ) -> Tensor {
        let pass = Pass {
            parameters,
            buffers,
            mode,
            taps,
        };
        let x = self.features(pass, &input.permute([1, 2, 3, 0]).contiguous());
        let mean = x.mean_dim([1i64, 2].as_slice(), false, None::<tch::Kind>);
        self.classify(pass, mean.transpose(0, 1).contiguous())
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
        let x = self.features(pass, input);
        let mean = x.mean_dim([2i64, 3].as_slice(), false, None::<tch::Kind>);
        self.classify(pass, mean)
    }
}

impl Resnet {
    /// What the last block gives.
    fn features(&self, pass: Pass<'_>, input: &Tensor) -> Tensor {
        let mut x = self.stem.forward_relu(pass, input);
        if self.pools {
            x = x.max_pool2d([3, 3], [2, 2], [1, 1], [1, 1], false);
        }
        for block in &self.blocks {
            x = block.forward(pass, &x);
        }
        x
    }

    /// The logits of means over the image, `[batch, channels]`.
    fn classify(&self, pass: Pass<'_>, means: Tensor) -> Tensor {
        self.last.forward(pass, &self.dropout.forward(pass, means))
    }
}
