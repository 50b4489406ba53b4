//! The steps of what transformers compute besides their layers.

use super::build::Builder;
use super::layout::Layout;
use super::step::{Copy, Slot, Step, runs};
use crate::graph::Operation;
use crate::network::Network;
use crate::shape::Shape;

impl Builder<'_> {
    /// Adds an operation of tokens; the slot of its value.
    pub(super) fn of_tokens(
        &mut self,
        network: &Network,
        operation: &Operation,
        shape: Shape,
    ) -> Slot {
        match operation {
            Operation::ClassToken { parameter, from } => {
                let first = shape.sizes()[1];
                let to = self.moved(network, *from, shape, first);
                let places = self.layout(to).places(shape);
                let numbers = network.numbers(parameter).iter();
                let put = (places.iter().zip(numbers)).map(|(&place, &it)| (place as u32, it));
                self.steps.push(Step::Put(to, put.collect()));
                to
            }
            Operation::Positions { parameter, from } => {
                let [from, to] = self.over(network, *from);
                let layout = self.layout(to);
                let mut numbers = vec![0.0; layout.rows * layout.stride];
                let own = network.numbers(parameter);
                for (place, &number) in layout.places(shape).into_iter().zip(own) {
                    numbers[place] = number;
                }
                self.steps.push(Step::Shift(from, to, numbers));
                to
            }
            Operation::LayerNorm {
                layer,
                epsilon,
                from,
            } => {
                let part = |part: &str| network.numbers(&format!("{layer}.{part}")).to_vec();
                let (weight, bias) = (part("weight"), part("bias"));
                let [from, to] = self.over(network, *from);
                self.steps.push(Step::LayerNorm {
                    from,
                    to,
                    weight,
                    bias,
                    epsilon: *epsilon as f32,
                });
                to
            }
            Operation::Attention { heads, from, .. } => {
                let from = self.flat(network, *from);
                let to = self.room(Layout::of(shape, self.lanes));
                self.steps.push(Step::Attention(from, to, *heads));
                to
            }
            Operation::FirstToken { from } => self.moved(network, *from, shape, 0),
            // All others are told apart before.
            other => self.flat(network, other.reads().first().copied().unwrap_or(0)),
        }
    }

    /// Copies a value of tokens to where another shape's numbers lie, from one of them on, as many as both have.
    fn moved(&mut self, network: &Network, from: usize, shape: Shape, first: usize) -> Slot {
        let from_shape = network.shapes[from];
        let from = self.flat(network, from);
        let to = self.room(Layout::of(shape, self.lanes));
        let (read, written) = (
            self.layout(from).places(from_shape),
            self.layout(to).places(shape),
        );
        let runs = runs(&read, &written[first..], self.lanes);
        self.steps.push(Step::Copy(Copy { from, to, runs }));
        to
    }
}
