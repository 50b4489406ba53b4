//! The shapes of a model's values, which follow from its operations and its weights.

mod reader;

use std::collections::BTreeSet;

use crate::error::{Error, Result};
use crate::graph::Graph;
use reader::Reader;

/// The shape of a value of one sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Numbers in a row.
    Features(usize),
    /// Channels, each of so many numbers.
    Sequence([usize; 2]),
    /// Channels, height, width.
    Image([usize; 3]),
    /// Tokens, each of so many features.
    Tokens([usize; 2]),
}

/// Numbers of a value of one sample at most.
pub const MOST_NUMBERS: u64 = 1 << 28;
/// Numbers of all values of one sample at most.
const MOST_OF_ALL: u64 = 1 << 31;

impl Shape {
    /// Its sizes.
    pub fn sizes(&self) -> &[usize] {
        match self {
            Self::Features(size) => std::slice::from_ref(size),
            Self::Sequence(sizes) | Self::Tokens(sizes) => sizes,
            Self::Image(sizes) => sizes,
        }
    }

    /// How many numbers it has: shapes of a network have no more than fit.
    pub fn numbers(&self) -> usize {
        self.sizes().iter().product()
    }

    /// Channels, height and width of what convolutions read.
    pub(crate) fn image(&self) -> Option<[usize; 3]> {
        match *self {
            Self::Sequence([channels, length]) => Some([channels, 1, length]),
            Self::Image(sizes) => Some(sizes),
            _ => None,
        }
    }

    /// Those that a batch norm tells apart.
    fn channels(&self) -> usize {
        match *self {
            Self::Features(features) => features,
            Self::Sequence([channels, _]) => channels,
            Self::Image([channels, ..]) => channels,
            Self::Tokens([_, features]) => features,
        }
    }
}

/// The shape of each operation's value, and the names of all tensors that they need. `shape_of` says which shape a
/// tensor has.
///
/// # Errors
/// Operations that do not take what they read, tensors that are not there or of another shape, values that are too
/// large.
pub fn shapes(
    graph: &Graph,
    shape_of: &dyn Fn(&str) -> Result<Vec<usize>>,
) -> Result<(Vec<Shape>, BTreeSet<String>)> {
    let mut shapes: Vec<Shape> = Vec::with_capacity(graph.operations.len());
    let (mut used, mut total) = (BTreeSet::new(), 0u64);
    for (place, operation) in graph.operations.iter().enumerate() {
        let mut reader = Reader {
            graph,
            place,
            operation,
            shape_of,
            used: &mut used,
        };
        let read: Vec<Shape> = operation.reads().iter().map(|&from| shapes[from]).collect();
        let shape = reader.shape(&read)?;
        let numbers = (shape.sizes().iter()).try_fold(1u64, |all, &it| all.checked_mul(it as u64));
        let numbers = numbers.filter(|it| *it <= MOST_NUMBERS).ok_or_else(|| {
            let reason = format!(
                "its value would have the shape {:?}, expected at most {MOST_NUMBERS} numbers",
                shape.sizes()
            );
            operation.fails(place, reason)
        })?;
        if numbers == 0 {
            let reason = format!("its value would have the shape {:?}", shape.sizes());
            return Err(operation.fails(place, reason));
        }
        total += numbers;
        if total > MOST_OF_ALL {
            return Err(Error::TooLarge {
                what: "the number of numbers of all values of a sample".to_owned(),
                got: format!("over {total} at operation {place}"),
                most: MOST_OF_ALL,
            });
        }
        shapes.push(shape);
    }
    Ok((shapes, used))
}
