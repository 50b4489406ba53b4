//! Which weights lie on a path from the network's input to its output, as its graph says.
//!
//! A unit is a neuron or a channel. A weight connects the unit that it reads with the unit that it
//! writes, and a kernel connects them if any of its weights survives. Biases and batch norms connect
//! nothing: a unit that no path reaches has the same value for every input, and a weight that reads it
//! is on no path, though its value shifts the output.

use std::collections::BTreeMap;

use tch::{Device, Kind, Tensor};

use super::{Graph, Operation, Parameter, Value};

/// How the units of a network are connected, by groups, each after those that it is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connections {
    groups: Vec<Group>,
    output: Place,
}

/// A group's place.
type Place = usize;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Group {
    /// What is reached without any weight: one unit stands for all.
    Input,
    /// The units that a weight, by its place among the parameters, makes of another group.
    ///
    /// Where a unit of that group became several features, these are neighbours.
    Weight { parameter: usize, from: Place },
    /// Two groups, added unit by unit.
    ///
    /// Where a unit of one became several features, which the other has as units, these are neighbours.
    Sum([Place; 2]),
    /// One unit of all those of another group.
    Merged(Place),
    /// The heads' units of a group of queries, keys and values, a third each.
    Attention { heads: i64, from: Place },
    /// What is made of other groups in a way that is not known: all of them count as read, and one unit
    /// that is reached stands for all.
    Wall(Vec<Place>),
}

/// What is known of one group of units: `[units]`, bool.
struct Reach {
    /// Whether a path from the input leads there.
    forward: Tensor,
    /// Whether a path leads from there to the output.
    backward: Tensor,
}

impl Connections {
    /// The connections of a graph with these parameters.
    ///
    /// # Panics
    /// If a layer has no weight among the parameters.
    pub fn of(graph: &Graph, parameters: &[Parameter]) -> Self {
        let weight = |layer: &str| {
            let name = format!("{layer}.weight");
            let place = parameters.iter().position(|it| it.name == name);
            place.unwrap_or_else(|| panic!("the graph's layer `{layer}` has no parameter `{name}`"))
        };
        let mut groups = Vec::new();
        let mut add = |group| {
            groups.push(group);
            groups.len() - 1
        };
        let mut units: BTreeMap<Value, Place> = BTreeMap::new();
        for (value, operation) in graph.operations() {
            let own = match operation {
                // All of it is reached, and what reaches it back is of no consequence.
                Operation::Input => add(Group::Input),
                // Each unit written reads those units that its row of the weight keeps.
                Operation::Linear { layer, from, .. }
                | Operation::Convolution { layer, from, .. } => add(Group::Weight {
                    parameter: weight(layer),
                    from: units[from],
                }),
                // A unit lives where either one does.
                Operation::Sum(both) => add(Group::Sum(both.map(|from| units[&from]))),
                Operation::Opaque { reads, .. } => {
                    add(Group::Wall(reads.iter().map(|from| units[from]).collect()))
                }
                // Features become the places of one channel.
                Operation::AddChannel(from) => add(Group::Merged(units[from])),
                // Each feature depends on all of them, by their mean and their deviation.
                Operation::LayerNorm { from, .. } => add(Group::Merged(units[from])),
                Operation::Attention { heads, from, .. } => add(Group::Attention {
                    heads: *heads,
                    from: units[from],
                }),
                // A unit is a feature, of whichever token; what is added is a constant.
                Operation::Tokens(from)
                | Operation::ClassToken { from, .. }
                | Operation::Positions { from, .. }
                | Operation::Gelu(from)
                | Operation::FirstToken(from)
                | Operation::MeanOfTokens(from) => units[from],
                // Each unit by itself; a constant stays one.
                Operation::Norm { from, .. } | Operation::Relu(from) => units[from],
                // Places of a channel are joined, channels are not.
                Operation::MaxPool { from, .. } | Operation::Mean(from) => units[from],
                // A channel's places become neighbouring features.
                Operation::Flatten(from) => units[from],
            };
            units.insert(value, own);
        }
        let output = units[&graph.output()];
        Self { groups, output }
    }

    /// For each parameter that connects units, which of its weights lie on a path from the input to
    /// the output.
    ///
    /// # Shapes
    /// `mask` gives a parameter's mask with its shape; the result has the same shapes, bool.
    pub fn effective(&self, mask: impl Fn(usize) -> Tensor) -> BTreeMap<usize, Tensor> {
        let reach = self.reach(&mask);
        let mut effective = BTreeMap::new();
        for (group, Reach { backward, .. }) in self.groups.iter().zip(&reach) {
            let Group::Weight { parameter, from } = group else {
                continue;
            };
            let (mask, from) = (mask(*parameter).ne(0.0), &reach[*from].forward);
            let on_path = by_units(&mask, from)
                .logical_and(&from.view([1, -1, 1]))
                .logical_and(&backward.view([-1, 1, 1]))
                .view_as(&mask);
            // A weight that is used twice counts if either use is on a path.
            effective
                .entry(*parameter)
                .and_modify(|own: &mut Tensor| *own = own.logical_or(&on_path))
                .or_insert(on_path);
        }
        effective
    }

