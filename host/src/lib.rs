//! The host of Rewind: trains networks with libtorch and prunes them level by level.
//!
//! The modules stand in the order in which the data flows.

pub mod cli;
pub mod data;
pub mod experiment;
pub mod interrupt;
pub mod levels;
pub mod model;
pub mod optimizer;
pub mod records;
pub mod registry;
pub mod report;
pub mod rng;
pub mod schedule;
pub mod shim;
pub mod store;
pub mod strategy;
pub mod trainer;
