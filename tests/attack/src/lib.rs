//! Attacks on the promise that nothing is lost: the program is killed at chosen calls, its disk fills,
//! its memory ends; what is left in the end is compared byte for byte with an uninterrupted run. Other tests
//! take from here what makes a program wait for them.

#[cfg(target_os = "linux")]
pub mod campaign;
pub mod capacity;
#[cfg(target_os = "linux")]
pub mod experiments;
#[cfg(target_os = "linux")]
pub mod faults;
pub mod hold;
pub mod patience;
#[cfg(target_os = "linux")]
pub mod process;
#[cfg(target_os = "linux")]
pub mod program;
pub mod shared;
#[cfg(target_os = "linux")]
pub mod space;
#[cfg(target_os = "linux")]
pub mod stale;
#[cfg(target_os = "linux")]
pub mod tree;
