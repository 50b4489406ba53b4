//! Sweeps whose cells are stopped where they are behind.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use attack::hold::Hold;
use end_to_end::program::{command, digests, expect, only_run};
use serde_json::Value;

const RULE: &str = "[sweep.stop]\nat = [0, 1]\n";

/// Two cells that learn, which are one run and so never differ, and one that hardly does.
fn sweep(folder: &Path, rule: &str, more: &str) -> PathBuf {
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments/imp.toml");
    let text = format!(
        "base = {base:?}\nname = \"race\"\nseeds = [0, 1, 2]\n[data]\nvalidation = 0.25\n\
         [model]\nhidden = [16]\n[train]\nepochs = 2\n[prune]\ndensities = [0.5, 0.2]\n\
         [sweep.methods.imp]\n[sweep.methods.twin]\n\
         [sweep.methods.slow]\ntrain.optimizer.lr = 1e-7\n{rule}{more}"
    );
    let path = folder.join("race.toml");
    fs::write(&path, text).unwrap();
    path
}

fn run(file: &Path, runs: &Path, more: &[&str], code: i32) -> Output {
    let mut run = command();
    run.arg("run").arg(file).arg("--runs").arg(runs);
    expect(run.args(more), code)
}

/// What is in a folder of runs, but for what logs tell of how it came.
fn files(runs: &Path) -> BTreeMap<PathBuf, String> {
    let mut files = digests(runs);
    files.retain(|path, _| !path.starts_with("race/logs"));
    files
}

