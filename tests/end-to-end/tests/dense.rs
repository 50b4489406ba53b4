//! The shared dense level is nobody's: its bytes are a function of its identity, whoever trains it, and
//! a run that takes it goes on exactly as one that trained it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use end_to_end::built::PACKAGES;
use end_to_end::program::{digests, expect, only_run, run, wait_until};
use host::store::RunDir;
use serde_json::{Value, json};

use crate::finished::{command, dense, verdict};

/// A strategy that is named: score, mask and rewind as an experiment file writes them.
struct Method {
    name: &'static str,
    score: &'static str,
    mask: String,
    rewind: &'static str,
}

fn method(
    name: &'static str,
    score: &'static str,
    mask: impl Into<String>,
    rewind: &'static str,
) -> Method {
    Method {
        name,
        score,
        mask: mask.into(),
        rewind,
    }
}

const IMP: &str = "\"imp/weights\"";
const LRR: &str = "\"lrr/learning-rate\"";
const MAGNITUDE: &str = "\"imp/magnitude\"";
const GLOBAL: &str = "\"imp/global\"";

/// Strategies that use every shipped plugin, and fixtures with state; `source` is a run whose masks are
/// taken.
fn methods(source: &Path) -> Vec<Method> {
    let transplant = format!("{{ use = \"transplant/levels\", run = {source:?} }}");
    let aligned = format!("{{ use = \"aligned/levels\", run = {source:?} }}");
    let erk = "\"random-mask/random\"";
    vec![
        method("imp", MAGNITUDE, GLOBAL, IMP),
        method("lrr", MAGNITUDE, GLOBAL, LRR),
        method(
            "wr",
            MAGNITUDE,
            GLOBAL,
            "{ use = \"imp/weights\", to = \"40it\" }",
        ),
        method(
            "axes",
            MAGNITUDE,
            GLOBAL,
            "{ use = \"axes/rewind\", signs = \"1ep\" }",
        ),
        method("cyclic", erk, "\"cyclic/fixed\"", "\"cyclic/cycle\""),
        method(
            "gmp",
            MAGNITUDE,
            "{ use = \"gmp/gradual\", every = \"10it\", until = \"1ep\" }",
            IMP,
        ),
        method("grasp", "\"grasp/gradient-flow\"", "\"snip/global\"", IMP),
        method("lamp", "\"magnitude/lamp\"", GLOBAL, LRR),
        method("nm", MAGNITUDE, "{ use = \"nm/groups\", m = 4 }", LRR),
        method("random", erk, "\"random-mask/nested\"", LRR),
        method(
            "rigl",
            erk,
            "{ use = \"rigl/drop-and-grow\", every = \"10it\" }",
            IMP,
        ),
        method(
            "srigl",
            erk,
            "{ use = \"srigl/constant-fan-in\", every = \"10it\" }",
            IMP,
        ),
        method(
            "set",
            erk,
            "{ use = \"set/drop-and-grow\", every = \"10it\" }",
            IMP,
        ),
        method(
            "flip",
            MAGNITUDE,
            GLOBAL,
            "[\"lrr/learning-rate\", \"sign-perturbation/flip\"]",
        ),
        method("snip", "\"snip/sensitivity\"", "\"snip/global\"", IMP),
        method(
            "synflow",
            "\"synflow/flow\"",
            "{ use = \"synflow/exponential\", rounds = 3 }",
            IMP,
        ),
        method(
            "structured",
            "\"structured/units\"",
            "\"structured/mask\"",
            LRR,
        ),
        method("transplant", MAGNITUDE, transplant, IMP),
        method("aligned", MAGNITUDE, aligned, IMP),
        method(
            "grow",
            MAGNITUDE,
            "{ use = \"drop-and-grow/update\", every = \"10it\" }",
            LRR,
        ),
        // Each takes the other's state without a word, and then keeps other weights.
        method(
            "even",
            "{ use = \"drop-and-grow/counted\", first = 0 }",
            GLOBAL,
            LRR,
        ),
        method(
            "odd",
            "{ use = \"drop-and-grow/counted\", first = 3 }",
            GLOBAL,
            LRR,
        ),
    ]
}

