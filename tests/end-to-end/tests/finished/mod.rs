//! A small finished run, ways to damage its files, and what `host verify` finds.

// Each test that takes it in uses a part of it.
#![allow(dead_code)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use attack::tree;
use end_to_end::program::{self, expect, only_run, run};
use host::experiment;
use host::store::RunDir;
use host::verify::{Means, Verdict};

/// Small, but with everything: a stored point, points that a policy gave other weights, two levels.
pub const SMALL: [&str; 12] = [
    "--set",
    "model.hidden=[8]",
    "--set",
    "prune.levels=2",
    "--set",
    "train.epochs=2",
    "--set",
    "train.evaluate_every=\"1ep\"",
    "--set",
    "strategy.rewind=[{ use = \"imp/weights\", to = \"1ep\" }, \
     { use = \"sign-perturbation/flip\", fraction = 0.3, lasting = true, levels = [2] }]",
    "--checkpoint-every",
    "600",
];

pub fn small(runs: &Path, more: &[&str]) -> Command {
    let seeds: &[&str] = match more.contains(&"--seeds") {
        true => &[],
        false => &["--seeds", "0"],
    };
    run("wr.toml", runs, &[&SMALL, seeds, more].concat())
}

pub fn command(verb: &str, run: &Path, more: &[&str]) -> Command {
    let mut command = program::command();
    command.arg(verb).arg(run).args(more);
    command
}

/// Runs of one finished experiment.
pub struct Finished {
    pub runs: tempfile::TempDir,
    pub run: PathBuf,
}

pub fn finished(more: &[&str]) -> Finished {
    let runs = tempfile::tempdir().unwrap();
    expect(&mut small(runs.path(), more), 0);
    let run = only_run(runs.path(), "wr");
    Finished { runs, run }
}

/// A verdict from the files alone, by the library: hundreds of them take seconds.
pub fn verdict(run: &Path) -> Verdict {
    let experiment = experiment::read_stored(&run.join("experiment.toml"));
    let left_out = || "the test leaves it out".to_owned();
    let mut means = Means {
        experiment: experiment.as_ref().map_err(host::verify::reason),
        identity: Err(left_out()),
        trainer: Err(left_out()),
        strategy: Err(left_out()),
    };
    host::verify::run(&RunDir::new(run), &mut means)
}

/// A way to damage a file; nothing if it does nothing to this one.
pub type Way = (&'static str, fn(&[u8]) -> Option<Vec<u8>>);

/// Everything but deletion, which leaves nothing.
pub const WAYS: [Way; 6] = [
    ("deleted", |_| None),
    ("cut to half", |bytes| Some(bytes[..bytes.len() / 2].into())),
    ("cut by a byte", |bytes| {
        Some(bytes[..bytes.len() - 1].into())
    }),
    ("a bit flipped in the first byte", |bytes| {
        Some(flipped(bytes, 0, 0))
    }),
    ("a bit flipped in the middle", |bytes| {
        Some(flipped(bytes, bytes.len() / 2, 3))
    }),
    ("a bit flipped in the last byte", |bytes| {
        Some(flipped(bytes, bytes.len() - 1, 6))
    }),
];

pub fn flipped(bytes: &[u8], at: usize, bit: u32) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 1 << bit;
    bytes
}

/// Damages a file where it lies, so that a file that is linked elsewhere is damaged there too.
pub fn damage(path: &Path, way: &Way) {
    match way.1(&fs::read(path).unwrap()) {
        Some(bytes) => fs::write(path, bytes).unwrap(),
        None => fs::remove_file(path).unwrap(),
    }
}

/// The files below a folder but locks, by their path from there.
pub fn files(folder: &Path) -> Vec<String> {
    let name = |path: &PathBuf| path.to_string_lossy().into_owned();
    tree::files(folder).iter().map(name).collect()
}

pub fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let to = to.join(&file);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(from.join(&file), to).unwrap();
    }
}

/// The only folder of dense levels.
pub fn dense(runs: &Path) -> PathBuf {
    let entries = fs::read_dir(runs).unwrap().map(|entry| entry.unwrap());
    let is_dense = |path: &PathBuf| {
        path.file_name()
            .unwrap()
            .to_string_lossy()
            .starts_with("dense-")
    };
    let found: Vec<PathBuf> = entries.map(|it| it.path()).filter(is_dense).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].clone()
}