fn said(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn show(verb: &str, what: &str, runs: &Path, more: &[&str]) -> String {
    let mut show = command();
    show.args([verb, what, "--runs"]).arg(runs);
    said(&expect(show.args(more), 0).stdout)
}

#[test]
fn a_cell_that_is_behind_ends_and_the_others_have_the_bytes_of_a_sweep_without_the_rule() {
    let folder = tempfile::tempdir().unwrap();
    let free = folder.path().join("free");
    let file = sweep(folder.path(), "", "");
    run(&file, &free, &["--quiet", "--jobs", "1"], 0);
    let claim = "[[claims]]\nclaim = \"IMP is above slow\"\nabove = \"imp\"\nbelow = \"slow\"\n";
    let file = sweep(folder.path(), RULE, claim);
    let runs = folder.path().join("runs");
    let events = said(&run(&file, &runs, &["--json", "--jobs", "1"], 0).stdout);
    let events: Vec<Value> = events
        .lines()
        .map(|it| serde_json::from_str(it).unwrap())
        .collect();
    let stops: Vec<&Value> = events
        .iter()
        .filter(|it| it["event"] == "cell-stopped")
        .collect();
    assert_eq!(stops.len(), 1, "{stops:?}");
    assert_eq!(
        (&stops[0]["cell"], &stops[0]["level"]),
        (&"slow".into(), &0.into())
    );
    assert!(stops[0]["high"].as_f64().unwrap() < 0.0);
    let finished = events.last().unwrap();
    let states: Vec<&Value> = (0..2).map(|it| &finished["cells"][it]["state"]).collect();
    assert_eq!(states, ["done", "behind"]);
    // The rest has not heard of the rule.
    let slow = only_run(&runs, "race-slow");
    let slow_name = Path::new(slow.file_name().unwrap()).to_owned();
    assert!(slow.join("seed-1/level-00/done.json").exists());
    assert!(!slow.join("seed-0/level-01").exists());
    let of_rest = |runs: &Path| {
        let mut all = files(runs);
        all.retain(|path, _| !path.starts_with(&slow_name) && !path.starts_with("race"));
        all
    };
    assert_eq!(of_rest(&runs), of_rest(&free));
    who_reads_it_knows(&runs);
    // However it came to be, it is the same: killed at a rung, by processes side by side.
    let again = folder.path().join("again");
    let mut killed = command();
    killed
        .arg("run")
        .arg(&file)
        .args(["--quiet", "--claim", "--jobs", "2", "--runs"])
        .arg(&again);
    let mut hold = Hold::at(&mut killed, "rename", &again.join("race"));
    let mut child = killed.spawn().unwrap();
    let record = again.join("race/stopped.json");
    hold.until(&mut child, "the first decision", |_| record.exists());
    child.kill().unwrap();
    child.wait().unwrap();
    hold.release();
    let mut side_by_side: Vec<_> = (0..2)
        .map(|_| {
            let mut one = command();
            one.arg("run")
                .arg(&file)
                .args(["--quiet", "--claim", "--jobs", "1", "--runs"]);
            one.arg(&again).stdout(Stdio::null()).spawn().unwrap()
        })
        .collect();
    for child in &mut side_by_side {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(files(&again), {
        let mut expected = files(&runs);
        expected.retain(|path, _| {
            !path.starts_with("race/figures") && !path.starts_with("race/report")
        });
        expected.retain(|path, _| {
            !path.ends_with("report.html") && !path.ends_with("report-manifest.json")
        });
        expected
    });
    // Without the rule it goes on, to the bytes that it would have had.
    let file = sweep(folder.path(), "", "");
    run(&file, &again, &["--quiet", "--jobs", "1"], 0);
    assert_eq!(files(&again), files(&free));
}

/// What commands that read the sweep say of it.
fn who_reads_it_knows(runs: &Path) {
    let line = "slow was stopped at level 0: ";
    let text = show("show", "race", runs, &[]);
    assert!(
        text.contains(line) && text.contains(" by validation (95 %: "),
        "{text}"
    );
    let slow = only_run(runs, "race-slow");
    let slow = slow.file_name().unwrap().to_str().unwrap();
    let text = show("show", slow, runs, &[]);
    assert!(
        text.contains("stopped at level 0") && !text.contains("not finished"),
        "{text}"
    );
    let status: Value = serde_json::from_str(&show("status", "race", runs, &["--json"])).unwrap();
    assert_eq!(
        (&status["states"]["behind"], &status["states"]["done"]),
        (&1.into(), &2.into())
    );
    assert_eq!(
        (&status["levels_done"], &status["levels"]),
        (&21.into(), &21.into())
    );
    let listed = {
        let mut ls = command();
        ls.args(["ls", "--json"]).arg(runs);
        serde_json::from_slice::<Value>(&expect(&mut ls, 0).stdout).unwrap()
    };
    let entries = listed["entries"].as_array().unwrap();
    let state = |name: &str| &entries.iter().find(|it| it["name"] == name).unwrap()["state"];
    assert_eq!(
        (state("race"), state(slow)),
        (&"done".into(), &"behind".into())
    );
    let clean = {
        let mut clean = command();
        clean
            .args(["clean", "--unfinished", "--json", "--runs"])
            .arg(runs);
        serde_json::from_slice::<Value>(&expect(&mut clean, 0).stdout).unwrap()
    };
    assert_eq!(clean["chosen"], Value::Array(Vec::new()));
    let best: Value = serde_json::from_str(&show("best", "race", runs, &["--json"])).unwrap();
    assert_eq!(
        (&best["level"], best["runs"].as_array().unwrap().len()),
        (&2.into(), 2)
    );
    let report: Value = serde_json::from_str(&show("report", "race", runs, &["--json"])).unwrap();
    assert_eq!(report["missing"], Value::Array(Vec::new()), "{report}");
    let page = fs::read_to_string(runs.join("race/report.html")).unwrap();
    // Once among the runs that were stopped, and once beside the claim.
    assert_eq!(page.matches(line).count(), 2);
    show("verify", "race", runs, &[]);
}

#[test]
fn a_share_or_a_cell_alone_does_not_pass_a_rung() {
    let folder = tempfile::tempdir().unwrap();
    let file = sweep(folder.path(), RULE, "");
    let runs = folder.path().join("runs");
    let refused = run(&file, &runs, &["--task", "1/2"], 2);
    assert!(
        said(&refused.stderr).contains("expected --claim"),
        "{}",
        said(&refused.stderr)
    );
    assert!(!runs.join("race").exists());
    let waits = run(&file, &runs, &["--only", "imp", "--jobs", "1"], 4);
    let (table, text) = (said(&waits.stdout), said(&waits.stderr));
    assert!(
        table.contains("at level 0, where it goes on or ends once slow came there"),
        "{table}"
    );
    assert!(
        text.contains("run the whole sweep, without --only"),
        "{text}"
    );
    let mut plan = command();
    plan.arg("plan")
        .arg(&file)
        .args(["--no-estimate", "--runs"])
        .arg(&runs);
    let plan = said(&expect(&mut plan, 0).stdout);
    assert!(plan.contains("are stopped at level 0, 1"), "{plan}");
}
