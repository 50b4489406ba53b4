//! What the tests share: plugins and a program that are built when they are needed.

pub mod built;
pub mod catalog;
pub mod live;
pub mod program;

use kernels_native as _;
