//! A graph in the host's own words, as far as it has them.

use std::collections::{HashMap, HashSet};

use ::pt2::{Argument, Dim, Mode, Node, Scalar, Source, ValueId};

use super::state::{Given, State};
use super::views;
use crate::model::{Graph, NORM_EPSILON, NORM_MOMENTUM, Operation, Value};

/// What the host understands of a mode's graph. Where it does not, it has an opaque operation, before which
/// everything counts as connected.
pub fn graph(archive: &::pt2::Archive, mode: Mode, state: &State) -> Graph {
    let understood = Translation::new(archive.graph(mode), mode, state).and_then(Translation::run);
    understood.unwrap_or_else(|| {
        let (mut whole, input) = Graph::of_input();
        whole.add(Operation::Opaque {
            name: "a network that changes what it shows elsewhere".to_owned(),
            reads: vec![input],
        });
        whole
    })
}

struct Translation<'a> {
    from: &'a ::pt2::Graph,
    mode: Mode,
    state: &'a State,
    sources: HashMap<ValueId, Source>,
    /// How often each value is read.
    reads: HashMap<ValueId, usize>,
    /// Images of one pixel that are read as the channels alone.
    pooled: HashSet<ValueId>,
    graph: Graph,
    known: HashMap<ValueId, Value>,
}

impl<'a> Translation<'a> {
    fn new(from: &'a ::pt2::Graph, mode: Mode, state: &'a State) -> Option<Self> {
        let (graph, input) = Graph::of_input();
        Some(Self {
            from,
            mode,
            state,
            sources: views::sources(from),
            reads: views::reads(from),
            pooled: HashSet::new(),
            graph,
            known: HashMap::from([(from.input, input)]),
        })
    }

    /// The graph; none if something is changed in place that is read under another name afterwards.
    fn run(mut self) -> Option<Graph> {
        let needed = needed(self.from);
        for (at, node) in self.from.nodes.iter().enumerate() {
            if !needed[at] {
                continue;
            }
            let reads = self.known_reads(node);
            if reads.is_empty() {
                continue; // It does not depend on the input.
            }
            let made = self.translate(node).unwrap_or_else(|| {
                self.graph.add(Operation::Opaque {
                    name: node.target.to_string(),
                    reads,
                })
            });
            self.known.extend(node.makes().map(|it| (it, made)));
            if let Some(changed) = node.changes_in_place() {
                if views::is_seen_elsewhere(self.from, changed, node, at) {
                    return None;
                }
                self.known.insert(changed, made);
            }
        }
        let output = *self.known.get(&self.from.output)?;
        if output != self.graph.output() {
            self.graph.add(Operation::Opaque {
                name: "output".to_owned(),
                reads: vec![output],
            });
        }
        Some(self.graph)
    }

    /// The values that a node reads and that depend on the input.
    fn known_reads(&self, node: &Node) -> Vec<Value> {
        let mut reads: Vec<Value> = Vec::new();
        for value in node.reads() {
            let is_tensor = self.from.shape(value).is_some();
            if let Some(known) = self.known.get(&value).filter(|_| is_tensor)
                && !reads.contains(known)
            {
                reads.push(*known);
            }
        }
        reads
    }

