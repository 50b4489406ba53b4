//! Sweeps: many runs by one command.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use attack::hold::Hold;
use attack::patience::PATIENCE;
use end_to_end::program::{digests, expect, host, only_run};

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
            .join("seed-1/points/step-000032/step-000032.safetensors")
            .exists()
    );
    let before = digests(&runs);
    let again = expect(&mut command("run", &file, &runs, &["--json"]), 0);
    assert!(!text(&again.stdout).contains("level-started"));
    assert_eq!(digests(&runs), before);
}

#[test]
fn however_many_runs_go_on_side_by_side_a_sweep_has_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let file = sweep(folder.path(), METHODS);
    let swept = |jobs: &str| {
        let runs = folder.path().join(jobs);
        expect(&mut command("run", &file, &runs, &["--jobs", jobs]), 0);
        let levels = |name: &str| {
            let mut all = digests(&only_run(&runs, &format!("small-{name}")));
            all.retain(|path, _| path.starts_with("seed-0") || path.starts_with("seed-1"));
            assert!(all.len() > 20, "{all:?}");
            all
        };
        ["imp", "wr", "lrr", "back"].map(levels)
    };
    assert_eq!(swept("auto"), swept("1"));
    let wrong = command("run", &file, folder.path(), &["--jobs", "many"]).output();
    let wrong = wrong.unwrap();
    let said = text(&wrong.stderr);
    assert_eq!(wrong.status.code(), Some(2), "{said}");
    assert!(said.contains("from 1 to 65535, or `auto`"), "{said}");
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
    // A cell that is under way in the middle of its levels.
    for (signal, cell, at) in [("-TERM", "lrr", "level-01"), ("-KILL", "back", "level-03")] {
        let mut command = command("run", &file, &runs, &longer);
        let name = format!("small-{cell}-");
        let mut hold = Hold::at(&mut command, "rename", &runs.join(&name));
        let mut child = command.spawn().unwrap();
        hold.until(&mut child, at, |_| {
            let found = fs::read_dir(&runs).into_iter().flatten().flatten();
            found.into_iter().any(|entry| {
                let own = entry.file_name().to_string_lossy().into_owned();
                own.starts_with(&name) && entry.path().join("seed-0").join(at).exists()
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
        // A sweep that is told to stop waits for its cells.
        hold.release();
        let status = child.wait().unwrap();
        if signal == "-TERM" {
            assert_eq!(status.code(), Some(4));
        }
    }
    // The processes of a sweep that was killed stop by themselves.
    let start = std::time::Instant::now();
    while expect_or_busy(&mut command("run", &file, &runs, &longer)) {
        assert!(start.elapsed() < PATIENCE, "the killed sweep's runs go on");
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

/// A sweep that includes these files, each a small sweep with a title and a method.
fn including(folder: &Path, files: &[(&str, &str)]) -> PathBuf {
    let names: Vec<&str> = files.iter().map(|(name, _)| *name).collect();
    for (name, text) in files {
        fs::rename(sweep(folder, text), folder.join(name)).unwrap();
    }
    let path = folder.join("all.toml");
    let text = format!("name = \"all\"\n[sweep]\ninclude = {names:?}\n");
    fs::write(&path, text).unwrap();
    path
}

fn seeds(run: &Path) -> Vec<String> {
    let entries = fs::read_dir(run).unwrap().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut seeds: Vec<String> = names.filter(|name| name.starts_with("seed-")).collect();
    seeds.sort();
    seeds
}

#[test]
fn files_that_agree_in_all_but_their_seeds_train_the_seeds_of_both() {
    let folder = tempfile::tempdir().unwrap();
    let file = including(folder.path(), &[("a.toml", ""), ("b.toml", "")]);
    let b = folder.path().join("b.toml");
    let other = fs::read_to_string(&b).unwrap();
    fs::write(&b, other.replace("seeds = [0, 1]", "seeds = [1, 2]")).unwrap();
    let runs = folder.path().join("runs");
    // A part of it that is asked for has its own seeds alone.
    let only = ["--only", "small-2"];
    expect(&mut command("run", &file, &runs, &only), 0);
    let run = only_run(&runs, "small");
    assert_eq!(seeds(&run), ["seed-1", "seed-2"]);
    let output = expect(&mut command("run", &file, &runs, &["--json"]), 0);
    let started = text(&output.stdout).matches("level-started").count();
    assert_eq!(seeds(&run), ["seed-0", "seed-1", "seed-2"]);
    for seed in seeds(&run) {
        assert!(run.join(seed).join("level-02/done.json").exists());
    }
    // Nothing was trained twice: three levels of one more seed.
    assert_eq!(started, 3, "{}", text(&output.stdout));
    expect(&mut command("verify", &runs.join("all"), &runs, &[]), 0);
    // The report knows whose seeds are whose, and lacks none.
    let mut report = end_to_end::program::command();
    expect(report.arg("report").arg(runs.join("all")), 0);
    let summary = fs::read_to_string(runs.join("all/figures/summary.csv")).unwrap();
    let page = fs::read_to_string(runs.join("all/report.html")).unwrap();
    assert_eq!(summary.lines().count(), 1 + 2 * 2 * 3, "{summary}");
    assert!(!page.contains("levels done"), "{page}");
    let plan = ["--json", "--no-estimate"];
    let plan = text(&expect(&mut command("plan", &file, &runs, &plan), 0).stdout);
    let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
    for cell in plan["cells"].as_array().unwrap() {
        assert_eq!(cell["levels_done"], 6);
    }
}

#[test]
fn files_of_one_name_are_all_run_and_each_as_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let longer =
        "[sweep.methods.imp]\n[sweep.methods.lrr]\nstrategy.rewind = \"lrr/learning-rate\"\n";
    // `small-imp-x` is a cell of either file: `imp-x` of the one, `x` of the other.
    let file = including(
        folder.path(),
        &[
            ("a.toml", ""),
            ("b.toml", ""),
            (
                "c.toml",
                "[sweep.methods.imp-x]\n[sweep.methods.lrr]\nstrategy.rewind = \"lrr/learning-rate\"\n",
            ),
            ("d.toml", longer),
        ],
    );
    let change = |name: &str, from: &str, to: &str| {
        let path = folder.path().join(name);
        let before = fs::read_to_string(&path).unwrap();
        assert!(before.contains(from), "{before}");
        fs::write(&path, before.replace(from, to)).unwrap();
    };
    change("b.toml", "epochs = 2", "epochs = 1");
    change("c.toml", "epochs = 2", "epochs = 3");
    change("d.toml", "name = \"small\"", "name = \"small-imp\"");
    change("d.toml", "methods.imp]", "methods.x]");
    change("d.toml", "epochs = 2", "epochs = 4");
    let runs = folder.path().join("runs");
    let output = expect(&mut command("run", &file, &runs, &[]), 0);
    let said = text(&output.stdout);
    let record = fs::read(runs.join("all/sweep.json")).unwrap();
    let record: serde_json::Value = serde_json::from_slice(&record).unwrap();
    let epochs = [2, 1, 3, 4];
    for (part, epochs) in record["parts"].as_array().unwrap().iter().zip(epochs) {
        for cell in part["cells"].as_array().unwrap() {
            let run = runs.join("all").join(cell["run"].as_str().unwrap());
            let own = fs::read_to_string(run.join("experiment.toml")).unwrap();
            assert!(
                own.contains(&format!("epochs = {epochs}\n")),
                "{said}\n{own}"
            );
            assert!(run.join("seed-1/level-02/done.json").exists());
        }
    }
    for cell in [
        "small/small ",
        "small-2/small ",
        "small-3/imp-x ",
        "small-imp/x ",
    ] {
        assert!(said.contains(cell), "{cell}\n{said}");
    }
    let logs = fs::read_dir(runs.join("all/logs")).unwrap().count();
    assert_eq!(logs, 6);
}

#[test]
fn a_grid_of_seeds_is_refused_before_anything_is_trained() {
    let folder = tempfile::tempdir().unwrap();
    let file = sweep(folder.path(), "[sweep.grid]\nseeds = [[0], [1]]\n");
    let runs = folder.path().join("runs");
    let output = expect(&mut command("run", &file, &runs, &[]), 2);
    let said = text(&output.stderr);
    assert!(said.contains("small.toml:11:1"), "{said}");
    assert!(said.contains("list them at the file's top"), "{said}");
    assert!(!runs.exists());
    // On the command line they count for every cell.
    let file = sweep(folder.path(), METHODS);
    let more = ["--seeds", "3", "--only", "imp", "--only", "lrr"];
    expect(&mut command("run", &file, &runs, &more), 0);
    for method in ["imp", "lrr"] {
        let run = only_run(&runs, &format!("small-{method}"));
        assert_eq!(seeds(&run), ["seed-3"]);
    }
}

#[test]
fn what_is_run_is_counted_by_its_kind_and_stored_as_asked() {
    let folder = tempfile::tempdir().unwrap();
    let one = "[sweep]\nbarriers = [[\"imp\"]]\n[sweep.methods.imp]\n";
    let file = sweep(folder.path(), one);
    let runs = folder.path().join("runs");
    let plan = expect(&mut command("plan", &file, &runs, &["--no-estimate"]), 0);
    let planned = text(&plan.stdout);
    let counts = "1 run, 1 barrier";
    assert!(planned.contains(&format!("small: {counts}\n")), "{planned}");
    let mut run = end_to_end::program::command();
    run.arg("run")
        .arg(&file)
        .args(["--jobs", "1", "--store-points", "1ep", "--runs"]);
    let output = expect(run.arg(&runs), 0);
    let said = text(&output.stderr);
    assert!(
        said.contains(&format!("small: {counts}, 1 side by side")),
        "{said}"
    );
    let run = only_run(&runs, "small-imp");
    let stored = |name: &str| {
        let runs = fs::read_dir(&runs).unwrap().flatten();
        runs.into_iter()
            .any(|it| it.path().join("seed-0/level-00").join(name).exists())
    };
    assert!(run.join("barriers.jsonl").exists());
    assert!(stored("step-000032.safetensors") && !stored("step-000064.safetensors"));
}
