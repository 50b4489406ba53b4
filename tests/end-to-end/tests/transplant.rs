//! Masks and points of one run in another.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use end_to_end::built::{part, plain, strategy};
use end_to_end::program::{digests, elements, expect, keep, only_run, run, tensors};
use host::strategy::still::{Still, flat};
use serde_json::json;

const SMALL: [&str; 4] = ["--set", "prune.levels=3", "--set", "train.epochs=2"];
const WEIGHTS: u64 = 22_784;

fn command(file: &str, runs: &Path, more: &[&str]) -> std::process::Command {
    let seeds: &[&str] = match more.contains(&"--seeds") {
        true => &[],
        false => &["--seeds", "0..2"],
    };
    run(file, runs, &[&SMALL, seeds, more].concat())
}

fn finished(file: &str, name: &str, runs: &Path, more: &[&str]) -> PathBuf {
    let name_of = format!("name={name}");
    let more = [&["--set", name_of.as_str()], more].concat();
    expect(&mut command(file, runs, &more), 0);
    only_run(runs, name)
}

fn masks_of(run: &Path, more: &str) -> String {
    format!(
        "strategy.mask={{ use = \"transplant/levels\", run = \"{}\"{more} }}",
        run.display()
    )
}

fn bytes(run: &Path, seed: u64, level: u64, file: &str) -> Vec<u8> {
    let path = run.join(format!("seed-{seed}/level-{level:02}/{file}.safetensors"));
    fs::read(path).unwrap()
}

#[test]
fn a_run_on_anothers_masks_has_them_to_the_byte_and_the_same_start_and_data_order() {
    let runs = tempfile::tempdir().unwrap();
    let lrr = finished("lrr.toml", "lrr", runs.path(), &[]);
    let imp = finished("imp.toml", "imp", runs.path(), &[]);
    let set = masks_of(&lrr, "");
    let crossed = finished("imp.toml", "crossed", runs.path(), &["--set", &set]);
    for seed in 0..2 {
        for level in 0..=3 {
            let mask = |run: &Path| bytes(run, seed, level, "mask");
            assert!(mask(&crossed) == mask(&lrr), "seed {seed}, level {level}");
            assert!(level < 2 || mask(&crossed) != mask(&imp));
        }
        let dense = |run: &Path| digests(&run.join(format!("seed-{seed}/level-00")));
        assert_eq!(dense(&crossed), dense(&lrr));
        // IMP's handling: every level starts at init, as far as the masks keep it.
        let init = tensors(&lrr.join(format!("seed-{seed}/level-00/start.safetensors")));
        for level in 1..=3 {
            let folder = crossed.join(format!("seed-{seed}/level-{level:02}"));
            let start = tensors(&folder.join("start.safetensors"));
            for (name, mask) in tensors(&folder.join("mask.safetensors")) {
                let expected = &init[&name] * mask;
                assert_eq!(elements(&start[&name]), elements(&expected), "{name}");
            }
        }
    }
    // With LRR's own handling on LRR's masks everything is LRR's, which takes the same order of the
    // samples too.
    let same = finished("lrr.toml", "same", runs.path(), &["--set", &set]);
    for seed in ["seed-0", "seed-1"] {
        assert_eq!(digests(&same.join(seed)), digests(&lrr.join(seed)));
    }
}

#[test]
fn one_level_of_another_run_is_taken_in_one_go() {
    let runs = tempfile::tempdir().unwrap();
    let lrr = finished("lrr.toml", "lrr", runs.path(), &[]);
    let density = keep(0.2, 3, WEIGHTS) as f64 / WEIGHTS as f64;
    let densities = format!("prune.densities=[{density}]");
    let set = masks_of(&lrr, ", level = 3");
    let rewind = "strategy.rewind={ use = \"imp/weights\", to = \"init-1\" }";
    let more = ["--set", &densities, "--set", &set, "--set", rewind];
    // `prune.levels` of the other files would contradict the densities.
    let name = ["--set", "name=scratch", "--set", "train.epochs=2"];
    let file = [&name[..], &["--seeds", "0..2"], &more].concat();
    expect(&mut run("imp.toml", runs.path(), &file), 0);
    let scratch = only_run(runs.path(), "scratch");
    for seed in 0..2 {
        assert!(bytes(&scratch, seed, 1, "mask") == bytes(&lrr, seed, 3, "mask"));
        assert!(!scratch.join(format!("seed-{seed}/level-02")).exists());
    }
}

