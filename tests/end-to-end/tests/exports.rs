//! Exported models in the programs that they are for.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

use end_to_end::program::{self, command, expect, only_run, run};
use serde_json::Value;

/// `python3`, or what `$PYTHON` names, if it can import these; else says past the capture that a test is left out.
fn python(modules: &str, test: &str) -> Option<String> {
    let name = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let probe = Command::new(&name)
        .args(["-c", &format!("import {modules}")])
        .output();
    match probe {
        Ok(output) if output.status.success() => Some(name),
        _ => {
            program::leave_out(&format!(
                "{test} is left out: {name} has no {modules}; PYTHON=... names one that has"
            ));
            None
        }
    }
}

/// The object that a command says.
fn said(command: &mut Command) -> Value {
    let output = expect(command.arg("--json"), 0);
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A convolution net whose channels are pruned whole, to its end.
fn structured(runs: &Path) -> std::path::PathBuf {
    let set = ["--set", "train.epochs=4", "--set", "prune.densities=[0.4]"];
    let short = [&set[..], &["--seeds", "0"]].concat();
    expect(&mut run("structured.toml", runs, &short), 0);
    only_run(runs, "structured")
}

#[test]
fn a_compact_network_is_as_accurate_in_onnx_runtime_as_it_was_recorded() {
    let Some(python) = python("onnxruntime, numpy", "accuracy in ONNX Runtime") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let run = structured(folder.path());
    let mut bench = command();
    bench
        .arg("bench-export")
        .arg(&run)
        .args(["--python", &python]);
    bench.args(["--seconds", "0.01", "--threads", "1", "--multiple", "4"]);
    let timed = said(&mut bench);
    assert_eq!(timed["test_samples"], 1000);
    assert!(timed["onnx_runtime"].is_string(), "{timed}");
    let recorded = timed["recorded_accuracy"].as_f64().unwrap();
    assert!(recorded > 0.3, "{timed}");
    let rows = timed["latencies"].as_array().unwrap();
    let of = |variant: &str| {
        let own = rows.iter().filter(|it| it["variant"] == variant);
        own.collect::<Vec<_>>()
    };
    for variant in ["dense", "compact", "infer", "onnx", "onnx-compact"] {
        let rows = of(variant);
        assert_eq!(rows.len(), 2, "{timed}");
        for row in rows {
            assert_eq!(row["unavailable"], Value::Null, "{row}");
            assert_eq!(row["accuracy"].as_f64(), Some(recorded), "{row}");
            assert!(row["difference"].as_f64().unwrap() < 1e-5, "{row}");
            assert!(row["of_onnx"][1].as_f64().unwrap() > 0.0, "{row}");
        }
    }
    let bytes = |variant: &str| of(variant)[0]["bytes"].as_u64().unwrap();
    assert!(bytes("onnx-compact") < bytes("onnx"));
    for row in of("onnx-int8") {
        let accuracy = row["accuracy"].as_f64().unwrap();
        assert!((accuracy - recorded).abs() < 0.02, "{row}");
        assert!(row["difference"].as_f64().unwrap() > 1e-5, "{row}");
    }
    assert!(2 * bytes("onnx-int8") < bytes("onnx-compact"));
}

#[test]
fn networks_are_timed_side_by_side_and_the_times_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let runs = folder.path().join("runs");
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments/imp.toml");
    let file = folder.path().join("small.toml");
    let text = format!(
        "base = {base:?}\nname = \"small\"\nseeds = [0]\n[model]\nhidden = [16]\n[train]\nepochs = 1\n\
         [prune]\nlevels = 2\n[sweep.methods.imp]\n[sweep.methods.lrr]\nstrategy.rewind = \"lrr/learning-rate\"\n"
    );
    std::fs::write(&file, text).unwrap();
    let host = |arguments: &[&str], code: i32| {
        let mut command = command();
        command.args(arguments).arg("--runs").arg(&runs);
        let output = expect(&mut command, code);
        [output.stdout, output.stderr].map(|it| String::from_utf8(it).unwrap())
    };
    host(&["run", file.to_str().unwrap(), "--quiet"], 0);
    let bench = |more: &[&str], code: i32| {
        let quick = ["--seconds", "0.01", "--threads", "1", "--no-data"];
        let without_onnx = ["--python", "/no/python"];
        host(
            &[&["bench-export"], more, &quick, &without_onnx].concat(),
            code,
        )
    };
    let [said, _] = bench(&["small", "--level", "1,2", "--batch", "1,8"], 0);
    let (_, table) = said
        .split_once("1 thread, times as fast as libtorch in full (accuracy):\n\n")
        .unwrap();
    let rows: Vec<&str> = table.lines().collect();
    assert_eq!(rows.len(), 1 + 2 * 2 * 2, "{table}");
    assert!(
        rows[0].contains("rewind-infer") && !rows[0].contains("ONNX"),
        "{table}"
    );
    // Measured again, a network on a batch takes its old time's place.
    bench(&["small-lrr", "--batch", "8"], 0);
    let lrr = only_run(&runs, "small-lrr");
    let kept = std::fs::read_to_string(lrr.join("latencies.jsonl")).unwrap();
    assert_eq!(kept.lines().count(), 2 * 2, "{kept}");
    let lrr = lrr.to_str().unwrap();
    let [verified, _] = host(&["verify", lrr], 0);
    assert!(!verified.contains("latencies"), "{verified}");
    let [_, error] = bench(&["small", "--level", "3"], 2);
    assert!(error.contains("level 3"), "{error}");
    // What no report would read is found.
    let path = Path::new(lrr).join("latencies.jsonl");
    std::fs::write(&path, kept.replacen("0.", "1.", 1)).unwrap();
    let [verified, _] = host(&["verify", lrr], 5);
    assert!(verified.contains("latencies.jsonl"), "{verified}");
}

