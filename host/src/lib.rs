//! The host of Rewind: trains networks with libtorch and prunes them level by level.
//!
//! A program of one's own opens an experiment with [`run::Run::open`] and trains it with
//! [`run::Run::train`], as the command line does; `host/examples/embed.rs` is one. It brings along the C++ of
//! the kernels, by `use kernels_native as _;`.
//!
//! The modules stand in the order in which the data flows.

// What is run: the experiment file, and the components of the host that it names.
pub mod experiment;

pub mod registry;

// Whom the user trusts, which no experiment file can say.
pub mod configuration;

// What is trained on, and what is trained.
pub mod data;

pub mod model;

// How one level is trained.
pub mod optimizer;

pub mod schedule;

pub mod ranks;

pub mod update;

pub mod trainer;

// What happens between levels: strategies, and the loop that calls them.
pub mod strategy;

pub mod levels;

// All of it together: a run, from its file to its folder.
pub mod run;

// What is left of it: files, records, tables.
pub mod store;

pub mod records;

pub mod standing;

pub mod report;

pub mod watch;

pub mod statistics;

pub mod tensorboard;

pub mod verify;

pub mod export;

// The theory that the experiments test, simulated by itself.
pub mod neuron;

// What all of them stand on: randomness, what samples are, text that can be shown, counts in words, the names of the program
// and of the processor, signals, memory, GPUs that fail, files that somebody else may have put there; and the command line. Libtorch's missing
// pieces are the crate `kernels`.
pub mod rng;

pub mod samples;

pub mod printable;

pub mod counted;

pub mod program;

pub mod processor;

pub mod interrupt;

pub mod plain_file;

pub mod memory;

pub mod gpu;

pub mod cli;

#[doc(hidden)]
pub mod fuzzing;

// The C++ of the kernels: what is linked in the end names it, here the tests.
#[cfg(test)]
use kernels_native as _;
