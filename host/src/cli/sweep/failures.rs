//! Runs that failed by their own fault: many who share a sweep must not try them for ever.
//!
//! A run whose process failed, or was killed, is noted with what it ran and how far it was, to the step. Whoever comes to it
//! tries it again, up to three times at one place; then `--claim` and `--task` leave it alone until the user asks
//! for it, or what it runs is another: an edited file, a mended plugin, another build of the program.

use std::cell::OnceCell;
use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use tch::Device;

use super::jobs::{Job, RUN, Task};
use crate::levels::place_of;
use crate::run::dense_name;
use crate::standing::failed::{self, Failed};
use crate::store::{self, RunDir, StoreError};

/// The failures of a sweep's runs.
pub struct Failures {
    sweep: PathBuf,
    program: OnceCell<String>,
}

impl Failures {
    /// Those of a sweep in this folder.
    pub fn of(sweep: &Path) -> Self {
        Self {
            sweep: sweep.to_owned(),
            program: OnceCell::new(),
        }
    }

    /// How a job failed, if it did and would run the same again.
    pub fn get(&self, job: &Job) -> Option<Failed> {
        let failed = failed::read(&self.sweep, &job.log)?;
        (failed.ran == self.ran(job)).then_some(failed)
    }

    /// The logs of the jobs of which a failure is noted.
    pub fn noted(&self) -> HashSet<String> {
        failed::noted(&self.sweep)
    }

    /// Notes that a job failed.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn add(&self, job: &Job, seeds: &[u64], reason: &str) -> Result<(), StoreError> {
        let place = place(job, seeds);
        // One that got further was not stopped by what stopped it before.
        let before = self.get(job);
        let before = before.filter(|it| (it.levels_done, it.steps_done) == place);
        let failed = Failed {
            times: before.map_or(0, |it| it.times) + 1,
            ran: self.ran(job),
            levels_done: place.0,
            steps_done: place.1,
            reason: reason.to_owned(),
        };
        let text = serde_json::to_string_pretty(&failed).unwrap_or_default();
        store::write(&self.file(job), format!("{text}\n").as_bytes())
    }

    /// Forgets that a job failed.
    ///
    /// # Errors
    /// If that cannot be removed.
    pub fn forget(&self, job: &Job) -> Result<(), StoreError> {
        store::remove(&self.file(job))
    }

    fn file(&self, job: &Job) -> PathBuf {
        failed::file_of(&self.sweep, &job.log)
    }

    /// A digest of what a job runs.
    fn ran(&self, job: &Job) -> String {
        let program = self.program.get_or_init(|| {
            let own = std::env::current_exe().ok();
            own.and_then(|it| store::digest(&it).ok())
                .unwrap_or_default()
        });
        let what = match &job.task {
            Task::Run { text, .. } => text.clone(),
            Task::Barrier(other) => format!("{:?} {other:?}", job.run),
        };
        let all = [program.clone(), what]
            .into_iter()
            .chain(job.plugins.iter().cloned());
        blake3::hash(all.collect::<Vec<_>>().join("\n").as_bytes())
            .to_hex()
            .to_string()
    }
}

/// Levels that are finished, and steps of those under way, of all seeds together.
fn place(job: &Job, seeds: &[u64]) -> (u64, u64) {
    if job.noun != RUN {
        return (0, 0);
    }
    let run = RunDir::new(&job.run);
    let levels = seeds.iter().map(|&seed| run.seed(seed).finished_levels());
    // The dense level is trained in a folder of its own, whose name also says on what.
    let shared = dense_name(&job.dense, (Device::Cpu, false), None);
    let beside = fs::read_dir(job.run.parent().unwrap_or(&job.run));
    let folders = beside.into_iter().flatten().flatten();
    let folders = folders.filter(|it| it.file_name().to_string_lossy().starts_with(&shared));
    let homes = folders
        .map(|it| RunDir::new(it.path()))
        .chain([run.clone()]);
    let steps = homes.flat_map(|home| {
        let step = |&seed: &u64| place_of(&home.seed(seed)).map_or(0, |(_, step)| step);
        seeds.iter().map(step).collect::<Vec<u64>>()
    });
    (levels.sum(), steps.sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::standing::failed::MOST;

    fn job(run: &Path, text: &str) -> Job {
        Job {
            name: "a".to_owned(),
            cells: Vec::new(),
            noun: RUN,
            log: "a".to_owned(),
            task: Task::Run {
                file: PathBuf::new(),
                text: text.to_owned(),
            },
            run: run.to_owned(),
            sources: Vec::new(),
            dense: String::new(),
            points: Vec::new(),
            levels: 3,
            plugins: vec!["0badcafe".to_owned()],
        }
    }

    #[test]
    fn failures_at_one_place_are_counted_until_something_changes() {
        let folder = tempfile::tempdir().unwrap();
        let (sweep, run) = (folder.path().join("sweep"), folder.path().join("run"));
        let failures = Failures::of(&sweep);
        let own = job(&run, "epochs = 1");
        let times = |job: &Job| failures.get(job).map_or(0, |it| it.times);
        assert_eq!(times(&own), 0);
        for time in 1..=MOST {
            failures.add(&own, &[0, 1], "broken").unwrap();
            assert_eq!(times(&own), time);
        }
        // An edited experiment and a mended plugin are tried again.
        let mended = Job {
            plugins: vec!["1badcafe".to_owned()],
            ..job(&run, "epochs = 1")
        };
        assert_eq!((times(&mended), times(&job(&run, "epochs = 2"))), (0, 0));
        // So is what got further.
        let level = RunDir::new(&run).seed(1).level(0);
        store::write(&level.file("done.json"), b"").unwrap();
        failures.add(&own, &[0, 1], "killed").unwrap();
        assert_eq!(times(&own), 1);
        let said = failed::read(&sweep, "a").unwrap();
        assert_eq!((said.reason.as_str(), said.levels_done), ("killed", 1));
        assert_eq!(failures.noted(), HashSet::from(["a".to_owned()]));
        failures.forget(&own).unwrap();
        failures.forget(&own).unwrap();
        assert!(failures.noted().is_empty());
        assert_eq!(times(&own), 0);
    }

    #[test]
    fn a_note_that_a_killed_process_did_not_finish_is_forgotten_with_the_failure() {
        let folder = tempfile::tempdir().unwrap();
        let sweep = folder.path().join("sweep");
        let failures = Failures::of(&sweep);
        let own = job(&folder.path().join("run"), "epochs = 1");
        let half = sweep.join("failures/a.json.0badcafe.tmp");
        std::fs::create_dir_all(sweep.join("failures")).unwrap();
        std::fs::write(&half, b"{").unwrap();
        assert_eq!(failures.noted(), ["a".to_owned()].into());
        failures.forget(&own).unwrap();
        assert!(failures.noted().is_empty() && !half.exists());
    }
}
