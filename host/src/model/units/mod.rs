//! Units that can be removed, and what goes with each of them.
//!
//! A unit is an output channel of a convolution, a hidden unit of linear layers or a head of attention. What makes
//! it - rows of weights, with their biases and what norms between hold of it - and what reads it - columns of the
//! layers behind - is its *group*: without the unit all of it is dead or useless. Units that only go together, through
//! sums, convolutions in groups, concatenations or attention, are one unit here. The units of a *set* are alike:
//! each has as many rows and columns of the same tensors as the others.
//!
//! Every number of every value of a sample carries the unit that it belongs to, from the input to the output; an
//! operation says which units it makes and which it ties together. What cannot be said so keeps its units: outputs
//! and inputs of the network, the features that a layer norm takes the mean of, whatever an unknown operation reads.

mod fewer;
mod graph;
mod sets;
mod tie;
mod trace;
mod value;

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Graph, Init, Parameter, Role};
pub(super) use fewer::{Left, first_of};
pub use fewer::{indices, places};
pub(super) use graph::units;
pub(super) use trace::{Channels, Trace};

/// The units of a network that can be removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Units {
    /// Sets of units that are alike, in the order of the layers that make them.
    pub sets: Vec<UnitSet>,
    /// Weights that make units which stay, in the network's order.
    pub left_out: Vec<LeftOut>,
}

/// Units that are alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UnitSet {
    /// Name of the first layer that makes them, with a number if it makes several sets.
    pub name: String,
    /// Number of units, 2 or more.
    pub units: usize,
    /// What goes with them.
    pub slices: Vec<Slice>,
}

/// What goes of one tensor with the units of a set, along one of its dimensions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Slice {
    /// Name of the parameter or buffer.
    pub tensor: String,
    /// Its dimension.
    pub axis: usize,
    /// What it does for the unit.
    pub side: Side,
    /// Of each place along the dimension, the unit that it belongs to; none where it is no unit of the set.
    pub units: Vec<Option<usize>>,
}

/// What a part of a tensor does for a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// It makes the unit: rows of a weight.
    Makes,
    /// It changes the unit's value on the way: biases, scales, shifts and statistics of norms.
    Follows,
    /// It reads the unit: columns of a weight.
    Reads,
}

/// A weight whose units stay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// The weight.
    pub weight: String,
    /// Why, completing "they stay because".
    pub reason: String,
}

/// The units of a network with this graph and tensors of these shapes.
///
/// # Shapes
/// `input`: one sample.
pub fn units_of(graph: &Graph, tensors: &BTreeMap<String, Vec<i64>>, input: &[i64]) -> Units {
    let parameter = |(name, shape): (&String, &Vec<i64>)| Parameter {
        name: name.clone(),
        shape: shape.clone(),
        role: Role::FixedWeight,
        init: Init::Constant(0.0),
    };
    let parameters: Vec<Parameter> = tensors.iter().map(parameter).collect();
    units(graph, &parameters, &[], input)
}

#[cfg(test)]
mod tests;
