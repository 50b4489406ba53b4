//! `host plugin check`: what is shipped keeps every rule, and each way of breaking one is found and
//! said.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::rules::{RULES, Rule, When};
use end_to_end::built::{loader, own};
use end_to_end::program::{expect, host};
use serde_json::Value;

/// A plugin's file among those built with this test.
fn file(name: &str) -> PathBuf {
    loader(own()).load(name, None).unwrap().path.clone()
}

fn check(name: &str, more: &[&str]) -> Command {
    let mut command = Command::new(host());
    command.args(["plugin", "check"]).arg(file(name)).args(more);
    command
}

/// What `--json` says, with this exit code.
fn report(command: &mut Command, code: i32) -> Value {
    let output = expect(command.arg("--json"), code);
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The rules of a component of a report.
fn rules_of<'a>(report: &'a Value, kind: &str, component: &str) -> &'a Vec<Value> {
    let components = report["components"].as_array().unwrap();
    let own = components
        .iter()
        .find(|it| it["kind"] == kind && it["component"] == component);
    own.unwrap()["rules"].as_array().unwrap()
}

#[test]
fn every_shipped_plugin_keeps_every_quick_rule() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins");
    let mut names: Vec<String> = (std::fs::read_dir(folder).unwrap())
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.push("drop-and-grow".to_owned());
    // What its components do follows from a file, which needs an interpreter: `python_strategies` checks it.
    names.retain(|name| name != "python");
    assert!(names.len() > 10);
    for name in names {
        let report = report(&mut check(&name, &["--quick"]), 0);
        for component in report["components"].as_array().unwrap() {
            let rules = component["rules"].as_array().unwrap();
            assert!(rules.len() >= 10, "{name}: {rules:?}");
            for rule in rules {
                let verdict = rule["verdict"].as_str().unwrap();
                let skipped = rule["rule"] == "devices" && verdict == "skipped";
                assert!(verdict == "kept" || skipped, "{name}: {rule}");
            }
        }
    }
}

#[test]
fn the_slow_rules_are_kept_too_and_say_what_they_measured() {
    let slow = ["--rule", "large-layer,memory", "--only", "magnitude,global"];
    let report = report(&mut check("imp", &slow), 0);
    for (kind, component) in [("score", "magnitude"), ("mask", "global")] {
        let rules = rules_of(&report, kind, component);
        let names: Vec<&str> = rules
            .iter()
            .map(|it| it["rule"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["large-layer", "memory"]);
        assert!(
            rules.iter().all(|it| it["verdict"] != "broken"),
            "{rules:?}"
        );
        let note = rules[0]["note"].as_str().unwrap();
        assert!(note.contains(" ms a call for a million weights"), "{note}");
    }
}

/// Whether one of the rules is broken in the way that the row says.
fn is_found(rules: &[Value], row: &Rule) -> bool {
    let broken = rules.iter().filter(|rule| rule["verdict"] == "broken");
    let of_the_row = |rule: &Value, got: &str| match row.when {
        When::Dropped => rule["rule"] == "drop" && got.contains("no end today"),
        _ => got.contains(row.says),
    };
    let mut found = false;
    for rule in broken {
        for failure in rule["failures"].as_array().unwrap() {
            let text = |key: &str| failure[key].as_str().unwrap();
            assert!(!text("case").is_empty() && !text("expected").is_empty());
            found |= of_the_row(rule, text("got"));
        }
    }
    found
}

#[test]
fn every_misbehaving_component_is_found_with_its_message() {
    let report = report(&mut check("misbehaving", &["--quick"]), 3);
    let is_seen = |row: &&Rule| !matches!(row.when, When::EndsTheProcess | When::Beside);
    for row in RULES.iter().filter(is_seen) {
        let rules = rules_of(&report, row.kind, row.component);
        assert!(
            is_found(rules, row),
            "{} {}: {rules:#?}",
            row.kind,
            row.component
        );
    }
}

#[test]
fn a_component_that_ends_the_process_ends_one_of_the_checks_own() {
    for row in RULES.iter().filter(|row| row.when == When::EndsTheProcess) {
        let only = format!("{}/{}", row.kind, row.component);
        let mut command = check("misbehaving", &["--only", &only, "--rule", "answers,drop"]);
        let limit = if row.component == "never-returns" {
            "4"
        } else {
            "60"
        };
        command.args(["--time-limit", limit, "--memory-limit", "1"]);
        let report = report(command.env("MISBEHAVE", row.component), 3);
        let rules = rules_of(&report, row.kind, row.component);
        let got = rules[0]["failures"][0]["got"].as_str().unwrap();
        let expected = match row.component {
            "never-returns" => {
                "the process did not return within 4 s of its own time (--time-limit)"
            }
            "allocates-without-end" => "the process held more than 1 GiB (--memory-limit)",
            _ => row.says,
        };
        assert!(got.contains(expected), "{got}");
        // The next rule is checked all the same.
        assert_eq!(rules[1]["rule"], "drop");
    }
}

/// State and parent of a process, by the system's account.
#[cfg(target_os = "linux")]
fn state(process: u32) -> Option<(String, u32)> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut words = after_name.split_whitespace();
    Some((words.next()?.to_owned(), words.next()?.parse().ok()?))
}

