//! Masks of whole units: what levels keep, how they are rewound and taken up again, and what is refused.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use attack::hold::Hold;
use end_to_end::built::{part, plain, strategy};
use end_to_end::program::{command, digests, elements, expect, only_run, run, tensors};
use host::strategy::still::{Still, flat};
use plugin_api::Units;
use serde_json::{Value, json};

const SHORT: [&str; 6] = [
    "--set",
    "train.epochs=2",
    "--set",
    "prune.densities=[0.7, 0.4, 0.2]",
    "--seeds",
    "0..2",
];

/// The run of `structured.toml` with these changes, to its end.
fn finished(more: &[&str]) -> (tempfile::TempDir, PathBuf) {
    let runs = tempfile::tempdir().unwrap();
    expect(
        &mut run("structured.toml", runs.path(), &[&SHORT, more].concat()),
        0,
    );
    let own = only_run(runs.path(), "structured");
    (runs, own)
}

fn verified(run: &Path) {
    let output = expect(command().arg("verify").arg(run).arg("--json"), 0);
    let said = String::from_utf8(output.stdout).unwrap();
    let lines = said
        .lines()
        .map(|it| serde_json::from_str::<Value>(it).unwrap());
    let levels: Vec<Value> = lines
        .flat_map(|it| it["levels"].as_array().cloned().unwrap_or_default())
        .filter(|it| it["level"] != 0)
        .collect();
    assert_eq!(levels.len(), 6);
    for level in levels {
        let checked = level["checked"].as_array().unwrap().iter();
        let checked: Vec<&str> = checked.map(|it| it.as_str().unwrap()).collect();
        for what in ["counts", "zeros", "optimizer", "start"] {
            assert!(checked.contains(&what), "{what}: {level}");
        }
    }
}

/// A mask as rows, columns and what lies between, of which each unit of the layer before has so many.
struct Matrix {
    rows: usize,
    columns: usize,
    kept: Vec<bool>,
}

impl Matrix {
    fn of(mask: &tch::Tensor) -> Self {
        let kept: Vec<bool> = elements(mask).into_iter().map(|it| it != 0.0).collect();
        let rows = mask.size()[0] as usize;
        Self {
            rows,
            columns: kept.len() / rows,
            kept,
        }
    }

    fn row(&self, row: usize) -> bool {
        self.kept[row * self.columns..][..self.columns]
            .iter()
            .any(|it| *it)
    }
}

/// The masks of the convolution net's level: which channels of each of its three layers they keep, after checking that
/// nothing else is pruned.
fn channels(level: &Path) -> Vec<Vec<bool>> {
    let masks = tensors(&level.join("mask.safetensors"));
    let names = ["conv1.weight", "conv2.weight", "conv3.weight", "fc.weight"];
    let masks: Vec<Matrix> = names.iter().map(|it| Matrix::of(&masks[*it])).collect();
    let rows = |it: &Matrix| (0..it.rows).map(|row| it.row(row)).collect();
    let mut kept: Vec<Vec<bool>> = masks.iter().map(rows).collect();
    // Outputs are no units that can go.
    kept.pop();
    let mut before = vec![true];
    for (layer, mask) in masks.iter().enumerate() {
        let each = mask.columns / before.len();
        for (at, got) in mask.kept.iter().enumerate() {
            let (row, column) = (at / mask.columns, at % mask.columns);
            let expected = before[column / each] && kept.get(layer).is_none_or(|own| own[row]);
            assert_eq!(*got, expected, "{} at {at}", names[layer]);
        }
        before = kept.get(layer).cloned().unwrap_or_default();
    }
    kept
}

fn summary(level: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(level.join("summary.json")).unwrap()).unwrap()
}

