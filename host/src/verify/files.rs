//! Every file of a folder: it is there, and every byte of it is what was written.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::{Means, Verdict};
use crate::program;
use crate::records::{self, KEPT};
use crate::store::{
    self, ALGORITHMS, COPIES, Lock, MANIFEST, Manifest, REPORT_MANIFEST, RUN_FILES, RunDir,
    RunIdentity, StoreError,
};
use crate::tensorboard;

/// What a folder is, also where the file that says so is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A run, or shared dense levels.
    Run,
    /// A sweep.
    Sweep,
    /// A simulation of the hidden neuron.
    Neuron,
}

/// What a folder is: what its manifest lists, or else what lies in it.
pub fn kind(folder: &Path) -> Kind {
    let manifest = Manifest::read(folder, MANIFEST).ok().flatten();
    let has = |file: &str| {
        let listed = (manifest.as_ref()).is_some_and(|it| it.files.contains_key(file));
        listed || folder.join(file).exists()
    };
    if has("sweep.json") || folder.join("cells").is_dir() {
        Kind::Sweep
    } else if has(crate::neuron::FILE) || has("fractions.csv") {
        Kind::Neuron
    } else {
        Kind::Run
    }
}

/// Compares the files that a manifest lists with their digests; false if there is no manifest.
pub(super) fn check_manifest(folder: &Path, name: &str, verdict: &mut Verdict) -> bool {
    match Manifest::read(folder, name) {
        Ok(None) => false,
        Ok(Some(manifest)) => {
            verdict.files += 1;
            check_list(folder, &manifest, verdict);
            true
        }
        Err(error) => {
            verdict.problem(name, reason(&error));
            true
        }
    }
}

fn check_list(folder: &Path, manifest: &Manifest, verdict: &mut Verdict) {
    for (file, expected) in &manifest.files {
        match store::expect_digest(&folder.join(file), expected) {
            Ok(()) => verdict.files += 1,
            Err(error) => verdict.problem(file, reason(&error)),
        }
    }
}

/// What is wrong with a file, without its path, which stands beside it.
pub fn reason(error: &StoreError) -> String {
    match error {
        StoreError::Damaged { reason, .. } => reason.clone(),
        StoreError::Read { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            "it is missing".to_owned()
        }
        other => other.to_string(),
    }
}

/// Files of a run as a whole, and those that other commands wrote into it.
pub(super) fn check_run(run: &RunDir, means: &Means<'_>, verdict: &mut Verdict) {
    let holder = Lock::holder(&run.file("lock"));
    if let Some(by) = &holder {
        verdict.note(format!(
            "process {} on {} is at work on it: what it writes at the moment may look unfinished",
            by.pid, by.host
        ));
    }
    if is_dense(run) {
        verdict.note("a folder of dense levels, without an experiment of its own");
        return;
    }
    if let Err(error) = RunIdentity::read(run) {
        verdict.problem("identity.json", reason(&error));
    }
    for file in ["identity.json", "experiment.toml"] {
        if !run.file(file).exists() {
            verdict.problem(
                file,
                format!(
                    "it is missing; `{} run` on the experiment writes it anew",
                    program::name()
                ),
            );
        }
    }
    if let Err(why) = &means.experiment {
        verdict.problem("experiment.toml", why);
    }
    let is_finished = means.experiment.as_ref().is_ok_and(|experiment| {
        let last = |seed: &u64| run.seed(*seed).level(experiment.last_level());
        let done = |seed: &u64| last(seed).file("done.json").exists();
        experiment.seeds.iter().all(done)
    });
    if check_manifest(run.path(), MANIFEST, verdict) {
        check_listed(run, is_finished && holder.is_none(), verdict);
    } else if !is_sealed(run) {
        verdict.unchecked(
            "every bit of experiment.toml and identity.json, and whether a file is gone",
            "a version wrote the run that kept no manifest.json",
        );
    } else if is_finished && holder.is_none() {
        verdict.problem(
            MANIFEST,
            format!(
                "it is missing although the run is finished; the same `{} run` writes it anew",
                program::name()
            ),
        );
    } else {
        verdict.unchecked(
            "every bit of experiment.toml, and whether a file is gone",
            "the run is not finished, and was not stopped in order: it has no manifest.json yet",
        );
    }
    for kept in KEPT {
        if !check_manifest(run.path(), kept.manifest, verdict) && run.file(kept.file).exists() {
            verdict.problem(
                kept.manifest,
                format!(
                    "it is missing beside {}; remove that file too, and `{} {}` measures anew",
                    kept.file,
                    program::name(),
                    kept.command
                ),
            );
        }
    }
    check_report(run.path(), verdict);
}

/// The page and the figures that `report` wrote into a folder.
pub(super) fn check_report(folder: &Path, verdict: &mut Verdict) {
    if !check_manifest(folder, REPORT_MANIFEST, verdict) && folder.join("report.html").exists() {
        verdict.problem(
            REPORT_MANIFEST,
            format!(
                "it is missing beside report.html; `{} report` writes both anew",
                program::name()
            ),
        );
    }
}