#[test]
fn permuted_masks_keep_as_many_weights_in_each_layer_but_others() {
    let runs = tempfile::tempdir().unwrap();
    let lrr = finished("lrr.toml", "lrr", runs.path(), &[]);
    let set = masks_of(&lrr, "").replace("levels", "permuted");
    let permuted = finished("lrr.toml", "permuted", runs.path(), &["--set", &set]);
    let masks = |run: &Path, seed: u64, level: u64| {
        tensors(&run.join(format!("seed-{seed}/level-{level:02}/mask.safetensors")))
    };
    for level in 1..=3 {
        let (theirs, ours) = (masks(&lrr, 0, level), masks(&permuted, 0, level));
        let before = masks(&permuted, 0, level - 1);
        for (name, mask) in &theirs {
            let (theirs, ours) = (elements(mask), elements(&ours[name]));
            let ones = |mask: &[f32]| mask.iter().sum::<f32>();
            assert_eq!(ones(&theirs), ones(&ours), "level {level}, {name}");
            let nested = ours.iter().zip(elements(&before[name]));
            assert!(nested.clone().all(|(after, before)| *after <= before));
            // Two random choices of k out of n share k^2 / n on average.
            let shared: f32 = theirs.iter().zip(&ours).map(|(a, b)| a * b).sum();
            let (k, n) = (ones(&theirs), theirs.len() as f32);
            let deviation = k / n * (n - k) / n.sqrt();
            assert!((shared - k * k / n).abs() < 5.0 * deviation, "{shared}");
        }
    }
    let (zero, one) = (masks(&permuted, 0, 3), masks(&permuted, 1, 3));
    assert_ne!(elements(&zero["fc2.weight"]), elements(&one["fc2.weight"]));
}

#[test]
fn permuted_counts_are_those_of_the_named_level() {
    let mut scene = Still::new(&[&[10, 32], &[16, 2, 3]], 0);
    let mut other = Still::new(&[&[10, 32], &[16, 2, 3]], 1);
    let mut imp = strategy(plain("imp/magnitude"), plain("imp/global"), vec![]).unwrap();
    other.prune(&mut imp, 100).unwrap();
    scene.other_masks = vec![("other".to_owned(), 5, other.masks.clone_all())];
    let mask = part("transplant/permuted", json!({"run": "other", "level": 5}));
    let mut strategy = strategy(plain("imp/magnitude"), mask, vec![]).unwrap();
    scene.prune(&mut strategy, 100).unwrap();
    assert_eq!(scene.survivors(), other.survivors());
    assert_ne!(flat(&scene.masks), flat(&other.masks));
}

trait CloneAll {
    fn clone_all(&self) -> Self;
}

impl CloneAll for Vec<tch::Tensor> {
    fn clone_all(&self) -> Self {
        self.iter().map(tch::Tensor::copy).collect()
    }
}

#[test]
fn what_another_run_lacks_is_said_with_the_command_that_makes_it() {
    let runs = tempfile::tempdir().unwrap();
    let lrr = finished("lrr.toml", "lrr", runs.path(), &["--seeds", "0"]);
    let fails = |more: &[&str], code: i32, fragments: &[&str]| {
        let more = [&["--set", "name=broken"], more].concat();
        let output = expect(&mut command("imp.toml", runs.path(), &more), code);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        for fragment in fragments {
            assert!(said.contains(fragment), "{fragment} is missing in:\n{said}");
        }
    };
    let name = lrr.display().to_string();
    let set = masks_of(&lrr, "");
    let command = format!(
        "`host run {name}/experiment.toml --seeds 1 --runs {}`",
        runs.path().display()
    );
    let absent = masks_of(Path::new("runs/absent-00000000"), "");
    let command_of = |set: &str| self::command("imp.toml", runs.path(), &["--set", set]);
    let output = command_of(&absent).output().unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let fragment = "there is no run `runs/absent-00000000`";
    assert!(said.contains(fragment), "{said}");
    // Another seed than the run has; another level than it ends at.
    let seed = format!("run `{name}` has no seed 1 (it has 0); {command} makes it");
    fails(&["--set", &set, "--seeds", "1"], 5, &[&seed]);
    let longer = ["--set", "prune.levels=4", "--set", &set, "--seeds", "0"];
    let end = format!("run `{name}` ends at level 3, but level 4 is asked for");
    fails(&longer, 5, &[&end]);
    // A level that is not finished yet.
    fs::remove_file(lrr.join("seed-0/level-02/done.json")).unwrap();
    let stands = format!(
        "run `{name}` has not finished level 2 of seed 0 (it has levels 0 to 1); {} goes on with it",
        command.replace("--seeds 1", "--seeds 0")
    );
    fails(&["--set", &set, "--seeds", "0"], 5, &[&stands]);
    let signs =
        format!("strategy.rewind={{ use = \"axes/rewind\", signs = \"{name}#level-2-end\" }}");
    let point = format!("the point `{name}#level-2-end` is not stored: {stands}");
    fails(&["--set", &signs, "--seeds", "0"], 5, &[&point]);
}

