//! A run: what it is made of, where it lies, what tells it from others, and training it.
//!
//! [`Run::open`] reads an experiment file with its plugins and data, and says in which folders the run
//! lies; [`Run::train`] does what is not done yet. The command line and programs that embed the host
//! make their runs here, so that all of them have the same files.

mod algorithms;
mod catalog;
mod error;
mod folders;
mod fresh;
mod identity;
mod manifest;
mod open;
mod ranks;
mod read;
pub mod registered;
mod review;

pub use catalog::HostCatalog;
pub use error::OpenError;
pub use folders::{Folders, dense_name, run_folder};
pub use identity::Changed;
pub use open::{Conduct, Ended, Run};
pub use ranks::indivisible;
pub use read::{Identities, Read, stand_in};
pub use review::review;

use std::path::PathBuf;

use tch::Device;

use crate::strategy::Trust;
use crate::trainer::Trainer;

/// Where an experiment and all that it names are found, and where it is computed.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Keys of the experiment file to override: `train.epochs=5`.
    pub overrides: Vec<String>,
    /// The program `host`, beside which the shipped plugins lie, and which tries other plugins before
    /// they are loaded; none if neither is wanted.
    pub program: Option<PathBuf>,
    /// Whose plugins may be loaded.
    pub trust: Trust,
    /// Folder of datasets.
    pub data_dir: PathBuf,
    /// Folder in which runs are kept.
    pub runs: PathBuf,
    /// Where to train.
    pub device: Device,
    /// Threads to compute with.
    pub threads: usize,
    /// Whether nobody asked for this number, so that a network that is too small for it may have one thread.
    pub threads_by_default: bool,
    /// Processes that train the network together.
    pub ranks: usize,
    /// Whether steps on a GPU are recorded as graphs, where they can be. No bit depends on it.
    pub graphs: bool,
    /// Seeds of a network without lanes that are trained side by side. No bit depends on it.
    pub seeds_together: usize,
    /// Whether a run that begins on a GPU computes by kernels of our own what it can.
    pub kernels: bool,
}

/// Threads of a process that trains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Threads {
    /// That libtorch computes with. Bits may depend on it.
    pub each: usize,
    /// Shards of a batch that are computed side by side. No bit depends on it.
    pub abreast: usize,
}

impl Setting {
    /// Threads to train so many seeds with.
    pub fn threads_for(&self, trainer: &Trainer, seeds: usize) -> usize {
        match self.threads_by_default && trainer.suits_one_thread(seeds) {
            true => 1,
            false => self.threads,
        }
    }

    /// How a process computes with its threads. Of batches that are cut into shards each shard has the same number,
    /// wherever it is computed: one, or as many as there are for each if all ranks were given as many as this one.
    pub fn threads_of(&self, trainer: &Trainer, seeds: usize) -> Threads {
        let threads = self.threads_for(trainer, seeds);
        let (shards, ranks) = (trainer.shards() as usize, self.ranks.max(1));
        if shards == 1 {
            return Threads {
                each: threads,
                abreast: 1,
            };
        }
        let each = match self.threads_by_default {
            true => 1,
            false => (threads * ranks / shards).max(1),
        };
        let abreast = match self.device {
            Device::Cpu => (threads / each).clamp(1, shards.div_ceil(ranks)),
            _ => 1,
        };
        Threads { each, abreast }
    }
}

impl Default for Setting {
    /// Nothing overridden, this program, the user's own plugins and data, runs in `runs`, one thread of the CPU.
    fn default() -> Self {
        Self {
            overrides: Vec::new(),
            program: std::env::current_exe().ok(),
            trust: Trust::Own,
            data_dir: crate::data::default_dir(),
            runs: "runs".into(),
            device: Device::Cpu,
            threads: 1,
            threads_by_default: false,
            ranks: 1,
            graphs: false,
            kernels: false,
            seeds_together: 1,
        }
    }
}
