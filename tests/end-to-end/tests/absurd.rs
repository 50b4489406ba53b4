//! Files that would block, never end or ask for more than there is: refused in a sentence, soon.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use attack::patience::PATIENCE;
use end_to_end::program::{self, expect, only_run, run};

/// What the program says and how it ends, which it must.
fn said(command: &mut Command) -> (Option<i32>, String) {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if start.elapsed() > PATIENCE {
            child.kill().unwrap();
            panic!("{command:?} does not end");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let Output { status, stderr, .. } = child.wait_with_output().unwrap();
    (status.code(), String::from_utf8_lossy(&stderr).into_owned())
}

fn plan(file: &Path, more: &[&str]) -> (Option<i32>, String) {
    let runs = file.with_file_name("runs");
    let mut command = program::command();
    command.args(["plan", "--no-estimate"]).arg(file);
    command.arg("--runs").arg(runs);
    said(command.args(more))
}

fn shipped(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments");
    folder
        .join(name)
        .canonicalize()
        .unwrap()
        .display()
        .to_string()
}

fn pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[test]
fn pipes_and_devices_in_the_place_of_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    pipe(&at("pipe"));
    let (code, text) = plan(&at("pipe"), &[]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("it is a pipe or a device"), "{text}");
    fs::write(at("zero.toml"), "base = \"/dev/zero\"\n").unwrap();
    let (code, text) = plan(&at("zero.toml"), &[]);
    assert_eq!(code, Some(2), "{text}");
    assert!(
        text.contains("zero.toml:1:8") && text.contains("a pipe or a device"),
        "{text}"
    );
    // A library, too, which is not tried before it is looked at.
    let base = shipped("lrr.toml");
    for library in ["pipe", "/dev/zero"] {
        let own = format!(
            "base = {base:?}\nstrategy.score = \"mine/x\"\nplugins.mine.path = {library:?}\n"
        );
        fs::write(at("plugin.toml"), own).unwrap();
        let (code, text) = plan(&at("plugin.toml"), &[]);
        assert!(code == Some(2) || code == Some(3), "{text}");
        assert!(text.contains("mine"), "{text}");
    }
}

#[test]
fn experiments_that_name_each_others_runs_in_a_circle_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let base = shipped("lrr.toml");
    for (own, other) in [("a.toml", "b.toml"), ("b.toml", "a.toml")] {
        let text = format!(
            "base = {base:?}\n[strategy]\nmask = {{ use = \"transplant/levels\", run = {other:?} }}\n"
        );
        fs::write(folder.path().join(own), text).unwrap();
    }
    let (code, text) = plan(&folder.path().join("a.toml"), &[]);
    assert_eq!(code, Some(2), "{text}");
    assert!(
        text.contains("takes from a run that takes from itself"),
        "{text}"
    );
}

#[test]
fn no_number_that_a_file_may_hold_takes_the_program_down() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lrr.toml");
    fs::write(&file, format!("base = {:?}\n", shipped("lrr.toml"))).unwrap();
    let (most, signed) = (u64::MAX.to_string(), i64::MAX.to_string());
    for set in [
        format!("train.epochs={most}"),
        format!("train.epochs={signed}"),
        format!("train.batch_size={most}"),
        format!("train.batch_size={signed}"),
        format!("train.schedule.warmup={most}it"),
        format!("train.schedule.warmup={most}0it"),
        format!("train.evaluate_every={most}ep"),
        "train.evaluate_every=0it".to_owned(),
        "prune.levels=10000".to_owned(),
        "prune.rate=1e-300".to_owned(),
        "model.hidden=[4294967295, 4294967295]".to_owned(),
        format!("model.hidden=[{signed}]"),
        format!("model.hidden=[{}8]", "8, ".repeat(500)),
        format!("seeds=[{most}]"),
    ] {
        let (code, text) = plan(&file, &["--set", &set]);
        assert!(matches!(code, Some(0 | 2)), "{set}: {code:?} {text}");
        assert!(!text.contains("panicked"), "{set}: {text}");
    }
}

#[test]
fn a_report_of_a_run_that_asks_for_levels_without_end_comes_to_one() {
    let runs = tempfile::tempdir().unwrap();
    let small = [
        "--set",
        "prune.levels=1",
        "--set",
        "train.epochs=1",
        "--seeds",
        "0",
    ];
    expect(&mut run("lrr.toml", runs.path(), &small), 0);
    let own = only_run(runs.path(), "lrr");
    let path = own.join("experiment.toml");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("levels = 1\n"), "{text}");
    let endless = format!("levels = {}\n", i64::MAX);
    fs::write(&path, text.replace("levels = 1\n", &endless)).unwrap();
    for command in ["report", "show"] {
        let (code, text) = said(program::command().arg(command).arg(&own));
        assert!(matches!(code, Some(0 | 5)), "{command}: {code:?} {text}");
        assert!(!text.contains("panicked"), "{command}: {text}");
    }
}
