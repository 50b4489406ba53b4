//! Runs exported sparse networks on CPUs, without libtorch.
//!
//! ```no_run
//! let model = rewind_infer::Model::load("level-10.rewind.safetensors")?;
//! let input = vec![0.0; 2 * model.input_shape().iter().product::<usize>()];
//! let logits = model.run(&input, 2)?; // [2, classes]
//! # Ok::<(), rewind_infer::Error>(())
//! ```
//!
//! A model is loaded from one file ([`Network`] says what is checked), made into steps for so many samples side by
//! side, and each step is computed at the weights that survive, or in full where that is measured to be faster. What
//! is computed by a weight is the same either way, to the bit, and whatever the number of threads.
//!
//! ```text
//! file -> network (graph, shape) -> program (build, layers, windows, layout, pack, memory) -> run (kernels, pool)
//! ```

mod chunks;
pub mod command;
mod error;
mod ffi;
pub mod graph;
mod kernels;
mod model;
mod network;
mod npy;
mod pool;
mod program;
mod shape;

pub use error::{Error, Result};
pub use model::{Model, Options, available_kernels};
pub use network::{GRAPH, Network, Tensor};
pub use npy::Array;
pub use shape::Shape;
