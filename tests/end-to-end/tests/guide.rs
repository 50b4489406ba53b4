//! The guide for networks of one's own, followed to the letter with the archive that ships.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use end_to_end::program::{command, elements, expect, keep, only_run, tensors};
use tch::Tensor;

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
    let [experiment] = blocks("toml")[..] else {
        panic!("the guide has one experiment")
    };
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
