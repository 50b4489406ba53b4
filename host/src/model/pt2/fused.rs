//! Convolutions and batch norms by the project's own kernels, where a built-in network's would be.

use std::collections::{HashMap, HashSet};

use ::pt2::{Argument, Dim, Graph, Node, ValueId};
use kernels::BatchNorm;
use kernels::dispatch::{Frame, Slot};
use kernels::shim::ShimError;
use tch::Tensor;

use super::topology::same;
use super::views;
use crate::model::parts::{SKIPPED_BELOW, relu};

/// A convolution of images in one group.
pub struct Convolution {
    input: Slot,
    weight: Slot,
    bias: Option<Slot>,
    output: Slot,
    stride: i64,
    padding: i64,
    /// Whether what the stride leaves out is left out before.
    skips: bool,
}

impl Convolution {
    /// The node as one; none if it is another one.
    pub fn of(graph: &Graph, node: &Node) -> Option<Self> {
        if views::name(node)? != "conv2d" {
            return None;
        }
        let weight = views::tensor(node, "weight")?;
        let [
            _,
            Dim::Fixed(channels),
            Dim::Fixed(height),
            Dim::Fixed(width),
        ] = graph.shape(weight)?
        else {
            return None;
        };
        let input = views::first(node)?;
        let (stride, padding) = (same(node, "stride", 1)?, same(node, "padding", 0)?);
        let plain = same(node, "dilation", 1)? == 1
            && same(node, "groups", 1)? == 1
            && graph.shape(input)?.len() == 4;
        plain.then_some(Self {
            input: slot(input),
            weight: slot(weight),
            bias: views::tensor(node, "bias").map(slot),
            output: slot(node.makes().next()?),
            stride,
            padding,
            skips: (*height, *width) == (1, 1)
                && padding == 0
                && stride > 1
                && (*channels as i64) < SKIPPED_BELOW,
        })
    }

    pub fn reads(&self) -> Vec<Slot> {
        [Some(self.input), Some(self.weight), self.bias]
            .into_iter()
            .flatten()
            .collect()
    }

    pub fn makes(&self) -> Slot {
        self.output
    }

    pub fn call(&self, frame: &mut Frame) -> Result<(), ShimError> {
        let (input, weight) = (frame.tensor(self.input)?, frame.tensor(self.weight)?);
        let bias = self.bias.map(|it| frame.tensor(it)).transpose()?;
        let (stride, padding) = (self.stride, self.padding);
        let output = match &bias {
            None if kernels::convolves(&input, &weight) => {
                kernels::convolve(&input, &weight, stride, padding)?
            }
            bias => {
                let conv = |input: &Tensor, weight: &Tensor, stride| {
                    input.f_conv2d(weight, bias.as_ref(), [stride; 2], [padding; 2], [1; 2], 1)
                };
                let mut failed = None;
                let output = kernels::rounded([&input, &weight], |[input, weight]| {
                    let output = match self.skips {
                        true => {
                            let skipped = input.slice(2, None, None, stride);
                            conv(&skipped.slice(3, None, None, stride), weight, 1)
                        }
                        false => conv(input, weight, stride),
                    };
                    output.unwrap_or_else(|error| {
                        failed = Some(error.to_string());
                        Tensor::new()
                    })
                });
                if let Some(error) = failed {
                    return Err(ShimError::new(error));
                }
                output
            }
        };
        frame.set(self.output, &output)
    }
}

/// A batch norm, what is added to it, and a ReLU.
pub struct Norm {
    input: Slot,
    affine: [Slot; 2],
    running: [Slot; 2],
    added: Option<Slot>,
    relus: bool,
    output: Slot,
    trains: bool,
    epsilon: f64,
    momentum: f64,
}

