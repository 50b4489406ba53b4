//! What the host computes itself, in C++: training steps of perceptrons without autograd, convolutions,
//! dense and at their surviving weights, batch norms with what follows them, pictures of another size;
//! and what the bindings of libtorch lack, such as calls of any operation by its name.
//!
//! These are the safe wrappers. They only declare the C++, which the crate `kernels-native` compiles and
//! what is linked in the end depends on: a change of it compiles no Rust but that.
#![allow(unsafe_code)]

mod convolution;
pub mod cuda;
pub mod dispatch;
mod each;
mod elements;
pub mod elementwise;
pub mod graphs;
pub mod group;
pub mod losses;
mod meeting;
mod norm;
mod perceptron;
pub mod resample;
mod rounded;
pub mod shim;
mod survivors;
mod taps;

#[cfg(test)]
use kernels_native as _;

pub use convolution::{convolve, convolves};
pub use each::each;
pub use elements::{elements, elements_mut};
pub use meeting::{Across, Meeting, sees_all_shards};
pub use norm::BatchNorm;
pub use perceptron::{Lanes, Layer, Loss, Norm, Perceptron, Rows, Samples, break_even};
pub use rounded::rounded;
pub use survivors::Survivors;
pub use taps::Taps;