/// A tiny experiment with this strategy.
fn tiny(method: &Method, runs: &Path, more: &[&str]) -> Command {
    let parts = [
        format!("name={}", method.name),
        format!("strategy.score={}", method.score),
        format!("strategy.mask={}", method.mask),
        format!("strategy.rewind={}", method.rewind),
        "train.epochs=2".to_owned(),
        "model.hidden=[8]".to_owned(),
        "prune.densities=[0.5]".to_owned(),
    ];
    let set = parts.iter().flat_map(|it| ["--set", it.as_str()]);
    let all: Vec<&str> = set
        .chain(["--seeds", "0"])
        .chain(more.iter().copied())
        .collect();
    run("imp.toml", runs, &all)
}

/// The files of a folder of dense levels: those of the level, and those of each point.
type Files = BTreeMap<PathBuf, String>;

fn split(runs: &Path) -> (String, Files, Files) {
    let folder = dense(runs);
    let is_point = |path: &Path| path.components().any(|it| it.as_os_str() == "points");
    let (points, level) = digests(&folder)
        .into_iter()
        .partition(|(path, _)| is_point(path));
    let name = folder.file_name().unwrap().to_string_lossy().into_owned();
    (name, level, points)
}

#[test]
fn a_dense_level_has_the_same_bytes_whoever_trains_it_and_every_run_goes_on_from_it_as_from_its_own()
 {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    let methods = methods(Path::new("")).into_iter();
    let imp: Vec<Method> = methods.filter(|it| it.name == "imp").collect();
    expect(&mut tiny(&imp[0], &source, &[]), 0);
    let methods = self::methods(&only_run(&source, "imp"));
    let used: BTreeSet<&str> = methods
        .iter()
        .flat_map(|it| [it.score, it.mask.as_str(), it.rewind])
        .flat_map(|part| part.split(['"', '/']))
        .collect();
    // Not every machine has what a strategy in Python needs; its run has a twin in `python_strategies`. What acts at
    // each step has dense levels of its own, of which `updates` tells.
    let others = [
        "misbehaving",
        "python",
        "ham",
        "sign-in",
        "pilot",
        "aws",
        "movement",
    ];
    let unused = PACKAGES
        .iter()
        .filter(|it| !others.contains(it) && !used.contains(*it));
    assert_eq!(unused.collect::<Vec<_>>(), Vec::<&&str>::new());
    let (name, expected, _) = split(&source);
    let mut points: Files = BTreeMap::new();
    let mut whole: BTreeMap<&str, Files> = BTreeMap::new();
    for method in &methods {
        let runs = folder.path().join(method.name);
        expect(&mut tiny(method, &runs, &[]), 0);
        let (own, level, its) = split(&runs);
        assert_eq!(
            (&own, &level),
            (&name, &expected),
            "trained by {}",
            method.name
        );
        for (file, digest) in its {
            let known = points.entry(file.clone()).or_insert(digest.clone());
            assert_eq!(*known, digest, "{} of {}", file.display(), method.name);
        }
        whole.insert(method.name, digests(&only_run(&runs, method.name)));
    }
    // Two points of two files, each with its list.
    assert_eq!(points.len(), 2 * 3, "{points:?}");
    // One whose masks change within levels and whose components have states trains for all others.
    let shared = folder.path().join("shared");
    let (first, others): (Vec<&Method>, Vec<&Method>) =
        methods.iter().partition(|it| it.name == "odd");
    for method in first.into_iter().chain(others) {
        expect(&mut tiny(method, &shared, &[]), 0);
        let run = only_run(&shared, method.name);
        assert_eq!(digests(&run), whole[method.name], "{}", method.name);
        assert!(verdict(&run).is_well(), "{:?}", verdict(&run).problems);
    }
    let (own, level, its) = split(&shared);
    assert_eq!((own, level, its), (name, expected, points));
    assert!(verdict(&dense(&shared)).is_well());
    // The two that count differ, so that one with the other's state would not have passed.
    let mask = Path::new("seed-0/level-01/mask.safetensors");
    assert_ne!(whole["even"][mask], whole["odd"][mask]);
}

#[test]
fn gradual_pruning_and_then_two_others_share_a_folder_of_runs() {
    let runs = tempfile::tempdir().unwrap();
    for name in ["gmp", "imp", "lrr"] {
        expect(
            &mut run(&format!("{name}.toml"), runs.path(), &["--seeds", "0"]),
            0,
        );
        assert!(verdict(&only_run(runs.path(), name)).is_well(), "{name}");
    }
    let carried = RunDir::new(dense(runs.path()))
        .seed(0)
        .level(0)
        .check()
        .unwrap()
        .carry;
    assert_eq!(carried["states"], json!({}));
}

