//! What commands say of several runs, compared with plain calculations on their files.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use attack::shared;
use end_to_end::program::{digests, elements, expect, host, only_run, run, tensors};
use serde_json::Value;

const SMALL: [&str; 8] = [
    "--set",
    "prune.levels=3",
    "--set",
    "train.epochs=2",
    "--set",
    "model.hidden=[24, 16]",
    "--seeds",
    "0..2",
];

/// The folder of runs that all tests look at, with the folders of an LRR and of an IMP run.
fn stored() -> &'static (PathBuf, PathBuf, PathBuf) {
    static STORED: OnceLock<(PathBuf, PathBuf, PathBuf)> = OnceLock::new();
    STORED.get_or_init(|| {
        let runs = shared::folder(Path::new(env!("CARGO_TARGET_TMPDIR")), "statistics");
        expect(&mut run("lrr.toml", &runs, &SMALL), 0);
        expect(&mut run("imp.toml", &runs, &SMALL), 0);
        let [lrr, imp] = ["lrr", "imp"].map(|name| only_run(&runs, name));
        (runs, lrr, imp)
    })
}

fn say(args: &[&str], runs: &Path, code: i32) -> Output {
    let mut command = Command::new(host());
    command
        .args(args)
        .args(["--quiet", "--runs"])
        .arg(runs)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    expect(&mut command, code)
}