#[cfg(target_os = "linux")]
fn children(parent: u32) -> Vec<u32> {
    let number = |entry: std::fs::DirEntry| entry.file_name().to_str()?.parse().ok();
    let is_child = |process: &u32| state(*process).is_some_and(|(_, of)| of == parent);
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(number).filter(is_child).collect()
}

/// A machine that is too busy is one that gives a process no time, as a stop does. By the clock on the
/// wall each process takes more than twice its limit.
#[test]
#[cfg(target_os = "linux")]
fn a_plugin_that_gets_no_processor_time_for_longer_than_the_limit_breaks_no_rule() {
    use std::time::{Duration, Instant};
    let mut command = check("imp", &["--only", "magnitude", "--quick", "--json"]);
    command.args(["--rule", "answers", "--time-limit", "2"]);
    command.stdout(std::process::Stdio::piped());
    let mut checking = command.spawn().unwrap();
    let signal = |process: u32, name: &str| {
        let mut kill = Command::new("kill");
        // It may have ended by itself.
        let _ = kill
            .args([format!("-{name}"), process.to_string()])
            .output();
    };
    let pause = Duration::from_millis(10);
    let (mut seen, mut stopped) = (Vec::new(), 0);
    while checking.try_wait().unwrap().is_none() {
        for process in children(checking.id()) {
            if seen.contains(&process) {
                continue;
            }
            seen.push(process);
            signal(process, "STOP");
            let is = |wanted: &str| state(process).is_some_and(|(state, _)| state == wanted);
            while !is("T") && !is("Z") && state(process).is_some() {
                std::thread::sleep(pause);
            }
            if is("T") {
                stopped += 1;
                // The limit is one on time, so the test takes some.
                let start = Instant::now();
                while start.elapsed() < Duration::from_secs(5) {
                    std::thread::sleep(pause);
                }
            }
            signal(process, "CONT");
        }
        std::thread::sleep(pause);
    }
    // One process describes the plugin, one checks the component.
    assert!(stopped >= 1, "{seen:?}");
    let output = checking.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    for rule in rules_of(&report, "score", "magnitude") {
        assert_eq!(rule["verdict"], "kept", "{rule}");
    }
}

#[test]
fn a_failure_can_be_seen_again() {
    let mut command = check(
        "misbehaving",
        &["--only", "mask/one-too-many", "--quick", "--seed", "5"],
    );
    let output = expect(&mut command, 3);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let again = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("again     "))
        .unwrap_or_else(|| panic!("{text}"));
    let mut words = again.split(' ').skip(1);
    assert!(
        again.contains("--seed 5") && again.contains("--rule answers"),
        "{again}"
    );
    let mut second = Command::new(host());
    expect(second.args(words.by_ref()), 3);
}

#[test]
fn junit_counts_what_the_report_counts() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.xml");
    let path = file.to_str().unwrap();
    let only = "score/nan,score/magnitude";
    expect(&mut check("misbehaving", &["--only", only, "--quick"]), 2);
    expect(
        &mut check(
            "misbehaving",
            &["--only", "score/nan", "--quick", "--junit", path],
        ),
        3,
    );
    let xml = std::fs::read_to_string(&file).unwrap();
    assert!(xml.starts_with("<?xml"), "{xml}");
    assert!(xml.contains("expected finite numbers"), "{xml}");
    let suite = format!("tests=\"{}\"", xml.matches("<testcase").count());
    assert!(xml.contains(&suite), "{xml}");
    let failures = format!("failures=\"{}\"", xml.matches("<failure").count());
    assert!(
        xml.contains(&failures) && !failures.contains("\"0\""),
        "{xml}"
    );
}

#[test]
fn what_there_is_not_is_refused_with_what_there_is() {
    for (more, says) in [
        (
            ["--rule", "anwers"],
            "there is no rule `anwers`; the rules are metadata, ",
        ),
        (
            ["--only", "magnitud"],
            "has no component `magnitud`; it has score/magnitude, ",
        ),
    ] {
        let output = expect(&mut check("imp", &more), 2);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(says), "{said}");
    }
    let mut command = Command::new(host());
    let output = expect(command.args(["plugin", "check", "no-such-file.so"]), 3);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("no-such-file.so is no file"), "{said}");
}

#[test]
fn the_guide_has_every_rule_in_its_words() {
    let guide = include_str!("../../../docs/conformance.md");
    for rule in conformance::RULES {
        let slow = if rule.slow { "slow" } else { "" };
        let row = format!("| `{}` | {} | {slow} |", rule.name, rule.says);
        assert!(guide.contains(&row), "docs/conformance.md lacks {row}");
    }
}
