//! What is recorded of a level, against a plain calculation from its files.

#![allow(clippy::unwrap_used)]

use std::fs;

use end_to_end::program::{elements, expect, only_run, run, tensors};
use serde_json::Value;

/// Which units of the next layer a mask `[out, in]` reaches from these.
fn reached(mask: &[f32], from: &[bool]) -> Vec<bool> {
    let row = |row: &[f32]| {
        row.iter()
            .zip(from)
            .any(|(kept, from)| *kept == 1.0 && *from)
    };
    mask.chunks(from.len()).map(row).collect()
}

/// The mask the other way round, `[in, out]`.
fn turned(mask: &[f32], inputs: usize) -> Vec<f32> {
    let column = |i: usize| mask.iter().skip(i).step_by(inputs).copied();
    (0..inputs).flat_map(column).collect()
}

#[test]
fn effective_survivors_are_those_between_a_reached_unit_and_one_that_reaches_an_output() {
    let runs = tempfile::tempdir().unwrap();
    let more = [
        "model.hidden=[12, 10]",
        "prune.densities=[0.3, 0.04]",
        "train.epochs=1",
        "strategy.score=random-mask/random",
    ];
    let more: Vec<&str> = more.iter().flat_map(|set| ["--set", *set]).collect();
    let more = [&more[..], &["--seeds", "0..2"]].concat();
    expect(&mut run("lrr.toml", runs.path(), &more), 0);
    let run = only_run(runs.path(), "lrr");
    let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let mut lost = 0;
    for (seed, level) in [(0, 0), (0, 1), (0, 2), (1, 2)] {
        let folder = run.join(format!("seed-{seed}/level-{level:02}"));
        let masks = tensors(&folder.join("mask.safetensors"));
        let names = ["fc1.weight", "fc2.weight", "fc3.weight"];
        let masks = names.map(|name| elements(&masks[name]));
        let widths = [40, 12, 10, 10];
        let mut forward = vec![vec![true; 40]];
        for mask in &masks {
            forward.push(reached(mask, forward.last().unwrap()));
        }
        let mut backward = vec![vec![true; 10]];
        for (mask, inputs) in masks.iter().zip(widths).rev() {
            backward.insert(0, reached(&turned(mask, inputs), &backward[0]));
        }
        let lines = fs::read_to_string(folder.join("layers.jsonl")).unwrap();
        let records: Vec<Value> = lines.lines().map(read).collect();
        let mut all = 0;
        for (layer, mask) in masks.iter().enumerate() {
            let inputs = widths[layer];
            let effective = mask.iter().enumerate().filter(|&(i, &kept)| {
                kept == 1.0 && forward[layer][i % inputs] && backward[layer + 1][i / inputs]
            });
            let effective = effective.count() as u64;
            let record = &records[layer];
            assert_eq!(record["effective"], effective, "level {level}, {layer}");
            lost += record["survivors"].as_u64().unwrap() - effective;
            all += effective;
        }
        let summary = read(&fs::read_to_string(folder.join("summary.json")).unwrap());
        assert_eq!(summary["effective_survivors"], all);
        let density = all as f64 / summary["weights"].as_f64().unwrap();
        assert_eq!(summary["effective_density"], density);
    }
    assert!(lost > 0, "every survivor was on a path");
    let csv = fs::read_to_string(run.join("summary.csv")).unwrap();
    assert!(
        csv.lines()
            .next()
            .unwrap()
            .ends_with(",effective_survivors,effective_density")
    );
}
