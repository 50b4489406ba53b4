//! What a run leaves on disk is exact, and the same however it came about.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use attack::hold::Hold;
use end_to_end::program::{command, digests, elements, expect, keep, only_run, run, tensors};
use host::store;
use serde_json::Value;

/// A run that is small, but has everything: several levels, batch norm, momentum, two seeds.
const SMALL: [&str; 4] = ["--set", "prune.levels=4", "--set", "train.epochs=2"];

fn small(experiment: &str, runs: &Path, more: &[&str]) -> Command {
    let seeds: &[&str] = if more.contains(&"--seeds") {
        &[]
    } else {
        &["--seeds", "0..2"]
    };
    run(experiment, runs, &[&SMALL, seeds, more].concat())
}

/// The run's folder after an uninterrupted run.
fn uninterrupted(experiment: &str, name: &str, more: &[&str]) -> (tempfile::TempDir, PathBuf) {
    let runs = tempfile::tempdir().unwrap();
    expect(&mut small(experiment, runs.path(), more), 0);
    let run = only_run(runs.path(), name);
    (runs, run)
}

/// Starts the run, kills it without warning when level 3 has a checkpoint after these steps, and goes on.
fn killed_and_resumed(
    experiment: &str,
    name: &str,
    more: &[&str],
    after: u64,
) -> (tempfile::TempDir, PathBuf) {
    let runs = tempfile::tempdir().unwrap();
    let with_checkpoints = [more, &["--checkpoint-every", "0"]].concat();
    let mut command = small(experiment, runs.path(), &with_checkpoints);
    let mut hold = Hold::at(
        &mut command,
        "rename",
        &runs.path().join(format!("{name}-")),
    );
    let mut child = command.spawn().unwrap();
    let checkpoint = || {
        let folders = fs::read_dir(runs.path())
            .ok()?
            .flatten()
            .map(|entry| entry.path());
        let own = folders
            .filter(|path| path.join("experiment.toml").exists())
            .last()?;
        let bytes = fs::read(own.join("seed-0/progress/checkpoint.json")).ok()?;
        serde_json::from_slice::<serde_json::Value>(&bytes).ok()
    };
    hold.until(&mut child, "a checkpoint within level 3", |_| {
        checkpoint()
            .is_some_and(|c| c["level"] == 3 && c["position"]["step"].as_u64() > Some(after))
    });
    child.kill().unwrap();
    assert_eq!(
        child.wait().unwrap().code(),
        None,
        "the program was to be killed, not to end"
    );
    hold.release();
    let run = only_run(runs.path(), name);
    assert!(
        !run.join("seed-0/level-03/done.json").exists(),
        "killed too late"
    );
    assert!(run.join("seed-0/level-02/done.json").exists());
    expect(&mut small(experiment, runs.path(), more), 0);
    (runs, run)
}

fn assert_same_bytes(experiment: &str, name: &str, more: &[&str], after: u64) {
    let (_kept, whole) = uninterrupted(experiment, name, more);
    let (_runs, resumed) = killed_and_resumed(experiment, name, more, after);
    let (whole, resumed) = (digests(&whole), digests(&resumed));
    // identity, experiment, summary; five levels of two seeds with at least nine files each.
    assert!(whole.len() >= 3 + 2 * 5 * 8, "{}", whole.len());
    assert_eq!(whole, resumed);
}

#[test]
fn a_run_killed_within_level_three_goes_on_to_the_same_bytes() {
    // Late enough that the record of a whole epoch, too, goes through the checkpoint.
    assert_same_bytes("lrr.toml", "lrr", &[], 40);
}

#[test]
fn a_killed_run_with_rewound_weights_and_lasting_sign_flips_goes_on_to_the_same_bytes() {
    let flips = "strategy.rewind=[{ use = \"imp/weights\", to = \"1ep\" }, \
                 { use = \"sign-perturbation/flip\", fraction = 0.3, lasting = true, levels = [2] }]";
    assert_same_bytes("wr.toml", "wr", &["--set", flips], 10);
}

#[test]
fn a_killed_run_with_a_strategy_that_drops_and_grows_within_levels_goes_on_to_the_same_bytes() {
    let grows = "strategy.mask={ use = \"drop-and-grow/update\", every = \"7it\" }";
    assert_same_bytes("lrr.toml", "lrr", &["--set", grows], 10);
}

#[test]
fn a_killed_run_with_updates_that_have_states_and_draw_goes_on_to_the_same_bytes() {
    let updates = "strategy.update=[\"aws/interpolated-norms\", \"movement/accumulate\", \
                   { use = \"sign-in/reparameterised\", every = \"7it\" }]";
    assert_same_bytes("lrr.toml", "lrr", &["--set", updates], 10);
}

