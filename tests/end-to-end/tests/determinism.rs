//! The same experiment and seed give the same bytes, whatever is around them.
//!
//! What interruptions do is in `exactness.rs`, what sweeps do beside that in `sweeps.rs`.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use attack::shared;
use end_to_end::program::{self, digests, expect, host, only_run, tensors};
use image::{Rgb, RgbImage};
use tch::Kind;

/// What all families share: dropout, and a score, masks, a rewind and an update that draw numbers.
const REST: &str = r#"
[prune]
levels = 2

[strategy]
score = "imp/magnitude"
mask = "magnitude/random-tie"
rewind = ["lrr/learning-rate", { use = "sign-perturbation/flip", fraction = 0.1 }]
update = ["aws/interpolated-norms", { use = "ham/hyperbolic", alpha = 2 }]
"#;

/// Each kind of network, trained for a moment.
const FAMILIES: [(&str, &str); 5] = [
    ("mlp", "hidden = [20, 12]\ndropout = 0.2"),
    ("lenet-300-100", "dropout = 0.5"),
    ("cnn1d", "width = 4\ndropout = 0.3"),
    ("resnet-20", "width = 8\ndropout = 0.2"),
    (
        "vit",
        "patch = 4\nwidth = 12\ndepth = 2\ndropout = 0.1\nstochastic_depth = 0.2",
    ),
];

/// Of these, those whose seeds are lanes.
const LANES: [&str; 2] = ["mlp", "lenet-300-100"];

/// A folder with an experiment for each family, and the images of the last two.
fn desk() -> &'static Path {
    static DESK: OnceLock<PathBuf> = OnceLock::new();
    DESK.get_or_init(|| {
        let desk = shared::folder(Path::new(env!("CARGO_TARGET_TMPDIR")), "determinism");
        pictures(&desk.join("pictures"));
        for (name, options) in FAMILIES {
            fs::write(
                desk.join(format!("{name}.toml")),
                experiment(&desk, name, options),
            )
            .unwrap();
        }
        desk
    })
}

fn experiment(desk: &Path, model: &str, options: &str) -> String {
    let (data, batch) = match model {
        "mlp" | "lenet-300-100" | "cnn1d" => ("name = \"mnist1d\"".to_owned(), 250),
        _ => {
            let augment = "augment = { scale = [0.3, 1.0], flip = true }";
            let dir = desk.join("pictures");
            let data = format!("name = \"image-folder\"\nsize = 16\n{augment}\ndir = {dir:?}");
            (data, 12)
        }
    };
    format!(
        "name = \"{model}\"\nseeds = [0, 1]\n[data]\n{data}\n[model]\nname = \"{model}\"\n{options}\n\
         [train]\nepochs = 2\nbatch_size = {batch}\nchannels_last = false\n\
         optimizer = {{ name = \"sgd\", lr = 0.1, momentum = 0.9 }}\n{REST}"
    )
}

/// Three classes of stripes, 24 + 8 images each.
pub fn pictures(root: &Path) {
    for (split, count) in [("train", 24), ("val", 8)] {
        for (class, name) in ["across", "along", "plain"].into_iter().enumerate() {
            let folder = root.join(split).join(name);
            fs::create_dir_all(&folder).unwrap();
            for i in 0..count {
                let picture = RgbImage::from_fn(22, 20, |x, y| {
                    let stripe = [x / 4 % 2, y / 4 % 2, 1][class] * 150;
                    Rgb([stripe as u8, (90 + i * 5) as u8, (x * 3 + y * i) as u8])
                });
                picture.save(folder.join(format!("{i:02}.png"))).unwrap();
            }
        }
    }
}

