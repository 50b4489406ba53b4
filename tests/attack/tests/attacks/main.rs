//! Attacks on the program. They are one crate, so that it is linked once.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

// The tests of this one wait most of the time. In the order of their names they come first, and others have the
// processors meanwhile.
mod attributes;
mod capacity;
mod claims;
mod cluster;
mod desk;
mod disk;
mod kills;
mod locks;
mod memory;
mod ranks;
mod siege;
mod signals;
mod sweeps;