    /// The node as an operation of the host's; none if it is none.
    fn translate(&mut self, node: &Node) -> Option<Value> {
        let name = views::name(node)?;
        let input = views::first(node)?;
        let from = *self.known.get(&input)?;
        if self.pooled.contains(&input) {
            // The channels are there already.
            return Some(from);
        }
        let operation = match name.trim_end_matches('_') {
            "relu" => Operation::Relu(from),
            "linear" => self.linear(node, from)?,
            "conv1d" | "conv2d" => self.convolution(node, input, from)?,
            "batch_norm" => self.norm(node, from)?,
            "max_pool2d" => max_pool(node, from)?,
            "add" => self.sum(node, from)?,
            "dropout" | "feature_dropout" | "contiguous" | "clone" | "alias" | "detach"
            | "detach_copy" => return Some(from),
            "mean" | "adaptive_avg_pool2d" | "avg_pool2d" => {
                let made = node.makes().next()?;
                let is_image = self.from.shape(input)?.len() == 4;
                if !is_image || !self.is_whole_mean(node, name, input, made) {
                    return None;
                }
                Operation::Mean(from)
            }
            "flatten" | "view" | "reshape" | "_unsafe_view" => {
                let made = node.makes().next()?;
                let (old, new) = (self.from.shape(input)?, self.from.shape(made)?);
                if old == new {
                    return Some(from);
                }
                let is_flat = matches!(new, [Dim::Batch, Dim::Fixed(_)]);
                if !is_flat || old.first() != Some(&Dim::Batch) {
                    return None;
                }
                Operation::Flatten(from)
            }
            "unsqueeze" => {
                let rank = self.from.shape(input)?.len();
                let is_channel = matches!(node.argument("dim"), Some(Argument::Int(1 | -2)));
                if rank != 2 || !is_channel {
                    return None;
                }
                Operation::AddChannel(from)
            }
            _ => return None,
        };
        Some(self.graph.add(operation))
    }

    /// The name of a layer whose tensors these arguments are, each used only here.
    fn layer(&self, node: &Node, parts: &[(&str, &str)]) -> Option<String> {
        let mut layer: Option<&str> = None;
        for (argument, part) in parts {
            let value = views::tensor(node, argument)?;
            let name = match self.state.given(*self.sources.get(&value)?) {
                Given::Parameter(at) => &self.state.parameters[at].name,
                Given::Buffer(at) => &self.state.buffers[at].name,
                Given::Fixed => return None,
            };
            let own = name.strip_suffix(part)?.strip_suffix('.')?;
            if self.reads.get(&value) != Some(&1) || layer.is_some_and(|layer| layer != own) {
                return None;
            }
            layer = Some(own);
        }
        layer.map(str::to_owned)
    }

    fn has_bias(node: &Node) -> bool {
        views::tensor(node, "bias").is_some()
    }

    fn linear(&self, node: &Node, from: Value) -> Option<Operation> {
        let bias = Self::has_bias(node);
        let parts = [("weight", "weight"), ("bias", "bias")];
        let flat = self.from.shape(views::first(node)?)?.len() == 2;
        Some(Operation::Linear {
            layer: self
                .layer(node, &parts[..if bias { 2 } else { 1 }])
                .filter(|_| flat)?,
            bias,
            from,
        })
    }

    fn convolution(&self, node: &Node, input: ValueId, from: Value) -> Option<Operation> {
        let bias = Self::has_bias(node);
        let parts = [("weight", "weight"), ("bias", "bias")];
        let weight = self.from.shape(views::tensor(node, "weight")?)?;
        let batched = self.from.shape(input)?.len() == weight.len();
        let (stride, padding) = (same(node, "stride", 1)?, same(node, "padding", 0)?);
        let plain = same(node, "dilation", 1)? == 1 && same(node, "groups", 1)? == 1;
        Some(Operation::Convolution {
            layer: self
                .layer(node, &parts[..if bias { 2 } else { 1 }])
                .filter(|_| batched && plain)?,
            bias,
            stride,
            padding,
            from,
        })
    }

    fn norm(&self, node: &Node, from: Value) -> Option<Operation> {
        let parts = ["weight", "bias", "running_mean", "running_var"].map(|part| (part, part));
        let trains = self.mode == Mode::Train;
        let standard = node.argument("eps") == Some(&Argument::Float(NORM_EPSILON))
            && node.argument("training") == Some(&Argument::Bool(trains))
            && (!trains || node.argument("momentum") == Some(&Argument::Float(NORM_MOMENTUM)));
        let layer = self.layer(node, &parts).filter(|_| standard)?;
        Some(Operation::Norm { layer, from })
    }

    fn sum(&self, node: &Node, from: Value) -> Option<Operation> {
        let alpha = node.argument("alpha");
        if !matches!(alpha, None | Some(Argument::Int(1))) {
            return None;
        }
        let [one, other] = [views::first(node)?, views::tensor(node, "other")?];
        let second = *self.known.get(&other)?;
        let same = self.from.shape(one)? == self.from.shape(other)?;
        (same && !self.pooled.contains(&other)).then_some(Operation::Sum([from, second]))
    }