fn command(program: &Path, before: &[&str], family: &str, runs: &str, more: &[&str]) -> Command {
    let mut command = Command::new(program);
    let file = desk().join(format!("{family}.toml"));
    command.args(before).arg("run").arg(file);
    command.args(["--quiet", "--runs"]).arg(desk().join(runs));
    if !more.contains(&"--threads") {
        command.args(["--threads", "1"]);
    }
    command.args(more).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The run's folder after a run of a family into the folder `runs`.
fn run(family: &str, runs: &str, more: &[&str]) -> PathBuf {
    expect(&mut command(host(), &[], family, runs, more), 0);
    only_run(&desk().join(runs), family)
}

/// A family's run with nothing special about it, made once.
fn reference(family: &str) -> &'static Path {
    static RUNS: [OnceLock<PathBuf>; FAMILIES.len()] = [const { OnceLock::new() }; FAMILIES.len()];
    let place = FAMILIES.iter().position(|(name, _)| *name == family);
    RUNS[place.unwrap()].get_or_init(|| run(family, &format!("reference-{family}"), &[]))
}

/// Fails with the files that differ.
#[track_caller]
fn assert_same(what: &str, got: &Path, expected: &Path) {
    let (got, expected) = (digests(got), digests(expected));
    assert!(expected.len() > 8, "{what}: {expected:?}");
    let names = |all: &BTreeMap<PathBuf, String>| all.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&got), names(&expected), "{what}");
    let differ = expected
        .iter()
        .filter(|(path, digest)| got[*path] != **digest);
    let differ: Vec<&PathBuf> = differ.map(|(path, _)| path).collect();
    assert!(differ.is_empty(), "{what}: {differ:?} differ");
}

/// Seeds that are in both runs.
#[track_caller]
fn assert_same_seeds(what: &str, seeds: &[u64], got: &Path, expected: &Path) {
    for seed in seeds {
        let folder = format!("seed-{seed}");
        assert_same(what, &got.join(&folder), &expected.join(&folder));
    }
}

/// One processor that this process may use.
#[cfg(target_os = "linux")]
fn one_processor() -> Option<String> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let list = status
        .lines()
        .find_map(|it| it.strip_prefix("Cpus_allowed_list:"))?;
    let first: String = list
        .trim()
        .chars()
        .take_while(char::is_ascii_digit)
        .collect();
    let works = Command::new("taskset")
        .args(["-c", &first, "true"])
        .output();
    works.is_ok_and(|it| it.status.success()).then_some(first)
}

#[cfg(not(target_os = "linux"))]
fn one_processor() -> Option<String> {
    None
}

#[test]
fn memory_processors_place_and_language_change_no_byte() {
    for (family, _) in FAMILIES {
        let runs = format!("elsewhere-{family}");
        let processor = one_processor();
        let mut changed = match &processor {
            Some(first) => {
                let own = host().to_str().unwrap();
                command(
                    Path::new("taskset"),
                    &["-c", first, own],
                    family,
                    &runs,
                    &[],
                )
            }
            None => command(host(), &[], family, &runs, &[]),
        };
        let long = "x".repeat(4321);
        // Fresh memory is not zero and lies elsewhere.
        for (name, value) in [
            ("MALLOC_PERTURB_", "165"),
            ("MALLOC_ARENA_MAX", "1"),
            ("MALLOC_TOP_PAD_", "12345"),
            ("MALLOC_MMAP_THRESHOLD_", "300000"),
            ("LC_ALL", "tr_TR.UTF-8"),
            ("TZ", "Asia/Kathmandu"),
            ("UNUSED", long.as_str()),
        ] {
            changed.env(name, value);
        }
        changed.current_dir(desk().join("pictures"));
        expect(&mut changed, 0);
        let got = only_run(&desk().join(runs), family);
        assert_same(family, &got, reference(family));
    }
}

/// Has everything compute as where the longest vectors are of eight numbers.
const OF_EIGHT: [(&str, &str); 4] = [
    ("REWIND_KERNELS", "avx2"),
    ("ATEN_CPU_CAPABILITY", "avx2"),
    ("ONEDNN_MAX_CPU_ISA", "AVX2"),
    ("MKL_ENABLE_INSTRUCTIONS", "AVX2"),
];

