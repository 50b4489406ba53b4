//! Transformers are pruned, rewound, exported and checked as any other network.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use end_to_end::program::{command, elements, expect, only_run, tensors};

use crate::determinism::pictures;

/// A small one on images of stripes.
const SMALL: &str = r#"
name = "small"
seeds = [0]
data = { name = "image-folder", size = 16, dir = "pictures" }

[model]
name = "vit"
patch = 4
width = 12
depth = 2

[train]
epochs = 2
batch_size = 12
optimizer = { name = "adamw", lr = 0.003 }
schedule = { name = "cosine", warmup = "1ep" }
label_smoothing = 0.1

[prune]
densities = [0.5, 0.1]

[strategy]
score = "imp/magnitude"
mask = "imp/global"
"#;

/// A folder with the experiment, with this rewind, and its images.
fn folder(rewind: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("pictures");
    pictures(&images);
    // Unlike other paths, one of data starts where the program is called.
    let small = SMALL.replace("\"pictures\"", &format!("{images:?}"));
    fs::write(
        folder.path().join("small.toml"),
        format!("{small}rewind = {rewind}\n"),
    )
    .unwrap();
    folder
}

fn of_experiment(verb: &str, folder: &Path, more: &[&str]) -> Command {
    let mut command = command();
    command.arg(verb).arg(folder.join("small.toml"));
    command.arg("--runs").arg(folder.join("runs")).args(more);
    command
}

fn finished(folder: &Path) -> PathBuf {
    expect(&mut of_experiment("run", folder, &["--threads", "1"]), 0);
    only_run(&folder.join("runs"), "small")
}

fn said(output: &std::process::Output) -> String {
    let both = [&output.stdout[..], &output.stderr].concat();
    String::from_utf8_lossy(&both).into_owned()
}

/// What level 1 starts from is the end of level 0, pruned, with layer norms, or all else, or both, as at the start.
#[test]
fn layer_norms_are_rewound_as_the_axis_of_norms_says_and_all_goes_back_with_weights() {
    for (rewind, norms_go_back, weights_go_back) in [
        ("\"lrr/learning-rate\"", false, false),
        (
            "{ use = \"lrr/learning-rate\", norm_affine = \"init\" }",
            true,
            false,
        ),
        (
            "{ use = \"axes/rewind\", norm_affine = \"init\", schedule = \"restart\" }",
            true,
            false,
        ),
        (
            "{ use = \"axes/rewind\", magnitudes = \"init\", signs = \"init\", schedule = \"restart\" }",
            false,
            true,
        ),
        ("\"imp/weights\"", true, true),
    ] {
        let folder = folder(rewind);
        let run = finished(folder.path());
        let stored = |file: &str| tensors(&run.join(format!("seed-0/{file}.safetensors")));
        let (start, end) = (stored("level-00/start"), stored("level-00/end"));
        let (next, masks) = (stored("level-01/start"), stored("level-01/mask"));
        assert_eq!(next.len(), start.len());
        for (name, got) in &next {
            let goes_back = match name.contains("norm") {
                true => norms_go_back,
                false => weights_go_back,
            };
            let expected = if goes_back { &start[name] } else { &end[name] };
            let expected = match masks.get(name) {
                Some(mask) => expected * mask,
                None => expected.shallow_clone(),
            };
            assert_eq!(elements(got), elements(&expected), "{rewind}, {name}");
            assert_ne!(
                elements(&start[name]),
                elements(&end[name]),
                "{name} was trained"
            );
        }
        assert!(!masks.contains_key("pos_embed") && masks.contains_key("blocks.1.attn.qkv.weight"));
    }
}

#[test]
fn a_transformer_learns_to_tell_stripes_apart_that_it_has_not_seen() {
    let folder = folder("\"lrr/learning-rate\"");
    let set = [
        "train.epochs=30",
        "prune.levels=0",
        "model.dropout=0.1",
        "model.stochastic_depth=0.1",
    ];
    let mut run = of_experiment("run", folder.path(), &["--threads", "1"]);
    expect(run.args(set.into_iter().flat_map(|it| ["--set", it])), 0);
    let run = only_run(&folder.path().join("runs"), "small");
    let summary = fs::read(run.join("seed-0/level-00/summary.json")).unwrap();
    let summary: serde_json::Value = serde_json::from_slice(&summary).unwrap();
    let accuracy = summary["test_accuracy"].as_f64().unwrap();
    assert!(accuracy > 0.9, "{summary}");
}

