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
use tch::{Kind, Tensor};

use super::Model;
use crate::model::{Graph, NORM_EPSILON, NORM_MOMENTUM, Operation, Value};

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

/// Removes dead units until there is none; what is left of each layer that could lose some.
pub fn compact(model: &mut Model) -> Vec<Compacted> {
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
    let lost = groups::remove(model);
    let tensors = &mut model.tensors;
    // A unit that goes may be the last one that another read, or was read by.
    while links.iter().any(|link| link.shrink(tensors)) {}
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
    let text = serde_json::json!(compacted).to_string();
    model.metadata.insert("compact".to_owned(), text);
    compacted
}

/// Two layers, the second of which alone reads the units of the first.
#[derive(Debug, PartialEq)]
struct Link {
    /// The first one.
    layer: String,
    /// Whether it has a bias.
    bias: bool,
    /// What happens to its units on the way.
    steps: Vec<Step>,
    /// The second one.
    reader: String,
    /// What takes a constant that the second one read.
    absorbs: Option<Absorber>,
}

#[derive(Debug, PartialEq)]
enum Step {
    /// A batch norm.
    Norm(String),
    Relu,
    Gelu,
}

/// A tensor to which a constant is added, or from which it is subtracted.
#[derive(Debug, PartialEq)]
enum Absorber {
    Bias(String),
    RunningMean(String),
}

fn links(graph: &Graph) -> Vec<Link> {
    let layers = graph
        .operations()
        .filter_map(|(value, operation)| match operation {
            Operation::Linear { layer, bias, .. } | Operation::Convolution { layer, bias, .. } => {
                link(graph, value, layer, *bias)
            }
            _ => None,
        });
    layers.collect()
}

/// The link from a layer on, if one layer alone reads it.
fn link(graph: &Graph, value: Value, layer: &str, bias: bool) -> Option<Link> {
    let mut steps = Vec::new();
    let mut at = value;
    loop {
        at = graph.reader(at)?;
        match graph.operation(at) {
            Operation::Norm { layer, .. } => steps.push(Step::Norm(layer.clone())),
            Operation::Relu(_) => steps.push(Step::Relu),
            Operation::Gelu(_) => steps.push(Step::Gelu),
            // What is the same everywhere stays so.
            Operation::MaxPool { .. }
            | Operation::Mean(_)
            | Operation::Flatten(_)
            | Operation::Tokens(_)
            | Operation::FirstToken(_)
            | Operation::MeanOfTokens(_)
            | Operation::AddChannel(_) => {}
            Operation::Linear { layer: reader, .. }
            | Operation::Convolution { layer: reader, .. } => {
                return Some(Link {
                    layer: layer.to_owned(),
                    bias,
                    steps,
                    reader: reader.clone(),
                    absorbs: absorber(graph, at),
                });
            }
            // What tells tokens apart, or mixes units.
            Operation::ClassToken { .. }
            | Operation::Positions { .. }
            | Operation::LayerNorm { .. }
            | Operation::Attention { .. } => return None,
            Operation::Sum(_) | Operation::Input | Operation::Opaque { .. } => return None,
        }
    }
}

fn absorber(graph: &Graph, reader: Value) -> Option<Absorber> {
    match graph.operation(reader) {
        Operation::Convolution { padding: 1.., .. } => None,
        Operation::Linear {
            layer, bias: true, ..
        }
        | Operation::Convolution {
            layer, bias: true, ..
        } => Some(Absorber::Bias(format!("{layer}.bias"))),
        _ => match graph.operation(graph.reader(reader)?) {
            Operation::Norm { layer, .. } => {
                Some(Absorber::RunningMean(format!("{layer}.running_mean")))
            }
            _ => None,
        },
    }
}

impl Link {
    fn weight(&self) -> String {
        format!("{}.weight", self.layer)
    }