/// A finished run's manifest lists the files that every run has.
fn check_listed(run: &RunDir, is_finished: bool, verdict: &mut Verdict) {
    let Ok(Some(manifest)) = Manifest::read(run.path(), MANIFEST) else {
        return;
    };
    let missing: Vec<&str> = (RUN_FILES.into_iter())
        .filter(|file| !manifest.files.contains_key(*file))
        .collect();
    if missing.is_empty() {
        verdict.holds("manifest");
        return;
    }
    let missing = missing.join(", ");
    if is_finished {
        verdict.problem(
            MANIFEST,
            format!("it does not list {missing}: the last command was killed, and the same one completes it"),
        );
    } else {
        verdict.unchecked(
            format!("every bit of {missing}"),
            "a command on the run has not come to its end",
        );
    }
}

/// Whether a folder is one of shared dense levels.
pub(super) fn is_dense(run: &RunDir) -> bool {
    let files = ["identity.json", "experiment.toml", MANIFEST];
    !files.iter().any(|file| run.file(file).exists())
}

/// Whether this version, or a later one, wrote a level of it.
fn is_sealed(run: &RunDir) -> bool {
    run.seeds().into_iter().any(|seed| {
        let read = run.seed(seed).level(0).read_sealed();
        read.is_ok_and(|read| read.sealed)
    })
}

/// What is made of the levels' records: it is what they give.
pub(super) fn check_derived(run: &RunDir, verdict: &mut Verdict) {
    if is_dense(run) {
        return;
    }
    if verdict
        .problems
        .iter()
        .any(|it| it.file.starts_with("seed-"))
    {
        verdict.unchecked(
            "summary.csv and TensorBoard's files against the records",
            "something is wrong with the levels",
        );
        return;
    }
    let table = records::summaries(run, &run.seeds())
        .map_err(|error| error.to_string())
        .and_then(|all| records::summary_csv(&all).map_err(|error| error.to_string()));
    let written = fs::read(run.file("summary.csv")).ok();
    match (table, written) {
        (Err(error), _) => verdict.problem("summary.csv", error),
        (Ok(table), Some(written)) if table == written => verdict.holds("summary.csv"),
        (Ok(_), Some(_)) => verdict.problem(
            "summary.csv",
            format!(
                "it is not the table of the levels' summaries; `{} run` writes it anew",
                program::name()
            ),
        ),
        (Ok(_), None) => {
            verdict.note(format!(
                "there is no summary.csv: `{} run` writes it at its end",
                program::name()
            ));
        }
    }
    let mut all = true;
    for seed in run.seeds() {
        let file = tensorboard::file_of(seed);
        let written = fs::read(run.file(&file)).ok();
        match (tensorboard::bytes(run, seed), written) {
            (Ok(Some(bytes)), Some(written)) if bytes == written => {}
            (Ok(Some(bytes)), Some(written)) if bytes.starts_with(&written) => {
                all = false;
                verdict.problem(
                    file,
                    format!(
                        "it lacks what the last records say; `{} tensorboard` completes it",
                        program::name()
                    ),
                );
            }
            (Ok(Some(_)), Some(_)) => {
                all = false;
                verdict.problem(
                    file,
                    format!(
                        "it is not what the records say; `{} tensorboard` writes it anew",
                        program::name()
                    ),
                );
            }
            (Err(error), _) => verdict.problem(file, reason(&error)),
            (Ok(None), _) | (Ok(_), None) => all = false,
        }
    }
    if all {
        verdict.holds("TensorBoard's files");
    }
}

/// Files that nothing accounts for.
pub(super) fn note_strangers(run: &RunDir, verdict: &mut Verdict) {
    let mut known: BTreeSet<String> = [MANIFEST, REPORT_MANIFEST].map(str::to_owned).into();
    known.extend(KEPT.map(|it| it.file.to_owned()));
    known.extend(KEPT.map(|it| it.manifest.to_owned()));
    known.extend(RUN_FILES.map(str::to_owned));
    known.insert("report.html".to_owned());
    known.extend(COPIES.map(str::to_owned));
    known.insert(ALGORITHMS.to_owned());
    for name in [MANIFEST, REPORT_MANIFEST] {
        let manifest = Manifest::read(run.path(), name).ok().flatten();
        known.extend(manifest.into_iter().flat_map(|it| it.files.into_keys()));
    }
    for seed in run.seeds() {
        known.insert(tensorboard::file_of(seed));
        known.insert(format!("seed-{seed}/failed.json"));
    }
    let mut strangers = Vec::new();
    walk(run.path(), "", &mut |file| {
        let is_lock = file.split('/').any(|part| part == "lock");
        let folders = ["/level-", "/progress/", "/points/"];
        let of_level =
            file.starts_with("seed-") && folders.iter().any(|folder| file.contains(folder));
        if !is_lock && !of_level && !known.contains(file) {
            strangers.push(file.to_owned());
        }
    });
    strangers.sort();
    for file in strangers {
        verdict.note(format!("{file} is no file of the run"));
    }
}

fn walk(folder: &Path, prefix: &str, visit: &mut dyn FnMut(&str)) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            walk(&entry.path(), &format!("{name}/"), visit);
        } else {
            visit(&name);
        }
    }
}