#[test]
fn levels_keep_whole_channels_and_the_most_that_fits() {
    let (_runs, own) = finished(&[]);
    verified(&own);
    for seed in 0..2 {
        let mut before: Option<Vec<Vec<bool>>> = None;
        for (level, density) in [(1, 0.7), (2, 0.4), (3, 0.2)] {
            let folder = own.join(format!("seed-{seed}/level-{level:02}"));
            let kept = channels(&folder);
            let summary = summary(&folder);
            let units = &summary["units"];
            let total = summary["weights"].as_u64().unwrap();
            let target = (density * total as f64).round() as u64;
            assert_eq!(
                (&units["total"], &units["target"]),
                (&json!(total), &json!(target))
            );
            let got = units["kept"].as_u64().unwrap();
            assert_eq!(summary["survivors"], got);
            let counts: Vec<u64> = kept
                .iter()
                .map(|own| own.iter().filter(|it| **it).count() as u64)
                .collect();
            let recorded = units["sets"].as_array().unwrap();
            let recorded: Vec<u64> = recorded
                .iter()
                .map(|it| it["kept"].as_u64().unwrap())
                .collect();
            assert_eq!(recorded, counts);
            assert!(counts.iter().all(|it| *it > 0));
            // A channel more has at least its own row, of however many inputs are left.
            assert!(got <= target && target - got < 700, "{got} of {target}");
            for (was, is) in before.iter().flatten().zip(&kept) {
                assert!(
                    was.iter().zip(is).all(|(was, is)| *was || !is),
                    "a channel came back"
                );
            }
            before = Some(kept);
        }
    }
}

#[test]
fn every_way_to_rewind_works_on_whole_channels() {
    for rewind in [
        r#"{ use = "imp/weights", to = "init" }"#,
        r#"{ use = "imp/weights", to = "1ep" }"#,
        r#"["lrr/learning-rate", { use = "sign-perturbation/flip", fraction = 0.2 }]"#,
        r#"{ use = "axes/rewind", magnitudes = "init" }"#,
    ] {
        let set = format!("strategy.rewind={rewind}");
        let (_runs, own) = finished(&["--set", &set]);
        verified(&own);
        channels(&own.join("seed-1/level-03"));
    }
}

#[test]
fn every_score_chooses_channels_and_random_ones_differ_from_seed_to_seed() {
    for score in ["l1", "norm-scale", "taylor", "geometric-median", "random"] {
        let set = format!("strategy.score.score=\"{score}\"");
        let (_runs, own) = finished(&["--set", &set]);
        verified(&own);
        let kept = |seed: u64| channels(&own.join(format!("seed-{seed}/level-03")));
        let (one, other) = (kept(0), kept(1));
        assert_ne!(one, other, "{score}");
    }
}

#[test]
fn norms_that_are_included_go_with_their_channels() {
    let (_runs, own) = finished(&["--set", "prune.include=[\"bn*\"]"]);
    verified(&own);
    let folder = own.join("seed-0/level-03");
    let kept = channels(&folder);
    let masks = tensors(&folder.join("mask.safetensors"));
    for (layer, own) in (1..).zip(&kept) {
        for part in ["weight", "bias"] {
            let mask = elements(&masks[&format!("bn{layer}.{part}")]);
            let mask: Vec<bool> = mask.into_iter().map(|it| it != 0.0).collect();
            assert_eq!(mask, *own, "bn{layer}.{part}");
        }
    }
}

#[test]
fn multiply_adds_and_multiples_are_kept_to_the_last_one() {
    let mask = r#"strategy.mask={ use = "structured/mask", target = "macs", multiple = 4, scope = "layer" }"#;
    let (_runs, own) = finished(&["--set", mask]);
    verified(&own);
    for (level, density) in [(1, 0.7), (2, 0.4), (3, 0.2)] {
        let folder = own.join(format!("seed-0/level-{level:02}"));
        let kept = channels(&folder);
        for own in &kept {
            let count = own.iter().filter(|it| **it).count();
            assert!(count % 4 == 0 && count > 0, "{count}");
        }
        // Places of the three convolutions' outputs, and one of the linear layer's.
        let masks = tensors(&folder.join("mask.safetensors"));
        let of = |name: &str, places: u64| {
            let ones = elements(&masks[name])
                .iter()
                .filter(|it| **it != 0.0)
                .count() as u64;
            (ones * places, masks[name].numel() as u64 * places)
        };
        let parts = [
            of("conv1.weight", 40),
            of("conv2.weight", 20),
            of("conv3.weight", 10),
            of("fc.weight", 1),
        ];
        let (got, all) = parts
            .iter()
            .fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1));
        let units = &summary(&folder)["units"];
        assert_eq!(
            (&units["kept"], &units["total"]),
            (&json!(got), &json!(all))
        );
        assert!(got <= (density * all as f64).round() as u64);
    }
}

