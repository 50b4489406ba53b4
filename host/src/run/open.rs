//! Opening a run and training it.

use std::time::Duration;

use kernels::graphs::Library;
use kernels::shim;
use plugin_api::Step;

use super::algorithms::Algorithms;
use super::review::review;
use super::{
    Changed, Folders, HostCatalog, Identities, OpenError, Read, Setting, Threads, identity,
    manifest, ranks, run_folder,
};
use crate::experiment::{self, Diagnostics};
use crate::interrupt::Interrupt;
use crate::levels::{Course, Levels, Observer, Outcome, RunError, caught};
use crate::ranks::{Facts, Ranks};
use crate::records::{Summary, summaries, summary_csv};
use crate::store;
use crate::trainer::{OnGpu, Recorder, Trainer};

use std::path::Path;
use std::sync::Arc;

use tch::Device;

/// A run that can be trained.
pub struct Run {
    read: Read,
    trainer: Trainer,
    identities: Identities,
    folders: Folders,
    threads: Threads,
    warnings: Diagnostics,
    ranks: Option<Arc<Ranks>>,
    device: Device,
    algorithms: Option<Algorithms>,
}

/// How a run is trained. Nothing of it decides a result.
#[derive(Default)]
pub struct Conduct {
    /// Time between two checkpoints within a level; a minute if not given.
    pub checkpoint_every: Option<Duration>,
    /// Times of level 0 to store for other experiments, besides those that the strategy rewinds to.
    pub store_points: Vec<Step>,
    /// What the user asks for by signals.
    pub interrupt: Interrupt,
    /// What becomes of the run if a plugin was built anew since it started.
    pub changed_plugins: Changed,
    /// How long to wait for a process that has the run and was led by one that is gone.
    pub patience: Option<Duration>,
    /// The last level to train; the experiment's last if not given. A later call goes on from there.
    pub to_level: Option<u64>,
}

/// What a run came to.
pub struct Ended {
    /// How it came to its end.
    pub outcome: Outcome,
    /// The summaries of all levels that are finished, of all seeds that the run ever had.
    pub summaries: Vec<Summary>,
}

/// What records steps, where that is asked for and can be had.
fn recorder(setting: &Setting) -> Option<Box<dyn Recorder>> {
    if !setting.graphs {
        return None;
    }
    if !setting.device.is_cuda() {
        log::warn!(
            "--cuda-graphs is for GPUs, and this run is trained on the CPU: steps are not recorded"
        );
        return None;
    }
    match Library::get() {
        Ok(library) => Some(Box::new(OnGpu::new(library, setting.device))),
        Err(absent) => {
            log::warn!("--cuda-graphs: {absent}. Steps are not recorded, and are slower for it");
            None
        }
    }
}

const CHECKPOINT_EVERY: Duration = Duration::from_secs(60);