#[test]
fn a_killed_run_of_a_convolution_net_goes_on_to_the_same_bytes() {
    let more = ["--set", "train.epochs=1"];
    assert_same_bytes("mnist1d-cnn-lrr.toml", "mnist1d-cnn-lrr", &more, 10);
}

/// Starts the run and asks it to stop in an epoch of level 1.
#[cfg(unix)]
fn stopped(runs: &Path) -> PathBuf {
    let mut command = small("lrr.toml", runs, &[]);
    let mut hold = Hold::at_events(&mut command);
    let mut child = command.spawn().unwrap();
    hold.until(&mut child, "an epoch of level 1", |it| {
        it.has(|event| event["event"] == "epoch" && event["record"]["level"] == 1)
    });
    let stopped = Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(stopped.success());
    hold.release();
    assert_eq!(child.wait().unwrap().code(), Some(4));
    only_run(runs, "lrr")
}

#[cfg(unix)]
#[test]
fn a_run_that_is_asked_to_stop_checkpoints_and_goes_on_to_the_same_bytes() {
    let (_kept, whole) = uninterrupted("lrr.toml", "lrr", &[]);
    let runs = tempfile::tempdir().unwrap();
    let run = stopped(runs.path());
    expect(&mut small("lrr.toml", runs.path(), &[]), 0);
    assert_eq!(digests(&whole), digests(&run));
}

/// Makes a seed's checkpoint one of a version that kept no signs.
#[cfg(unix)]
fn without_signs(progress: &Path) {
    let path = progress.join("checkpoint.json");
    let mut checkpoint: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let keys = checkpoint.as_object_mut().unwrap();
    keys.remove("digest").unwrap();
    keys.remove("signs").unwrap();
    let file = progress.join(checkpoint["tensors"][0].as_str().unwrap());
    let mut tensors = store::read_tensors(&file).unwrap();
    let before = tensors.len();
    tensors.retain(|(name, _)| !name.starts_with("epoch/signs."));
    assert_eq!(tensors.len(), before - 3);
    store::write_tensors(&file, &tensors).unwrap();
    checkpoint["tensors"][1] = store::digest(&file).unwrap().into();
    store::write_sealed(&path, &checkpoint).unwrap();
}

#[cfg(unix)]
#[test]
fn a_checkpoint_of_a_version_without_signs_goes_on_to_the_same_bytes_but_records_none_of_its_level()
{
    let (_kept, whole) = uninterrupted("lrr.toml", "lrr", &[]);
    let runs = tempfile::tempdir().unwrap();
    let run = stopped(runs.path());
    without_signs(&run.join("seed-0/progress"));
    expect(&mut small("lrr.toml", runs.path(), &[]), 0);
    let levels = |run: &Path| {
        let mut files = digests(&run.join("seed-0"));
        files.remove(Path::new("level-01/done.json")).unwrap();
        files
    };
    let (mut expected, got) = (levels(&whole), levels(&run));
    assert!(expected.remove(Path::new("level-01/signs.jsonl")).is_some());
    assert_eq!(expected, got);
    assert_eq!(digests(&whole.join("seed-1")), digests(&run.join("seed-1")));
    let verify = |run: &Path| {
        let mut command = command();
        command.arg("verify").arg(run);
        command
    };
    expect(&mut verify(&run), 0);
}

#[test]
fn every_mask_is_what_a_plain_sort_of_the_end_weights_keeps() {
    let (_kept, run) = uninterrupted("lrr.toml", "lrr", &[]);
    let total = 22_784;
    for seed in 0..2 {
        let level = |level: u64| run.join(format!("seed-{seed}/level-{level:02}"));
        for next in 1..=4 {
            let mask = tensors(&level(next).join("mask.safetensors"));
            let before = tensors(&level(next - 1).join("mask.safetensors"));
            let end = tensors(&level(next - 1).join("end.safetensors"));
            // In the network's order, which for this one is the names' order.
            let weights: Vec<f32> = mask.keys().flat_map(|name| elements(&end[name])).collect();
            let alive: Vec<f32> = mask
                .keys()
                .flat_map(|name| elements(&before[name]))
                .collect();
            let kept: Vec<f32> = mask.values().flat_map(elements).collect();
            assert_eq!(weights.len(), total);
            let mut order: Vec<usize> = (0..total).filter(|&i| alive[i] == 1.0).collect();
            order.sort_by(|&a, &b| {
                weights[b]
                    .abs()
                    .total_cmp(&weights[a].abs())
                    .then(a.cmp(&b))
            });
            let mut expected = vec![0.0; total];
            for &i in &order[..keep(0.2, next, total as u64) as usize] {
                expected[i] = 1.0;
            }
            assert_eq!(kept, expected, "seed {seed}, level {next}");
        }
    }
}

