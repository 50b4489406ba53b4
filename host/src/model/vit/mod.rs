//! Vision transformer.

mod attention;
mod block;
mod embedding;
mod norm;
mod options;
#[cfg(test)]
mod tests;

use plugin_api::schemars::schema_for;
use tch::{Kind, Tensor};

use super::parts::{Assembly, Initialisation, Linear, Pass, parse};
use super::{Buffer, Build, Graph, InputSpec, Mode, ModelError, Network, Operation, Parameter};
use crate::registry::{Entry, Options};

use block::Block;
use embedding::Embedding;
use norm::LayerNorm;
use options::Sizes;
pub use options::{Pool, VitOptions};

pub(super) const ENTRY: Entry<Build> = Entry {
    name: NAME,
    summary: "vision transformer on patches of the image, DeiT-tiny by default",
    schema: || schema_for!(VitOptions),
    build,
};
const NAME: &str = "vit";

fn build(options: &Options, spec: &InputSpec) -> Result<Box<dyn Network>, ModelError> {
    let options: VitOptions = parse(NAME, options, spec)?;
    let sizes = Sizes::of(&options, spec)?;
    // The patches' projection is the one layer that starts as PyTorch's do.
    let mut assembly = Assembly::new(Initialisation::Pytorch);
    let embedding = Embedding::new(&mut assembly, &sizes, options.pool, options.dropout);
    let blocks = (0..sizes.depth)
        .map(|place| {
            let path = options.stochastic_depth_of(place);
            Block::new(&mut assembly, &sizes, place, options.dropout, path)
        })
        .collect();
    let norm = match options.pool {
        Pool::ClassToken => "norm",
        Pool::Mean => "fc_norm",
    };
    let norm = LayerNorm::new(&mut assembly, norm, sizes.width);
    let last = block::linear(&mut assembly, "head", sizes.width, spec.classes);
    Ok(Box::new(Vit {
        assembly,
        embedding,
        blocks,
        pool: options.pool,
        norm,
        last,
    }))
}

/// `cls_token`, `pos_embed`, `patch_embed.proj`, `blocks.N`, `norm` or `fc_norm`, and `head`.
#[derive(Debug)]
struct Vit {
    assembly: Assembly,
    embedding: Embedding,
    blocks: Vec<Block>,
    pool: Pool,
    norm: LayerNorm,
    last: Linear,
}

impl Network for Vit {
    fn parameters(&self) -> &[Parameter] {
        &self.assembly.parameters
    }

    fn buffers(&self) -> &[Buffer] {
        &self.assembly.buffers
    }

    fn graph(&self) -> Graph {
        let (mut graph, input) = Graph::of_input();
        let mut at = self.embedding.describe(&self.assembly, &mut graph, input);
        for block in &self.blocks {
            at = block.describe(&self.assembly, &mut graph, at);
        }
        at = graph.add(match self.pool {
            Pool::ClassToken => Operation::FirstToken(at),
            Pool::Mean => Operation::MeanOfTokens(at),
        });
        at = self.norm.describe(&self.assembly, &mut graph, at);
        self.last.describe(&self.assembly, &mut graph, at);
        graph
    }

    fn drops_out(&self) -> bool {
        self.embedding.drops_out() || self.blocks.iter().any(Block::drops_out)
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
        let mut x = self.embedding.forward(pass, input);
        for block in &self.blocks {
            x = block.forward(pass, x);
        }
        // A layer norm treats each token by itself, so those that nothing reads are left out before it.
        let pooled = match self.pool {
            Pool::ClassToken => x.select(1, 0),
            Pool::Mean => x.mean_dim([1i64].as_slice(), false, None::<Kind>),
        };
        self.last.forward(pass, &self.norm.forward(pass, &pooled))
    }
}
