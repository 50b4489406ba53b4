//! The hidden neuron through the ordinary level loop, with the shipped plugins, beside its
//! simulation.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::Command;

use end_to_end::program::{elements, expect, host, only_run, run, tensors};
use host::neuron::{Method, Neuron, SUCCESS_LOSS, Settings, Start, outcomes};

const SEEDS: u64 = 40;

/// Trains, prunes and trains again from 40 inits by the level loop; whether each learnt the target.
fn trained(dimension: u64, method: Method, runs: &Path) -> Vec<bool> {
    let (dimension_key, densities) = (
        format!("data.dimension={dimension}"),
        format!("prune.densities=[{}]", 1.0 / dimension as f64),
    );
    let strategy = format!("strategy={}", method.name());
    let name = format!("name=neuron-{}-{dimension}", method.name());
    let seeds = format!("0..{SEEDS}");
    let set = [
        "--set",
        &dimension_key,
        "--set",
        &densities,
        "--set",
        &strategy,
        "--set",
        &name,
    ];
    let more = [&set[..], &["--seeds", &seeds]].concat();
    expect(&mut run("hidden-neuron.toml", runs, &more), 0);
    let folder = only_run(runs, name.trim_start_matches("name="));
    let one = |seed: u64| {
        let level = |level: u64| folder.join(format!("seed-{seed}/level-0{level}"));
        let weights = |path: &Path| {
            let tensors = tensors(path);
            let numbers = |name: &str| -> Vec<f64> {
                elements(&tensors[name])
                    .into_iter()
                    .map(f64::from)
                    .collect()
            };
            (numbers("fc2.weight")[0], numbers("fc1.weight"))
        };
        // The simulation starts from these very weights.
        let (a, w) = weights(&level(0).join("start.safetensors"));
        let start = Start::draw(dimension, Settings::default().scale, seed);
        assert_eq!((a, w), (start.a, start.w.clone()));
        let (a, w) = weights(&level(1).join("start.safetensors"));
        assert_eq!(w.iter().filter(|&&w| w != 0.0).count(), 1, "{w:?}");
        if method == Method::Imp {
            assert_eq!(a, start.a);
            assert!(
                w.iter()
                    .zip(&start.w)
                    .all(|(w, init)| *w == 0.0 || w == init)
            );
        }
        let (a, w) = weights(&level(1).join("end.safetensors"));
        let rest = w[1..].iter().map(|w| w * w).sum::<f64>().sqrt();
        let loss = Neuron { a, w1: w[0], rest }.loss();
        // Over the samples it is the same, to what their number allows.
        let summary = fs::read(level(1).join("summary.json")).unwrap();
        let summary: serde_json::Value = serde_json::from_slice(&summary).unwrap();
        let sampled = summary["test_loss"].as_f64().unwrap();
        assert!((sampled - loss).abs() < 0.02, "{sampled}, {loss}");
        assert_eq!(summary["test_accuracy"] == 1.0, loss < SUCCESS_LOSS);
        loss < SUCCESS_LOSS
    };
    (0..SEEDS).map(one).collect()
}

/// The same by the simulation.
fn simulated(dimension: u64, method: Method) -> Vec<bool> {
    let settings = Settings::default();
    let one = |seed| {
        let start = Start::draw(dimension, settings.scale, seed);
        let both = outcomes(&start, &settings);
        both.into_iter()
            .any(|it| it.method == method && it.is_success())
    };
    (0..SEEDS).map(one).collect()
}

fn check(dimension: u64) {
    let runs = tempfile::tempdir().unwrap();
    let mut learnt = Vec::new();
    for method in Method::BOTH {
        let trained = trained(dimension, method, runs.path());
        assert_eq!(trained, simulated(dimension, method), "{method:?}");
        learnt.push(trained.iter().filter(|&&it| it).count());
    }
    // Both verdicts occur, and the methods differ.
    assert!((1..SEEDS as usize).contains(&learnt[0]), "{learnt:?}");
    assert!(learnt[1] > learnt[0], "{learnt:?}");
}

#[test]
fn with_five_inputs_every_init_ends_under_both_methods_as_in_the_simulation() {
    check(5);
}

#[test]
fn with_two_inputs_every_init_ends_under_both_methods_as_in_the_simulation() {
    check(2);
}

#[test]
fn the_file_and_the_command_give_the_same_folder_which_is_computed_once() {
    let runs = tempfile::tempdir().unwrap();
    let file = [
        "--set",
        "neuron.inits=30",
        "--set",
        "neuron.dimensions=[1, 3]",
    ];
    expect(&mut run("neuron.toml", runs.path(), &file), 0);
    let folder = only_run(runs.path(), "neuron");
    let record = folder.join("neuron.json");
    let written = fs::metadata(&record).unwrap().modified().unwrap();
    let command = |more: &[&str]| {
        let mut command = Command::new(host());
        command
            .args(["neuron", "--threads", "1", "--runs"])
            .arg(runs.path());
        command
            .args(["--inits", "30", "--dimensions", "1,3"])
            .args(more);
        command
    };
    let output = expect(&mut command(&["--json"]), 0);
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(said["run"], folder.to_str().unwrap());
    assert_eq!(said["fractions"].as_array().unwrap().len(), 4);
    assert_eq!(fs::metadata(&record).unwrap().modified().unwrap(), written);
    let table = expect(&mut command(&[]), 0).stdout;
    let table = String::from_utf8(table).unwrap();
    assert!(table.contains("IMP, dimension 3"), "{table}");
    let refused = expect(&mut command(&["--step", "0.9"]), 2);
    let message = String::from_utf8(refused.stderr).unwrap();
    assert!(message.contains("`--step` is 0.9"), "{message}");
    let seeds = expect(
        &mut run("neuron.toml", runs.path(), &["--seeds", "0..3"]),
        2,
    );
    let message = String::from_utf8(seeds.stderr).unwrap();
    assert!(message.contains("neuron.seed"), "{message}");
}
