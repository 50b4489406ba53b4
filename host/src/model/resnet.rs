//! Residual networks of basic blocks for small images.

use std::num::NonZeroU16;

use plugin_api::schemars::{self, JsonSchema, schema_for};
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::parts::{
    Assembly, Convolution, Initialisation, Linear, Norm, Pass, image_channels, parse, relu,
};
use super::{Buffer, Build, Connections, InputSpec, Mode, ModelError, Network, Parameter, Units};
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
    summary: "ResNet-18 with a 3x3 stem and no max-pool, for images of 32 or 64 pixels",
    schema: || schema_for!(Resnet18Options),
    build: build_18,
};

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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CifarResnetOptions {
    /// Channels of the first stage; the second and third have twice and four times as many.
    pub width: NonZeroU16,
    /// How the weights start.
    pub init: Initialisation,
}

impl Default for CifarResnetOptions {
    fn default() -> Self {
        const WIDTH: NonZeroU16 = NonZeroU16::new(16).expect("16 is not zero");
        Self {
            width: WIDTH,
            init: Initialisation::default(),
        }
    }
}

/// Options of `resnet-18`.
///
/// # Source
/// He et al. 2016, arXiv:1512.03385, table 1, with the stem of the networks for CIFAR.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Resnet18Options {
    /// Channels of the first stage; each later one has twice as many as the one before.
    pub width: NonZeroU16,
    /// How the weights start.
    pub init: Initialisation,
}

impl Default for Resnet18Options {
    fn default() -> Self {
        const WIDTH: NonZeroU16 = NonZeroU16::new(64).expect("64 is not zero");
        Self {
            width: WIDTH,
            init: Initialisation::default(),
        }
    }
}

fn build_cifar(
    model: &'static str,
    blocks: usize,
    options: &Options,
    spec: &InputSpec,
) -> Result<Box<dyn Network>, ModelError> {
    let options: CifarResnetOptions = parse(model, options, spec)?;
    let width = options.width.get().into();
    let network = Resnet::new(model, spec, width, &[blocks; 3], options.init)?;
    Ok(Box::new(network))
}

fn build_18(options: &Options, spec: &InputSpec) -> Result<Box<dyn Network>, ModelError> {
    let options: Resnet18Options = parse("resnet-18", options, spec)?;
    let width = options.width.get().into();
    let network = Resnet::new("resnet-18", spec, width, &[2; 4], options.init)?;
    Ok(Box::new(network))
}

/// `conv1`, `bn1`, stages `layer1`, `layer2`, ..., and `fc` on the mean over the image.
#[derive(Debug)]
struct Resnet {
    assembly: Assembly,
    stem: (Convolution, Norm),
    blocks: Vec<Block>,
    last: Linear,
}

impl Resnet {
    /// Stages of so many blocks; all but the first halve the image and double the channels.
    fn new(
        model: &'static str,
        spec: &InputSpec,
        width: i64,
        stages: &[usize],
        initialisation: Initialisation,
    ) -> Result<Self, ModelError> {
        // At least one pixel is left after the halvings.
        let smallest = 1 << (stages.len() - 1);
        let mut channels = image_channels(model, spec, smallest)?;
        let mut assembly = Assembly::new(initialisation);
        let stem = (
            assembly.conv2d("conv1", [channels, width], 3),
            assembly.norm("bn1", width),
        );
        channels = width;
        let mut blocks = Vec::with_capacity(stages.iter().sum());
        for (stage, &count) in stages.iter().enumerate() {
            let width = width << stage;
            for block in 0..count {
                let name = format!("layer{}.{block}", stage + 1);
                let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                blocks.push(Block::new(&mut assembly, &name, [channels, width], stride));
                channels = width;
            }
        }
        let last = assembly.linear("fc", channels, spec.classes);
        Ok(Self {
            assembly,
            stem,
            blocks,
            last,
        })
    }
}

impl Network for Resnet {
    fn parameters(&self) -> &[Parameter] {
        &self.assembly.parameters
    }

    fn buffers(&self) -> &[Buffer] {
        &self.assembly.buffers
    }

    fn connections(&self) -> Connections {
        let (mut connections, input) = self.assembly.inputs();
        let mut at = self.stem.0.connect(&mut connections, input);
        for block in &self.blocks {
            at = block.connect(&mut connections, at);
        }
        self.last.connect(&mut connections, at);
        connections
    }

    fn channels_last(&self) -> bool {
        true
    }

    fn forward(
        &self,
        parameters: &[Tensor],
        buffers: &[Tensor],
        input: &Tensor,
        mode: Mode,
    ) -> Tensor {
        let pass = Pass {
            parameters,
            buffers,
            mode,
        };
        let (conv, norm) = &self.stem;
        let mut x = relu(norm.forward(pass, &conv.forward(pass, input)));
        for block in &self.blocks {
            x = block.forward(pass, &x);
        }
        let mean = x.mean_dim([2i64, 3].as_slice(), false, None::<Kind>);
        self.last.forward(pass, &mean)
    }
}

/// Two convolutions and a shortcut, which is a projection where the shape changes.
#[derive(Debug)]
struct Block {
    first: (Convolution, Norm),
    second: (Convolution, Norm),
    projection: Option<(Convolution, Norm)>,
}

impl Block {
    fn new(assembly: &mut Assembly, name: &str, channels: [i64; 2], stride: i64) -> Self {
        let [inputs, outputs] = channels;
        let mut unit = |conv: &str, norm: &str, inputs, kernel, stride| {
            (
                assembly
                    .conv2d(&format!("{name}.{conv}"), [inputs, outputs], kernel)
                    .stride(stride),
                assembly.norm(&format!("{name}.{norm}"), outputs),
            )
        };
        let first = unit("conv1", "bn1", inputs, 3, stride);
        let second = unit("conv2", "bn2", outputs, 3, 1);
        let projection = (stride != 1 || inputs != outputs)
            .then(|| unit("downsample.0", "downsample.1", inputs, 1, stride));
        Self {
            first,
            second,
            projection,
        }
    }

    fn connect(&self, connections: &mut Connections, input: Units) -> Units {
        let inner = self.first.0.connect(connections, input);
        let outer = self.second.0.connect(connections, inner);
        let shortcut = match &self.projection {
            Some((conv, _)) => conv.connect(connections, input),
            None => input,
        };
        connections.sum(outer, shortcut)
    }

    fn forward(&self, pass: Pass<'_>, input: &Tensor) -> Tensor {
        let unit = |(conv, norm): &(Convolution, Norm), x: &Tensor| {
            norm.forward(pass, &conv.forward(pass, x))
        };
        let mut x = unit(&self.second, &relu(unit(&self.first, input)));
        match &self.projection {
            Some(projection) => x += unit(projection, input),
            None => x += input,
        }
        relu(x)
    }
}