#[cfg(target_arch = "x86_64")]
fn has_vectors_of_sixteen() -> bool {
    is_x86_feature_detected!("avx512f")
}

#[cfg(not(target_arch = "x86_64"))]
fn has_vectors_of_sixteen() -> bool {
    false
}

#[test]
fn longer_vectors_change_no_byte() {
    if !has_vectors_of_sixteen() {
        program::leave_out("AVX2 and AVX-512 are not compared: this processor has no AVX-512");
        return;
    }
    let changes = [
        ("mlp", "model.dropout=0"),
        ("resnet-20", "train.channels_last=true"),
    ];
    for (family, change) in changes {
        let runs = |name: &str, changed: &[(&str, &str)]| {
            let folder = format!("{name}-{family}");
            let mut command = command(host(), &[], family, &folder, &["--set", change]);
            expect(command.envs(changed.iter().copied()), 0);
            only_run(&desk().join(folder), family)
        };
        let usual = runs("sixteen", &[]);
        assert_same(family, &runs("eight", &OF_EIGHT), &usual);
        // What is asked for is what computes: without fused products and sums, numbers are rounded otherwise.
        let plain = runs("plain", &[("REWIND_KERNELS", "plain")]);
        assert_ne!(digests(&plain), digests(&usual), "{family}");
    }
}

#[test]
fn kernels_that_do_not_exist_are_refused_with_those_that_do() {
    let mut wrong = command(host(), &[], "mlp", "wrong", &[]);
    let said = expect(wrong.env("REWIND_KERNELS", "avx1024"), 2).stderr;
    let said = String::from_utf8_lossy(&said);
    assert!(
        said.contains("REWIND_KERNELS is `avx1024`, expected one of avx512, avx2, plain"),
        "{said}"
    );
}

#[test]
fn lanes_have_the_same_bytes_with_any_number_of_threads() {
    for family in LANES {
        for threads in ["2", "3"] {
            let runs = format!("threads-{family}-{threads}");
            let got = run(family, &runs, &["--threads", threads]);
            assert_same(
                &format!("{family}, {threads} threads"),
                &got,
                reference(family),
            );
        }
    }
}

/// The norm of the difference of two points' weights and biases.
fn distance(a: &Path, b: &Path) -> f64 {
    let (a, b) = (tensors(a), tensors(b));
    let square = |tensor: tch::Tensor| tensor.square().sum(Kind::Double).double_value(&[]);
    let both = a.iter().filter(|(name, _)| !name.contains("running"));
    both.map(|(name, one)| square(one.to_kind(Kind::Double) - b[name].to_kind(Kind::Double)))
        .sum::<f64>()
        .sqrt()
}

/// Rounding is bounded where nothing has amplified it yet. The loss of the first step is a continuous
/// function of sums that were split differently: it differs by their rounding, some 1e-6 after twenty
/// layers. A gradient jumps where a value lies within rounding of 0 and a ReLU passes it with one number of
/// threads alone: then one of some thousand terms of a layer's sums comes or goes, some percent of the
/// step at most. Whoever splits a sum wrongly loses or doubles half of it. Later steps multiply what the first ones
/// did, without bound: `docs/reproducibility.md` says what was seen.
#[test]
fn other_networks_with_another_number_of_threads_differ_by_rounding_in_a_step() {
    for (family, samples) in [("cnn1d", 4000), ("resnet-20", 72), ("vit", 72)] {
        let step = |threads: &str| {
            let whole = format!("train.batch_size={samples}");
            let set = [whole.as_str(), "train.epochs=1", "prune.levels=0"];
            let set = set.into_iter().flat_map(|set| ["--set", set]);
            let more: Vec<&str> = set.chain(["--threads", threads]).collect();
            run(family, &format!("step-{family}-{threads}"), &more)
        };
        let one = step("1");
        for threads in ["2", "3"] {
            let other = step(threads);
            for seed in 0..2 {
                let level = |run: &Path| run.join(format!("seed-{seed}/level-00"));
                let point = |run: &Path, name: &str| level(run).join(format!("{name}.safetensors"));
                let apart = distance(&point(&one, "end"), &point(&other, "end"));
                let moved = distance(&point(&one, "start"), &point(&one, "end"));
                let loss = |run: &Path| {
                    let text = fs::read_to_string(level(run).join("metrics.jsonl")).unwrap();
                    let record: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
                    record["train_loss"].as_f64().unwrap()
                };
                let lost = (loss(&one) - loss(&other)).abs() / loss(&one);
                let what = format!("{family}, seed {seed}, {threads} threads");
                println!("{what}: loss {lost:.1e}, step {:.1e}", apart / moved);
                assert!(
                    moved > 0.0 && apart < 0.05 * moved,
                    "{what}: {apart} of {moved}"
                );
                assert!(lost < 1e-4, "{what}: {lost:.1e}");
            }
        }
    }
}