#[test]
fn a_killed_run_of_whole_channels_goes_on_to_the_same_bytes() {
    let (_kept, whole) = finished(&[]);
    let runs = tempfile::tempdir().unwrap();
    let more = [&SHORT[..], &["--checkpoint-every", "0"]].concat();
    let mut command: Command = run("structured.toml", runs.path(), &more);
    let mut hold = Hold::at(&mut command, "rename", &runs.path().join("structured-"));
    let mut child = command.spawn().unwrap();
    let checkpoint = || {
        let folders = fs::read_dir(runs.path())
            .ok()?
            .flatten()
            .map(|it| it.path());
        let own = folders
            .filter(|it| it.join("experiment.toml").exists())
            .last()?;
        let bytes = fs::read(own.join("seed-0/progress/checkpoint.json")).ok()?;
        serde_json::from_slice::<Value>(&bytes).ok()
    };
    hold.until(&mut child, "a checkpoint within level 2", |_| {
        checkpoint().is_some_and(|it| it["level"] == 2 && it["position"]["step"].as_u64() > Some(5))
    });
    child.kill().unwrap();
    assert_eq!(
        child.wait().unwrap().code(),
        None,
        "it was to be killed, not to end"
    );
    hold.release();
    expect(&mut run("structured.toml", runs.path(), &SHORT), 0);
    assert_eq!(
        digests(&whole),
        digests(&only_run(runs.path(), "structured"))
    );
}

#[test]
fn another_runs_channels_are_transplanted_where_its_counts_are_asked_for() {
    let (_runs, source) = finished(&[]);
    let counts =
        |level: u64| summary(&source.join(format!("seed-0/level-{level:02}")))["density"].clone();
    let densities = format!("prune.densities=[{}, {}]", counts(1), counts(2));
    let mask = format!("strategy.mask={{ use = \"transplant/levels\", run = {source:?} }}");
    let runs = tempfile::tempdir().unwrap();
    let more = [
        "--set",
        "train.epochs=2",
        "--set",
        &densities,
        "--set",
        &mask,
        "--seeds",
        "0..1",
    ];
    expect(&mut run("mnist1d-cnn-lrr.toml", runs.path(), &more), 0);
    let own = only_run(runs.path(), "mnist1d-cnn-lrr");
    for level in 1..=2 {
        let folder = |run: &Path| run.join(format!("seed-0/level-{level:02}"));
        assert_eq!(channels(&folder(&own)), channels(&folder(&source)));
    }
}