    /// Removes the units that are dead now; whether there was one.
    fn shrink(&self, tensors: &mut Tensors) -> bool {
        let weight = &tensors[&self.weight()];
        let units = weight.size()[0];
        let reads = weight.reshape([units, -1]).ne(0.0).any_dim(1, false);
        let reader = format!("{}.weight", self.reader);
        // Where a unit became several features, these are neighbours.
        let reading = &tensors[&reader];
        let by_unit = reading.reshape([reading.size()[0], units, -1]);
        let is_read = by_unit.ne(0.0).any_dim(2, false).any_dim(0, false);
        let constant = self.constants(tensors, units);
        let can_go = match self.absorbs {
            Some(_) => constant.isfinite(),
            None => constant.eq(0.0),
        };
        let dead = is_read
            .logical_not()
            .logical_or(&reads.logical_not().logical_and(&can_go));
        let mut kept = dead.logical_not().nonzero().flatten(0, -1);
        if kept.numel() == 0 {
            // No program knows layers without units.
            kept = Tensor::from_slice(&[0i64]);
        }
        if kept.numel() as i64 == units {
            return false;
        }
        let gone = constant
            .index_fill(0, &kept, 0.0)
            .masked_fill(&is_read.logical_not(), 0.0);
        let sum =
            by_unit
                .to_kind(Kind::Double)
                .sum_dim_intlist([2i64].as_slice(), false, Kind::Double);
        self.absorb(tensors, &sum.matmul(&gone));
        let own = std::iter::once(&self.layer).chain(self.steps.iter().filter_map(Step::norm));
        for layer in own {
            for part in ["weight", "bias", "running_mean", "running_var"] {
                if let Some(tensor) = tensors.get_mut(&format!("{layer}.{part}")) {
                    *tensor = tensor.index_select(0, &kept);
                }
            }
        }
        if let Some(reading) = tensors.get_mut(&reader) {
            let mut shape = reading.size();
            let by_unit = reading.reshape([shape[0], units, -1]);
            shape[1] = shape[1] / units * kept.numel() as i64;
            *reading = by_unit.index_select(1, &kept).reshape(&shape[..]);
        }
        true
    }

    /// The value of each unit if it reads nothing, computed as the network computes it: `[units]`, f64.
    fn constants(&self, tensors: &Tensors, units: i64) -> Tensor {
        let of = |layer: &str, part: &str| tensors[&format!("{layer}.{part}")].shallow_clone();
        let mut value = match self.bias {
            true => of(&self.layer, "bias"),
            false => Tensor::zeros([units], (Kind::Float, tch::Device::Cpu)),
        };
        for step in &self.steps {
            value = match step {
                Step::Relu => value.relu(),
                Step::Gelu => value.gelu("none"),
                Step::Norm(norm) => (value.unsqueeze(0))
                    .batch_norm(
                        Some(of(norm, "weight")),
                        Some(of(norm, "bias")),
                        Some(of(norm, "running_mean")),
                        Some(of(norm, "running_var")),
                        false,
                        NORM_MOMENTUM,
                        NORM_EPSILON,
                        false,
                    )
                    .squeeze_dim(0),
            };
        }
        value.to_kind(Kind::Double)
    }

    /// Adds what units that are gone gave each unit of the second layer: `[out]`, f64.
    fn absorb(&self, tensors: &mut Tensors, sum: &Tensor) {
        let (name, sum) = match &self.absorbs {
            Some(Absorber::Bias(name)) => (name, sum.shallow_clone()),
            Some(Absorber::RunningMean(name)) => (name, -sum),
            None => return,
        };
        if let Some(tensor) = tensors.get_mut(name) {
            *tensor = (tensor.to_kind(Kind::Double) + sum).to_kind(Kind::Float);
        }
    }
}

impl Step {
    fn norm(&self) -> Option<&String> {
        match self {
            Self::Norm(layer) => Some(layer),
            Self::Relu | Self::Gelu => None,
        }
    }
}

mod groups;
#[cfg(test)]
mod tests;
