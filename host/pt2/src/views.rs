//! Which operators give back the elements of their first tensor.

use crate::graph::{Node, Target};

/// Operators whose result is the memory of their first tensor, or may be.
const VIEWS: &[&str] = &[
    "_reshape_alias",
    "_unsafe_view",
    "adjoint",
    "alias",
    "as_strided",
    "broadcast_to",
    "chunk",
    "contiguous",
    "detach",
    "diagonal",
    "expand",
    "expand_as",
    "flatten",
    "mH",
    "mT",
    "matrix_H",
    "moveaxis",
    "movedim",
    "narrow",
    "numpy_T",
    "permute",
    "ravel",
    "reshape",
    "reshape_as",
    "select",
    "slice",
    "split",
    "split_with_sizes",
    "squeeze",
    "swapaxes",
    "swapdims",
    "t",
    "tensor_split",
    "to",
    "transpose",
    "unbind",
    "unflatten",
    "unfold",
    "unsqueeze",
    "view",
    "view_as",
];

/// Operators whose result has the elements of their first tensor in a memory of its own.
const COPIES: &[&str] = &["_to_copy", "clone", "lift_fresh_copy"];

/// Whether an operator's result is the memory of its first tensor, or may be.
pub(crate) fn is_view(name: &str) -> bool {
    VIEWS.contains(&name)
}

impl Node {
    /// Whether its result is its first tensor in another shape or order, or a part of it: the elements themselves,
    /// in the same memory or copied.
    pub fn gives_back_elements(&self) -> bool {
        match &self.target {
            Target::Aten { name, .. } => is_view(name) || COPIES.contains(&name.as_str()),
            _ => false,
        }
    }
}