#[test]
fn counts_are_exact_and_pruned_weights_and_their_momentum_are_zero_in_every_stored_point() {
    let (_kept, run) = uninterrupted("lrr.toml", "lrr", &[]);
    for level in 0..=4 {
        let folder = run.join(format!("seed-1/level-{level:02}"));
        let masks = tensors(&folder.join("mask.safetensors"));
        let ones: f32 = masks.values().flat_map(elements).sum();
        assert_eq!(ones as u64, keep(0.2, level, 22_784), "level {level}");
        let points = ["start", "end", "optimizer"]
            .map(|p| tensors(&folder.join(format!("{p}.safetensors"))));
        for (name, mask) in &masks {
            let momentum = format!("momentum.{name}");
            let stored = [&points[0][name], &points[1][name], &points[2][&momentum]].map(elements);
            for (i, mask) in elements(mask).iter().enumerate() {
                for values in &stored {
                    let value = values[i];
                    assert!(
                        *mask == 1.0 || value.to_bits() == 0,
                        "level {level}, {name}[{i}] is {value}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_seed_has_the_same_bytes_alone_and_beside_others() {
    let (_kept, both) = uninterrupted("lrr.toml", "lrr", &[]);
    let (_other, alone) = uninterrupted("lrr.toml", "lrr", &["--seeds", "1"]);
    assert_eq!(
        digests(&both.join("seed-1")),
        digests(&alone.join("seed-1"))
    );
}

#[test]
fn experiments_share_the_dense_level_and_train_it_once() {
    let runs = tempfile::tempdir().unwrap();
    expect(&mut small("lrr.toml", runs.path(), &[]), 0);
    let output = expect(&mut small("imp.toml", runs.path(), &["--json"]), 0);
    let started: Vec<String> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .filter(|line| line.contains("level-started") && line.contains("\"level\":0"))
        .map(str::to_owned)
        .collect();
    assert!(started.is_empty(), "{started:?}");
    let [lrr, imp] = ["lrr", "imp"].map(|name| only_run(runs.path(), name).join("seed-0/level-00"));
    assert_eq!(digests(&lrr), digests(&imp));
}

#[test]
fn points_of_a_dense_level_are_kept_beside_it_and_a_run_holds_those_that_it_asked_for() {
    let runs = tempfile::tempdir().unwrap();
    let to = |step: &str| format!("strategy.rewind.to={step}");
    for (name, step) in [("one", "1ep"), ("two", "40it")] {
        let more = [
            "--set",
            &to(step),
            "--set",
            &format!("name={name}"),
            "--seeds",
            "0",
        ];
        expect(&mut small("wr.toml", runs.path(), &more), 0);
    }
    let [one, two] = ["one", "two"].map(|name| only_run(runs.path(), name));
    let level = |run: &Path| digests(&run.join("seed-0/level-00"));
    let (one, two) = (level(&one), level(&two));
    let is_common = |file: &Path| {
        let name = file.to_string_lossy().into_owned();
        name != "done.json" && !name.starts_with("step-")
    };
    for (file, digest) in one.iter().filter(|(file, _)| is_common(file)) {
        assert_eq!(&two[file], digest, "{}", file.display());
    }
    let names = ["step-000032.safetensors", "step-000040.safetensors"];
    let holds =
        |level: &BTreeMap<PathBuf, String>| names.map(|it| level.contains_key(Path::new(it)));
    assert_eq!((holds(&one), holds(&two)), ([true, false], [false, true]));
    let dense = fs::read_dir(runs.path())
        .unwrap()
        .flatten()
        .map(|it| it.path());
    let dense = dense.filter(|path| path.to_string_lossy().contains("/dense-"));
    let dense: Vec<PathBuf> = dense.collect();
    assert_eq!(dense.len(), 1, "{dense:?}");
    let points = digests(&dense[0].join("seed-0/points"));
    for (name, level) in names.iter().zip([&one, &two]) {
        let folder = name.strip_suffix(".safetensors").unwrap();
        let shared = Path::new(folder).join(name);
        assert_eq!(points[&shared], level[Path::new(name)], "{name}");
    }
}

#[test]
fn a_damaged_level_is_named_and_made_again() {
    let (runs, run) = uninterrupted("lrr.toml", "lrr", &[]);
    let before = digests(&run);
    let end = run.join("seed-0/level-04/end.safetensors");
    let mut bytes = fs::read(&end).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&end, bytes).unwrap();
    let output = expect(&mut small("lrr.toml", runs.path(), &[]), 0);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("level-04/end.safetensors is damaged: its BLAKE3 digest is"),
        "{said}"
    );
    assert_eq!(digests(&run), before);
}