    /// Whether a node gives the mean over all of an image, of which only the channels are read.
    fn is_whole_mean(&mut self, node: &Node, name: &str, input: ValueId, made: ValueId) -> bool {
        let (Some(old), Some(new)) = (self.from.shape(input), self.from.shape(made)) else {
            return false;
        };
        let whole = match name {
            "mean" => matches!(
                ints(node, "dim").as_deref(),
                Some([2, 3] | [3, 2] | [-1, -2] | [-2, -1])
            ),
            "adaptive_avg_pool2d" => true,
            _ => {
                let kernel = ints(node, "kernel_size").unwrap_or_default();
                let side = |place: usize| kernel.get(place).or(kernel.first()).copied();
                let sides = [2, 3].map(|at| match old[at] {
                    Dim::Fixed(size) => Some(size as i64),
                    _ => None,
                });
                let padded = same(node, "padding", 0) != Some(0);
                !padded && [side(0), side(1)] == sides && sides[0].is_some()
            }
        };
        let one = Dim::Fixed(1);
        match new {
            [Dim::Batch, Dim::Fixed(_)] => whole,
            [Dim::Batch, Dim::Fixed(channels), height, width]
                if whole && *height == one && *width == one =>
            {
                let flat = [Dim::Batch, Dim::Fixed(*channels)];
                let readers = self
                    .from
                    .nodes
                    .iter()
                    .filter(|it| it.reads().contains(&made));
                let all = readers.fold((true, 0), |(all, count), it| {
                    let flattens = matches!(
                        views::name(it),
                        Some("flatten" | "view" | "reshape" | "squeeze" | "_unsafe_view")
                    );
                    let made = it.makes().next().and_then(|made| self.from.shape(made));
                    (all && flattens && made == Some(&flat[..]), count + 1)
                });
                let flattened = all.0 && all.1 > 0 && made != self.from.output;
                if flattened {
                    self.pooled.insert(made);
                }
                flattened
            }
            _ => false,
        }
    }
}

/// Which nodes the output depends on, or change something in place.
fn needed(graph: &::pt2::Graph) -> Vec<bool> {
    let mut needed = vec![false; graph.nodes.len()];
    let mut wanted = HashSet::from([graph.output]);
    for (at, node) in graph.nodes.iter().enumerate().rev() {
        let changes = node.changes_in_place().is_some();
        if changes || node.makes().any(|made| wanted.contains(&made)) {
            needed[at] = true;
            wanted.extend(node.reads());
        }
    }
    needed
}

fn max_pool(node: &Node, from: Value) -> Option<Operation> {
    let kernel = same(node, "kernel_size", 0)?;
    let plain = same(node, "dilation", 1)? == 1
        && !matches!(node.argument("ceil_mode"), Some(Argument::Bool(true)));
    plain.then_some(Operation::MaxPool {
        kernel,
        // None, or an empty list, is the kernel's.
        stride: same(node, "stride", kernel)?,
        padding: same(node, "padding", 0)?,
        from,
    })
}

/// Whole numbers of an argument; none if they are none, or depend on the batch.
pub fn ints(node: &Node, name: &str) -> Option<Vec<i64>> {
    match node.argument(name)? {
        Argument::Int(number) | Argument::SymInt(Scalar::Fixed(number)) => Some(vec![*number]),
        Argument::Ints(numbers) => Some(numbers.clone()),
        Argument::SymInts(numbers) => (numbers.iter())
            .map(|it| match it {
                Scalar::Fixed(number) => Some(*number),
                Scalar::Value(_) => None,
            })
            .collect(),
        _ => None,
    }
}

/// The number that all of an argument's are, or this one if it is left out; none if they differ.
pub fn same(node: &Node, name: &str, default: i64) -> Option<i64> {
    if matches!(node.argument(name), None | Some(Argument::None)) {
        return Some(default);
    }
    let numbers = ints(node, name)?;
    let first = numbers.first().copied().unwrap_or(default);
    numbers.iter().all(|it| *it == first).then_some(first)
}