#[test]
fn runs_side_by_side_change_no_byte_of_each_other() {
    let start = |family: &str, copy: u8| {
        let mut command = command(host(), &[], family, &format!("beside-{family}-{copy}"), &[]);
        command.spawn().unwrap()
    };
    let beside = [("mlp", 0), ("mlp", 1), ("cnn1d", 0), ("resnet-20", 0)];
    let children = beside.map(|(family, copy)| start(family, copy));
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    for (family, copy) in beside {
        let got = only_run(&desk().join(format!("beside-{family}-{copy}")), family);
        assert_same(family, &got, reference(family));
    }
}

#[test]
fn the_order_of_seeds_and_when_they_were_added_change_no_byte() {
    for family in ["mlp", "cnn1d"] {
        let turned = run(family, &format!("turned-{family}"), &["--seeds", "1,0"]);
        assert_same_seeds("turned", &[0, 1], &turned, reference(family));
        let runs = format!("later-{family}");
        run(family, &runs, &["--seeds", "1"]);
        let later = run(family, &runs, &["--seeds", "0..3"]);
        assert_same_seeds("added later", &[0, 1], &later, reference(family));
        assert!(later.join("seed-2/level-02/done.json").exists());
    }
}

#[test]
fn how_often_checkpoints_are_written_changes_no_byte() {
    for (family, _) in FAMILIES {
        let more = ["--checkpoint-every", "0", "--seeds", "0"];
        let got = run(family, &format!("checkpoints-{family}"), &more);
        assert_same_seeds(family, &[0], &got, reference(family));
    }
}

#[test]
fn evaluating_within_levels_adds_to_the_records_and_changes_nothing_else() {
    for family in ["mlp", "resnet-20"] {
        let more = ["--set", "train.evaluate_every=1ep", "--seeds", "0"];
        let got = run(family, &format!("evaluated-{family}"), &more);
        for level in 0..=2 {
            let level = format!("seed-0/level-{level:02}");
            let own = [got.join(&level), reference(family).join(&level)];
            let [got, expected] = own.each_ref().map(|folder| {
                let mut all = digests(folder);
                // The last lists the digests of the others.
                let records = all.remove(Path::new("metrics.jsonl"));
                assert!(records.is_some() && all.remove(Path::new("done.json")).is_some());
                all
            });
            assert!(expected.len() >= 6 && got == expected, "{family}, {level}");
            let [got, expected] = own.map(|folder| {
                let text = fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
                let line = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
                text.lines().map(line).collect::<Vec<_>>()
            });
            assert_eq!(got.len(), 2);
            for (mut got, mut expected) in got.into_iter().zip(expected) {
                let [got, expected] =
                    [&mut got, &mut expected].map(|it| it.as_object_mut().unwrap());
                assert!(got["test_loss"].is_number() && got["test_accuracy"].is_number());
                for key in ["test_loss", "test_accuracy"] {
                    got.remove(key);
                    expected.remove(key);
                }
                assert_eq!(got, expected);
            }
        }
    }
}