#[test]
fn in_8_bits_a_network_is_nearly_as_accurate_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let run = structured(folder.path());
    let path = folder.path().join("int8.onnx");
    let export = |more: &[&str]| {
        let mut export = command();
        export
            .arg("export")
            .arg(&run)
            .args(["--format", "int8", "-o"]);
        export.arg(&path).args(more);
        export
    };
    let told = said(&mut export(&["--compact"]));
    let int8 = &told["int8"];
    assert_eq!(int8["calibration_samples"], 512);
    assert_eq!(
        (&int8["percentile"], &int8["test_samples"]),
        (&99.99.into(), &1000.into())
    );
    let [rounded, full] = ["accuracy", "accuracy_in_full"].map(|it| int8[it].as_f64().unwrap());
    assert!((rounded - full).abs() < 0.02, "{int8}");
    let bytes = std::fs::read(&path).unwrap();
    let summary = std::fs::read(run.join("seed-0/level-01/summary.json")).unwrap();
    let summary: Value = serde_json::from_slice(&summary).unwrap();
    assert!(
        (full - summary["test_accuracy"].as_f64().unwrap()).abs() < 0.0015,
        "{int8}"
    );
    // The same again, and a quarter of the weights' bytes.
    said(&mut export(&["--compact"]));
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
    let few = said(&mut export(&[
        "--calibration",
        "100000",
        "--percentile",
        "100",
    ]));
    assert_eq!(few["int8"]["calibration_samples"], 4000);
    if let Some(python) = python("onnxruntime, numpy", "8 bits in ONNX Runtime") {
        let script = "import sys, onnxruntime, numpy\n\
            session = onnxruntime.InferenceSession(sys.argv[1])\n\
            logits, = session.run(None, {'input': numpy.zeros((2, 40), numpy.float32)})\n\
            assert logits.shape == (2, 10)";
        let ran = Command::new(python)
            .args(["-c", script])
            .arg(&path)
            .output();
        let ran = ran.unwrap();
        assert!(
            ran.status.success(),
            "{}",
            String::from_utf8_lossy(&ran.stderr)
        );
    }
    for (args, text) in [
        (&["--percentile", "50"][..], "expected more than 50"),
        (&["--calibration", "0"], "0 is not in 1.."),
    ] {
        let refused = expect(&mut export(args), 2);
        let refused = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(refused.contains(text), "{refused}");
    }
    let mut other = command();
    other
        .arg("export")
        .arg(&run)
        .args(["--format", "onnx", "--calibration", "8"]);
    let refused = expect(&mut other, 2);
    let refused = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.contains("use --format int8"), "{refused}");
}

/// The network of the run in PyTorch, full-size and shrunk.
const MODULE: &str = r#"
import sys
from safetensors.torch import load_file
from torch import nn

class Cnn1d(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv1 = nn.Conv1d(1, width, 5, padding=2, bias=False)
        self.conv2 = nn.Conv1d(width, width, 3, stride=2, padding=1, bias=False)
        self.conv3 = nn.Conv1d(width, width, 3, stride=2, padding=1, bias=False)
        self.bn1, self.bn2, self.bn3 = (nn.BatchNorm1d(width) for _ in range(3))
        self.fc = nn.Linear(10 * width, 10)

    def forward(self, x):
        x = self.bn1(self.conv1(x[:, None])).relu()
        x = self.bn2(self.conv2(x)).relu()
        return self.fc(self.bn3(self.conv3(x)).relu().flatten(1))

full, small = Cnn1d(16), shrink(Cnn1d(16), sys.argv[2])
full.load_state_dict(load_file(sys.argv[1]))
samples = torch.randn(8, 40, generator=torch.Generator().manual_seed(0))
expected, got = full.eval()(samples), small.eval()(samples)
assert torch.allclose(got, expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item()), (got, expected)
count = lambda model: sum(it.numel() for it in model.parameters())
assert count(small) < 0.8 * count(full), (count(small), count(full))
"#;

#[test]
fn the_lines_of_the_page_build_the_small_module() {
    let Some(python) = python("torch, safetensors.torch", "the small module in PyTorch") else {
        return;
    };
    let page =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/export.md"));
    let page = page.unwrap();
    let lines = page
        .split("```python\n")
        .find(|it| it.contains("def shrink"));
    let lines = lines.unwrap().split("```").next().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let run = structured(folder.path());
    let paths = [("full", &[][..]), ("small", &["--compact"])].map(|(name, more)| {
        let path = folder.path().join(format!("{name}.safetensors"));
        let mut export = command();
        export
            .arg("export")
            .arg(&run)
            .args(["--format", "safetensors", "-o"]);
        expect(export.arg(&path).args(more), 0);
        path
    });
    let ran = Command::new(python)
        .args(["-c", &format!("{lines}\n{MODULE}")])
        .args(paths)
        .output()
        .unwrap();
    assert!(
        ran.status.success(),
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
}
