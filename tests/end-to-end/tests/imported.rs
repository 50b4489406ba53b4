//! Networks that PyTorch exported are pruned as any other.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use attack::hold::Hold;
use end_to_end::program::{command, digests, expect, only_run};

const SMALL: &str = r#"
name = "imported"
seeds = [0]
data = { name = "mnist1d" }
model = { name = "pt2", file = "net.pt2", init = "pytorch" }

[train]
epochs = 2
batch_size = 100
optimizer = { name = "sgd", lr = 0.1, momentum = 0.9, weight_decay = 5e-4 }

[prune]
levels = 2
rate = 0.5

[strategy]
score = "imp/magnitude"
mask = "imp/global"
rewind = "lrr/learning-rate"
"#;

fn shipped(name: &str) -> PathBuf {
    let top = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    PathBuf::from(format!("{top}/experiments/networks/{name}.pt2"))
}

/// A folder with an experiment and its network.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("small.toml"), SMALL).unwrap();
    fs::copy(shipped("mlp"), folder.path().join("net.pt2")).unwrap();
    folder
}

/// The folder's experiment, with its runs in there.
fn train(folder: &Path) -> Command {
    let mut command = command();
    command.arg("run").arg(folder.join("small.toml"));
    command.arg("--runs").arg(folder.join("runs"));
    command.args(["--threads", "1"]);
    command
}

fn said(output: &std::process::Output) -> String {
    let both = [&output.stdout[..], &output.stderr].concat();
    String::from_utf8_lossy(&both).into_owned()
}

#[test]
fn a_run_that_is_killed_goes_on_to_the_same_bytes_and_is_whole_without_the_original() {
    let (one, other) = (folder(), folder());
    expect(&mut train(one.path()), 0);
    let mut killed = train(other.path());
    let mut hold = Hold::at_events(&mut killed);
    let mut child = killed.spawn().unwrap();
    let runs = other.path().join("runs");
    hold.until(&mut child, "level 1", |_| {
        let folders = fs::read_dir(&runs).into_iter().flatten().flatten();
        (folders.map(|it| it.path())).any(|it| it.join("seed-0/level-01/done.json").exists())
    });
    child.kill().unwrap();
    child.wait().unwrap();
    expect(&mut train(other.path()), 0);
    let [whole, again] = [&one, &other].map(|it| only_run(&it.path().join("runs"), "imported"));
    let levels = |run: &Path| digests(&run.join("seed-0"));
    assert_eq!(levels(&whole), levels(&again));
    let copy = fs::read(whole.join("model.pt2")).unwrap();
    assert_eq!(copy, fs::read(shipped("mlp")).unwrap());

    // The archive is gone: what is stored can be looked at, not trained.
    fs::remove_file(one.path().join("net.pt2")).unwrap();
    let verified = said(&expect(command().arg("verify").arg(&whole), 0));
    assert!(verified.contains("nothing is wrong"), "{verified}");
    let export = one.path().join("level.safetensors");
    let mut exports = command();
    exports.arg("export").arg(&whole).arg("-o").arg(&export);
    expect(exports.args(["--format", "safetensors"]), 0);
    let refused = said(&expect(&mut train(one.path()), 2));
    assert!(
        refused.contains("net.pt2") && refused.contains("small.toml:5"),
        "{refused}"
    );
    // Its own experiment file finds the copy.
    let mut own = command();
    own.arg("run").arg(whole.join("experiment.toml"));
    own.arg("--runs").arg(one.path().join("runs"));
    expect(own.args(["--threads", "1"]), 0);
    assert_eq!(levels(&whole), levels(&again));
}

#[test]
fn an_archive_counts_by_what_it_holds_and_not_by_where_it_lies() {
    let folder = folder();
    let named = |more: &[&str]| {
        let mut plan = command();
        plan.arg("plan").arg(folder.path().join("small.toml"));
        plan.arg("--runs").arg(folder.path().join("runs"));
        let said = expect(plan.args(more).arg("--json"), 0).stdout;
        let plan: serde_json::Value = serde_json::from_slice(&said).unwrap();
        plan["run"].clone()
    };
    let first = named(&[]);
    assert!(first.is_string(), "{first}");
    let moved = folder.path().join("elsewhere.pt2");
    fs::copy(shipped("mlp"), &moved).unwrap();
    let elsewhere = format!("model.file={:?}", moved.to_string_lossy());
    assert_eq!(named(&["--set", &elsewhere]), first);
    // Another network is refused by the shape of what it takes.
    fs::copy(shipped("vit"), &moved).unwrap();
    let mut plan = command();
    plan.arg("plan").arg(folder.path().join("small.toml"));
    let refused = said(&expect(plan.args(["--set", &elsewhere]), 2));
    assert!(refused.contains("expected [1, 28, 28]"), "{refused}");
}
