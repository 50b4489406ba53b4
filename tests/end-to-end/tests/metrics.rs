//! What an experiment has measured of the test samples beside loss and accuracy.

#![allow(clippy::unwrap_used)]

mod taught;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use attack::hold::Hold;
use end_to_end::program::{command, digests, expect, only_run, run, tensors};
use host::data::{self, DataContext};
use host::store::{MANIFEST, Manifest, RunDir};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

const METRICS: &str = "train.metrics=[\"top-5\", \"nll\", \"ece\", \"per-class\", \"confusion\"]";

fn small(file: &str, runs: &Path, sets: &[&str], more: &[&str]) -> Command {
    on_threads("1", file, runs, sets, more)
}

/// A small form of a shipped experiment.
fn on_threads(threads: &str, file: &str, runs: &Path, sets: &[&str], more: &[&str]) -> Command {
    let own = ["prune.levels=2", "train.epochs=2", "model.hidden=[24, 16]"];
    let mut command = command();
    command.arg("run").arg(shipped(file));
    command
        .args(["--threads", threads, "--quiet", "--runs"])
        .arg(runs);
    command.args(own.iter().chain(sets).flat_map(|set| ["--set", *set]));
    command.args(more);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn shipped(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../experiments")
        .join(file)
}

fn level(run: &Path, seed: u64, level: u64) -> PathBuf {
    run.join(format!("seed-{seed}/level-{level:02}"))
}

fn records(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    let line = |line: &str| serde_json::from_str(line).unwrap();
    text.lines().map(line).collect()
}

fn said(output: &std::process::Output) -> String {
    let both = [&output.stdout[..], &output.stderr].concat();
    String::from_utf8_lossy(&both).into_owned()
}

/// Outputs and classes of MNIST-1D's test samples, by the stored weights alone, in f64.
fn outputs(level: &Path) -> (Tensor, Tensor) {
    let context = DataContext {
        data_dir: "nowhere".into(),
        device: Device::Cpu,
    };
    let data = data::load("mnist1d", &Default::default(), &context).unwrap();
    let end: BTreeMap<String, Tensor> = tensors(&level.join("end.safetensors"));
    let of = |name: String| end[&name].to_kind(Kind::Double);
    let mut x = data.test.inputs.tensor().unwrap().to_kind(Kind::Double);
    for layer in 1..=3 {
        let (weight, bias) = (
            of(format!("fc{layer}.weight")),
            of(format!("fc{layer}.bias")),
        );
        x = x.matmul(&weight.tr()) + bias;
        if layer < 3 {
            let norm = |part: &str| of(format!("bn{layer}.{part}"));
            let deviation = (norm("running_var") + 1e-5).sqrt();
            x = (x - norm("running_mean")) / deviation * norm("weight") + norm("bias");
            x = x.relu();
        }
    }
    (x, data.test.labels)
}

#[test]
fn metrics_are_those_of_the_stored_weights_and_stand_in_every_table() {
    let folder = tempfile::tempdir().unwrap();
    let runs = folder.path();
    expect(
        &mut small("lrr.toml", runs, &[METRICS], &["--seeds", "0..2"]),
        0,
    );
    let run = only_run(runs, "lrr");
    for (seed, number) in [(0, 0), (1, 2)] {
        let folder = level(&run, seed, number);
        let summary = records(&folder.join("summary.json")).remove(0);
        let (outputs, labels) = outputs(&folder);
        let nll = outputs
            .log_softmax(-1, Kind::Double)
            .gather(1, &labels.unsqueeze(1), false);
        let nll = -nll.mean(Kind::Double).double_value(&[]);
        let got = summary["test_nll"].as_f64().unwrap();
        assert!((got - nll).abs() < 1e-5 * nll, "{got} {nll}");
        let (_, five) = outputs.topk(5, -1, true, true);
        let among = five.eq_tensor(&labels.unsqueeze(1)).any_dim(1, false);
        let among = among.sum(Kind::Int64).int64_value(&[]);
        assert_eq!(summary["test_top_5_correct"], among);
        assert_eq!(summary["test_top_5_accuracy"], among as f64 / 1000.0);
        let shares = outputs.softmax(-1, Kind::Double);
        let (confidence, taken) = shares.max_dim(1, false);
        let mut ece = 0.0;
        for bin in 0..15 {
            let inside = confidence
                .gt(f64::from(bin) / 15.0)
                .logical_and(&confidence.le(f64::from(bin + 1) / 15.0));
            let right = taken.eq_tensor(&labels).logical_and(&inside);
            let sum = (&confidence * &inside).sum(Kind::Double).double_value(&[]);
            ece += (right.sum(Kind::Double).double_value(&[]) - sum).abs() / 1000.0;
        }
        let got = summary["test_ece"].as_f64().unwrap();
        assert!((got - ece).abs() < 1e-5, "{got} {ece}");
        let classes = records(&folder.join("classes.jsonl"));
        assert_eq!(classes.len(), 10);
        for (class, record) in (0i64..).zip(&classes) {
            let own = labels.eq(class);
            let count = |of: &Tensor| of.logical_and(&own).sum(Kind::Int64).int64_value(&[]);
            let (all, right) = (count(&own), count(&taken.eq_tensor(&labels)));
            let predicted: Vec<i64> = (0..10).map(|other| count(&taken.eq(other))).collect();
            let expected = json!({
                "level": number, "class": class, "test_samples": all, "test_correct": right,
                "test_accuracy": right as f64 / all as f64, "predicted": predicted,
            });
            assert_eq!(*record, expected);
        }
    }
    let csv = fs::read_to_string(run.join("summary.csv")).unwrap();
    let columns = "effective_density,test_top_5_correct,test_top_5_accuracy,test_nll,test_ece";
    assert!(csv.lines().next().unwrap().ends_with(columns), "{csv}");
    assert_eq!(csv.lines().count(), 1 + 2 * 3);

    let plain = folder.path().join("plain");
    expect(&mut small("imp.toml", &plain, &[], &["--seeds", "0"]), 0);
    let other = only_run(&plain, "imp");
    let out = folder.path().join("report");
    let mut report = command();
    report
        .arg("report")
        .args([&run, &other])
        .arg("--out")
        .arg(&out);
    expect(&mut report, 0);
    let figure = |name: &str| fs::read_to_string(out.join(format!("figures/{name}.csv"))).unwrap();
    let mean: f64 = [0, 1]
        .map(|seed| {
            records(&level(&run, seed, 1).join("summary.json"))[0]["test_nll"]
                .as_f64()
                .unwrap()
        })
        .iter()
        .sum::<f64>()
        / 2.0;
    let table = figure("runs-test-nll");
    let line = table.lines().find(|it| it.starts_with("lrr,,1,")).unwrap();
    assert!(
        line.contains(&format!(",2,{mean:.4},")),
        "{line}, not {mean}"
    );
    for name in ["runs-test-top-5-accuracy", "runs-test-ece"] {
        assert_eq!(figure(name).lines().count(), 4, "{name}");
    }
    let run_name = run.file_name().unwrap().to_string_lossy().into_owned();
    assert_eq!(
        figure(&format!("runs-classes-{run_name}")).lines().count(),
        1 + 3 * 10
    );
    assert_eq!(
        figure(&format!("runs-confusion-{run_name}"))
            .lines()
            .count(),
        1 + 100
    );
    // Of the run that asks for nothing the columns are empty.
    let merged = figure("summary");
    assert!(merged.lines().next().unwrap().ends_with(columns));
    assert!(merged.lines().last().unwrap().ends_with(",,,,"), "{merged}");
}

#[test]
fn asking_for_metrics_changes_no_weight_and_no_other_record_and_not_asking_changes_nothing() {
    let runs = tempfile::tempdir().unwrap();
    let run_of = |name: &str, sets: &[&str]| {
        let name_of = format!("name={name}");
        let sets = [&[name_of.as_str()], sets].concat();
        expect(
            &mut small("lrr.toml", runs.path(), &sets, &["--seeds", "0"]),
            0,
        );
        only_run(runs.path(), name)
    };
    let (plain, asked) = (run_of("plain", &[]), run_of("asked", &[METRICS]));
    let empty = run_of("empty", &["train.metrics=[]"]);
    let identity = |run: &Path| run.to_string_lossy().rsplit('-').next().map(str::to_owned);
    assert_eq!(identity(&plain), identity(&empty));
    assert_ne!(identity(&plain), identity(&asked));
    // In another order they are the same.
    let turned = "train.metrics=[\"confusion\", \"per-class\", \"ece\", \"nll\", \"top-5\"]";
    assert_eq!(identity(&asked), identity(&run_of("turned", &[turned])));
    for number in 0..3 {
        let [plain, asked] = [&plain, &asked].map(|run| level(run, 0, number));
        let without = |folder: &Path| {
            let mut all = digests(folder);
            all.retain(|path, _| {
                let name = path.to_string_lossy();
                !["summary.json", "classes.jsonl", "done.json"].contains(&name.as_ref())
            });
            all
        };
        assert_eq!(without(&plain), without(&asked));
        assert!(!plain.join("classes.jsonl").exists());
        let summary = |folder: &Path| records(&folder.join("summary.json")).remove(0);
        let (plain, mut asked) = (summary(&plain), summary(&asked));
        let further = ["top_5_correct", "top_5_accuracy", "nll", "ece"];
        for name in further {
            let there = asked
                .as_object_mut()
                .unwrap()
                .remove(&format!("test_{name}"));
            assert!(there.is_some(), "{name}");
        }
        assert_eq!(plain, asked);
    }
}

/// Kills the program without warning once level 1 of seed 0 is finished.
fn kill_after_level_one(mut command: Command, runs: &Path, name: &str) {
    let mut hold = Hold::at_events(&mut command);
    let mut child = command.spawn().unwrap();
    hold.until(&mut child, "level 1", |_| {
        let entries = fs::read_dir(runs).into_iter().flatten().flatten();
        let own = entries.map(|it| it.path()).filter(|path| {
            let name_of = path.file_name().unwrap_or_default().to_string_lossy();
            name_of.starts_with(&format!("{name}-"))
        });
        own.into_iter()
            .any(|it| it.join("seed-0/level-01/done.json").exists())
    });
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().code(), None);
    hold.release();
}

