//! The host of Rewind: trains networks with libtorch and prunes them level by level.
//!
//! The modules stand in the order in which the data flows.

pub mod data;
pub mod experiment;
pub mod model;
pub mod optimizer;
pub mod registry;
pub mod rng;
pub mod schedule;
pub mod shim;
pub mod trainer;
