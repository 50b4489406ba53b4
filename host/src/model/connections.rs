//! Which weights lie on a path from the network's input to its output.
//!
//! A unit is a neuron or a channel. A weight connects the unit that it reads with the unit that it
//! writes, and a kernel connects them if any of its weights survives. Biases and batch norms connect
//! nothing: a unit that no path reaches has the same value for every input.

use std::collections::BTreeMap;

use tch::{Device, Kind, Tensor};

/// A group of units, by its place in the description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Units(usize);

/// How the units of a network are connected, described from the input on; the group that is
/// described last is the output.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connections {
    groups: Vec<Group>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Group {
    /// So many inputs.
    Input(i64),
    /// What a weight makes of another group.
    Weight { parameter: usize, from: Units },
    /// Two groups, added unit by unit.
    Sum([Units; 2]),
}

/// What is known of one group of units: `[units]`, bool.
struct Reach {
    /// Whether a path from the input leads there.
    forward: Tensor,
    /// Whether a path leads from there to the output.
    backward: Tensor,
}

impl Connections {
    /// A network's inputs: features or channels.
    pub fn input(&mut self, units: i64) -> Units {
        self.add(Group::Input(units))
    }

    /// The outputs of a linear or convolution layer, by its weight's place among the parameters.
    ///
    /// Where a channel of `from` became several features, these are neighbours, as after PyTorch's
    /// `flatten`.
    pub fn through(&mut self, parameter: usize, from: Units) -> Units {
        self.add(Group::Weight { parameter, from })
    }

    /// The sum of two groups of the same size: a shortcut.
    pub fn sum(&mut self, one: Units, other: Units) -> Units {
        self.add(Group::Sum([one, other]))
    }

    fn add(&mut self, group: Group) -> Units {
        self.groups.push(group);
        Units(self.groups.len() - 1)
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
            let (mask, from) = (mask(*parameter).ne(0.0), &reach[from.0].forward);
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
        // Groups are described after those that they read, so one pass each way is enough.
        let mut reach: Vec<Reach> = Vec::with_capacity(self.groups.len());
        for group in &self.groups {
            let forward = match group {
                Group::Input(units) => Tensor::ones([*units], (Kind::Bool, Device::Cpu)),
                Group::Weight { parameter, from } => {
                    let from = &reach[from.0].forward;
                    let links = links(&mask(*parameter), from);
                    links.logical_and(&from.unsqueeze(0)).any_dim(1, false)
                }
                Group::Sum([one, other]) => {
                    reach[one.0].forward.logical_or(&reach[other.0].forward)
                }
            };
            let backward = forward.zeros_like();
            reach.push(Reach { forward, backward });
        }
        if let Some(output) = reach.last_mut() {
            output.backward = output.forward.ones_like();
        }
        for (place, group) in self.groups.iter().enumerate().rev() {
            let here = reach[place].backward.shallow_clone();
            let mut lead = |to: &Units, backward: &Tensor| {
                let to = &mut reach[to.0].backward;
                *to = to.logical_or(backward);
            };
            match group {
                Group::Input(_) => {}
                Group::Weight { parameter, from } => {
                    let links = links(&mask(*parameter), &reach[from.0].forward);
                    let backward = links.logical_and(&here.unsqueeze(1)).any_dim(0, false);
                    let to = &mut reach[from.0].backward;
                    *to = to.logical_or(&backward);
                }
                Group::Sum(both) => both.iter().for_each(|to| lead(to, &here)),
            }
        }
        reach
    }
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
mod tests {
    use super::*;
    use crate::rng::{Moment, Purpose, Stream};

    fn mask(shape: &[i64], values: &[f32]) -> Tensor {
        Tensor::from_slice(values).view(shape)
    }

    fn flat(mask: &Tensor) -> Vec<bool> {
        Vec::try_from(mask.reshape([-1])).unwrap()
    }

    #[test]
    fn a_unit_without_an_input_or_an_output_makes_its_weights_ineffective() {
        let mut connections = Connections::default();
        let input = connections.input(2);
        let hidden = connections.through(0, input);
        connections.through(1, hidden);
        // Unit 0 has both, unit 1 no output, unit 2 no input.
        let masks = [
            mask(&[3, 2], &[1.0, 0.0, 1.0, 1.0, 0.0, 0.0]),
            mask(&[1, 3], &[1.0, 0.0, 1.0]),
        ];
        let effective = connections.effective(|parameter| masks[parameter].shallow_clone());
        assert_eq!(
            flat(&effective[&0]),
            [true, false, false, false, false, false]
        );
        assert_eq!(flat(&effective[&1]), [true, false, false]);
    }