#[test]
fn a_pruned_transformer_is_verified_and_exported_in_every_form() {
    let folder = folder("\"lrr/learning-rate\"");
    let run = finished(folder.path());
    let verified = said(&expect(command().arg("verify").arg(&run), 0));
    assert!(verified.contains("nothing is wrong"), "{verified}");
    let end = tensors(&run.join("seed-0/level-02/end.safetensors"));
    for format in ["safetensors", "csr", "onnx"] {
        for compact in [false, true] {
            let path = folder.path().join(format!("{format}-{compact}"));
            let mut export = command();
            export.arg("export").arg(&run).arg("-o").arg(&path);
            export.args(["--format", format]);
            if compact {
                export.arg("--compact");
            }
            expect(&mut export, 0);
            if format != "safetensors" {
                continue;
            }
            let exported = tensors(&path);
            assert_eq!(exported.len(), end.len());
            for (name, tensor) in &end {
                let (shape, own) = (exported[name].size(), tensor.size());
                // At a tenth of the weights some hidden units are dead; nothing else gets smaller.
                let hidden = name.contains("mlp.fc1") || name.ends_with("mlp.fc2.weight");
                let smaller = exported[name].numel() < tensor.numel();
                assert_eq!(smaller, compact && hidden, "{name}: {shape:?} of {own:?}");
                assert!(smaller || shape == own, "{name}");
            }
        }
    }
    let mut bench = command();
    bench
        .arg("bench-export")
        .arg(&run)
        .args(["--seconds", "0.05"]);
    let timed = expect(bench.args(["--batch", "2", "--json"]), 0).stdout;
    let timed: serde_json::Value = serde_json::from_slice(&timed).unwrap();
    let rows = timed["latencies"].as_array().unwrap();
    assert_eq!(rows.len(), 7);
    // ONNX Runtime may be absent.
    for row in &rows[..4] {
        assert!(row["unavailable"].is_null(), "{row}");
    }
}

#[test]
fn what_does_not_go_together_is_said_at_its_line_before_anything_trains() {
    let plain = folder("\"lrr/learning-rate\"");
    for (set, place, expected) in [
        (
            "model.patch=5",
            "--set",
            "does not divide images of 16 x 16 pixels: expected one of 1, 2, 4, 8, 16",
        ),
        (
            "model.heads=5",
            "--set",
            "does not divide the 12 features of a token",
        ),
        (
            "model.width=10",
            "small.toml",
            "heads = 3 does not divide the 10 features",
        ),
        ("model.stochastic_depth=1.0", "--set", "less than 1"),
    ] {
        let refused = said(&expect(
            &mut of_experiment("plan", plain.path(), &["--set", set]),
            2,
        ));
        assert!(
            refused.contains(place) && refused.contains(expected),
            "{set}: {refused}"
        );
    }
    let warned = |rewind: &str, code: i32| {
        let folder = folder(rewind);
        said(&expect(
            &mut of_experiment("plan", folder.path(), &["--no-estimate"]),
            code,
        ))
    };
    let older = warned(
        "{ use = \"lrr/learning-rate\", batch_norm_affine = \"init\" }",
        0,
    );
    let place = "the network has no batch norm, and this sets its layer norms back";
    assert!(
        older.contains(place) && older.contains("norm_affine"),
        "{older}"
    );
    let statistics = warned(
        "{ use = \"axes/rewind\", batch_norm_statistics = \"init\" }",
        0,
    );
    assert!(
        statistics.contains("the network has no batch norm"),
        "{statistics}"
    );
    let norms = warned("{ use = \"lrr/learning-rate\", norm_affine = \"init\" }", 0);
    assert!(!norms.contains("warning"), "{norms}");
    for plugin in ["lrr/learning-rate", "axes/rewind"] {
        let both = format!(
            "{{ use = \"{plugin}\", norm_affine = \"init\", batch_norm_affine = \"init\" }}"
        );
        let refused = warned(&both, 2);
        assert!(refused.contains("two names of one option"), "{refused}");
    }
}
