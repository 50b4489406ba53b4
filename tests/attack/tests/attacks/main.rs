//! Attacks on the program. They are one crate, so that it is linked once.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod capacity;
mod claims;
mod cluster;
mod desk;
mod disk;
mod kills;
mod locks;
mod memory;
mod ranks;
mod signals;
mod stale;
mod sweeps;