#[test]
fn a_killed_run_with_metrics_goes_on_to_the_same_bytes_and_is_verified() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let seeds = ["--seeds", "0,3"];
    expect(&mut small("lrr.toml", one.path(), &[METRICS], &seeds), 0);
    let checkpoints = ["--seeds", "0,3", "--checkpoint-every", "0"];
    let killed = small("lrr.toml", other.path(), &[METRICS], &checkpoints);
    kill_after_level_one(killed, other.path(), "lrr");
    expect(&mut small("lrr.toml", other.path(), &[METRICS], &seeds), 0);
    let [whole, again] = [&one, &other].map(|it| only_run(it.path(), "lrr"));
    assert_eq!(digests(&whole), digests(&again));
    // A seed has the bytes that it has alone, whatever the threads.
    let alone = tempfile::tempdir().unwrap();
    let mut with_two = on_threads("2", "lrr.toml", alone.path(), &[METRICS], &["--seeds", "3"]);
    expect(&mut with_two, 0);
    let single = only_run(alone.path(), "lrr");
    assert_eq!(
        digests(&single.join("seed-3")),
        digests(&whole.join("seed-3"))
    );

    let verify = |code| {
        said(&expect(
            command().arg("verify").arg(&again).args(["--threads", "1"]),
            code,
        ))
    };
    let well = verify(0);
    assert!(
        well.contains("test metrics,") && !well.contains("rounded"),
        "{well}"
    );
    // Files that agree with their digests, and say what the weights do not give.
    let dir = RunDir::new(&again).seed(3).level(2);
    let done = dir.check().unwrap();
    let reseal = || {
        let files: Vec<String> = done.digests.keys().cloned().collect();
        dir.finish(&files, done.carry.clone()).unwrap();
        let manifest = Manifest::read(&again, MANIFEST).unwrap().unwrap();
        let files: Vec<String> = manifest.files.into_keys().collect();
        Manifest::of(&again, files)
            .unwrap()
            .write(&again, MANIFEST)
            .unwrap();
    };
    let classes = dir.file("classes.jsonl");
    let text = fs::read_to_string(&classes).unwrap();
    // Ten samples of the first class change places: all sums stay.
    let mut forged: Vec<Value> = records(&classes);
    let row = forged[0]["predicted"].as_array_mut().unwrap();
    let counts: Vec<u64> = row.iter().map(|it| it.as_u64().unwrap()).collect();
    let most = (0..10).max_by_key(|&class| counts[class]).unwrap();
    let next = (most + 1) % 10;
    row[most] = json!(counts[most] - 10);
    row[next] = json!(counts[next] + 10);
    let lines: Vec<String> = forged.iter().map(ToString::to_string).collect();
    fs::write(&classes, lines.join("\n") + "\n").unwrap();
    reseal();
    let found = verify(5);
    assert!(
        found.contains("seed-3/level-02/classes.jsonl: it says"),
        "{found}"
    );
    fs::write(&classes, text).unwrap();
    let path = dir.file("summary.json");
    let summary = fs::read_to_string(&path).unwrap();
    let nll = records(&path)[0]["test_nll"].as_f64().unwrap();
    let other = summary.replace(&format!("\"test_nll\":{nll}"), "\"test_nll\":0.125");
    assert_ne!(other, summary);
    fs::write(&path, other).unwrap();
    reseal();
    let found = verify(5);
    let expected = format!("summary.json: it says test_nll 0.125, the stored weights give {nll}");
    assert!(found.contains(&expected), "{found}");
    fs::write(&path, &summary).unwrap();
    // A file that is not there although it was asked for.
    fs::remove_file(&classes).unwrap();
    dir.finish(
        &done
            .digests
            .keys()
            .filter(|it| *it != "classes.jsonl")
            .cloned()
            .collect::<Vec<_>>(),
        done.carry.clone(),
    )
    .unwrap();
    let found = verify(5);
    assert!(
        found.contains("level-02/classes.jsonl: it is missing"),
        "{found}"
    );
}