#[test]
fn more_methods_values_and_seeds_of_a_sweep_and_more_jobs_change_no_byte_of_a_cell() {
    let folder = desk().join("sweep");
    fs::create_dir_all(&folder).unwrap();
    let sweep = |runs: &str, seeds: &str, methods: &str, hidden: &str, jobs: &str| {
        let base = desk().join("mlp.toml");
        let text = format!(
            "base = {base:?}\nname = \"small\"\nseeds = {seeds}\n[train]\nepochs = 1\n\
             [sweep.methods.imp]\nstrategy.rewind = \"imp/weights\"\n{methods}\n\
             [sweep.grid]\nmodel.hidden = {hidden}\n"
        );
        let file = folder.join("small.toml");
        fs::write(&file, text).unwrap();
        let mut command = Command::new(host());
        command
            .arg("run")
            .arg(file)
            .args(["--quiet", "--jobs", jobs, "--runs"]);
        expect(command.arg(folder.join(runs)).stdin(Stdio::null()), 0);
        folder.join(runs)
    };
    let wr = "[sweep.methods.wr]\nstrategy.rewind = { use = \"imp/weights\", to = \"1ep\" }\n";
    let lrr = "[sweep.methods.lrr]\nstrategy.rewind = \"lrr/learning-rate\"\n";
    let few = sweep("few", "[0, 1]", wr, "[[8]]", "1");
    let more = format!("{lrr}{wr}");
    let many = sweep("many", "[2, 1, 0]", &more, "[[5, 4], [8]]", "4");
    for cell in ["small-imp-hidden-8", "small-wr-hidden-8"] {
        let (few, many) = (only_run(&few, cell), only_run(&many, cell));
        assert_eq!(few.file_name(), many.file_name());
        assert_same_seeds(cell, &[0, 1], &many, &few);
        assert!(many.join("seed-2/level-02/done.json").exists());
    }
    assert!(
        only_run(&many, "small-lrr-hidden-5x4")
            .join("seed-0")
            .exists()
    );
}

/// What is drawn is the same on every machine, and every version: initial values, masks by random
/// scores and by the generator of a plugin, rewound weights. None of it is the outcome of rounding.
///
/// If this changes, nobody can repeat a published run from its experiment file and seed any more, and
/// runs that are on disk go on with other numbers than they began with. It must raise
/// `SCHEMA_VERSION` in `host/src/experiment/identity.rs`.
#[test]
fn what_is_drawn_for_a_tiny_experiment_is_golden() {
    let more = [
        "--set",
        "model.hidden=[5]",
        "--set",
        "strategy.score=random-mask/random",
        "--set",
        "strategy.mask=random-mask/nested",
        "--set",
        "strategy.rewind=imp/weights",
        "--seeds",
        "0,7",
    ];
    let run = run("mlp", "tiny", &more);
    let mut got = Vec::new();
    for seed in ["seed-0", "seed-7"] {
        for file in [
            "level-00/start.safetensors",
            "level-01/mask.safetensors",
            "level-02/mask.safetensors",
            "level-02/start.safetensors",
        ] {
            let bytes = fs::read(run.join(seed).join(file)).unwrap();
            let digest = blake3::hash(&bytes).to_hex();
            got.push(format!("{seed}/{file} {}", &digest[..16]));
        }
    }
    assert_eq!(got, GOLDEN);
}

const GOLDEN: [&str; 8] = [
    "seed-0/level-00/start.safetensors 24e0017d3fe1a363",
    "seed-0/level-01/mask.safetensors a63b207ce4568d29",
    "seed-0/level-02/mask.safetensors 70520b80cfe255da",
    "seed-0/level-02/start.safetensors e1c6bb5053a8498c",
    "seed-7/level-00/start.safetensors 0232d989feec24ff",
    "seed-7/level-01/mask.safetensors 75555dc81c09a0ae",
    "seed-7/level-02/mask.safetensors f3c63234dece6673",
    "seed-7/level-02/start.safetensors 9123a5cb2f70c5c2",
];
