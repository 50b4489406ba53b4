//! From an image to its tokens.

use plugin_api::LayerKind;
use tch::Tensor;

use super::options::{Pool, Sizes};
use crate::model::dropout::Dropout;
use crate::model::parts::{Assembly, Pass};
use crate::model::{Graph, Init, Operation, Role, Value};

/// The image's patches, each projected to a token; the class token before them; and a vector for each place.
#[derive(Debug)]
pub(super) struct Embedding {
    class_token: Option<usize>,
    positions: usize,
    weight: usize,
    bias: usize,
    patch: i64,
    dropout: Dropout,
}

const CLASS_TOKEN: &str = "cls_token";
const POSITIONS: &str = "pos_embed";
const PROJECTION: &str = "patch_embed.proj";

impl Embedding {
    /// Parameters in timm's order, with its initial values.
    pub(super) fn new(assembly: &mut Assembly, sizes: &Sizes, pool: Pool, dropout: f64) -> Self {
        let Sizes {
            channels,
            patch,
            patches,
            width,
            ..
        } = *sizes;
        let mut add = |name: &str, tokens: i64, init: Init| {
            let shape = vec![1, tokens, width];
            assembly.parameter(name.to_owned(), shape, Role::FixedWeight, init)
        };
        let class_token =
            (pool == Pool::ClassToken).then(|| add(CLASS_TOKEN, 1, Init::Normal(1e-6)));
        let tokens = patches + i64::from(class_token.is_some());
        let positions = add(POSITIONS, tokens, super::block::TRUNCATED_NORMAL);
        let shape = vec![width, channels, patch, patch];
        let fan_in = (channels * patch * patch) as f64;
        let weight = assembly.weight(PROJECTION, LayerKind::Conv2d, shape);
        let bias = assembly.parameter(
            format!("{PROJECTION}.bias"),
            vec![width],
            Role::Bias,
            Init::Uniform(1.0 / fan_in.sqrt()),
        );
        Self {
            class_token,
            positions,
            weight,
            bias,
            patch,
            dropout: Dropout::called("pos_drop", dropout),
        }
    }

    /// Its part in the description of what the network computes.
    pub(super) fn describe(&self, assembly: &Assembly, graph: &mut Graph, from: Value) -> Value {
        let image = graph.add(Operation::Convolution {
            layer: assembly.layer(self.weight),
            bias: true,
            stride: self.patch,
            padding: 0,
            from,
        });
        let mut at = graph.add(Operation::Tokens(image));
        if self.class_token.is_some() {
            at = graph.add(Operation::ClassToken {
                parameter: CLASS_TOKEN.to_owned(),
                from: at,
            });
        }
        graph.add(Operation::Positions {
            parameter: POSITIONS.to_owned(),
            from: at,
        })
    }

    /// Whether anything is dropped in training.
    pub(super) fn drops_out(&self) -> bool {
        self.dropout.is_on()
    }

    /// `[batch, channels, height, width]` to `[batch, tokens, features]`, patches row by row.
    pub(super) fn forward(&self, pass: Pass<'_>, input: &Tensor) -> Tensor {
        let (batch, channels, height, width) =
            input.size4().unwrap_or_else(|error| panic!("{error}"));
        let side = self.patch;
        let (rows, columns) = (height / side, width / side);
        // Patches do not overlap, so that their convolution is one product.
        let patches = input
            .reshape([batch, channels, rows, side, columns, side])
            .permute([0, 2, 4, 1, 3, 5])
            .reshape([batch, rows * columns, channels * side * side]);
        let weight = pass.parameters[self.weight].flatten(1, -1);
        let bias = &pass.parameters[self.bias];
        let mut tokens = kernels::rounded([bias, &weight, &patches], |[bias, weight, patches]| {
            patches.linear(weight, Some(bias))
        });
        if let Some(class_token) = self.class_token {
            let first = pass.parameters[class_token].expand([batch, -1, -1], false);
            tokens = Tensor::cat(&[first, tokens], 1);
        }
        let tokens = tokens + &pass.parameters[self.positions];
        self.dropout.forward(pass, tokens)
    }
}
