//! Removes the units that pruning left without inputs or without readers, and keeps what the network
//! computes.
//!
//! A unit that no surviving weight reads goes. A unit that reads nothing has the same value c for every
//! input - its bias through batch norm and ReLU - and goes with `c` times the weights that read it added
//! to the next layer's bias. Where the next layer is a convolution with padding, zeros stand beside
//! c at the border, so there it goes only if c is 0. A convolution has no bias: its batch norm's running
//! mean takes the sum, with the other sign.
//!
//! Before that, units go that were pruned with all that makes and reads them, whatever ties them: channels that
//! shortcuts add up, heads of attention. Of others only units between two layers are looked at of which the second alone
//! reads the first: in a residual network the channels within blocks; in a transformer the hidden units of each block's
//! perceptron.

use std::collections::BTreeMap;

use serde::Serialize;
use tch::Tensor;

use super::{ExportError, Model};
use crate::model::Operation;
use link::links;

/// What is left of a layer's units.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Compacted {
    /// The layer.
    pub layer: String,
    /// Number of its neurons or channels.
    pub units: i64,
    /// Number of those that stay; at least one.
    pub kept: i64,
}

type Tensors = BTreeMap<String, Tensor>;

/// Removes dead units until there is none; what is left of each layer that could lose some. Of the dead ones so many
/// stay, without a weight, that a layer's number is a multiple of this one, or all that it has.
///
/// # Errors
/// If no layer that can lose units has as many as the multiple.
pub fn compact(model: &mut Model, multiple: u16) -> Result<Vec<Compacted>, ExportError> {
    let multiple = usize::from(multiple);
    let links = links(&model.graph);
    let count = |tensors: &Tensors, layer: &str| tensors[&format!("{layer}.weight")].size()[0];
    let all: BTreeMap<String, i64> = (model.graph.operations())
        .filter_map(|(_, operation)| match operation {
            Operation::Linear { layer, .. } | Operation::Convolution { layer, .. } => {
                Some((layer.clone(), count(&model.tensors, layer)))
            }
            _ => None,
        })
        .collect();
    let (lost, widest) = groups::remove(model, multiple);
    let tensors = &mut model.tensors;
    // A unit that goes may be the last one that another read, or was read by.
    while links.iter().any(|link| link.shrink(tensors, multiple)) {}
    // In the order in which the graph has them, those that could not lose any left out.
    let graph = &model.graph;
    let compacted: Vec<Compacted> = (graph.operations())
        .filter_map(|(_, operation)| match operation {
            Operation::Linear { layer, .. } | Operation::Convolution { layer, .. } => Some(layer),
            _ => None,
        })
        .filter(|layer| lost.contains(*layer) || links.iter().any(|it| it.layer == **layer))
        .map(|layer| Compacted {
            layer: layer.clone(),
            units: all[layer],
            kept: count(tensors, layer),
        })
        .collect();
    let linked = links.iter().map(|it| all[&it.layer] as usize);
    let widest = linked.fold(widest, usize::max);
    if (1..multiple).contains(&widest) {
        return Err(ExportError::Multiple { multiple, widest });
    }
    let text = serde_json::json!(compacted).to_string();
    model.metadata.insert("compact".to_owned(), text);
    if multiple > 1 {
        let text = multiple.to_string();
        model.metadata.insert("multiple".to_owned(), text);
    }
    Ok(compacted)
}

/// Which units stay: those that are alive, and the first of the others until there is a multiple; at least one, as no
/// program knows layers without units.
fn staying(alive: &[bool], multiple: usize) -> Vec<bool> {
    let living = alive.iter().filter(|it| **it).count();
    let others = living.max(1).next_multiple_of(multiple) - living;
    let mut stays = alive.to_vec();
    for unit in stays.iter_mut().filter(|it| !**it).take(others) {
        *unit = true;
    }
    stays
}

mod groups;
mod link;
#[cfg(test)]
mod tests;
