//! Attacks on the program. They are one crate, so that it is linked once.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod claims;
mod disk;
mod kills;
mod locks;
mod memory;
mod ranks;
mod signals;
mod sweeps;
