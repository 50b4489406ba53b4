//! Reads and writes the archives of `torch.export` (`.pt2`), without libtorch.
//!
//! [`Archive::open`] checks all that can be known without running anything: an archive may come from anybody.
//! It holds a [`Graph`] for each of the network's modes, and the state of both under the names of PyTorch's
//! `state_dict`. [`Archive::write_with`] makes a copy with another state, which PyTorch loads as it does the
//! original. The format is that of PyTorch 2.13 (schema 8). [`Container`]
//! reads the zip file around it, and other ones.
//!
//! ```no_run
//! # fn main() -> Result<(), pt2::ArchiveError> {
//! let archive = pt2::Archive::open("net.pt2".as_ref())?;
//! for (at, parameter) in archive.parameters().iter().enumerate() {
//!     let bytes = archive.read_parameter(at)?;
//!     println!("{} {:?}: {} bytes", parameter.name, parameter.shape, bytes.len());
//! }
//! for node in &archive.graph(pt2::Mode::Train).nodes {
//!     println!("{} = {}", node.name, node.target);
//! }
//! # Ok(())
//! # }
//! ```

// What an archive holds, from the file inwards.
mod archive;

mod union;

mod half;

mod container;

mod schema;

mod parse;

pub mod graph;

mod effects;

mod views;

pub mod scalar;

mod tensor;

// A copy of it, and what may be wrong.
mod copy;

mod error;

pub use container::{Bytes, Container, Record};

pub use archive::{Archive, Buffer, Mode, Parameter, Part};
pub use error::{ArchiveError, Fault};
pub use graph::{
    Argument, BatchRange, Constant, Dim, Graph, GraphInput, MemoryFormat, Node, Output, Scalar,
    Source, Target, Update, Value, ValueId, ValueKind,
};
pub use scalar::{Number, ScalarOp};
pub use tensor::Dtype;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod testing;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
