//! Attacks on the promise that nothing is lost: the program is killed at chosen calls, its disk fills,
//! its memory ends; what is left in the end is compared byte for byte with an uninterrupted run.

#![cfg(target_os = "linux")]

pub mod campaign;
pub mod experiments;
pub mod faults;
pub mod process;
pub mod program;
pub mod tree;