#[test]
fn a_run_that_does_not_fit_is_refused_with_layer_got_and_expected() {
    let runs = tempfile::tempdir().unwrap();
    let narrow = ["--set", "model.hidden=[64, 128]", "--seeds", "0"];
    let lrr = finished("lrr.toml", "narrow", runs.path(), &narrow);
    let name = lrr.display().to_string();
    let fails = |more: &[&str], code: i32, fragments: &[&str]| {
        let more = [&["--set", "name=broken", "--seeds", "0"], more].concat();
        let output = expect(&mut command("imp.toml", runs.path(), &more), code);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        for fragment in fragments {
            assert!(said.contains(fragment), "{fragment} is missing in:\n{said}");
        }
    };
    let masks = format!(
        "the masks of level 1 of run `{name}` do not fit: layer `fc1.weight` has shape [64, 40] there, expected [128, 40]"
    );
    fails(&["--set", &masks_of(&lrr, "")], 5, &[&masks]);
    let signs =
        format!("strategy.rewind={{ use = \"axes/rewind\", signs = \"{name}#level-end\" }}");
    let point = format!(
        "the point `{name}#level-1-end` does not fit: `fc1.weight` has shape [64, 40] there, expected [128, 40]"
    );
    fails(&["--set", &signs], 5, &[&point]);
    let state = format!(
        "strategy.rewind={{ use = \"axes/rewind\", optimizer_state = \"{name}#level-end\" }}"
    );
    let point = format!(
        "the optimizer's state at `{name}#level-1-end` does not fit: `momentum.fc1.weight` has shape [64, 40]"
    );
    fails(&["--set", &state], 5, &[&point]);
    let start = state.replace("level-end", "level-start");
    fails(
        &["--set", &start],
        5,
        &["the optimizer's state is not stored for the point"],
    );
    let deep = ["--set", "model.hidden=[128, 128, 10]", "--set", "name=deep"];
    let deep = finished(
        "lrr.toml",
        "deep",
        runs.path(),
        &[&deep[..2], &["--seeds", "0"]].concat(),
    );
    fails(
        &["--set", &masks_of(&deep, "")],
        5,
        &["layer `fc4.weight` with shape [10, 10] there is no prunable layer here"],
    );
}

#[test]
fn a_run_of_other_densities_is_refused_with_the_densities_to_set() {
    let runs = tempfile::tempdir().unwrap();
    let faster = ["--set", "prune.rate=0.5", "--seeds", "0"];
    let lrr = finished("lrr.toml", "fast", runs.path(), &faster);
    let set = masks_of(&lrr, "");
    let more = ["--set", "name=slow", "--set", &set, "--seeds", "0"];
    let output = expect(&mut command("imp.toml", runs.path(), &more), 3);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let expected = format!(
        "level 1 of run `{}` keeps 11392 of 22784 weights (density 0.5), but level 1 of this experiment \
         keeps 18227 (density 0.7999912219101124); set prune.densities = [0.5, 0.25, 0.125]",
        lrr.display()
    );
    assert!(said.contains(&expected), "{said}");
    let densities = "prune.densities=[0.5, 0.25, 0.125]";
    let more = [
        "--set",
        "train.epochs=2",
        "--set",
        "name=right",
        "--set",
        &set,
    ];
    let more = [&more[..], &["--set", densities, "--seeds", "0"]].concat();
    expect(&mut run("imp.toml", runs.path(), &more), 0);
    let right = only_run(runs.path(), "right");
    for level in 1..=3 {
        assert!(bytes(&right, 0, level, "mask") == bytes(&lrr, 0, level, "mask"));
    }
}

#[test]
fn options_without_a_run_or_with_the_dense_level_are_refused() {
    for (options, fragment) in [
        (json!({}), "`run` is missing"),
        (json!({"run": "runs/a", "level": 0}), "level is 0"),
    ] {
        for component in ["transplant/levels", "transplant/permuted"] {
            let made = strategy(
                plain("imp/magnitude"),
                part(component, options.clone()),
                vec![],
            );
            let message = made.map(|_| ()).unwrap_err().to_string();
            assert!(message.contains(fragment), "{message}");
        }
    }
}