    fn reach(&self, mask: &impl Fn(usize) -> Tensor) -> Vec<Reach> {
        // Groups stand after those that they are made of, so one pass each way is enough.
        let mut reach: Vec<Reach> = Vec::with_capacity(self.groups.len());
        for group in &self.groups {
            let forward = match group {
                Group::Input | Group::Wall(_) => Tensor::ones([1], (Kind::Bool, Device::Cpu)),
                Group::Weight { parameter, from } => {
                    let from = &reach[*from].forward;
                    let links = links(&mask(*parameter), from);
                    links.logical_and(&from.unsqueeze(0)).any_dim(1, false)
                }
                Group::Sum([one, other]) => {
                    let (one, other) = (&reach[*one].forward, &reach[*other].forward);
                    spread(one, other).logical_or(&spread(other, one))
                }
                Group::Merged(from) => reach[*from].forward.any().view([1]),
                // What is read is a mean of values, whatever their weights.
                Group::Attention { from, .. } => {
                    let [.., values] = thirds(&reach[*from].forward);
                    values
                }
            };
            let backward = forward.zeros_like();
            reach.push(Reach { forward, backward });
        }
        let output = &mut reach[self.output];
        output.backward = output.forward.ones_like();
        for (place, group) in self.groups.iter().enumerate().rev() {
            let here = reach[place].backward.shallow_clone();
            match group {
                Group::Input => {}
                Group::Weight { parameter, from } => {
                    let links = links(&mask(*parameter), &reach[*from].forward);
                    let backward = links.logical_and(&here.unsqueeze(1)).any_dim(0, false);
                    reach[*from].lead(&backward);
                }
                Group::Sum(both) => both.iter().for_each(|from| reach[*from].lead(&here)),
                Group::Merged(from) => reach[*from].lead(&here),
                Group::Attention { heads, from } => {
                    let [_, keys, values] = thirds(&reach[*from].forward);
                    let backward = weighed(&keys, &values, &here, *heads);
                    reach[*from].lead(&backward);
                }
                Group::Wall(all) => {
                    let here = here.ones_like();
                    all.iter().for_each(|from| reach[*from].lead(&here));
                }
            }
        }
        reach
    }
}

impl Reach {
    /// Adds that paths lead on from here: to each unit's part of `backward`, which has as many units, or
    /// several for each of these, or one for all.
    fn lead(&mut self, backward: &Tensor) {
        let units = self.backward.size()[0];
        let own = match backward.size()[0] < units {
            true => backward.shallow_clone(),
            false => backward.view([units, -1]).any_dim(1, false),
        };
        self.backward = self.backward.logical_or(&own);
    }
}

/// Queries, keys and values of a group, which may have one unit for all.
fn thirds(units: &Tensor) -> [Tensor; 3] {
    match units.size()[0] {
        1 => [0; 3].map(|_| units.shallow_clone()),
        count => [0, 1, 2].map(|third| units.narrow(0, third * count / 3, count / 3)),
    }
}

/// From which queries, keys and values a path leads to the output, by which of `keys` and `values` a path leads to,
/// and from which of what is read one leads on (`here`).
///
/// A head's weights matter if a value that they weigh does, and differs between tokens. A key's feature that does
/// not differ adds the same to a query's score of every token, which the softmax takes away again: that feature of
/// the query is lost. The other way round a query that is the same for all tokens still tells keys apart.
fn weighed(keys: &Tensor, values: &Tensor, here: &Tensor, heads: i64) -> Tensor {
    let count = here.size()[0];
    let matters = (here.logical_and(values))
        .reshape([heads.min(count), -1])
        .any_dim(1, true);
    let of_keys = matters
        .expand([-1, count / heads.min(count)], false)
        .reshape([count]);
    Tensor::cat(
        &[of_keys.logical_and(keys), of_keys, here.shallow_clone()],
        0,
    )
}

/// One group's units as those of another one, which has as many, or several for each of these.
fn spread(units: &Tensor, other: &Tensor) -> Tensor {
    let times = (other.size()[0] / units.size()[0]).max(1);
    units.repeat_interleave_self_int(times, 0, None)
}

/// A mask as `[units written, units read, weights between the two]`.
fn by_units(mask: &Tensor, from: &Tensor) -> Tensor {
    mask.reshape([mask.size()[0], from.size()[0], -1])
}

/// Which units a mask connects, `[units written, units read]`.
fn links(mask: &Tensor, from: &Tensor) -> Tensor {
    by_units(&mask.ne(0.0), from).any_dim(2, false)
}

#[cfg(test)]
mod tests;