/// What `host plan` says against an experiment with these changes.
fn refused(file: &str, sets: &[&str]) -> String {
    let mut plan = command();
    plan.arg("plan").arg(shipped(file));
    plan.args(sets.iter().flat_map(|set| ["--set", *set]));
    said(&expect(&mut plan, 2))
}

#[test]
fn metrics_that_nobody_knows_or_that_are_for_other_data_are_refused_at_their_place() {
    for (file, set, expected) in [
        (
            "lrr.toml",
            "train.metrics=[\"top5\"]",
            "unknown value `top5` for `train.metrics.0`",
        ),
        (
            "lrr.toml",
            "train.metrics=[\"top5\"]",
            "did you mean `top-5`?",
        ),
        (
            "lrr.toml",
            "train.metrics=[\"nll\", \"nll\"]",
            "`train.metrics` lists \"nll\" twice",
        ),
        (
            "lrr.toml",
            "train.metrics=[\"nll\", \"rmse\"]",
            "the metric \"rmse\" is not for dataset `mnist1d`: its targets are classes: expected targets that are numbers",
        ),
        (
            "lrr.toml",
            "train.metrics=[\"perplexity\"]",
            "its targets are classes: expected classes at positions",
        ),
        (
            "hidden-neuron.toml",
            "train.metrics=[\"ece\"]",
            "its targets are numbers: expected \"rmse\" or \"r2\"",
        ),
        (
            "lrr.toml",
            "train.loss=binary-cross-entropy",
            "train.loss is \"binary-cross-entropy\", but the targets of dataset `mnist1d` are classes: expected \"cross-entropy\"",
        ),
    ] {
        let text = refused(file, &[set]);
        assert!(text.contains(expected), "{set}: {text}");
    }
}

#[test]
fn numbers_have_metrics_of_their_own() {
    let runs = tempfile::tempdir().unwrap();
    let sets = ["train.metrics=[\"rmse\", \"r2\"]", "train.epochs=50"];
    let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", *set]).collect();
    let more = [&sets[..], &["--seeds", "0..2"]].concat();
    expect(&mut run("hidden-neuron.toml", runs.path(), &more), 0);
    let run = only_run(runs.path(), "hidden-neuron");
    for (seed, number) in [(0, 0), (1, 1)] {
        let summary = records(&level(&run, seed, number).join("summary.json")).remove(0);
        let of = |name: &str| summary[name].as_f64().unwrap();
        // The loss is half the mean square.
        let rmse = (2.0 * of("test_loss")).sqrt();
        assert!((of("test_rmse") - rmse).abs() < 1e-6 * rmse);
        assert!(of("test_r2") < 1.0);
        assert!(!level(&run, seed, number).join("classes.jsonl").exists());
    }
    expect(
        command().arg("verify").arg(&run).args(["--threads", "1"]),
        0,
    );
}
