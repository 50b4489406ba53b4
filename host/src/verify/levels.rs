//! The levels of one seed.

use std::fs;
use std::path::Path;

use tch::Tensor;

use super::masks::Stored;
use super::{LevelVerdict, Means, Verdict, dense, files, masks, metrics, records, start};
use crate::levels::check_checkpoint;
use crate::program;
use crate::store::{LevelDir, RunDir, RunIdentity, SeedDir, expect_digest};

/// A level that is being checked.
pub(super) struct Level<'a> {
    pub run: &'a RunDir,
    pub seed: u64,
    pub level: u64,
    pub dir: LevelDir,
}

impl Level<'_> {
    /// A file of the level as the verdict names it.
    pub fn named(&self, file: &str) -> String {
        let Self { seed, level, .. } = self;
        match file {
            "" => format!("seed-{seed}/level-{level:02}"),
            file => format!("seed-{seed}/level-{level:02}/{file}"),
        }
    }
}

/// Checks what a seed has finished, and its checkpoint.
pub(super) fn check_seed(run: &RunDir, seed: u64, means: &mut Means<'_>, verdict: &mut Verdict) {
    let home = run.seed(seed);
    let numbers = numbers(home.path());
    let last = numbers.last().copied();
    let mut before: Option<Vec<(String, Tensor)>> = None;
    for number in 0..=last.unwrap_or(0) {
        let level = Level {
            run,
            seed,
            level: number,
            dir: home.level(number),
        };
        if !level.dir.file("done.json").exists() {
            unfinished(&level, Some(number) < last, verdict);
            before = None;
            continue;
        }
        let Some(count) = check_files(&level, verdict) else {
            before = None;
            continue;
        };
        let mut checked = vec!["files"];
        before = check_content(&level, before.as_deref(), means, &mut checked, verdict);
        verdict.levels.push(LevelVerdict {
            seed,
            level: number,
            files: count,
            checked,
        });
    }
    if files::is_dense(run) {
        dense::check_seed(&home, seed, verdict);
    }
    check_progress(run, seed, &home, verdict);
}

/// Numbers of the levels that have a folder, ascending.
fn numbers(home: &Path) -> Vec<u64> {
    let entries = fs::read_dir(home).into_iter().flatten().flatten();
    let number = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().ok()?;
        name.strip_prefix("level-")?.parse().ok()
    };
    let mut numbers: Vec<u64> = entries.filter_map(number).collect();
    numbers.sort_unstable();
    numbers
}

/// A level without a `done.json`.
fn unfinished(level: &Level<'_>, has_later: bool, verdict: &mut Verdict) {
    let done = level.named("done.json");
    if level.dir.file("summary.json").exists() || has_later {
        let why = match has_later {
            true => "although later levels are there",
            false => "although the level's other files are there",
        };
        verdict.problem(
            done,
            format!(
                "it is missing {why}; the same `{} run` trains that level again",
                program::name()
            ),
        );
    } else if level.dir.path().is_dir() {
        verdict.note(format!(
            "seed {}: level {} is not finished",
            level.seed, level.level
        ));
    }
}

/// Every file of a finished level is what was written: their number, if all are.
fn check_files(level: &Level<'_>, verdict: &mut Verdict) -> Option<u64> {
    let read = match level.dir.read_sealed() {
        Ok(read) => read,
        Err(error) => {
            verdict.problem(level.named("done.json"), files::reason(&error));
            return None;
        }
    };
    if !read.sealed {
        verdict.unchecked(
            "every bit of done.json",
            "a version wrote levels of the run that gave it no digest",
        );
    }
    let mut count = 1;
    let mut whole = true;
    for (file, expected) in &read.value.digests {
        match expect_digest(&level.dir.file(file), expected) {
            Ok(()) => count += 1,
            Err(error) => {
                whole = false;
                verdict.problem(level.named(file), files::reason(&error));
            }
        }
    }
    for file in level.dir.names() {
        if file != "done.json" && !read.value.digests.contains_key(&file) {
            verdict.note(format!("{} is no file of the level", level.named(&file)));
        }
    }
    verdict.files += count;
    whole.then_some(count)
}

/// What the files of a level hold. Returns its masks, for the level after it.
fn check_content(
    level: &Level<'_>,
    before: Option<&[(String, Tensor)]>,
    means: &mut Means<'_>,
    checked: &mut Vec<&'static str>,
    verdict: &mut Verdict,
) -> Option<Vec<(String, Tensor)>> {
    let stored = match Stored::read(level) {
        Ok(stored) => stored,
        Err((file, reason)) => {
            verdict.problem(level.named(&file), reason);
            return None;
        }
    };
    masks::check(level, &stored, before, means, checked, verdict);
    if level.level > 0 && before.is_none() {
        verdict.unchecked(
            format!(
                "whether {} keeps only what was kept",
                level.named("mask.safetensors")
            ),
            "the level before it is not whole",
        );
    }
    records::check(level, &stored, means, checked, verdict);
    metrics::check(level, &stored, means, checked, verdict);
    if !verdict.is_wrong(&level.named("")) {
        start::check(level, &stored, means, checked, verdict);
    }
    if level.level == 0 && !files::is_dense(level.run) {
        dense::check(level, checked, verdict);
        dense::check_states(level, means, verdict);
    }
    Some(stored.masks)
}

/// The checkpoint of the level under way: in the run, and of level 0 in the shared folder.
fn check_progress(run: &RunDir, seed: u64, home: &SeedDir, verdict: &mut Verdict) {
    let mut check = |home: &SeedDir, name: String| match check_checkpoint(home) {
        Ok(Some((level, step))) => {
            verdict.files += 2;
            verdict.note(format!(
                "seed {seed} stands at step {step} of level {level}: {name} is whole"
            ));
        }
        Ok(None) if home.progress().is_dir() => verdict.note(format!(
            "{name} holds no checkpoint.json: the level under way starts anew"
        )),
        Ok(None) => {}
        Err(error) => verdict.problem(
            name,
            format!(
                "{error}; the same `{} run` starts that level anew",
                program::name()
            ),
        ),
    };
    check(home, format!("seed-{seed}/progress"));
    let identity = RunIdentity::read(run).ok().flatten();
    let dense = identity.and_then(|read| read.value.dense);
    if let (Some(dense), false) = (dense, home.level(0).file("done.json").exists()) {
        let folder = run.path().with_file_name(&dense);
        let shared = RunDir::new(folder).seed(seed);
        check(&shared, format!("../{dense}/seed-{seed}/progress"));
    }
}
