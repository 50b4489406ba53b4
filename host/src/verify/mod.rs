//! Checks a run from what it left on disk: that every file is what was written, that what the files
//! hold keeps the invariants, and that the records are what the stored weights give.
//!
//! Nothing is written, and nothing is believed: counts come from the experiment's file, masks from
//! the stored weights by the strategy's own plugins, test metrics from evaluating the weights again.

mod dense;
mod files;
mod further;
mod levels;
mod masks;
mod metrics;
mod records;
mod signs;
mod start;
mod verdict;

pub use files::{Kind, kind, reason};
pub use verdict::{LevelVerdict, Problem, Unchecked, Verdict};

use std::path::Path;

use crate::experiment::{Experiment, Identity};
use crate::levels::{Course, Seed};
use crate::program;
use crate::records::{STOPPED_FILE, StopRecord};
use crate::store::{MANIFEST, RunDir, RunIdentity};
use crate::trainer::Trainer;

/// What a run is compared with besides its own files; what is not there, with the reason.
pub struct Means<'a> {
    /// The experiment as its file in the run says.
    pub experiment: Result<&'a Experiment, String>,
    /// The identity of that file, with the plugins that are here.
    pub identity: Result<&'a Identity, String>,
    /// The network on its data.
    pub trainer: Result<&'a Trainer, String>,
    /// The strategy, to make starts and masks once more.
    pub strategy: Result<(&'a Course<'a>, &'a mut [Seed]), String>,
}

/// Checks a run, as far as it got.
pub fn run(run: &RunDir, means: &mut Means<'_>) -> Verdict {
    let mut verdict = Verdict::new(run.path());
    files::check_run(run, means, &mut verdict);
    check_identity(run, means, &mut verdict);
    for seed in run.seeds() {
        levels::check_seed(run, seed, means, &mut verdict);
    }
    files::check_derived(run, &mut verdict);
    files::note_strangers(run, &mut verdict);
    let mut lacking = |what: &str, why: Option<&String>| {
        if let Some(why) = why {
            verdict.unchecked(what, why);
        }
    };
    lacking(
        "test metrics, initial weights, effective weights and steps",
        means.trainer.as_ref().err(),
    );
    lacking(
        "masks and starts against score, mask and rewind",
        means.strategy.as_ref().err(),
    );
    if verdict.levels.iter().any(|it| it.level > 0 || it.files > 0) {
        verdict.unchecked(
            "training losses and learning rates",
            "only training again would give them",
        );
    }
    verdict
}

/// Checks a sweep's or a simulation's own files; `main` is the one that says what it is.
pub fn collection(folder: &Path, main: &str) -> Verdict {
    let mut verdict = Verdict::new(folder);
    if !files::check_manifest(folder, MANIFEST, &mut verdict) {
        verdict.unchecked(
            format!("every bit of {main} and the files beside it"),
            "there is no manifest.json: an older version wrote it, or it was removed",
        );
    }
    if !folder.join(main).exists() {
        verdict.problem(
            main,
            format!(
                "it is missing; the same `{} run` writes it anew",
                program::name()
            ),
        );
    }
    if let Err(error) = StopRecord::read(folder) {
        verdict.problem(
            STOPPED_FILE,
            format!("{error}; the same `{} run` writes it anew", program::name()),
        );
    }
    files::check_report(folder, &mut verdict);
    verdict
}

/// The run's identity is that of its experiment.
fn check_identity(run: &RunDir, means: &Means<'_>, verdict: &mut Verdict) {
    let known = match RunIdentity::read(run) {
        Ok(Some(known)) => known,
        // Missing or damaged: named with the files.
        _ => return,
    };
    if !known.sealed {
        verdict.unchecked(
            "every bit of identity.json",
            "a version wrote it that gave it no digest",
        );
    }
    match &means.identity {
        Err(why) => verdict.unchecked("the identity of experiment.toml", why),
        Ok(own) if own.hash == known.value.identity && own.canonical == known.value.canonical => {
            verdict.holds("identity");
        }
        Ok(own) => verdict.problem(
            "identity.json",
            format!(
                "its identity is {}, that of experiment.toml is {}",
                known.value.identity, own.hash
            ),
        ),
    }
}
