//! The rows of `make bench-cuda` on the CPU: what measures a GPU is tried where there is none.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Output};

fn bench(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
    command.args(arguments).output().unwrap()
}

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../BENCHMARKS.md");
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn every_row_for_gpus_has_a_host_that_trains_and_nothing_is_written() {
    let host = Path::new(env!("CARGO_BIN_EXE_bench")).with_file_name("host");
    let mut arguments = vec!["--device", "cpu", "--dry-run", "--without-pytorch"];
    if !host.is_file() {
        eprintln!("the dry run of whole programs is left out: `make build` makes the program");
        arguments.extend(["gpu-r*", "gpu-l*", "gpu-m*", "gpu-d*"]);
    }
    let before = page();
    let output = bench(&arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let table = String::from_utf8_lossy(&output.stdout);
    for row in [
        "gpu-resnet20-bf16",
        "gpu-resnet20-512-tf32",
        "gpu-resnet18-512-bf16",
        "gpu-resnet50-bf16",
        "gpu-lenet",
        "gpu-mlp-bn-6-seeds",
        "gpu-determinism",
    ] {
        assert!(table.contains(&format!("| `{row}` |")), "{row}: {table}");
    }
    assert!(
        table.contains("PyTorch is left out: eager, graph, compile, compile-graph"),
        "{table}"
    );
    assert_eq!(page(), before);
}

#[test]
fn without_a_gpu_one_line_says_so() {
    if tch::Cuda::device_count() > 0 {
        eprintln!("what `make bench-cuda` says without a GPU is left out: there is one");
        return;
    }
    let output = bench(&["--device", "cuda"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert_eq!(
        said,
        "bench: nothing to measure: there is no CUDA device 0: this machine shows 0\n"
    );
}
