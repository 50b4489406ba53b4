//! The host of Rewind: trains networks with libtorch and prunes them level by level.
//!
//! The modules stand in the order in which the data flows.

pub mod data;
pub mod experiment;
pub mod model;
pub mod registry;
pub mod rng;
