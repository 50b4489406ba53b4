//! The host of Rewind: trains networks with libtorch and prunes them level by level.
//!
//! The modules stand in the order in which the data flows.

pub mod data;
pub mod experiment;
pub mod model;
pub mod registry;
pub mod rng;
pub mod store;
pub mod strategy;
mod shim {
    use std::ffi::c_void;
    use tch::Tensor;
    pub fn to_dlpack(_: &Tensor) -> Result<*mut c_void, String> {
        Err(String::new())
    }
    pub fn from_dlpack(_: *mut c_void) -> Result<Tensor, String> {
        Err(String::new())
    }
}