fn lines(output: &Output) -> Vec<Value> {
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn name(run: &Path) -> &str {
    run.file_name().unwrap().to_str().unwrap()
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn overlaps_are_those_of_a_plain_loop_over_the_mask_files() {
    let (runs, lrr, imp) = stored();
    let csv = runs.join("overlap.csv");
    let args = ["overlap", name(lrr), name(imp), "--level", "2", "--csv"];
    let before = [lrr, imp].map(|run| digests(&run.join("seed-0")));
    say(&[&args[..], &[csv.to_str().unwrap()]].concat(), runs, 0);
    let after = [lrr, imp].map(|run| digests(&run.join("seed-0")));
    assert_eq!(after, before, "comparing writes nothing into a run");
    let text = fs::read_to_string(&csv).unwrap();
    let mut rows = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let header = rows.next().unwrap();
    let rows: Vec<BTreeMap<&str, &str>> = rows
        .map(|row| header.iter().copied().zip(row).collect())
        .collect();
    assert_eq!(rows.len(), 2 * (1 + 3));
    for row in rows {
        let level = format!("seed-{}/level-02/mask.safetensors", row["seed_a"]);
        let [a, b] = [lrr, imp].map(|run| tensors(&run.join(&level)));
        let (mut both, mut either, mut expected) = (0, 0, 0.0);
        for (layer, a) in &a {
            if !row["layer"].is_empty() && row["layer"] != layer {
                continue;
            }
            let (a, b) = (elements(a), elements(&b[layer]));
            let kept = |mask: &[f32]| mask.iter().filter(|it| **it == 1.0).count() as f64;
            expected += kept(&a) * kept(&b) / a.len() as f64;
            for (a, b) in a.iter().zip(b) {
                both += u64::from(*a == 1.0 && b == 1.0);
                either += u64::from(*a == 1.0 || b == 1.0);
            }
        }
        assert_eq!(row["intersection"], both.to_string());
        assert_eq!(row["union"], either.to_string());
        assert_eq!(
            row["iou"].parse::<f64>().unwrap(),
            both as f64 / either as f64
        );
        let [a, b] = ["survivors_a", "survivors_b"].map(|key| row[key].parse::<f64>().unwrap());
        let chance: f64 = row["iou_by_chance"].parse().unwrap();
        assert!((chance - expected / (a + b - expected)).abs() < 1e-12);
    }
}

#[test]
fn masks_of_a_run_are_nested_so_that_their_overlap_is_the_ratio_of_their_densities() {
    let (runs, lrr, _) = stored();
    let output = say(&["overlap", name(lrr), "--json"], runs, 0);
    let records = lines(&output);
    // Six pairs of four levels, two seeds, the network and three layers.
    assert_eq!(records.len(), 6 * 2 * 4);
    for record in records {
        assert_eq!(record["share"], 1.0);
        let [a, b] = ["survivors_a", "survivors_b"].map(|key| record[key].as_f64().unwrap());
        assert_eq!(record["iou"].as_f64().unwrap(), b / a);
    }
    let output = say(&["overlap", name(lrr), "--between", "seeds"], runs, 0);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.contains(&format!("between seeds of {} at level 3", name(lrr))),
        "{text}"
    );
}

#[test]
fn the_ends_of_a_line_are_the_networks_as_the_run_recorded_them() {
    let (runs, lrr, imp) = stored();
    let args = [
        "barrier",
        name(lrr),
        name(imp),
        "--points",
        "5",
        "--threads",
        "1",
    ];
    let args = [&args[..], &["--batch-norm", "interpolate"]].concat();
    let records = lines(&say(&[&args[..], &["--json"]].concat(), runs, 0));
    assert_eq!(records.len(), 4 * 2);
    for (at, record) in records.iter().enumerate() {
        let (level, seed) = (at / 2, at % 2);
        assert_eq!(record["seed"], seed);
        assert_eq!(record["a"]["point"], format!("level-{level}-end"));
        assert_eq!(
            record["alphas"],
            serde_json::json!([0.0, 0.25, 0.5, 0.75, 1.0])
        );
        for (run, end, own) in [(lrr, 0, "a"), (imp, 4, "b")] {
            let summary = format!("seed-{seed}/level-{level:02}/summary.json");
            let summary = read(&run.join(summary));
            assert_eq!(record["losses"][end], summary["test_loss"]);
            let wrong = summary["test_samples"].as_u64().unwrap()
                - summary["test_correct"].as_u64().unwrap();
            assert_eq!(record["errors"][end], wrong as f64 / 1000.0);
            let density = format!("density_{own}");
            assert_eq!(record[&density], summary["density"]);
            assert!(record["density_between"].as_f64() >= record[&density].as_f64());
            assert_eq!(record[own]["run"], name(run));
        }
    }
    // Level 0 is shared: the line between a network and itself is flat.
    assert_eq!(records[0]["loss_barrier"], 0.0);
    assert!(records[6]["loss_barrier"].as_f64().unwrap() > 0.0);
    let file = lrr.join("barriers.jsonl");
    let kept = fs::read(&file).unwrap();
    let again = lines(&say(&[&args[..], &["--json"]].concat(), runs, 0));
    assert_eq!(again, records);
    assert_eq!(
        fs::read(&file).unwrap(),
        kept,
        "a line that is known is not added again"
    );
    let table = say(&args, runs, 0);
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    assert_eq!(table.lines().count(), 1 + 4, "{table}");
}

#[test]
fn consecutive_levels_and_single_points_are_lines_too() {
    let (runs, _, imp) = stored();
    let args = [
        "barrier",
        name(imp),
        "--points",
        "3",
        "--json",
        "--threads",
        "1",
    ];
    let records = lines(&say(&args, runs, 0));
    let ends: Vec<_> = (records.iter())
        .map(|it| {
            (
                it["a"]["point"].as_str().unwrap(),
                it["b"]["point"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(ends.len(), 3 * 2);
    assert_eq!(ends[0], ("level-0-end", "level-1-end"));
    assert_eq!(ends[5], ("level-2-end", "level-3-end"));
    let point = |point: &str| format!("{}#{point}", name(imp));
    let (from, to) = (point("init"), point("level-0-start"));
    let args = [
        "barrier", &from, &to, "--points", "3", "--json", "--seeds", "1",
    ];
    let records = lines(&say(&args, runs, 0));
    assert_eq!(records.len(), 1);
    assert_eq!(
        (&records[0]["seed"], &records[0]["error_rise"]),
        (&1.into(), &0.0.into())
    );
}

#[test]
fn what_cannot_be_compared_is_named() {
    let (runs, lrr, _) = stored();
    let other = tempfile::tempdir().unwrap();
    let args = [
        &SMALL[..4],
        &["--seeds", "0..2", "--set", "model.hidden=[24, 17]"],
    ]
    .concat();
    expect(&mut run("lrr.toml", other.path(), &args), 0);
    let wider = only_run(other.path(), "lrr");
    let wider = wider.to_str().unwrap();
    let complain = |args: &[&str], parts: &[&str]| {
        let output = say(args, runs, 2);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        for part in parts {
            assert!(text.contains(part), "{text}");
        }
    };
    complain(
        &["overlap", name(lrr), wider],
        &["has shape [17, 24]", "expected [16, 24]", "fc2.weight"],
    );
    complain(
        &["overlap", name(lrr), "--between", "seeds", "--level", "9"],
        &["no seed has level 9 finished", name(lrr)],
    );
    complain(
        &[
            "overlap",
            name(lrr),
            "--between",
            "seeds",
            "--level",
            "9",
            "--seeds",
            "0,1",
        ],
        &["level-09 is not a finished level", "host run"],
    );
    complain(
        &["barrier", name(lrr), wider],
        &["its model is", "17", "16"],
    );
    let (from, to) = (format!("{}#init", name(lrr)), format!("{}#7it", name(lrr)));
    complain(
        &["barrier", &from, &to],
        &["no seed has both points stored", "`7it`"],
    );
    complain(
        &["barrier", &from, &to, "--points", "2"],
        &["expected 3 or more"],
    );
    complain(&["barrier", &from], &["expected two points"]);
    complain(&["barrier", "nothing"], &["there is no run nothing"]);
}

#[test]
fn event_files_are_there_after_a_run_and_can_be_made_again_from_its_records() {
    let (runs, lrr, _) = stored();
    let file = |seed: u64| {
        lrr.join(format!(
            "tensorboard/seed-{seed}/events.out.tfevents.0.rewind"
        ))
    };
    let before = [0, 1].map(|seed| fs::read(file(seed)).unwrap());
    assert_ne!(before[0], before[1]);
    fs::remove_file(file(0)).unwrap();
    let output = say(&["tensorboard", name(lrr)], runs, 0);
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 2);
    assert_eq!([0, 1].map(|seed| fs::read(file(seed)).unwrap()), before);
}
