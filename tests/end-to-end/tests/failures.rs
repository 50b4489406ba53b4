//! What goes wrong is said in a sentence, with the right exit code, and loses nothing.

#![allow(clippy::unwrap_used)]

use std::process::Command;

use end_to_end::program::{digests, expect, only_run, run, wait_until};

const SMALL: [&str; 6] = [
    "--set",
    "prune.levels=2",
    "--set",
    "train.epochs=1",
    "--seeds",
    "0..2",
];

fn small(experiment: &str, runs: &std::path::Path, more: &[&str]) -> Command {
    run(experiment, runs, &[&SMALL, more].concat())
}

fn said(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_plugin_that_breaks_a_rule_ends_the_run_with_three_and_keeps_the_dense_level() {
    let runs = tempfile::tempdir().unwrap();
    for (set, fragment) in [
        ("strategy.mask=misbehaving/one-too-many", "keep"),
        ("strategy.score=misbehaving/panics", "panicked"),
        ("strategy.score=misbehaving/nan", "expected finite numbers"),
    ] {
        let output = expect(&mut small("lrr.toml", runs.path(), &["--set", set]), 3);
        let said = said(&output);
        assert!(
            said.contains(fragment) && said.contains("of plugin `misbehaving`"),
            "{said}"
        );
    }
    // What was trained before the plugin failed is there for the next one.
    let output = expect(&mut small("lrr.toml", runs.path(), &["--json"]), 0);
    assert!(
        !String::from_utf8_lossy(&output.stdout)
            .contains("\"event\":\"level-started\",\"level\":0")
    );
}

#[test]
fn a_loss_that_is_no_number_gives_up_the_seed_with_the_step_named() {
    let runs = tempfile::tempdir().unwrap();
    let set = ["--set", "train.optimizer.lr=1e30"];
    let output = expect(&mut small("lrr.toml", runs.path(), &set), 5);
    let said = said(&output);
    assert!(
        said.contains("seed 0, level 0: the loss is no finite number from step"),
        "{said}"
    );
    assert!(
        said.contains("seed 1, level 0: the loss is no finite number from step"),
        "{said}"
    );
}

#[test]
fn the_seeds_beside_one_that_is_given_up_finish_with_the_bytes_they_have_alone() {
    let few = ["--set", "prune.levels=1", "--set", "train.epochs=2"];
    let wild = [
        "model={name=\"mlp\", hidden=[128, 128], batch_norm=false}",
        "train.schedule={name=\"constant\"}",
    ];
    // Which seeds such learning rates break depends on the processor's rounding; some break some.
    for lr in [6, 7, 5, 9, 10, 4, 12] {
        let lr = format!("train.optimizer.lr={lr}");
        let set: Vec<&str> = [wild[0], wild[1], lr.as_str()]
            .iter()
            .flat_map(|set| ["--set", set])
            .chain(few)
            .collect();
        let runs = tempfile::tempdir().unwrap();
        let seeds = ["--seeds", "0..8"];
        let output = run("lrr.toml", runs.path(), &[&set[..], &seeds].concat())
            .output()
            .unwrap();
        let own = only_run(runs.path(), "lrr");
        let is_whole = |seed: &u64| own.join(format!("seed-{seed}/level-01/done.json")).exists();
        let (whole, broken): (Vec<u64>, Vec<u64>) = (0..8).partition(is_whole);
        if whole.is_empty() || broken.is_empty() {
            continue;
        }
        assert_eq!(output.status.code(), Some(5));
        for seed in &broken {
            assert!(own.join(format!("seed-{seed}/failed.json")).exists());
            assert!(
                said(&output).contains(&format!("seed {seed}, level ")),
                "{}",
                said(&output)
            );
        }
        let alone = tempfile::tempdir().unwrap();
        let one = whole[0].to_string();
        expect(
            &mut run(
                "lrr.toml",
                alone.path(),
                &[&set[..], &["--seeds", &one]].concat(),
            ),
            0,
        );
        let folder = format!("seed-{one}");
        let other = only_run(alone.path(), "lrr").join(&folder);
        assert_eq!(digests(&own.join(&folder)), digests(&other));
        return;
    }
    panic!("no learning rate broke some seeds and left others whole");
}

#[test]
fn a_second_process_on_the_same_run_is_told_who_holds_it() {
    let runs = tempfile::tempdir().unwrap();
    // Never at its end while this looks at it.
    let more = ["--set", "train.epochs=1000000"];
    let mut first = small("lrr.toml", runs.path(), &more).spawn().unwrap();
    wait_until(&mut first, "the lock", || {
        std::fs::read_dir(runs.path())
            .into_iter()
            .flatten()
            .flatten()
            .any(|run| run.path().join("experiment.toml").exists())
    });
    let output = expect(&mut small("lrr.toml", runs.path(), &more), 5);
    let expected = format!("is in use by process {} on ", first.id());
    assert!(said(&output).contains(&expected), "{}", said(&output));
    first.kill().unwrap();
    first.wait().unwrap();
}

#[test]
fn all_mistakes_of_a_file_are_reported_at_once_before_anything_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("wrong.toml");
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/../../experiments/lrr.toml");
    let text = std::fs::read_to_string(shipped).unwrap();
    let base = concat!(env!("CARGO_MANIFEST_DIR"), "/../../experiments/imp.toml");
    let text = text.replace("base = \"imp.toml\"", &format!("base = {base:?}"));
    std::fs::write(
        &file,
        format!("{text}\n[train]\nepochz = 3\nbatch_size = \"many\"\n[model]\nname = \"mlq\"\n[data]\nname = \"mnist2d\"\n"),
    )
    .unwrap();
    let output = expect(run("", folder.path(), &[]).arg("--help"), 0);
    assert!(!output.stdout.is_empty());
    let mut command = Command::new(end_to_end::program::host());
    let output = expect(
        command
            .arg("run")
            .arg(&file)
            .arg("--runs")
            .arg(folder.path()),
        2,
    );
    let said = said(&output);
    for fragment in ["epochz", "batch_size", "mlq", "mnist2d", "wrong.toml:"] {
        assert!(said.contains(fragment), "{fragment} is missing in:\n{said}");
    }
}