#[test]
fn a_run_that_is_killed_within_level_0_is_continued_by_another_strategy_to_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let methods = methods(Path::new(""));
    let named = |name: &str| methods.iter().find(|it| it.name == name).unwrap();
    let longer = ["--set", "train.epochs=12", "--checkpoint-every"];
    let with = |seconds: &'static str| [&longer[..], &[seconds]].concat();
    let whole = folder.path().join("whole");
    expect(&mut tiny(named("odd"), &whole, &with("600")), 0);
    let runs = folder.path().join("runs");
    let mut child = tiny(named("grow"), &runs, &with("0")).spawn().unwrap();
    let checkpoint = || {
        let folders = fs::read_dir(&runs).into_iter().flatten().flatten();
        folders
            .map(|it| it.path().join("seed-0/progress/checkpoint.json"))
            .find_map(|path| serde_json::from_slice::<Value>(&fs::read(path).ok()?).ok())
    };
    let is_under_way = |it: &Value| it["level"] == 0 && it["position"]["step"].as_u64() > Some(10);
    wait_until(&mut child, "a checkpoint within level 0", || {
        checkpoint().as_ref().is_some_and(is_under_way)
    });
    child.kill().unwrap();
    child.wait().unwrap();
    let left = checkpoint().unwrap();
    assert_eq!(left["level"], 0, "the child was killed too late");
    assert_eq!(left["carry"]["states"], json!({}));
    expect(&mut tiny(named("odd"), &runs, &with("600")), 0);
    let [expected, got] = [&whole, &runs].map(|runs| digests(&only_run(runs, "odd")));
    assert_eq!(got, expected);
    let [expected, got] = [&whole, &runs].map(|runs| split(runs));
    assert_eq!(got, expected);
}

#[test]
fn a_point_that_is_missing_is_trained_for_alone_and_a_stop_on_the_way_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let methods = methods(Path::new(""));
    let named = |name: &str| methods.iter().find(|it| it.name == name).unwrap();
    let whole = folder.path().join("whole");
    let longer = ["--set", "train.epochs=6"];
    expect(&mut tiny(named("wr"), &whole, &longer), 0);
    let runs = folder.path().join("runs");
    expect(&mut tiny(named("lrr"), &runs, &longer), 0);
    let (_, before, none) = split(&runs);
    assert!(none.is_empty(), "{none:?}");
    let output = expect(
        &mut tiny(named("wr"), &runs, &[&longer[..], &["--json"]].concat()),
        0,
    );
    let said = String::from_utf8(output.stdout).unwrap();
    let events = said
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let epochs = events.filter(|it| it["event"] == "epoch" && it["record"]["level"] == 0);
    // Step 40 lies in the second epoch of 32 steps; only the first comes to its end.
    assert_eq!(epochs.count(), 1, "{said}");
    let (_, level, points) = split(&runs);
    assert_eq!(level, before);
    assert_eq!((level, points), {
        let (_, level, points) = split(&whole);
        (level, points)
    });
    let [expected, got] = [&whole, &runs].map(|runs| digests(&only_run(runs, "wr")));
    assert_eq!(got, expected);
    // Once more for a later point, killed after a checkpoint on the way.
    let late = method(
        "late",
        MAGNITUDE,
        GLOBAL,
        "{ use = \"imp/weights\", to = \"5ep\" }",
    );
    let slow = [&longer[..], &["--checkpoint-every", "0"]].concat();
    let mut child = tiny(&late, &runs, &slow).spawn().unwrap();
    let progress = dense(&runs).join("seed-0/progress/checkpoint.json");
    let step = || {
        let read: Value =
            serde_json::from_slice(&fs::read(&progress).unwrap_or_default()).unwrap_or_default();
        read["position"]["step"].as_u64()
    };
    wait_until(&mut child, "a checkpoint before the point", || {
        step() > Some(5)
    });
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(step() > Some(5), "the child was killed too late");
    assert!(RunDir::new(dense(&runs)).seed(0).level(0).check().is_ok());
    expect(&mut tiny(&late, &runs, &longer), 0);
    let alone = folder.path().join("alone");
    expect(&mut tiny(&late, &alone, &longer), 0);
    let [expected, got] = [&alone, &runs].map(|runs| digests(&only_run(runs, "late")));
    assert_eq!(got, expected);
    assert!(!progress.exists());
}