    #[test]
    fn a_shortcut_keeps_paths_alive_around_a_dead_layer() {
        let mut connections = Connections::default();
        let input = connections.input(1);
        let stem = connections.through(0, input);
        let inner = connections.through(1, stem);
        let last = connections.through(2, inner);
        let sum = connections.sum(stem, last);
        connections.through(3, sum);
        let ones = |shape: &[i64]| Tensor::ones(shape, (Kind::Float, Device::Cpu));
        let masks = [
            ones(&[2, 1]),
            ones(&[2, 2]),
            ones(&[2, 2]).zeros_like(),
            ones(&[3, 2]),
        ];
        let effective = connections.effective(|parameter| masks[parameter].shallow_clone());
        let counts = [0, 1, 2, 3].map(|i| effective[&i].sum(Kind::Int64).int64_value(&[]));
        assert_eq!(counts, [2, 0, 0, 6]);
    }

    /// Weights between single units: (parameter, index in the parameter, from, to).
    type Edge = (usize, usize, usize, usize);

    /// Marks the edges of every path from an input to an output, path by path.
    fn walk(at: usize, edges: &[Edge], outputs: &[usize], path: &mut Vec<usize>, on: &mut [bool]) {
        if outputs.contains(&at) {
            path.iter().for_each(|&edge| on[edge] = true);
            return;
        }
        for (place, &(_, _, from, to)) in edges.iter().enumerate() {
            if from == at {
                path.push(place);
                walk(to, edges, outputs, path, on);
                path.pop();
            }
        }
    }

    /// A small residual network, path by path: 2 channels - kernels of 3 - 3 channels - a block of two
    /// with a shortcut - 2 positions of each flattened - 2 outputs.
    #[test]
    fn agrees_with_a_search_of_every_path_in_small_networks() {
        let shapes: [&[i64]; 5] = [&[3, 2, 3], &[2, 3, 1], &[3, 2, 3], &[3, 3, 1], &[2, 6]];
        let mut connections = Connections::default();
        let input = connections.input(2);
        let stem = connections.through(0, input);
        let inner = connections.through(1, stem);
        let last = connections.through(2, inner);
        let projection = connections.through(3, stem);
        let sum = connections.sum(last, projection);
        let sum = connections.sum(sum, stem);
        connections.through(4, sum);
        // Numbers of the first unit of each group: inputs 0, stem 2, inner 5, block's end 7, outputs 10.
        let ends = [(0, 2), (2, 5), (5, 7), (2, 7), (7, 10)];
        let mut partial = 0;
        for seed in 0..200 {
            let mut stream = Stream::new(seed, Purpose::Strategy("paths"), Moment::default());
            let masks = shapes.map(|shape| {
                let count = shape.iter().product::<i64>();
                let draw = |_| f32::from(u8::from(stream.uniform() < 0.25));
                mask(shape, &(0..count).map(draw).collect::<Vec<_>>())
            });
            let mut edges: Vec<Edge> = Vec::new();
            for (parameter, mask) in masks.iter().enumerate() {
                let (from, to) = ends[parameter];
                let shape = mask.size();
                let row = shape[1..].iter().product::<i64>() as usize;
                // Of the linear layer two neighbouring columns read one channel.
                let unit = if parameter == 4 {
                    2
                } else {
                    row / shape[1] as usize
                };
                let values = Vec::<f32>::try_from(mask.reshape([-1])).unwrap();
                for (i, _) in values
                    .iter()
                    .enumerate()
                    .filter(|(_, value)| **value != 0.0)
                {
                    edges.push((parameter, i, from + i % row / unit, to + i / row));
                }
            }
            // The identity shortcut, whose edges belong to no parameter.
            edges.extend((0..3).map(|channel| (usize::MAX, 0, 2 + channel, 7 + channel)));
            let mut on = vec![false; edges.len()];
            for input in 0..2 {
                walk(input, &edges, &[10, 11], &mut Vec::new(), &mut on);
            }
            let effective = connections.effective(|parameter| masks[parameter].shallow_clone());
            for (parameter, shape) in shapes.iter().enumerate() {
                let mut expected = vec![false; shape.iter().product::<i64>() as usize];
                for (&(_, index, ..), _) in edges
                    .iter()
                    .zip(&on)
                    .filter(|(edge, on)| edge.0 == parameter && **on)
                {
                    expected[index] = true;
                }
                let survivors = masks[parameter].sum(Kind::Int64).int64_value(&[]) as usize;
                let count = expected.iter().filter(|&&on| on).count();
                partial += usize::from(count > 0 && count < survivors);
                assert_eq!(
                    flat(&effective[&parameter]),
                    expected,
                    "seed {seed}, {parameter}"
                );
            }
        }
        // The comparison means something only where some survivors are on paths and some are not.
        assert!(partial > 100, "{partial}");
    }
}
