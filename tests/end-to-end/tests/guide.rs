//! The guide for networks of one's own, followed to the letter with the archive that ships.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use end_to_end::program::{command, elements, expect, keep, only_run, tensors};
use tch::{Kind, Tensor};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
const GUIDE: &str = include_str!("../../../docs/your-network.md");

/// Its blocks of code in a language.
fn blocks(language: &str) -> Vec<&'static str> {
    let parts = GUIDE.split("```").skip(1).step_by(2);
    let own = parts.filter_map(|it| it.strip_prefix(language)?.strip_prefix('\n'));
    own.collect()
}

#[test]
fn the_guide_leads_from_an_archive_to_a_state_dict() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path();
    let archive = Path::new(ROOT).join("experiments/networks/mlp.pt2");
    fs::copy(archive, folder.join("net.pt2")).unwrap();
    let experiment = blocks("toml")[0];
    fs::write(folder.join("mine.toml"), experiment).unwrap();
    let mut said = String::new();
    for line in blocks("sh").into_iter().flat_map(str::lines) {
        let mut words = line.split_whitespace();
        assert_eq!(words.next(), Some("rewind"), "{line}");
        let output = expect(command().current_dir(folder).args(words), 0);
        said += &String::from_utf8_lossy(&output.stdout);
    }
    assert!(folder.join("runs/mine/report.html").exists(), "{said}");

    let written = tensors(&folder.join("net.safetensors"));
    let golden = tensors(&Path::new(ROOT).join("tests/models/golden/mlp.safetensors"));
    let names = |prefix: &str| -> Vec<String> {
        let own = golden.keys().filter_map(|it| it.strip_prefix(prefix));
        own.map(str::to_owned).collect()
    };
    let both = [names("grad."), names("after.")].concat();
    let mut state: BTreeSet<String> = both.into_iter().collect();
    state.retain(|it| !it.ends_with("num_batches_tracked"));
    assert_eq!(written.keys().cloned().collect::<BTreeSet<_>>(), state);

    // Weights have two dimensions.
    let weights = || written.values().filter(|it| it.dim() == 2);
    let total = weights().map(Tensor::numel).sum::<usize>() as u64;
    let kept = weights().flat_map(elements).filter(|it| *it != 0.0);
    assert_eq!(kept.count() as u64, keep(0.4, 6, total));
    let run = only_run(&folder.join("runs"), "mine-lrr");
    assert!(run.join("seed-2/level-06/done.json").exists());
}

#[test]
fn the_guides_line_for_data_of_ones_own_trains_the_same_network() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path();
    let archive = Path::new(ROOT).join("experiments/networks/mlp.pt2");
    fs::copy(archive, folder.join("net.pt2")).unwrap();
    let [experiment, line] = blocks("toml")[..] else {
        panic!("the guide has an experiment and a line for it")
    };
    let own = experiment.replace("data = { name = \"mnist1d\" }", line.trim_end());
    assert_ne!(own, experiment);
    fs::write(folder.join("mine.toml"), own).unwrap();
    // Each class has numbers of its own, but for noise.
    let (samples, cpu) = (500, tch::Device::Cpu);
    let y = Tensor::arange(samples, (Kind::Int64, cpu)).remainder(10);
    let places = Tensor::arange(40, (Kind::Float, cpu));
    let x = ((y.unsqueeze(1) + 1) * &places).sin()
        + (Tensor::arange(samples * 40, (Kind::Float, cpu)) * 12.9898)
            .sin()
            .view([samples, 40]);
    Tensor::write_npz(&[("x", &x), ("y", &y)], folder.join("train.npz")).unwrap();
    for words in ["plan mine.toml", "run mine.toml", "report runs/mine"] {
        expect(command().current_dir(folder).args(words.split(' ')), 0);
    }
    let best = expect(command().current_dir(folder).args(["best", "mine"]), 0);
    let best = String::from_utf8_lossy(&best.stdout).into_owned();
    assert!(best.contains("Best by validation at level 6: "), "{best}");
    let page = fs::read_to_string(folder.join("runs/mine/report.html")).unwrap();
    assert!(page.contains("stated by test samples, chosen by validation samples"));
    let run = only_run(&folder.join("runs"), "mine-lrr");
    let summary = fs::read(run.join("seed-0/level-01/summary.json")).unwrap();
    let summary: serde_json::Value = serde_json::from_slice(&summary).unwrap();
    assert_eq!(
        (&summary["test_samples"], &summary["validation_samples"]),
        (&100.into(), &40.into())
    );
    assert!(
        summary["test_accuracy"].as_f64().unwrap() > 0.9,
        "{summary}"
    );
}
