//! What an update computes, written down while it does: where that is nothing but operations on elements, the
//! same can be done at later steps without asking it.

use std::collections::BTreeMap;

use kernels::elementwise::{Binary, Operation, Program, Unary};
use plugin_api::StepNumber;

use crate::update::{ARRAYS, Fused, GRADIENTS, WEIGHTS};

/// Something that an update is lent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaf {
    /// The weights of a layer.
    Weights(usize),
    /// Their gradients.
    Gradients(usize),
    /// Its mask.
    Mask(usize),
    /// A state, by its place, of a layer.
    State(usize, usize),
    /// A number of the step.
    Number(StepNumber),
}

impl Leaf {
    fn layer(self) -> Option<usize> {
        match self {
            Self::Weights(layer)
            | Self::Gradients(layer)
            | Self::Mask(layer)
            | Self::State(_, layer) => Some(layer),
            Self::Number(_) => None,
        }
    }
}

/// How a tensor came to be.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    /// It was lent.
    Leaf(Leaf),
    /// This number everywhere.
    Constant(f32),
    Unary(Unary, usize),
    Binary(Binary, usize, usize),
    Clamp(usize, f32, f32),
    /// Where the first is not 0 the second, else the third.
    Select(usize, usize, usize),
    /// Some other way, which this names.
    Other(&'static str),
}

/// What an update computed so far.
#[derive(Debug, Default)]
pub(super) struct Tape {
    nodes: Vec<Node>,
    /// What keeps it from being the same at the next step, if it did such a thing.
    impure: Option<&'static str>,
}

impl Tape {
    /// Writes down how a tensor came to be; gives its place.
    pub fn push(&mut self, node: Node) -> usize {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// Notes that the update does what may be otherwise at the next step.
    pub fn note_impure(&mut self, what: &'static str) {
        self.impure.get_or_insert(what);
    }

    /// What it did that may be otherwise at the next step.
    pub fn impure(&self) -> Option<&'static str> {
        self.impure
    }

    /// What makes the tensors at these places, each of which becomes an array, of a layer's arrays.
    ///
    /// # Errors
    /// What it takes beside operations on the layer's elements.
    pub fn fused(&self, layer: usize, outputs: &[(usize, usize)]) -> Result<Fused, &'static str> {
        let mut plan = Plan {
            tape: self,
            layer,
            known: BTreeMap::new(),
            operations: Vec::new(),
            numbers: Vec::new(),
        };
        let mut writes = Vec::new();
        for &(node, array) in outputs {
            let own = plan.place(node)?;
            // What is given back as it was lent need not be written.
            if plan.operations[own] != Operation::Array(array) {
                writes.push((own, array));
            }
        }
        let program = Program::new(plan.operations, writes);
        Ok(Fused {
            program: program.ok_or("an operation of what is not there")?,
            numbers: plan.numbers,
        })
    }
}

/// A program under way.
struct Plan<'a> {
    tape: &'a Tape,
    layer: usize,
    /// Places of nodes in the program.
    known: BTreeMap<usize, usize>,
    operations: Vec<Operation>,
    numbers: Vec<StepNumber>,
}

impl Plan<'_> {
    fn place(&mut self, node: usize) -> Result<usize, &'static str> {
        if let Some(place) = self.known.get(&node) {
            return Ok(*place);
        }
        let operation = match &self.tape.nodes[node] {
            Node::Leaf(leaf) => self.leaf(*leaf)?,
            Node::Constant(value) => Operation::Constant(*value),
            Node::Unary(op, x) => Operation::Unary(*op, self.place(*x)?),
            Node::Binary(op, x, y) => Operation::Binary(*op, self.place(*x)?, self.place(*y)?),
            Node::Clamp(x, low, high) => Operation::Clamp(self.place(*x)?, *low, *high),
            Node::Select(at, x, y) => {
                Operation::Select(self.place(*at)?, self.place(*x)?, self.place(*y)?)
            }
            Node::Other(what) => return Err(what),
        };
        self.operations.push(operation);
        let place = self.operations.len() - 1;
        self.known.insert(node, place);
        Ok(place)
    }

    fn leaf(&mut self, leaf: Leaf) -> Result<Operation, &'static str> {
        if leaf.layer().is_some_and(|layer| layer != self.layer) {
            return Err("elements of another layer");
        }
        Ok(match leaf {
            Leaf::Weights(_) => Operation::Array(WEIGHTS),
            Leaf::Gradients(_) => Operation::Array(GRADIENTS),
            Leaf::State(state, _) => Operation::Array(ARRAYS + state),
            // Only elements that are kept are computed.
            Leaf::Mask(_) => Operation::Constant(1.0),
            Leaf::Number(number) => {
                let known = self.numbers.iter().position(|it| *it == number);
                Operation::Scalar(known.unwrap_or_else(|| {
                    self.numbers.push(number);
                    self.numbers.len() - 1
                }))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_computed_of_a_layers_elements_becomes_a_program_and_all_else_is_named() {
        let mut tape = Tape::default();
        let weights = tape.push(Node::Leaf(Leaf::Weights(1)));
        let lr = tape.push(Node::Leaf(Leaf::Number(StepNumber::Lr)));
        let mask = tape.push(Node::Leaf(Leaf::Mask(1)));
        let scaled = tape.push(Node::Binary(Binary::Mul, weights, lr));
        let masked = tape.push(Node::Binary(Binary::Mul, scaled, mask));
        let fused = tape.fused(1, &[(masked, WEIGHTS)]).unwrap();
        assert_eq!(fused.numbers, [StepNumber::Lr]);
        let expected = Program::new(
            vec![
                Operation::Array(WEIGHTS),
                Operation::Scalar(0),
                Operation::Binary(Binary::Mul, 0, 1),
                Operation::Constant(1.0),
                Operation::Binary(Binary::Mul, 2, 3),
            ],
            vec![(4, WEIGHTS)],
        );
        assert_eq!(fused.program, expected.unwrap());
        assert_eq!(
            tape.fused(0, &[(masked, WEIGHTS)]),
            Err("elements of another layer")
        );
        let sum = tape.push(Node::Other("SUM"));
        let mixed = tape.push(Node::Binary(Binary::Add, masked, sum));
        assert_eq!(tape.fused(1, &[(mixed, WEIGHTS)]), Err("SUM"));
    }
}