/// Makes a dense level what earlier versions left of one that `grow` trained, with a point.
fn as_of_old(runs: &Path) {
    let home = RunDir::new(dense(runs)).seed(0);
    let level = home.level(0);
    let mut done = level.check().unwrap();
    done.carry["states"] = json!({ "mask": "44524f5047524f57", "score": "05" });
    fs::copy(
        level.file("mask.safetensors"),
        level.file("mask-start.safetensors"),
    )
    .unwrap();
    let mut files: Vec<String> = done.digests.keys().cloned().collect();
    files.push("mask-start.safetensors".to_owned());
    for step in home.points() {
        let point = home.point(step);
        for file in point.read().unwrap().digests.into_keys() {
            fs::rename(point.file(&file), level.file(&file)).unwrap();
            files.push(file);
        }
    }
    let _ = fs::remove_dir_all(home.path().join("points"));
    // A file of its own, as a run that took it over has one.
    level.finish(&files, done.carry).unwrap();
}

#[test]
fn what_earlier_versions_left_of_a_strategy_in_a_dense_level_is_named_and_taken_out() {
    let folder = tempfile::tempdir().unwrap();
    let methods = methods(Path::new(""));
    let named = |name: &str| methods.iter().find(|it| it.name == name).unwrap();
    let whole = folder.path().join("whole");
    for name in ["wr", "even"] {
        expect(&mut tiny(named(name), &whole, &[]), 0);
    }
    let runs = folder.path().join("runs");
    expect(&mut tiny(named("wr"), &runs, &[]), 0);
    fs::remove_dir_all(only_run(&runs, "wr")).unwrap();
    as_of_old(&runs);
    let problems = verdict(&dense(&runs)).problems;
    let about = |file: &str| {
        problems
            .iter()
            .find(|it| it.file == format!("seed-0/level-00/{file}"))
    };
    let carried = &about("done.json").unwrap().reason;
    assert!(
        carried.contains("it carries the state of `mask`, `score`"),
        "{carried}"
    );
    assert!(about("mask-start.safetensors").is_some(), "{problems:?}");
    let mut even = tiny(named("even"), &runs, &[]);
    let output = expect(even.env("RUST_LOG", "warn"), 0);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("holds what belongs to the strategy that trained it: the state of `mask`")
            && said.contains("mask-start.safetensors"),
        "{said}"
    );
    expect(&mut tiny(named("wr"), &runs, &[]), 0);
    for name in ["even", "wr"] {
        let [expected, got] = [&whole, &runs].map(|runs| digests(&only_run(runs, name)));
        assert_eq!(got, expected, "{name}");
    }
    assert_eq!(split(&runs), split(&whole));
    assert!(verdict(&dense(&runs)).is_well());
}

#[test]
fn a_run_whose_level_0_carries_another_strategys_state_is_named_and_its_own_is_not() {
    let runs = tempfile::tempdir().unwrap();
    let methods = methods(Path::new(""));
    let odd = methods.iter().find(|it| it.name == "odd").unwrap();
    expect(&mut tiny(odd, runs.path(), &[]), 0);
    let run = only_run(runs.path(), "odd");
    let level = RunDir::new(&run).seed(0).level(0);
    let done = level.check().unwrap();
    let files: Vec<String> = done.digests.keys().cloned().collect();
    fs::remove_file(run.join("manifest.json")).unwrap();
    // What its own scorer begins with: the number 3.
    for (state, code) in [("0300000000000000", 0), ("0400000000000000", 5)] {
        let mut carry = done.carry.clone();
        carry["states"] = json!({ "score": state });
        level.finish(&files, carry).unwrap();
        // The list is written anew as an earlier version would have.
        expect(&mut tiny(odd, runs.path(), &[]), 0);
        let output = expect(&mut command("verify", &run, &["--threads", "1"]), code);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let named = said.contains(
            "WRONG: seed-0/level-00/done.json: it carries the state of `score` of another strategy",
        );
        assert_eq!(named, code != 0, "{said}");
    }
}
