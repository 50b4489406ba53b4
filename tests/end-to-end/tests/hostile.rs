//! Components that take the process down or keep it: the user is told which, and loses nothing.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

use crate::rules::{RULES, Rule, When};
use end_to_end::built::{loader, own};
use end_to_end::program::{digests, expect, host, only_run, run};

fn enders() -> impl Iterator<Item = &'static Rule> {
    let ends = |rule: &&Rule| rule.when == When::EndsTheProcess;
    RULES.iter().filter(ends)
}

fn small(component: &str, runs: &Path, more: &[&str]) -> Command {
    limited(component, runs, "600", more)
}

/// The same with so many seconds for a call.
fn limited(component: &str, runs: &Path, limit: &str, more: &[&str]) -> Command {
    let score = format!("strategy.score=misbehaving/{component}");
    let small = [
        "--set",
        "prune.levels=2",
        "--set",
        "train.epochs=1",
        "--seeds",
        "0..2",
        "--set",
        score.as_str(),
        "--plugin-time-limit",
        limit,
        "--plugin-memory-limit",
        "0.5",
    ];
    run("lrr.toml", runs, &[&small[..], more].concat())
}

#[test]
fn a_component_that_ends_the_process_is_named_and_the_run_goes_on_without_a_trace() {
    for rule in enders() {
        let (runs, whole) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        // Of the one that never returns a moment is enough; any other may need long on a busy machine.
        let limit = if rule.component == "never-returns" {
            "1.5"
        } else {
            "600"
        };
        let mut command = limited(rule.component, runs.path(), limit, &[]);
        let output = expect(command.env("MISBEHAVE", rule.component), 3);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let start = format!(
            "error: {} component `{}` of plugin `misbehaving` {}",
            rule.kind, rule.component, rule.says
        );
        let line = said.lines().find(|line| line.starts_with(&start));
        let line = line.unwrap_or_else(|| panic!("{start}: {said}"));
        assert!(
            line.contains("(seed 0, level 1); what is stored is whole"),
            "{line}"
        );
        // The level that ended just before was being written then.
        let done = only_run(runs.path(), "lrr").join("seed-0/level-01/done.json");
        assert!(done.exists(), "{}: level 1 is lost", rule.component);

        // Without its whim it goes on, and nothing shows where it was ended.
        expect(&mut small(rule.component, runs.path(), &[]), 0);
        expect(&mut small(rule.component, whole.path(), &[]), 0);
        for seed in ["seed-0", "seed-1"] {
            let of = |runs: &Path| digests(&only_run(runs, "lrr").join(seed));
            assert_eq!(of(runs.path()), of(whole.path()), "{}", rule.component);
        }
    }
}

#[test]
fn with_json_the_last_line_is_json() {
    let runs = tempfile::tempdir().unwrap();
    let mut command = small("aborts", runs.path(), &["--json"]);
    let output = expect(command.env("MISBEHAVE", "aborts"), 3);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let error: serde_json::Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert_eq!(error["exit"], 3);
    let text = error["error"].as_str().unwrap();
    assert!(
        text.starts_with("score component `aborts` of plugin `misbehaving` ended"),
        "{text}"
    );
}

#[test]
fn limits_do_not_touch_calls_that_keep_them() {
    let runs = tempfile::tempdir().unwrap();
    expect(&mut small("never-returns", runs.path(), &[]), 0);
}

#[test]
fn a_limit_that_is_none_is_refused() {
    let runs = tempfile::tempdir().unwrap();
    for limit in ["0", "-1", "soon"] {
        let mut command = run("lrr.toml", runs.path(), &["--plugin-time-limit", limit]);
        let output = expect(&mut command, 2);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            said.contains("expected a positive number") || limit == "-1",
            "{said}"
        );
    }
}

#[test]
fn a_strangers_plugin_is_tried_in_a_process_of_its_own_first() {
    let shipped = loader(own()).load("misbehaving", None).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(shipped.path.file_name().unwrap());
    std::fs::copy(&shipped.path, &file).unwrap();
    let show = |whim: &str| {
        let mut command = Command::new(host());
        command
            .args(["plugin", "show"])
            .arg(&file)
            .env("MISBEHAVE", whim);
        command
    };
    expect(&mut show(""), 0);
    for (whim, how) in [
        ("aborts", "SIGABRT"),
        ("reads-nowhere", "SIGSEGV"),
        ("exits", "by exit"),
    ] {
        let output = expect(&mut show(whim), 3);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let reason = format!(
            "did not pass its trial: score component `{whim}` of plugin `misbehaving` ended the process"
        );
        assert!(said.contains(&reason) && said.contains(how), "{said}");
    }
}