impl Run {
    /// Reads an experiment file with its plugins and data. Nothing is written.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn open(file: &Path, setting: &Setting) -> Result<Self, OpenError> {
        let catalog = HostCatalog::new(setting);
        let read = Read::new(
            experiment::load(file, &setting.overrides, &catalog)?,
            &catalog,
        )?;
        if setting.device.is_cuda() {
            shim::set_deterministic(true).map_err(|error| OpenError::Device(error.to_string()))?;
        }
        let data = read
            .data(setting)
            .map_err(|error| read.diagnose_data(error))?;
        let identities = read.identities(&data);
        let trainer = read.taught(read.trainer(data, setting.device)?, true)?;
        let threads = setting.threads_of(&trainer, read.seeds.len());
        let trainer = trainer.side_by_side(threads.abreast);
        let mut trainer = trainer.with_seeds_together(setting.seeds_together);
        let name = &read.loaded.experiment.name;
        let run = run_folder(&setting.runs, name, &identities.own);
        let algorithms = match Algorithms::of(&run, setting)? {
            Some((algorithms, kernels)) => {
                if let Some(kernels) = kernels {
                    trainer = trainer.computed_by(kernels);
                }
                Some(algorithms)
            }
            None => None,
        };
        if let Some(recorder) = recorder(setting) {
            trainer = trainer.recorded_by(recorder);
        }
        if trainer.shards() > 1 {
            // What strategies ask of the trainer does not depend on the threads of a process, either.
            tch::set_num_threads(threads.each as i32);
        }
        let folders = Folders::of(name, &identities, &trainer, setting);
        let course = folders.course(&read.loaded.experiment, &trainer);
        let found = review(&read, &course)?;
        let (errors, warnings) = found.by_severity();
        if !errors.is_empty() {
            return Err(errors.into());
        }
        Ok(Self {
            folders,
            warnings,
            threads,
            ranks: None,
            device: setting.device,
            algorithms,
            read,
            trainer,
            identities,
        })
    }

    /// What is run.
    pub fn experiment(&self) -> &experiment::Experiment {
        &self.read.loaded.experiment
    }

    /// What of the experiment file has no effect, each at its place.
    pub fn warnings(&self) -> &Diagnostics {
        &self.warnings
    }

    /// Where it lies.
    pub fn folders(&self) -> &Folders {
        &self.folders
    }

    /// Shards that every batch is cut into: as many processes as divide it can train together.
    pub fn shards(&self) -> u64 {
        self.trainer.shards()
    }

    /// What trains it.
    pub(crate) fn trainer_mut(&mut self) -> &mut Trainer {
        &mut self.trainer
    }

    /// What processes must have in common to train this run together.
    ///
    /// # Errors
    /// If the program's own file cannot be read.
    pub fn facts(&self) -> Result<Facts, OpenError> {
        ranks::facts(&self.read, &self.identities, self.threads, self.device)
    }

    /// Has the run trained together with other processes.
    pub fn join(&mut self, ranks: Arc<Ranks>) {
        self.trainer.join(ranks.clone());
        self.ranks = Some(ranks);
    }

    /// Does what rank 0 says, until it says to leave: with which exit code.
    ///
    /// # Errors
    /// If a rank is lost, or something fails here.
    pub fn follow(&self) -> Result<u8, OpenError> {
        tch::set_num_threads(self.threads.each as i32);
        let follow = || self.trainer.follow().map_err(RunError::from);
        caught(follow).map_err(OpenError::Run)
    }

    /// Trains what is not done yet, and writes what the run is and what it came to.
    ///
    /// # Errors
    /// If the run is another experiment's, another process has it, a plugin was built anew, or what
    /// stopped it; what was finished stays, and the same call goes on from there.
    pub fn train(
        &mut self,
        conduct: Conduct,
        observer: &mut dyn Observer,
    ) -> Result<Ended, OpenError> {
        let run = self.folders.run.clone();
        let levels = Levels {
            course: Course {
                store_points: conduct.store_points,
                ..self
                    .folders
                    .course(&self.read.loaded.experiment, &self.trainer)
            },
            threads: self.threads.each,
            checkpoint_every: conduct.checkpoint_every.unwrap_or(CHECKPOINT_EVERY),
            interrupt: conduct.interrupt,
            to_level: conduct.to_level,
        };
        for seed in &self.read.seeds {
            levels
                .course
                .stored_steps(seed)
                .map_err(OpenError::Points)?;
        }
        let lock = match conduct.patience {
            Some(patience) => run.lock_within(patience),
            None => run.lock(),
        }?;
        if !lock.is_first() {
            store::refresh(run.path());
        }
        run.tidy();
        let now = identity::identify(
            &self.folders,
            &self.read,
            &self.identities,
            conduct.changed_plugins,
        )?;
        let before = manifest::open(&run)?;
        now.write(&run)?;
        if let Some(algorithms) = &self.algorithms {
            algorithms.write(&run)?;
        }
        keep_copies(&run, &self.read.loaded.experiment)?;
        store::write(
            &run.file("experiment.toml"),
            self.read.loaded.text.as_bytes(),
        )?;
        let outcome = levels.run(&mut self.read.seeds, observer);
        // Who lost the run while it stood still may miss files that its successor has removed since: that is why.
        if outcome.is_err() {
            store::ask(run.path())?;
        }
        // Whatever came of the run, its table says what is there; what stopped it is said first.
        let summaries = summarise(&run).and_then(|summaries| {
            let own = &self.read.loaded.experiment.seeds;
            manifest::list(&run, own, before.as_ref())?;
            Ok(summaries)
        });
        Ok(Ended {
            outcome: outcome.map_err(OpenError::Run)?,
            summaries: summaries?,
        })
    }
}

/// Puts copies of the files that the model's options name into the run, which is whole without the originals then.
fn keep_copies(run: &store::RunDir, experiment: &experiment::Experiment) -> Result<(), OpenError> {
    for file in experiment::files_of(&experiment.model) {
        let copy = run.file(&file.copy);
        if copy.exists() && store::digest(&copy)? == file.digest {
            continue;
        }
        let bytes = store::read(&file.path)?;
        let got = blake3::hash(&bytes).to_hex();
        if got.as_str() != file.digest {
            return Err(OpenError::Store(store::StoreError::Damaged {
                path: file.path,
                reason: format!(
                    "it changed while it was read: its BLAKE3 is {got}, expected {}",
                    file.digest
                ),
            }));
        }
        store::write(&copy, &bytes)?;
    }
    Ok(())
}

/// Collects the finished levels of all seeds that the run ever had and writes them as CSV.
fn summarise(run: &store::RunDir) -> Result<Vec<Summary>, OpenError> {
    let summaries = summaries(run, &run.seeds())?;
    store::write(&run.file("summary.csv"), &summary_csv(&summaries)?)?;
    Ok(summaries)
}
