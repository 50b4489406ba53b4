//! Makes the steps of a program from the operations of a network.

use std::collections::HashMap;

use super::layout::Layout;
use super::step::{Copy, Slot, Step, runs};
use super::windows::Windows;
use crate::error::Result;
use crate::graph::Operation;
use crate::network::Network;
use crate::shape::Shape;

/// Room for a value, or for what a step reads in another layout.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Room {
    /// How it lies there.
    pub layout: Layout,
    /// What it is filled with at first, and what stays of that where nothing is written.
    pub fill: f32,
    /// Whether nothing else may lie there at another time.
    pub is_own: bool,
}

/// Steps and the room that they need.
#[derive(Default)]
pub struct Builder<'a> {
    network: Option<&'a Network>,
    /// Whether the kernels look numbers up.
    pub looks_up: bool,
    /// Samples side by side.
    pub lanes: usize,
    /// The rooms; values are slots of them.
    pub rooms: Vec<Room>,
    /// The steps.
    pub steps: Vec<Step>,
    /// Of each operation, the slot of its value.
    pub(super) slots: Vec<Slot>,
    /// Operations that are part of an earlier step.
    pub(super) done: Vec<bool>,
    /// How often each operation's value is read.
    pub(super) readers: Vec<usize>,
    /// Rooms for windows, by what they are of.
    pub(super) staged: HashMap<(Layout, Windows, u32), Slot>,
}

/// The value that an operation reads, as if it stood in its own place.
#[derive(Clone, Copy)]
pub(super) struct Seen {
    /// Where.
    pub slot: Slot,
    /// The shape of the value that lies there: before it was flattened, if it was.
    pub shape: Shape,
}

impl<'a> Builder<'a> {
    /// One for so many samples side by side.
    pub fn new(network: &'a Network, lanes: usize, looks_up: bool) -> Self {
        let operations = &network.graph.operations;
        let mut readers = vec![0; operations.len()];
        for operation in operations {
            operation
                .reads()
                .iter()
                .for_each(|&from| readers[from] += 1);
        }
        // The caller reads the last one.
        if let Some(last) = readers.last_mut() {
            *last += 1;
        }
        Self {
            network: Some(network),
            looks_up,
            lanes,
            done: vec![false; operations.len()],
            readers,
            ..Self::default()
        }
    }

    /// Adds all steps; the slots of input and output.
    ///
    /// # Errors
    /// Values that are too large to lie side by side.
    pub fn build(&mut self) -> Result<[Slot; 2]> {
        let Some(network) = self.network else {
            return Ok([0; 2]);
        };
        let count = network.graph.operations.len();
        self.slots = vec![usize::MAX; count];
        for place in 0..count {
            if !self.done[place] {
                self.operation(network, place);
            }
        }
        // What is flat without a step of its own is made so for the caller.
        let last = count - 1;
        let output = self.flat(network, last);
        Ok([self.slots[0], output])
    }

    pub(super) fn room(&mut self, layout: Layout) -> Slot {
        self.rooms.push(Room {
            layout,
            fill: 0.0,
            is_own: false,
        });
        self.rooms.len() - 1
    }

    pub(super) fn layout(&self, slot: Slot) -> Layout {
        self.rooms[slot].layout
    }

    /// What an operation's value is before it was flattened.
    pub(super) fn seen(&self, network: &Network, place: usize) -> Seen {
        match network.graph.operations[place] {
            Operation::Flatten { from } => self.seen(network, from),
            _ => Seen {
                slot: self.slots[place],
                shape: network.shapes[place],
            },
        }
    }

    /// The slot of a value in the layout of its own shape, which is made if it was only flattened.
    pub(super) fn flat(&mut self, network: &Network, place: usize) -> Slot {
        let seen = self.seen(network, place);
        let shape = network.shapes[place];
        if seen.shape == shape {
            return seen.slot;
        }
        let to = self.room(Layout::of(shape, self.lanes));
        self.copy(seen.slot, seen.shape, to, shape);
        to
    }

    /// Copies a value, number by number in row-major order.
    fn copy(&mut self, from: Slot, from_shape: Shape, to: Slot, to_shape: Shape) {
        let from_places = self.layout(from).places(from_shape);
        let to_places = self.layout(to).places(to_shape);
        let runs = runs(&from_places, &to_places, self.lanes);
        self.steps.push(Step::Copy(Copy { from, to, runs }));
    }

