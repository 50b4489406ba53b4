//! Runs, reported and compared by the program.

// Clippy knows tests, but not the functions that they share.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::Command;

use end_to_end::program::{expect, host, only_run, run};
use serde_json::Value;

fn command(args: &[&str], folder: &Path) -> Command {
    let mut command = Command::new(host());
    command.args(args).current_dir(folder);
    command
}

#[test]
fn a_report_of_real_runs_and_a_comparison_of_them_have_the_same_digits() {
    let folder = tempfile::tempdir().unwrap();
    let runs = folder.path().join("runs");
    let short = [
        "--seeds",
        "0..3",
        "--set",
        "train.epochs=2",
        "--set",
        "prune.levels=2",
    ];
    let names = ["lrr", "imp"].map(|name| {
        expect(&mut run(&format!("{name}.toml"), &runs, &short), 0);
        let path = only_run(&runs, name);
        path.file_name().unwrap().to_string_lossy().into_owned()
    });
    let [lrr, imp] = names.each_ref().map(String::as_str);
    let output = expect(
        &mut command(&["report", imp, lrr, "--png", "--json"], folder.path()),
        0,
    );
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["report"], "runs/report/report.html");
    assert_eq!(report["missing"], serde_json::json!([]));
    let figures = runs.join("report/figures");
    for name in report["figures"].as_array().unwrap() {
        let name = name.as_str().unwrap();
        for ending in ["svg", "csv", "png"] {
            assert!(
                figures.join(format!("{name}.{ending}")).exists(),
                "{name}.{ending}"
            );
        }
    }
    let csv = fs::read_to_string(figures.join("runs-paired-test-accuracy.csv")).unwrap();
    let reported: Vec<Vec<&str>> = (csv.lines().skip(1))
        .map(|line| line.split(',').skip(3).collect())
        .collect();
    let output = expect(&mut command(&["compare", lrr, imp], folder.path()), 0);
    let table = String::from_utf8(output.stdout).unwrap();
    let shown: Vec<Vec<&str>> = (table.lines().skip(3))
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(shown.len(), 3);
    assert_eq!(shown, reported);
}

#[test]
fn a_report_of_what_is_not_there_ends_with_what_is() {
    let folder = tempfile::tempdir().unwrap();
    let output = expect(&mut command(&["report", "paper"], folder.path()), 2);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("there is no run paper; there are no runs in runs"),
        "{said}"
    );
}
