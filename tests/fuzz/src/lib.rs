//! Fuzz targets: everything of the host that reads bytes which somebody else wrote.
//!
//! A target is a plain function of bytes. It may panic only where the host has a mistake; whatever is
//! wrong with the bytes must come back as an error. `tests/mutations.rs` feeds each with its corpus and
//! with mutations of it; `make fuzz` does the same with libFuzzer, guided by coverage.

pub mod corpus;
pub mod meter;
pub mod mutate;
mod scratch;
pub mod targets;

use kernels_native as _;

pub use targets::{TARGETS, Target, target};
