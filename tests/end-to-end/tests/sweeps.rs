//! Sweeps: many runs by one command.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use end_to_end::program::{digests, expect, host, only_run, wait_until};

/// A sweep of small networks.
fn sweep(folder: &Path, more: &str) -> PathBuf {
    let path = folder.join("small.toml");
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments/imp.toml");
    let text = format!(
        "base = {base:?}\nname = \"small\"\nseeds = [0, 1]\n\
         [model]\nhidden = [16]\n[train]\nepochs = 2\n[prune]\nlevels = 2\n{more}"
    );
    fs::write(&path, text).unwrap();
    path
}

const METHODS: &str = r#"
[sweep.methods.imp]
[sweep.methods.wr]
strategy.rewind = { use = "imp/weights", to = "1ep" }
[sweep.methods.lrr]
strategy.rewind = "lrr/learning-rate"
[sweep.methods.back]
strategy.rewind = { use = "imp/weights", to = "lrr#level-1-end" }
"#;

fn command(verb: &str, file: &Path, runs: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(host());
    command.arg(verb).arg(file).args(["--quiet", "--runs"]);
    command.arg(runs).args(more);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command.stderr(Stdio::piped());
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_cell_has_the_bytes_of_the_same_experiment_run_alone() {
    let folder = tempfile::tempdir().unwrap();
    let barriers = "[sweep]\nbarriers = [[\"lrr\"], [\"lrr\", \"imp\"]]\n";
    let file = sweep(folder.path(), &format!("{barriers}{METHODS}"));
    let runs = folder.path().join("runs");
    expect(&mut command("run", &file, &runs, &["--jobs", "2"]), 0);
    let alone = folder.path().join("alone");
    for cell in ["imp", "wr", "lrr"] {
        let own = runs.join(format!("small/cells/small-{cell}.toml"));
        expect(&mut command("run", &own, &alone, &["--threads", "1"]), 0);
        let name = format!("small-{cell}");
        let (swept, single) = (only_run(&runs, &name), only_run(&alone, &name));
        assert_eq!(swept.file_name(), single.file_name());
        let own_levels = |run: &Path| {
            let mut all = digests(run);
            // Level 0 of the sweep also holds the points that other methods rewind to, and the manifest
            // has the digest of its list.
            all.retain(|path, _| !path.to_string_lossy().contains("level-00"));
            for file in ["barriers.jsonl", "barriers-manifest.json", "manifest.json"] {
                all.remove(Path::new(file));
            }
            all
        };
        assert_eq!(own_levels(&swept), own_levels(&single), "{cell}");
    }
    // What the sweep measured when its runs were done: two lines between levels for each of two seeds,
    // and three between the ends of two methods.
    let lrr = only_run(&runs, "small-lrr");
    let lines = fs::read_to_string(lrr.join("barriers.jsonl")).unwrap();
    assert_eq!(lines.lines().count(), 2 * 2 + 2 * 3);
    // One dense level for all, with the point that one of them rewinds to, and trained once.
    let dense: Vec<PathBuf> = fs::read_dir(&runs)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.file_name()
                .unwrap()
                .to_string_lossy()
                .starts_with("dense-")
        })
        .collect();
    assert_eq!(dense.len(), 1, "{dense:?}");
    assert!(
        dense[0]
            .join("seed-1/level-00/step-000032.safetensors")
            .exists()
    );
    let before = digests(&runs);
    let again = expect(&mut command("run", &file, &runs, &["--json"]), 0);
    assert!(!text(&again.stdout).contains("level-started"));
    assert_eq!(digests(&runs), before);
}

#[test]
fn a_cell_that_fails_stops_no_other_and_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let broken = r#"
[sweep.methods.broken]
strategy.mask = "misbehaving/one-too-many"
[sweep.methods.needs-it]
strategy.rewind = { use = "imp/weights", to = "broken#level-1-end" }
[sweep.methods.needs-that]
strategy.rewind = { use = "imp/weights", to = "needs-it#level-1-end" }
"#;
    let file = sweep(folder.path(), &format!("{broken}{METHODS}"));
    let runs = folder.path().join("runs");
    let output = expect(&mut command("run", &file, &runs, &[]), 5);
    let (table, said) = (text(&output.stdout), text(&output.stderr));
    for line in [
        "broken: ",
        "of plugin `misbehaving`",
        "logs/broken.log",
        "3 of 7 runs are not finished",
    ] {
        assert!(said.contains(line), "{line}\n{said}");
    }
    assert!(
        table.contains("it takes from needs-it, which is not finished"),
        "{table}"
    );
    for cell in ["imp", "wr", "lrr", "back"] {
        let run = only_run(&runs, &format!("small-{cell}"));
        assert!(run.join("seed-1/level-02/done.json").exists(), "{cell}");
    }
}

