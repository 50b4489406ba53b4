//! Networks as lists of libtorch's operations, called by name through its dispatcher.
//!
//! An [`Operator`] is looked up once. A [`Node`] is a call of it, whose constant arguments are converted
//! and checked when it is made; its other arguments are [`Slot`]s of a [`Frame`], which holds the values of
//! one pass. Calls go through autograd and autocast as those of the bindings do, and give the same bits.
//!
//! ```
//! # use kernels_native as _;
//! use kernels::dispatch::{Argument, Frame, Node, Operator, Output, Slot};
//! use tch::{Tensor, kind};
//!
//! let [weight, input, out] = [Slot(0), Slot(1), Slot(2)];
//! let linear = Operator::find("aten::linear", "")?;
//! let arguments = [("input", Argument::Slot(input)), ("weight", Argument::Slot(weight))];
//! let mut nodes = vec![Node::call(&linear, &arguments, vec![Output::Slot(out)])?];
//! kernels::dispatch::drop_early(&mut nodes, &[weight, out])?;
//!
//! let mut frame = Frame::new(3)?;
//! frame.set(weight, &Tensor::ones([5, 4], kind::FLOAT_CPU))?;
//! frame.set(input, &Tensor::ones([2, 4], kind::FLOAT_CPU))?;
//! for node in &nodes {
//!     frame.call(node)?;
//! }
//! assert_eq!(frame.tensor(out)?.size(), [2, 5]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod argument;
mod frame;
mod node;
mod operator;
#[cfg(test)]
mod tests;

pub use argument::{Argument, MemoryFormat, Slot, Whole};
pub use frame::{Frame, seed};
pub use node::{Arithmetic, Node, NodeError, Output, drop_early};
pub use operator::{Operator, Parameter, Type};