/// The batch norms of a graph with what follows each, by the place of the last node that they stand for, and the
/// places of the others.
pub fn norms(graph: &Graph) -> (HashMap<usize, Norm>, HashSet<usize>) {
    let reads = views::reads(graph);
    let changed = views::changed(graph);
    let origins = views::origins(graph);
    let once = |value: ValueId| reads.get(&value) == Some(&1);
    // The only node that reads a value.
    let reader = |value: ValueId| {
        let mut nodes = graph.nodes.iter().enumerate().filter(|_| once(value));
        nodes.find(|(_, node)| node.reads().contains(&value))
    };
    let (mut norms, mut others) = (HashMap::new(), HashSet::new());
    for (at, node) in graph.nodes.iter().enumerate() {
        let Some((mut norm, made)) = Norm::of(node) else {
            continue;
        };
        if views::first(node).is_some_and(|it| changed.contains(&it)) {
            continue;
        }
        let mut last = at;
        let mut next = reader(made);
        let mut covered = vec![at];
        // A sum counts only with the ReLU behind it.
        if let Some((sum_at, sum)) = next
            && let Some((added, sum_made)) = addition(graph, sum, made)
            && let Some((relu_at, relu)) = reader(sum_made)
            && let Some(relu_made) = rectified(relu)
            // What is added is changed by the sum alone, and seen under no other name.
            && (!changed.contains(&added)
                || (once(added) && sum.changes_in_place() == Some(added) && !origins.contains_key(&added)))
        {
            norm.added = Some(slot(added));
            norm.relus = true;
            norm.output = slot(relu_made);
            covered.extend([sum_at, relu_at]);
            last = relu_at;
            next = None;
        }
        if let Some((relu_at, relu)) = next
            && let Some(relu_made) = rectified(relu)
        {
            norm.relus = true;
            norm.output = slot(relu_made);
            covered.push(relu_at);
            last = relu_at;
        }
        // The two of a sum may both be norms: one of them takes it.
        if covered
            .iter()
            .any(|it| others.contains(it) || norms.contains_key(it))
        {
            norm.added = None;
            norm.relus = false;
            norm.output = slot(made);
            (covered, last) = (vec![at], at);
        }
        others.extend(covered.into_iter().filter(|it| *it != last));
        norms.insert(last, norm);
    }
    (norms, others)
}

/// What a node adds to this value, and the sum.
fn addition(graph: &Graph, node: &Node, to: ValueId) -> Option<(ValueId, ValueId)> {
    let plain = matches!(node.argument("alpha"), None | Some(Argument::Int(1)));
    if !matches!(views::name(node)?, "add" | "add_") || !plain {
        return None;
    }
    let [one, other] = [views::first(node)?, views::tensor(node, "other")?];
    let added = if one == to { other } else { one };
    let same = graph.shape(one)? == graph.shape(other)?;
    (same && one != other).then_some((added, node.makes().next()?))
}

/// What a ReLU makes.
fn rectified(node: &Node) -> Option<ValueId> {
    match views::name(node)? {
        "relu" | "relu_" => node.makes().next(),
        _ => None,
    }
}

impl Norm {
    fn of(node: &Node) -> Option<(Self, ValueId)> {
        if views::name(node)? != "batch_norm" {
            return None;
        }
        let number = |name: &str| match node.argument(name)? {
            Argument::Float(number) => Some(*number),
            _ => None,
        };
        let tensor = |name: &str| views::tensor(node, name).map(slot);
        let made = node.makes().next()?;
        let norm = Self {
            input: slot(views::first(node)?),
            affine: [tensor("weight")?, tensor("bias")?],
            running: [tensor("running_mean")?, tensor("running_var")?],
            added: None,
            relus: false,
            output: slot(made),
            trains: node.argument("training") == Some(&Argument::Bool(true)),
            epsilon: number("eps")?,
            momentum: number("momentum")?,
        };
        Some((norm, made))
    }

    pub fn reads(&self) -> Vec<Slot> {
        let tensors = self.affine.into_iter().chain(self.running);
        tensors.chain([self.input]).chain(self.added).collect()
    }

    pub fn makes(&self) -> Slot {
        self.output
    }

    pub fn call(&self, frame: &mut Frame) -> Result<(), ShimError> {
        let input = frame.tensor(self.input)?;
        let [scale, shift] = [frame.tensor(self.affine[0])?, frame.tensor(self.affine[1])?];
        let running = [
            frame.tensor(self.running[0])?,
            frame.tensor(self.running[1])?,
        ];
        let added = self.added.map(|it| frame.tensor(it)).transpose()?;
        if self.trains && input.numel() <= running[0].numel() {
            return Err(ShimError::new(
                "batch norm cannot be trained on one value per feature, which has no variance"
                    .to_owned(),
            ));
        }
        let whole = BatchNorm {
            scale: &scale,
            shift: &shift,
            running: [&running[0], &running[1]],
            trains: self.trains,
            epsilon: self.epsilon,
            momentum: self.momentum,
        };
        let output = match whole.fits(&input, 1, added.as_ref()) {
            true => whole.apply(&input, 1, added.as_ref(), self.relus)?,
            false => {
                let [mean, variance] = &running;
                let normed = input.f_batch_norm(
                    Some(&scale),
                    Some(&shift),
                    Some(mean),
                    Some(variance),
                    self.trains,
                    self.momentum,
                    self.epsilon,
                    true,
                );
                let mut output = normed.map_err(|error| ShimError::new(error.to_string()))?;
                if let Some(added) = &added {
                    output += added;
                }
                if self.relus { relu(output) } else { output }
            }
        };
        frame.set(self.output, &output)
    }
}

fn slot(value: ValueId) -> Slot {
    Slot(value.0)
}