#[test]
fn a_sweep_that_was_stopped_or_killed_goes_on_to_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let file = sweep(folder.path(), METHODS);
    let longer = ["--set", "prune.levels=4", "--checkpoint-every", "0"];
    let whole = folder.path().join("whole");
    expect(&mut command("run", &file, &whole, &longer), 0);
    let runs = folder.path().join("runs");
    for signal in ["-TERM", "-KILL"] {
        let mut child = command("run", &file, &runs, &longer).spawn().unwrap();
        let at = if signal == "-TERM" {
            "level-01"
        } else {
            "level-03"
        };
        wait_until(&mut child, at, || {
            let found = fs::read_dir(&runs).into_iter().flatten().flatten();
            found.into_iter().any(|entry| {
                let name = entry.file_name().to_string_lossy().into_owned();
                name.starts_with("small-") && entry.path().join("seed-0").join(at).exists()
            })
        });
        let pid = child.id().to_string();
        assert!(
            Command::new("kill")
                .args([signal, &pid])
                .status()
                .unwrap()
                .success()
        );
        let status = child.wait().unwrap();
        if signal == "-TERM" {
            assert_eq!(status.code(), Some(4));
        }
    }
    // The processes of a sweep that was killed stop by themselves.
    let start = std::time::Instant::now();
    while expect_or_busy(&mut command("run", &file, &runs, &longer)) {
        assert!(
            start.elapsed().as_secs() < 60,
            "the killed sweep's runs go on"
        );
    }
    // Where a run lies that another takes from is written in the latter's file alone, which manifests
    // list; logs tell of the interruptions.
    let (mut got, mut expected) = (digests(&runs), digests(&whole));
    for all in [&mut got, &mut expected] {
        all.retain(|path, _| !path.starts_with("small/logs"));
    }
    let differ = |(path, digest): &(&PathBuf, &String)| expected.get(*path) != Some(*digest);
    let differing: Vec<&PathBuf> = got.iter().filter(differ).map(|(path, _)| path).collect();
    let back = only_run(&runs, "small-back");
    let back = Path::new(back.file_name().unwrap());
    let mut known = [
        PathBuf::from("small/cells/small-back.toml"),
        PathBuf::from("small/manifest.json"),
        back.join("experiment.toml"),
        back.join("manifest.json"),
    ];
    known.sort();
    assert_eq!(differing, known.iter().collect::<Vec<_>>());
    assert_eq!(got.len(), expected.len());
}

/// Whether runs were still in use; any other failure panics.
fn expect_or_busy(command: &mut Command) -> bool {
    let output = command.output().unwrap();
    let said = text(&output.stderr);
    let busy = output.status.code() == Some(5) && said.contains("is in use by process");
    assert!(busy || output.status.success(), "{said}");
    busy
}

#[test]
fn a_plan_lists_the_cells_and_shows_one_as_an_experiment() {
    let folder = tempfile::tempdir().unwrap();
    let grid = format!("{METHODS}[sweep.grid]\nmodel.hidden = [[8], [4, 4]]\n");
    let file = sweep(folder.path(), &grid);
    let runs = folder.path().join("runs");
    let plan = |more: &[&str]| {
        let mut all = vec!["--no-estimate"];
        all.extend(more);
        text(&expect(&mut command("plan", &file, &runs, &all), 0).stdout)
    };
    let json: serde_json::Value = serde_json::from_str(&plan(&["--json"])).unwrap();
    let cells = json["cells"].as_array().unwrap();
    assert_eq!(cells.len(), 8);
    // 40 * 4 + 4 * 4 + 4 * 10 weights.
    assert_eq!(cells[1]["outline"]["prunable"], 216);
    assert_eq!(cells[7]["sources"][0], cells[5]["run"]);
    assert!(plan(&["--cell", "wr-hidden-4x4"]).contains("imp/weights (to = \"1ep\")"));
    let only = ["--only", "back-hidden-8"];
    let output = expect(&mut command("run", &file, &runs, &only), 0);
    let table = text(&output.stdout);
    assert_eq!(table.matches("  done ").count(), 2, "{table}");
    let unknown = expect(&mut command("run", &file, &runs, &["--only", "x"]), 2);
    assert!(text(&unknown.stderr).contains("no cell, method or file `x`"));
}
