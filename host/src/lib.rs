//! The host of Rewind: trains networks with libtorch and prunes them level by level.
//!
//! The modules stand in the order in which the data flows.

pub mod experiment;
pub mod registry;
pub mod rng;
pub mod data;
pub mod model;
pub mod optimizer;
pub mod schedule;
pub mod trainer;
pub mod shim;
pub mod strategy;
pub mod levels;
pub mod records;
pub mod store;
pub mod interrupt;