#[test]
fn a_plugin_that_was_built_anew_is_refused_unless_allowed() {
    let runs = tempfile::tempdir().unwrap();
    let library = end_to_end::built::own().join(libloading_name("imp"));
    let copy = runs.path().join("libmine.so");
    std::fs::copy(&library, &copy).unwrap();
    let plugin = format!("plugins.mine.path={copy:?}");
    let score = "strategy.score=mine/magnitude";
    let more = ["--allow-plugins", "--set", &plugin, "--set", score];
    expect(&mut small("lrr.toml", runs.path(), &more), 0);
    let before = digests(&only_run(runs.path(), "lrr"));
    let mut bytes = std::fs::read(&copy).unwrap();
    // Bytes behind the last section change the digest and nothing else.
    bytes.extend_from_slice(b"changed");
    std::fs::write(&copy, bytes).unwrap();
    let output = expect(&mut small("lrr.toml", runs.path(), &more), 3);
    assert!(
        said(&output).contains("plugin `mine` was built anew"),
        "{}",
        said(&output)
    );
    let allowed = [&more[..], &["--allow-changed-plugins"]].concat();
    expect(&mut small("lrr.toml", runs.path(), &allowed), 0);
    let after = digests(&only_run(runs.path(), "lrr"));
    assert!(
        before
            .iter()
            .filter(|(path, _)| path.starts_with("seed-0"))
            .all(|(path, digest)| after[path] == *digest)
    );
}

fn libloading_name(name: &str) -> String {
    format!(
        "{}{name}{}",
        std::env::consts::DLL_PREFIX,
        std::env::consts::DLL_SUFFIX
    )
}
