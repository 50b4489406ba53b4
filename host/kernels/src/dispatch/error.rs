//! Why a node cannot be made.

use super::node::Arithmetic;
use super::operator::Type;
use crate::shim::ShimError;

/// Why a node cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum NodeError {
    /// The operation has no parameter of this name.
    #[error("{operator} has no parameter {argument:?}; it takes {known}")]
    Unknown {
        operator: String,
        argument: String,
        known: String,
    },
    /// A parameter is given more than once.
    #[error("{operator}: argument {argument} is given twice")]
    Twice { operator: String, argument: String },
    /// A parameter without a default is not given.
    #[error("{operator}: argument {argument} is missing, expected {expected}")]
    Missing {
        operator: String,
        argument: String,
        expected: Type,
    },
    /// An argument is of another type.
    #[error("{operator}: argument {argument} is {got}, expected {expected}")]
    Type {
        operator: String,
        argument: String,
        got: String,
        expected: String,
    },
    /// The operation gives more results, or fewer.
    #[error("{operator} gives {gives} results, but places for {got} are given")]
    Results {
        operator: String,
        gives: usize,
        got: usize,
    },
    /// Something is to be stored as a list of tensors that is none.
    #[error("{operator}: result {at} is {gives}, expected a list of tensors")]
    NoList {
        operator: String,
        at: usize,
        gives: Type,
    },
    /// Arithmetic takes more operands, or fewer.
    #[error("{arithmetic:?} takes {expected} operands, not {got}")]
    Operands {
        arithmetic: Arithmetic,
        expected: usize,
        got: usize,
    },
    /// A failure inside libtorch.
    #[error(transparent)]
    Libtorch(#[from] ShimError),
}
