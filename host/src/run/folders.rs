//! In which folders a run lies.

use std::path::Path;

use tch::Device;

use super::{Identities, Setting};
use crate::experiment::{Experiment, Identity};
use crate::levels::{Course, Ends};
use crate::store::RunDir;
use crate::trainer::Trainer;

/// The folders of a run.
#[derive(Clone, Debug)]
pub struct Folders {
    /// Its own.
    pub run: RunDir,
    /// That of its dense level, which experiments share.
    pub dense: RunDir,
}

impl Folders {
    /// The folders of the run of an experiment with this name.
    ///
    /// A dense level is shared only where it would have the same bytes: on the same kind of device and,
    /// for networks whose products libtorch splits over threads, with the same number of them. A shard of a batch
    /// has one, unless there are more threads than shards.
    pub fn of(name: &str, identities: &Identities, trainer: &Trainer, setting: &Setting) -> Self {
        let threads = match trainer.shards() {
            1 => Some(setting.threads),
            _ => Some(setting.threads_of(trainer, 1).each).filter(|each| *each > 1),
        };
        let threads = threads.filter(|_| trainer.depends_on_threads());
        let on = (setting.device, trainer.has_kernels());
        let dense = dense_name(&identities.dense.hash, on, threads);
        Self {
            run: run_folder(&setting.runs, name, &identities.own),
            dense: RunDir::new(setting.runs.join(dense)),
        }
    }

    /// The course of a run in these folders.
    pub fn course<'a>(&self, experiment: &'a Experiment, trainer: &'a Trainer) -> Course<'a> {
        Course {
            experiment,
            trainer,
            run: self.run.clone(),
            dense: self.dense.clone(),
            store_points: Vec::new(),
            ends: Ends::default(),
        }
    }

    /// Folders without a name: they depend on data that are not here.
    pub fn unknown() -> Self {
        let nowhere = || RunDir::new("");
        Self {
            run: nowhere(),
            dense: nowhere(),
        }
    }
}

/// Name of the folder of a dense level with this identity, computed on a device by kernels of our own or not; for
/// networks whose bits depend on the threads with their number.
pub fn dense_name(
    identity: &str,
    (device, by_kernels): (Device, bool),
    threads: Option<usize>,
) -> String {
    let short = identity.get(..8).unwrap_or(identity);
    match (device, threads) {
        (Device::Cpu, None) => format!("dense-{short}"),
        (Device::Cpu, Some(threads)) => format!("dense-{short}-{threads}t"),
        _ if by_kernels => format!("dense-{short}-cuda-kernels"),
        _ => format!("dense-{short}-cuda"),
    }
}

/// The folder of an experiment's run.
pub fn run_folder(runs: &Path, name: &str, identity: &Identity) -> RunDir {
    RunDir::new(runs.join(format!("{name}-{}", identity.short())))
}
