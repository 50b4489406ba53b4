//! One block: attention, then a perceptron with one hidden layer, each added to what it reads.

use tch::Tensor;

use super::attention::attend;
use super::norm::LayerNorm;
use super::options::Sizes;
use crate::model::drop_path::DropPath;
use crate::model::dropout::Dropout;
use crate::model::parts::{Assembly, Linear, Pass};
use crate::model::{Graph, Init, Operation, Value};

/// How timm starts positions and the weights of linear layers: `trunc_normal_(std=.02)`, whose bounds of ±2 are a
/// hundred deviations away.
pub(super) const TRUNCATED_NORMAL: Init = Init::Normal(0.02);

/// A linear layer with bias that starts as timm's.
pub(super) fn linear(assembly: &mut Assembly, name: &str, inputs: i64, outputs: i64) -> Linear {
    assembly.linear_of(
        name,
        inputs,
        outputs,
        [TRUNCATED_NORMAL, Init::Constant(0.0)],
    )
}

/// `norm1`, `attn.qkv`, `attn.proj`, `norm2`, `mlp.fc1` and `mlp.fc2`.
#[derive(Debug)]
pub(super) struct Block {
    heads: i64,
    of_head: i64,
    norms: [LayerNorm; 2],
    qkv: Linear,
    projection: Linear,
    hidden: Linear,
    last: Linear,
    /// After `attn.proj`, after the hidden units, after `mlp.fc2`.
    dropouts: [Dropout; 3],
    paths: [DropPath; 2],
}

impl Block {
    /// The block at this place, from 0, whose branches are dropped with the probability `path`.
    pub(super) fn new(
        assembly: &mut Assembly,
        sizes: &Sizes,
        place: i64,
        dropout: f64,
        path: f64,
    ) -> Self {
        let Sizes {
            width,
            heads,
            hidden,
            ..
        } = *sizes;
        let name = |part: &str| format!("blocks.{place}.{part}");
        let norm1 = LayerNorm::new(assembly, &name("norm1"), width);
        let qkv = linear(assembly, &name("attn.qkv"), width, 3 * width);
        let projection = linear(assembly, &name("attn.proj"), width, width);
        let norm2 = LayerNorm::new(assembly, &name("norm2"), width);
        Self {
            heads,
            of_head: width / heads,
            norms: [norm1, norm2],
            qkv,
            projection,
            hidden: linear(assembly, &name("mlp.fc1"), width, hidden),
            last: linear(assembly, &name("mlp.fc2"), hidden, width),
            dropouts: ["attn.proj_drop", "mlp.drop1", "mlp.drop2"]
                .map(|part| Dropout::called(&name(part), dropout)),
            paths: ["drop_path1", "drop_path2"].map(|part| DropPath::new(&name(part), path)),
        }
    }

    /// Its part in the description of what the network computes.
    pub(super) fn describe(&self, assembly: &Assembly, graph: &mut Graph, from: Value) -> Value {
        let [norm1, norm2] = &self.norms;
        let mut at = norm1.describe(assembly, graph, from);
        at = self.qkv.describe(assembly, graph, at);
        at = graph.add(Operation::Attention {
            heads: self.heads,
            of_head: self.of_head,
            from: at,
        });
        at = self.projection.describe(assembly, graph, at);
        let from = graph.add(Operation::Sum([from, at]));
        at = norm2.describe(assembly, graph, from);
        at = self.hidden.describe(assembly, graph, at);
        at = graph.add(Operation::Gelu(at));
        at = self.last.describe(assembly, graph, at);
        graph.add(Operation::Sum([from, at]))
    }

    /// Whether anything is dropped in training.
    pub(super) fn drops_out(&self) -> bool {
        self.dropouts.iter().any(Dropout::is_on) || self.paths.iter().any(DropPath::is_on)
    }

    /// `[batch, tokens, features]` to the same.
    pub(super) fn forward(&self, pass: Pass<'_>, input: Tensor) -> Tensor {
        let [norm1, norm2] = &self.norms;
        let [after_attention, after_hidden, after_last] = &self.dropouts;
        let [path1, path2] = &self.paths;
        let qkv = self.qkv.forward(pass, &norm1.forward(pass, &input));
        // Heads may have been removed.
        let heads = qkv.size().last().copied().unwrap_or(0) / (3 * self.of_head);
        let read = self.projection.forward(pass, &attend(&qkv, heads));
        let input = input + path1.forward(pass, after_attention.forward(pass, read));
        let hidden = self.hidden.forward(pass, &norm2.forward(pass, &input));
        let hidden = after_hidden.forward(pass, hidden.gelu("none"));
        let added = after_last.forward(pass, self.last.forward(pass, &hidden));
        input + path2.forward(pass, added)
    }
}
