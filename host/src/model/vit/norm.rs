//! Layer norm.

use tch::Tensor;

use crate::model::parts::{Assembly, Pass};
use crate::model::{Graph, Init, LAYER_NORM_EPSILON, Operation, Role, Value};

/// A layer norm over the features of each token.
///
/// # Source
/// Ba et al. 2016, arXiv:1607.06450.
#[derive(Debug)]
pub(super) struct LayerNorm {
    affine: [usize; 2],
}

impl LayerNorm {
    /// One that starts without effect on what is normalised.
    pub(super) fn new(assembly: &mut Assembly, name: &str, features: i64) -> Self {
        let affine = [
            ("weight", Role::NormWeight, 1.0),
            ("bias", Role::NormBias, 0.0),
        ]
        .map(|(part, role, value)| {
            let name = format!("{name}.{part}");
            assembly.parameter(name, vec![features], role, Init::Constant(value))
        });
        Self { affine }
    }

    /// Its part in the description of what the network computes.
    pub(super) fn describe(&self, assembly: &Assembly, graph: &mut Graph, from: Value) -> Value {
        graph.add(Operation::LayerNorm {
            layer: assembly.layer(self.affine[0]),
            from,
        })
    }

    /// `[batch, ..., features]` to the same.
    pub(super) fn forward(&self, pass: Pass<'_>, input: &Tensor) -> Tensor {
        let [scale, shift] = self.affine.map(|i| &pass.parameters[i]);
        input.layer_norm(
            scale.size(),
            Some(scale),
            Some(shift),
            LAYER_NORM_EPSILON,
            true,
        )
    }
}
