//! What `make check-cuda` does on a GPU, in a short form on the CPU: the script is tried where there is no GPU.

use std::path::Path;
use std::process::{Command, Output};

use end_to_end::program;

use crate::python::plain_python;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../cuda/check.py");

/// The script for a program, or nothing where there is no Python for it.
fn script(program: &Path) -> Option<Command> {
    let python = match plain_python() {
        Ok(python) => python,
        Err(reason) => {
            program::leave_out(&format!(
                "the dry run of `make check-cuda` is left out: {reason}"
            ));
            return None;
        }
    };
    let mut command = Command::new(python);
    command.arg(SCRIPT).arg(program);
    Some(command)
}

fn check(arguments: &[&str]) -> Option<Output> {
    let mut command = script(program::host())?;
    Some(command.args(arguments).output().unwrap())
}

fn lines(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    format!("{}{said}", String::from_utf8_lossy(&output.stdout))
}

#[test]
fn every_step_of_the_check_on_a_gpu_passes_on_the_cpu() {
    let kept = tempfile::tempdir().unwrap();
    let out = kept.path().to_str().unwrap();
    let Some(output) = check(&["--device", "cpu", "--short", "--out", out]) else {
        return;
    };
    let said = lines(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let table = std::fs::read_to_string(Path::new(out).join("table.txt")).unwrap();
    for row in [
        "repeated mlp tf32",
        "repeated resnet-20 bf16",
        "killed mlp graphs",
        "graphs cnn1d fp32",
        "accumulated mlp",
        "lanes mlp fp32",
        "own kernels mlp",
        "together cnn1d",
        "model vit",
        "experiment rigl",
        "verify 1 of",
    ] {
        assert!(table.contains(row), "no row {row}: {table}");
    }
    assert!(table.contains(" 0 failed, 0 left out"), "{table}");
}

/// The program, but it changes a file of each second run, and waits where it trains by `gmp`.
#[cfg(unix)]
const OTHERWISE: &str = r#"#!/bin/sh
case "$*" in *experiment-gmp*) sleep 60 ;; esac
"$PROGRAM" "$@" || exit
case "$*" in *-again*) for it in "$(dirname "$0")"/out/*-again/lrr-*/seed-0/level-01/summary.json; do echo >>"$it"; done ;; esac
"#;

#[cfg(unix)]
#[test]
fn what_differs_or_has_no_end_is_named() {
    use std::os::unix::fs::PermissionsExt;

    let desk = tempfile::tempdir().unwrap();
    let otherwise = desk.path().join("otherwise");
    std::fs::write(&otherwise, OTHERWISE).unwrap();
    std::fs::set_permissions(&otherwise, PermissionsExt::from_mode(0o755)).unwrap();
    let out = desk.path().join("out");
    let Some(mut command) = script(&otherwise) else {
        return;
    };
    command.env("PROGRAM", program::host());
    command.args(["--device", "cpu", "--short", "--limit", "20", "--out"]);
    command.arg(out);
    command.args(["--only", "repeated mlp fp32", "--only", "gmp"]);
    let output = command.output().unwrap();
    let said = lines(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("FAILED    1 of 115 files differ: lrr-"),
        "{said}"
    );
    assert!(
        said.contains("FAILED    ended after 20 s without an end"),
        "{said}"
    );
}

#[test]
fn without_a_gpu_one_line_says_so() {
    if tch::Cuda::device_count() > 0 {
        program::leave_out("what `make check-cuda` says without a GPU is left out: there is one");
        return;
    }
    let Some(output) = check(&[]) else {
        return;
    };
    let said = lines(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(
        said.starts_with("check-cuda: nothing to check: there is no CUDA device 0"),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1, "{said}");
}
