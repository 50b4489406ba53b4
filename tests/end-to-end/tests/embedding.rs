//! A program of somebody's own runs an experiment, and the run is one like any other.

use std::path::Path;
use std::process::Command;

use end_to_end::built;
use end_to_end::program::{command, expect, host, only_run};

#[test]
fn what_the_example_runs_passes_verify_and_the_program_goes_on_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let experiment =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments/mnist1d-cnn-lrr.toml");
    let mut embedding = Command::new(built::example("embed"));
    embedding.current_dir(folder.path());
    let said = expect(embedding.arg(&experiment).arg(host()), 0);
    let said = String::from_utf8_lossy(&said.stdout);
    assert!(said.contains("seed 0 level 1: test accuracy "), "{said}");
    let runs = folder.path().join("runs");
    let run = only_run(&runs, "mnist1d-cnn-lrr");
    assert!(run.join("seed-0/level-01/done.json").exists());
    let verified = expect(command().arg("verify").arg(&run), 0);
    let verified = String::from_utf8_lossy(&verified.stdout);
    assert!(verified.contains("nothing is wrong"), "{verified}");
    assert!(
        verified.contains("start"),
        "the strategy was not asked: {verified}"
    );
    // The same experiment on the command line finds all of it done.
    let mut again = command();
    again.current_dir(folder.path()).arg("run").arg(&experiment);
    again.args(["--set", "prune.levels=1", "--threads", "1", "--json"]);
    let again = expect(&mut again, 0);
    let again = String::from_utf8_lossy(&again.stdout);
    assert!(!again.contains("level-started"), "{again}");
}
