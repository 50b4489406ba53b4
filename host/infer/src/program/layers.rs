//! The steps of layers, with what follows them.

use super::build::{Builder, Room, Seen};
use super::layout::Layout;
use super::pack::{BLOCKS, Weight, estimate};
use super::step::{After, Copy, Packed, Single, Slot, Step};
use super::windows::Windows;
use crate::graph::Operation;
use crate::network::Network;
use crate::shape::Shape;

/// Blocks whose estimated time is up to so many times the least are measured.
const WORTH_TRYING: f64 = 1.7;
/// With a single sample, weights of which one in so many survives are multiplied at the survivors: each of these is read
/// from a place of its own, while in full a vector of them is multiplied at once.
const WORTH_GROUPING: usize = 10;
/// The same where numbers are looked up in registers.
const WORTH_LOOKING_UP: usize = 5;

impl Builder<'_> {
    /// The operation that alone reads a value, if there is one.
    fn reader(&self, network: &Network, place: usize) -> Option<usize> {
        let reads = |at: &usize| network.graph.operations[*at].reads().contains(&place);
        let only = self.readers[place] == 1;
        only.then(|| (place + 1..self.readers.len()).find(reads))
            .flatten()
    }

    /// A ReLU that alone reads a value becomes part of its step: the place of what is computed then.
    pub(super) fn then_relu(&mut self, network: &Network, place: usize) -> (usize, bool) {
        match self.reader(network, place) {
            Some(reader) if matches!(network.graph.operations[reader], Operation::Relu { .. }) => {
                self.done[reader] = true;
                (reader, true)
            }
            _ => (place, false),
        }
    }

    /// What follows a layer and is computed with it: a sum with an earlier value, and a ReLU. The place of what is
    /// computed then; what is added lies in the layout that the layer writes.
    fn after(&mut self, network: &Network, place: usize, layout: Layout) -> (usize, After) {
        let (mut at, mut other) = (place, None);
        if let Some(reader) = self.reader(network, place)
            && let Operation::Sum { from } = &network.graph.operations[reader]
        {
            let second = if from[0] == place { from[1] } else { from[0] };
            // What is computed later is not there yet.
            if second < place {
                (at, other) = (reader, Some(second));
                self.done[reader] = true;
            }
        }
        let (at, relu) = self.then_relu(network, at);
        let other = other.map(|second| {
            let slot = self.flat(network, second);
            self.in_layout(slot, network.shapes[second], layout)
        });
        (at, After { other, relu })
    }

    /// A linear layer, of features or of each token.
    pub(super) fn linear(
        &mut self,
        network: &Network,
        place: usize,
        layer: &str,
        bias: bool,
        read: usize,
    ) {
        let mut seen = self.seen(network, read);
        let shape = network.shapes[read];
        if self.looks_up && self.lanes == 1 && matches!(shape, Shape::Features(_)) {
            // Numbers are looked up where they lie side by side.
            let slot = self.flat(network, read);
            seen = Seen { slot, shape };
        }
        let layout = self.layout(seen.slot);
        let offsets: Vec<i32> = match network.shapes[read] {
            Shape::Tokens([_, features]) => (0..features)
                .map(|feature| layout.place(feature, 0, 0) as i32)
                .collect(),
            // Of what was flattened each number is read where it lies.
            _ => (layout.places(seen.shape).iter())
                .map(|&it| it as i32)
                .collect(),
        };
        let shape = network.shapes[place];
        let weight = Weight {
            numbers: network.numbers(&format!("{layer}.weight")),
            rows: *shape.sizes().last().unwrap_or(&0),
            biases: bias.then(|| network.numbers(&format!("{layer}.bias"))),
            offsets,
        };
        let to = self.room(Layout::of(shape, self.lanes));
        let (last, after) = self.after(network, place, self.layout(to));
        let step = match self.layout(to).is_single() {
            false => self.product(seen.slot, to, &weight, after),
            true => {
                // Where numbers are added up in another order, no clock may choose.
                let alive = weight.numbers.iter().filter(|&&it| it != 0.0).count();
                let looks_up = self.looks_up && layout.is_single();
                let worth = if looks_up {
                    WORTH_LOOKING_UP
                } else {
                    WORTH_GROUPING
                };
                let is_sparse = alive * worth <= weight.numbers.len();
                let by = match is_sparse || !layout.is_single() {
                    true if looks_up => Single::Segments(weight.in_segments()),
                    true => Single::Sparse(weight.in_groups()),
                    false => {
                        let (numbers, length, biases) = weight.in_full();
                        Single::Full(numbers, length, biases)
                    }
                };
                Step::Single {
                    from: seen.slot,
                    to,
                    rows: weight.rows,
                    by,
                    after,
                }
            }
        };
        self.steps.push(step);
        self.slots[last] = to;
    }

    /// A convolution, of the image where it lies or of its planes.
    pub(super) fn convolution(
        &mut self,
        network: &Network,
        place: usize,
        layer: &str,
        bias: bool,
        windows: Windows,
        read: usize,
    ) {
        let image = self.flat(network, read);
        let layout = self.layout(image);
        let sizes = network.shapes[place].image().unwrap_or_default();
        let (from, pitch, offsets) = match windows.are_direct(&layout) {
            true => {
                let offsets = |channel| windows.offsets_in_image(&layout, channel);
                let offsets = (0..layout.rows).flat_map(offsets).collect();
                (image, layout.pitch, offsets)
            }
            false => {
                let (planes, slot) = self.planes(image, windows, 0.0);
                let offsets = |channel| windows.offsets_in_planes(&planes, channel);
                let offsets = (0..layout.rows).flat_map(offsets).collect();
                (slot, planes.pitch, offsets)
            }
        };
        let weight = Weight {
            numbers: network.numbers(&format!("{layer}.weight")),
            rows: sizes[0],
            biases: bias.then(|| network.numbers(&format!("{layer}.bias"))),
            offsets,
        };
        let to = self.room(Layout::image(sizes, pitch, self.lanes));
        let (last, after) = self.after(network, place, self.layout(to));
        let step = self.product(from, to, &weight, after);
        self.steps.push(step);
        self.slots[last] = to;
    }

    /// The greatest number of each window.
    pub(super) fn greatest(
        &mut self,
        network: &Network,
        place: usize,
        windows: Windows,
        read: usize,
    ) -> Slot {
        let image = self.flat(network, read);
        let (planes, from) = self.planes(image, windows, f32::NEG_INFINITY);
        let sizes = network.shapes[place].image().unwrap_or_default();
        let to = self.room(Layout::image(sizes, planes.pitch, self.lanes));
        let of_channel = planes.rows / sizes[0].max(1);
        self.steps.push(Step::Greatest {
            from,
            stride: of_channel * planes.stride,
            to,
            offsets: windows.offsets_in_planes(&planes, 0),
        });
        to
    }

    /// Deals an image out into the planes of windows, with this number beyond the edges.
    fn planes(&mut self, image: Slot, windows: Windows, fill: f32) -> (Layout, Slot) {
        let layout = self.layout(image);
        let planes = windows.planes(&layout);
        // Windows of one kind over images of one layout write the same places, and may share them.
        let key = (layout, windows, fill.to_bits());
        let slot = match self.staged.get(&key) {
            Some(&slot) => slot,
            None => {
                self.rooms.push(Room {
                    layout: planes,
                    fill,
                    is_own: true,
                });
                self.rooms.len() - 1
            }
        };
        self.staged.insert(key, slot);
        self.steps.push(Step::Copy(Copy {
            from: image,
            to: slot,
            runs: windows.runs(&layout),
        }));
        (planes, slot)
    }

    /// A product with the blocks that may be the fastest.
    fn product(&self, from: Slot, to: Slot, weight: &Weight<'_>, after: After) -> Step {
        let vectors = self.layout(to).span().div_ceil(8);
        let all = BLOCKS.map(|block| weight.in_blocks(block));
        let estimates = all.each_ref().map(|rows| estimate(rows, vectors));
        let least = estimates.iter().copied().fold(f64::INFINITY, f64::min);
        let mut candidates: Vec<Packed> = (all.into_iter().zip(estimates))
            .filter(|(_, estimate)| *estimate <= WORTH_TRYING * least)
            .map(|(rows, _)| Packed::Blocks(rows))
            .collect();
        // Of features of many samples few vectors are read of each survivor: rows are added up side by side, not one
        // after the other.
        let to_features = self.layout(to).before == 0 && self.lanes > 1;
        if to_features {
            candidates.push(Packed::Groups(weight.in_groups()));
        }
        Step::Product {
            from,
            to,
            rows: weight.rows,
            candidates,
            after,
        }
    }
}