    /// The value in this layout, which differs in its pitch at most.
    pub(super) fn in_layout(&mut self, slot: Slot, shape: Shape, layout: Layout) -> Slot {
        if self.layout(slot) == layout {
            return slot;
        }
        let to = self.room(layout);
        self.copy(slot, shape, to, shape);
        to
    }

    /// Where an operation that changes number by number writes: over what it reads, if nobody else reads that.
    pub(super) fn over(&mut self, network: &Network, from: usize) -> [Slot; 2] {
        let read = self.flat(network, from);
        let to = match read != self.slots[from] || self.reads_alone(network, from) {
            true => read,
            false => self.room(self.layout(read)),
        };
        [read, to]
    }

    /// Whether what lies in a value's slot is read once, under whatever name.
    fn reads_alone(&self, network: &Network, place: usize) -> bool {
        let is_own = match network.graph.operations[place] {
            Operation::Input {} => false,
            Operation::Flatten { from } => self.reads_alone(network, from),
            _ => true,
        };
        is_own && self.readers[place] == 1
    }

    fn operation(&mut self, network: &Network, place: usize) {
        let shape = network.shapes[place];
        let operation = &network.graph.operations[place];
        let slot = match operation {
            Operation::Input {} => {
                let slot = self.room(Layout::of(shape, self.lanes));
                self.rooms[slot].is_own = true;
                slot
            }
            // It is read where it lies.
            Operation::Flatten { from } => self.seen(network, *from).slot,
            Operation::AddChannel { from } | Operation::Tokens { from } => {
                let seen = self.seen(network, *from);
                let to = self.room(Layout::of(shape, self.lanes));
                let to_shape = match shape {
                    // Channels become features: the order of the numbers is that of the image.
                    Shape::Tokens([tokens, features]) => Shape::Sequence([features, tokens]),
                    other => other,
                };
                self.copy(seen.slot, seen.shape, to, to_shape);
                to
            }
            Operation::Linear { layer, bias, from } => {
                return self.linear(network, place, layer, *bias, *from);
            }
            Operation::Convolution {
                layer,
                bias,
                stride,
                padding,
                from,
            } => {
                let windows = Windows::of_layer(network, layer, *stride, *padding);
                return self.convolution(network, place, layer, *bias, windows, *from);
            }
            Operation::MaxPool {
                kernel,
                stride,
                padding,
                from,
            } => {
                let windows = Windows {
                    kernel: [*kernel; 2],
                    stride: [*stride; 2],
                    padding: [*padding; 2],
                };
                self.greatest(network, place, windows, *from)
            }
            Operation::Norm {
                layer,
                epsilon,
                from,
            } => {
                let part = |part: &str| network.numbers(&format!("{layer}.{part}"));
                let (weight, bias) = (part("weight"), part("bias"));
                let (mean, variance) = (part("running_mean"), part("running_var"));
                let scales = (0..weight.len()).map(|row| {
                    let scale =
                        f64::from(weight[row]) / (f64::from(variance[row]) + epsilon).sqrt();
                    let shift = f64::from(bias[row]) - f64::from(mean[row]) * scale;
                    [scale as f32, shift as f32]
                });
                let scales = scales.collect();
                let [from, to] = self.over(network, *from);
                let (last, relu) = self.then_relu(network, place);
                self.steps.push(Step::Scale(from, to, scales, relu));
                self.slots[last] = to;
                return;
            }
            Operation::Relu { from } => {
                let [from, to] = self.over(network, *from);
                self.steps.push(Step::Relu(from, to));
                to
            }
            Operation::Gelu { from } => {
                let [from, to] = self.over(network, *from);
                self.steps.push(Step::Gelu(from, to));
                to
            }
            Operation::Mean { from } | Operation::MeanOfTokens { from } => {
                let from = self.flat(network, *from);
                let to = self.room(Layout::of(shape, self.lanes));
                self.steps.push(Step::Mean(from, to));
                to
            }
            Operation::Sum { from } => {
                let one = self.flat(network, from[0]);
                let other = self.flat(network, from[1]);
                let other = self.in_layout(other, shape, self.layout(one));
                let to = self.room(self.layout(one));
                let (last, relu) = self.then_relu(network, place);
                self.steps.push(Step::Add([one, other], to, relu));
                self.slots[last] = to;
                return;
            }
            other => self.of_tokens(network, other, shape),
        };
        self.slots[place] = slot;
    }
}