/// What is said of an experiment that is refused.
fn refused(more: &[&str]) -> String {
    let runs = tempfile::tempdir().unwrap();
    let output = expect(
        &mut run("structured.toml", runs.path(), &[&SHORT, more].concat()),
        2,
    );
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn what_no_whole_units_can_keep_is_refused_before_anything_trains() {
    let said = refused(&["--set", "prune.densities=[0.5, 0.001]"]);
    assert!(
        said.contains("level 2 is to keep ") && said.contains("whole units come to "),
        "{said}"
    );
    assert!(
        said.contains(" at least, to ") && said.contains("expected a higher density"),
        "{said}"
    );
    let said = refused(&[
        "--set",
        "strategy.mask={ use = \"structured/mask\", multiple = 0 }",
    ]);
    assert!(said.contains("multiple"), "{said}");
    let said = refused(&[
        "--set",
        "strategy.mask={ use = \"structured/mask\", target = \"flops\" }",
    ]);
    assert!(said.contains("macs"), "{said}");
    let linear = r#"model={ name = "mlp", hidden = [] }"#;
    let said = refused(&["--set", linear]);
    assert!(
        said.contains("no units of this network can be removed whole"),
        "{said}"
    );
    let plain = r#"model={ name = "mlp", hidden = [20], batch_norm = false }"#;
    let said = refused(&[
        "--set",
        plain,
        "--set",
        "strategy.score.score=\"norm-scale\"",
    ]);
    assert!(said.contains("no norm scales the units of `fc1`"), "{said}");
}

#[test]
fn scores_are_sums_over_rows_and_columns_and_masks_keep_their_order() {
    let shapes: [&[i64]; 3] = [&[6, 2, 3, 3], &[5, 6, 1, 1], &[4, 20]];
    let scene = Still::new(&shapes, 3);
    let mut own = strategy(plain("structured/units"), plain("structured/mask"), vec![]).unwrap();
    let scores = own.score(&scene).unwrap();
    let weights: Vec<Vec<f32>> = scene
        .weights
        .iter()
        .map(|it| flat(std::slice::from_ref(it)))
        .collect();
    let square = |layer: usize, at: usize| f64::from(weights[layer][at]).powi(2);
    let first: Vec<f64> = (0..6)
        .map(|unit| {
            let rows: f64 = (0..18).map(|at| square(0, unit * 18 + at)).sum();
            let columns: f64 = (0..5).map(|row| square(1, row * 6 + unit)).sum();
            (rows + columns).sqrt()
        })
        .collect();
    let mean = first.iter().sum::<f64>() / 6.0;
    let got = flat(std::slice::from_ref(&scores[0]));
    for (at, score) in got.iter().enumerate() {
        let expected = first[at / 18] / mean;
        assert!(
            (f64::from(*score) - expected).abs() < 1e-5,
            "{at}: {score}, expected {expected}"
        );
    }
    // Of the last layer no units can go.
    assert!(
        flat(std::slice::from_ref(&scores[2]))
            .iter()
            .all(|it| *it == 0.0)
    );

    let by_layer = part(
        "structured/mask",
        json!({"scope": "layer", "target": "units"}),
    );
    let mut own = strategy(plain("imp/magnitude"), by_layer, vec![]).unwrap();
    let mut scene = Still::new(&shapes, 3);
    scene.prune(&mut own, 6).unwrap();
    let units = Units::of_chain(&scene.facts.layers);
    let rows = |layer: usize, size: usize| -> Vec<f64> {
        let own: BTreeMap<usize, f64> =
            weights[layer]
                .iter()
                .enumerate()
                .fold(BTreeMap::new(), |mut sums, (at, it)| {
                    *sums.entry(at / size).or_default() += f64::from(it.abs());
                    sums
                });
        own.into_values().collect()
    };
    for (set, (layer, size, count)) in units.sets.iter().zip([(0, 18, 3), (1, 6, 3)]) {
        let sums = rows(layer, size);
        let mut order: Vec<usize> = (0..set.units as usize).collect();
        order.sort_by(|a, b| sums[*b].total_cmp(&sums[*a]).then(a.cmp(b)));
        let mask = flat(std::slice::from_ref(&scene.masks[layer]));
        for (rank, unit) in order.into_iter().enumerate() {
            let kept = mask[unit * size..][..size].iter().any(|it| *it != 0.0);
            assert_eq!(kept, rank < count, "{} unit {unit}", set.name);
        }
    }
}

#[test]
fn a_compact_export_has_the_channels_that_are_left() {
    let (runs, own) = finished(&[]);
    let file = runs.path().join("small.safetensors");
    let output = expect(
        command()
            .args([
                "export",
                "--compact",
                "--level",
                "3",
                "--seed",
                "0",
                "--format",
                "safetensors",
                "--json",
                "--out",
            ])
            .arg(&file)
            .arg(&own),
        0,
    );
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    let kept = channels(&own.join("seed-0/level-03"));
    let counts: Vec<i64> = kept
        .iter()
        .map(|own| own.iter().filter(|it| **it).count() as i64)
        .collect();
    let small = tensors(&file);
    assert_eq!(small["conv1.weight"].size()[..2], [counts[0], 1]);
    assert_eq!(small["conv2.weight"].size()[..2], [counts[1], counts[0]]);
    assert_eq!(small["conv3.weight"].size()[..2], [counts[2], counts[1]]);
    assert_eq!(said["compact"].as_array().unwrap().len(), 3);
}

fn groups(file: &Path) -> Value {
    let output = expect(command().arg("groups").arg(file).arg("--json"), 0);
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn groups_are_listed_of_experiments_and_of_imported_networks() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments");
    let text = expect(command().arg("groups").arg(top.join("structured.toml")), 0);
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(
        text.starts_with("48 units in 3 sets can be removed"),
        "{text}"
    );
    assert!(
        text.contains("fc.weight: they are the network's outputs"),
        "{text}"
    );
    let built_in = groups(&top.join("structured.toml"));
    assert_eq!(built_in["units"], 48);
    let names = |value: &Value| -> Vec<(String, u64)> {
        let sets = value["sets"].as_array().unwrap().iter();
        sets.map(|it| {
            (
                it["name"].as_str().unwrap().to_owned(),
                it["units"].as_u64().unwrap(),
            )
        })
        .collect()
    };
    // Depthwise convolutions have the channels of those before them.
    let mobile = groups(&top.join("networks/mobilenet.pt2"));
    assert!(mobile["units"].as_u64().unwrap() > 30, "{mobile}");
    let residual = groups(&top.join("networks/narrow-resnet.pt2"));
    assert!(names(&residual).len() > 5, "{residual}");
    let vit = groups(&top.join("networks/vit.pt2"));
    assert!(names(&vit).len() > 2, "{vit}");
}
