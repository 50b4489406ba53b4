//! Layers of which one alone reads another, and what becomes of the units between them.

use tch::{Kind, Tensor};

use super::{Tensors, staying};
use crate::model::{Graph, NORM_EPSILON, NORM_MOMENTUM, Operation, Value};

/// Two layers, the second of which alone reads the units of the first.
#[derive(Debug, PartialEq)]
pub struct Link {
    /// The first one.
    pub layer: String,
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

/// The links of a network.
pub fn links(graph: &Graph) -> Vec<Link> {
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

    /// Removes the units that are dead now, but for those that fill up a multiple, which lose their weights; whether
    /// anything changed.
    pub fn shrink(&self, tensors: &mut Tensors, multiple: usize) -> bool {
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
        let unread = is_read.logical_not();
        let dead = unread.logical_or(&reads.logical_not().logical_and(&can_go));
        let alive: Vec<bool> = (0..units)
            .map(|unit| dead.int64_value(&[unit]) == 0)
            .collect();
        let stays = staying(&alive, multiple);
        let held = dead.logical_and(&reads.logical_or(&is_read)).any();
        if !stays.contains(&false) && held.int64_value(&[]) == 0 {
            return false;
        }
        let kept: Vec<i64> = (0i64..)
            .zip(&stays)
            .filter_map(|(unit, stays)| stays.then_some(unit))
            .collect();
        let (kept, none) = (Tensor::from_slice(&kept), dead.nonzero().flatten(0, -1));
        let gone = constant.masked_fill(&unread.logical_or(&dead.logical_not()), 0.0);
        let sum =
            by_unit
                .to_kind(Kind::Double)
                .sum_dim_intlist([2i64].as_slice(), false, Kind::Double);
        self.absorb(tensors, &sum.matmul(&gone));
        if let Some(weight) = tensors.get_mut(&self.weight()) {
            *weight = weight.index_fill(0, &none, 0.0);
        }
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
            let by_unit = by_unit.index_fill(1, &none, 0.0);
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
