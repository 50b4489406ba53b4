//! Reads and writes the archives of `torch.export` (`.pt2`), without libtorch.
//!
//! [`Archive::open`] checks all that can be known without running anything; an archive may come from anybody.
//! What it holds is a [`Graph`] for each of the network's modes and the network's state, by the names of
//! PyTorch's `state_dict`. The formats are those of PyTorch 2.9 and newer.

pub mod error;
pub mod graph;
pub mod scalar;
pub mod tensor;

pub use error::{ArchiveError, Fault};
pub use graph::*;
pub use scalar::{Number, ScalarOp};
pub use tensor::Dtype;
