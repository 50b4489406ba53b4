//! `host verify` names every damaged file, and `host run` gets over the damage or refuses by name.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use end_to_end::program::{digests, expect, host, only_run, run, wait_until};
use host::experiment::Experiment;
use host::store::{MANIFEST, Manifest, RunDir};
use host::verify::{Means, Verdict, collection};
use serde_json::Value;

/// Small, but with everything: a stored point, points that a policy gave other weights, two levels.
const SMALL: [&str; 12] = [
    "--set",
    "model.hidden=[8]",
    "--set",
    "prune.levels=2",
    "--set",
    "train.epochs=2",
    "--set",
    "train.evaluate_every=\"1ep\"",
    "--set",
    "strategy.rewind=[{ use = \"imp/weights\", to = \"1ep\" }, \
     { use = \"sign-perturbation/flip\", fraction = 0.3, lasting = true, levels = [2] }]",
    "--checkpoint-every",
    "600",
];

fn small(runs: &Path, more: &[&str]) -> Command {
    let seeds: &[&str] = match more.contains(&"--seeds") {
        true => &[],
        false => &["--seeds", "0"],
    };
    run("wr.toml", runs, &[&SMALL, seeds, more].concat())
}

fn command(verb: &str, run: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(host());
    command.arg(verb).arg(run).args(more);
    command
}

/// Runs of one finished experiment.
struct Finished {
    runs: tempfile::TempDir,
    run: PathBuf,
}

fn finished(more: &[&str]) -> Finished {
    let runs = tempfile::tempdir().unwrap();
    expect(&mut small(runs.path(), more), 0);
    let run = only_run(runs.path(), "wr");
    Finished { runs, run }
}

/// A verdict from the files alone, by the library: hundreds of them take seconds.
fn verdict(run: &Path) -> Verdict {
    let text = fs::read(run.join("experiment.toml")).unwrap_or_default();
    let experiment: Option<Experiment> = toml::from_slice(&text).ok();
    let left_out = || "the test leaves it out".to_owned();
    let mut means = Means {
        experiment: experiment.as_ref(),
        identity: Err(left_out()),
        trainer: Err(left_out()),
        strategy: Err(left_out()),
    };
    host::verify::run(&RunDir::new(run), &mut means)
}

/// A way to damage a file; nothing if it does nothing to this one.
type Way = (&'static str, fn(&[u8]) -> Option<Vec<u8>>);

/// Everything but deletion, which leaves nothing.
const WAYS: [Way; 6] = [
    ("deleted", |_| None),
    ("cut to half", |bytes| Some(bytes[..bytes.len() / 2].into())),
    ("cut by a byte", |bytes| {
        Some(bytes[..bytes.len() - 1].into())
    }),
    ("a bit flipped in the first byte", |bytes| {
        Some(flipped(bytes, 0, 0))
    }),
    ("a bit flipped in the middle", |bytes| {
        Some(flipped(bytes, bytes.len() / 2, 3))
    }),
    ("a bit flipped in the last byte", |bytes| {
        Some(flipped(bytes, bytes.len() - 1, 6))
    }),
];

fn flipped(bytes: &[u8], at: usize, bit: u32) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 1 << bit;
    bytes
}

/// Damages a file where it lies, so that a file that is linked elsewhere is damaged there too.
fn damage(path: &Path, way: &Way) {
    match way.1(&fs::read(path).unwrap()) {
        Some(bytes) => fs::write(path, bytes).unwrap(),
        None => fs::remove_file(path).unwrap(),
    }
}

/// The files below a folder but locks, by their path from there.
fn files(folder: &Path) -> Vec<String> {
    let name = |path: &PathBuf| path.to_string_lossy().into_owned();
    digests(folder).keys().map(name).collect()
}

fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let to = to.join(&file);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(from.join(&file), to).unwrap();
    }
}

#[test]
fn a_finished_run_is_checked_to_the_last_bit_wherever_it_lies_and_nothing_is_written() {
    let Finished { runs, run } = finished(&["--seeds", "0,3"]);
    let before = digests(runs.path());
    let output = expect(&mut command("verify", &run, &["--json"]), 0);
    let said = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Value> = said
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let levels = lines[0]["levels"].as_array().unwrap();
    assert_eq!(levels.len(), 2 * 3);
    for level in levels {
        let first = level["level"] == 0;
        let more = if first {
            ["init", "shared"]
        } else {
            ["start", "start"]
        };
        let all = [
            "files",
            "masks",
            "counts",
            "zeros",
            "optimizer",
            "records",
            "test metrics",
        ];
        let checked = level["checked"].as_array().unwrap();
        for what in all.iter().chain(&more) {
            assert!(checked.iter().any(|it| it == what), "{what}: {level}");
        }
    }
    for what in ["identity", "summary.csv", "TensorBoard's files", "manifest"] {
        let checked = lines[0]["checked"].as_array().unwrap();
        assert!(checked.iter().any(|it| it == what), "{what}: {said}");
    }
    assert_eq!(lines[0]["problems"], Value::Array(Vec::new()));
    // What remains is what no file can tell.
    let unchecked = lines[0]["unchecked"].as_array().unwrap();
    assert_eq!(unchecked.len(), 1, "{unchecked:?}");
    assert_eq!(lines[1]["problems"], 0);
    let elsewhere = tempfile::tempdir().unwrap();
    let moved = elsewhere.path().join("another-name");
    copy(&run, &moved);
    expect(&mut command("verify", &moved, &[]), 0);
    assert_eq!(digests(runs.path()), before);
}

#[test]
fn every_file_of_a_finished_run_damaged_in_any_way_is_named() {
    let Finished { runs, run } = finished(&["--seeds", "0,3"]);
    expect(
        &mut command("barrier", &run, &["--points", "3", "--threads", "1"]),
        0,
    );
    expect(&mut command("report", &run, &[]), 0);
    assert!(verdict(&run).is_well(), "{:?}", verdict(&run).problems);
    let all = files(&run);
    let mut named = 0;
    for file in &all {
        let path = run.join(file);
        let whole = fs::read(&path).unwrap();
        for way in &WAYS {
            damage(&path, way);
            let found = verdict(&run);
            assert!(
                found.problems.iter().any(|it| it.file == *file),
                "{file}, {}: {:?}",
                way.0,
                found.problems
            );
            fs::write(&path, &whole).unwrap();
            named += 1;
        }
    }
    assert!(verdict(&run).is_well());
    println!(
        "{} files in {} ways: {named} damages, all named",
        all.len(),
        WAYS.len()
    );
    // The shared dense level, by itself and from the run that took from it.
    let dense = dense(runs.path());
    let shared = files(&dense);
    for file in &shared {
        let path = dense.join(file);
        let whole = fs::read(&path).unwrap();
        for way in &WAYS {
            fs::remove_file(&path).unwrap();
            if let Some(bytes) = way.1(&whole) {
                // A file of its own, so that the run's stays whole.
                fs::write(&path, bytes).unwrap();
            }
            let own = verdict(&dense);
            assert!(
                own.problems.iter().any(|it| it.file == *file),
                "{file}, {}: {:?}",
                way.0,
                own.problems
            );
            let from_run = verdict(&run);
            assert!(
                from_run.problems.iter().any(|it| it.file.ends_with(file)),
                "{file}, {}: {:?}",
                way.0,
                from_run.problems
            );
            fs::write(&path, &whole).unwrap();
        }
    }
    println!(
        "{} shared files in {} ways: all named",
        shared.len(),
        WAYS.len()
    );
}

/// The only folder of dense levels.
fn dense(runs: &Path) -> PathBuf {
    let entries = fs::read_dir(runs).unwrap().map(|entry| entry.unwrap());
    let is_dense = |path: &PathBuf| {
        path.file_name()
            .unwrap()
            .to_string_lossy()
            .starts_with("dense-")
    };
    let found: Vec<PathBuf> = entries.map(|it| it.path()).filter(is_dense).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].clone()
}

/// Whether every file is damaged in every way, which takes minutes, instead of in one each.
fn thorough() -> bool {
    std::env::var_os("DAMAGE_ALL").is_some()
}

/// The damages to try on a file: all, or one that depends on its place.
fn ways(place: usize) -> Vec<&'static Way> {
    match thorough() {
        true => WAYS.iter().collect(),
        false => vec![&WAYS[place % WAYS.len()]],
    }
}

#[test]
fn a_run_that_goes_on_after_damage_has_the_same_bytes_or_refuses_by_name() {
    let Finished { runs, run } = finished(&[]);
    let before = digests(runs.path());
    let (mut again, mut refused) = (0, 0);
    for (place, file) in files(&run).iter().enumerate() {
        for way in ways(place) {
            damage(&run.join(file), way);
            let output = small(runs.path(), &[]).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            if output.status.success() {
                again += 1;
            } else {
                let name = file.rsplit('/').next().unwrap();
                assert!(
                    said.contains(name) && said.contains("remove it"),
                    "{file}: {said}"
                );
                fs::remove_file(run.join(file)).unwrap();
                expect(&mut small(runs.path(), &[]), 0);
                refused += 1;
            }
            assert_eq!(digests(runs.path()), before, "{file}, {}: {said}", way.0);
            // A program may repair a file that is linked elsewhere by a new one only.
            assert!(verdict(&run).is_well(), "{file}, {}", way.0);
        }
    }
    println!("{again} damages made good, {refused} refused by name and then made good");
}

#[test]
fn a_damaged_dense_level_is_made_again_with_every_point_that_others_took_from_it() {
    let Finished { runs, run } = finished(&[]);
    let other = [
        "--set",
        "strategy.rewind={ use = \"imp/weights\", to = \"40it\" }",
    ];
    expect(
        &mut small(
            runs.path(),
            &[&other[..], &["--set", "name=other"]].concat(),
        ),
        0,
    );
    let before = digests(runs.path());
    let dense = dense(runs.path());
    for (place, file) in files(&dense).iter().enumerate() {
        for way in ways(place) {
            // Runs that took from it share the inode: they are damaged with it.
            damage(&dense.join(file), way);
            // Somebody who needs the dense level anew, and then those who have it.
            for name in ["name=third", "name=wr", "name=other"] {
                let rewind = match name {
                    "name=wr" => &[][..],
                    _ => &other[..],
                };
                expect(
                    &mut small(runs.path(), &[rewind, &["--set", name]].concat()),
                    0,
                );
            }
            fs::remove_dir_all(only_run(runs.path(), "third")).unwrap();
            assert_eq!(digests(runs.path()), before, "{file}, {}", way.0);
            for run in [&run, &only_run(runs.path(), "other")] {
                assert!(verdict(run).is_well(), "{file}, {}", way.0);
            }
        }
    }
}

#[test]
fn damage_to_a_checkpoint_is_named_and_costs_only_time() {
    let with = |runs: &Path, seconds: &str| {
        let seeds = ["--seeds", "0"];
        let more = ["--set", "train.epochs=30", "--checkpoint-every", seconds];
        let own = [&SMALL[..4], &SMALL[6..10], &seeds, &more].concat();
        run("wr.toml", runs, &own)
    };
    let whole = tempfile::tempdir().unwrap();
    expect(&mut with(whole.path(), "600"), 0);
    let expected = digests(&only_run(whole.path(), "wr"));
    let runs = tempfile::tempdir().unwrap();
    let mut child = with(runs.path(), "0").spawn().unwrap();
    wait_until(&mut child, "a checkpoint within level 1", || {
        let folders = fs::read_dir(runs.path()).into_iter().flatten().flatten();
        folders.map(|it| it.path()).any(|run| {
            let bytes = fs::read(run.join("seed-0/progress/checkpoint.json")).unwrap_or_default();
            let read: Value = serde_json::from_slice(&bytes).unwrap_or_default();
            read["level"] == 1 && read["position"]["step"].as_u64() > Some(40)
        })
    });
    child.kill().unwrap();
    child.wait().unwrap();
    let name = only_run(runs.path(), "wr");
    let name = name.file_name().unwrap();
    let mut count = 0;
    let progress = runs.path().join(name).join("seed-0/progress");
    let bytes = fs::read(progress.join("checkpoint.json")).unwrap();
    let read: Value = serde_json::from_slice(&bytes).unwrap();
    let tensors = read["tensors"][0].as_str().unwrap().to_owned();
    for file in ["checkpoint.json".to_owned(), tensors] {
        for (place, way) in WAYS.iter().enumerate() {
            let place_again = tempfile::tempdir().unwrap();
            copy(runs.path(), place_again.path());
            let run = place_again.path().join(name);
            damage(&run.join("seed-0/progress").join(&file), way);
            let found = verdict(&run);
            let told = (found.problems.iter())
                .map(|it| format!("{}: {}", it.file, it.reason))
                .chain(found.notes.clone())
                .any(|line| line.contains("seed-0/progress") && line.contains(&file));
            assert!(told, "{file}, {}: {found:?}", way.0);
            count += 1;
            if thorough() || place % 3 == 0 {
                expect(&mut with(place_again.path(), "600"), 0);
                assert_eq!(digests(&run), expected, "{file}, {}", way.0);
            }
        }
    }
    println!("{count} damages to a checkpoint, all named");
}

#[test]
fn a_level_of_another_seed_or_with_another_runs_masks_is_refused() {
    let Finished { runs, run } = finished(&["--seeds", "0,3"]);
    let level = |seed: u64| RunDir::new(&run).seed(seed).level(1);
    fs::remove_dir_all(run.join("seed-0/level-02")).unwrap();
    // Whole in itself, but another seed's.
    let own = tempfile::tempdir().unwrap();
    copy(level(0).path(), own.path());
    copy(level(3).path(), level(0).path());
    let output = expect(&mut small(runs.path(), &["--seeds", "0"]), 5);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("seed 0, level 1: ") && said.contains("it is of seed 3, level 1"),
        "{said}"
    );
    // Only the masks are another's, and done.json was made to agree.
    copy(own.path(), level(0).path());
    let done = level(0).check().unwrap();
    fs::remove_file(level(0).file("mask.safetensors")).unwrap();
    fs::copy(
        level(3).file("mask.safetensors"),
        level(0).file("mask.safetensors"),
    )
    .unwrap();
    let files: Vec<String> = done.digests.keys().cloned().collect();
    level(0).finish(&files, done.carry).unwrap();
    let output = expect(&mut small(runs.path(), &["--seeds", "0"]), 5);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("seed 0, level 1: ")
            && said.contains("although its mask is 0: expected exactly +0"),
        "{said}"
    );
    let found = verdict(&run);
    assert!(!found.is_well());
    // As the message says.
    fs::remove_dir_all(level(0).path()).unwrap();
    expect(&mut small(runs.path(), &["--seeds", "0,3"]), 0);
    assert!(verdict(&run).is_well(), "{:?}", verdict(&run).problems);
}

#[test]
fn weights_and_records_that_do_not_belong_together_are_found_although_every_digest_fits() {
    let Finished { run, .. } = finished(&[]);
    let level = RunDir::new(&run).seed(0).level(2);
    let done = level.check().unwrap();
    let reseal = || {
        let files: Vec<String> = done.digests.keys().cloned().collect();
        level.finish(&files, done.carry.clone()).unwrap();
        let manifest = Manifest::read(&run, MANIFEST).unwrap().unwrap();
        let files: Vec<String> = manifest.files.into_keys().collect();
        Manifest::of(&run, files)
            .unwrap()
            .write(&run, MANIFEST)
            .unwrap();
    };
    let said = || {
        let output = expect(
            &mut command("verify", &run, &["--quiet", "--threads", "1"]),
            5,
        );
        String::from_utf8(output.stdout).unwrap()
    };
    let path = level.file("summary.json");
    let whole = fs::read_to_string(&path).unwrap();
    let summary: Value = serde_json::from_str(&whole).unwrap();
    let correct = summary["test_correct"].as_u64().unwrap();
    let accuracy = summary["test_accuracy"].as_f64().unwrap();
    let better = (correct + 10) as f64 / 1000.0;
    let forged = whole
        .replace(
            &format!("\"test_correct\":{correct}"),
            &format!("\"test_correct\":{}", correct + 10),
        )
        .replace(
            &format!("\"test_accuracy\":{accuracy}"),
            &format!("\"test_accuracy\":{better}"),
        );
    assert_ne!(forged, whole);
    fs::write(&path, forged).unwrap();
    let metrics = level.file("metrics.jsonl");
    let epochs = fs::read_to_string(&metrics).unwrap();
    let last = format!("\"test_accuracy\":{accuracy}}}\n");
    let forged = format!(
        "{}\"test_accuracy\":{better}}}\n",
        epochs.strip_suffix(&last).unwrap()
    );
    fs::write(&metrics, forged).unwrap();
    reseal();
    let line = said();
    assert!(
        line.contains("level-02/summary.json: it says a test loss of"),
        "{line}"
    );
    fs::write(&path, &whole).unwrap();
    fs::write(&metrics, &epochs).unwrap();
    // A mask with as many ones that the scores do not give.
    let mask = level.file("mask.safetensors");
    let mut bytes = fs::read(&mask).unwrap();
    let end = fs::read(level.file("end.safetensors")).unwrap();
    let swapped = swap_two(&mut bytes);
    fs::write(&mask, &bytes).unwrap();
    reseal();
    let line = said();
    assert!(
        line.contains("level-02/") && line.contains("WRONG"),
        "{swapped}: {line}"
    );
    assert_eq!(end, fs::read(level.file("end.safetensors")).unwrap());
}

/// Swaps the first 0 of a file of masks with the 1 nearest before it; where.
fn swap_two(bytes: &mut [u8]) -> usize {
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize + 8;
    let zero = (header + 1..bytes.len())
        .find(|&at| bytes[at] == 0 && bytes[at - 1] == 1)
        .unwrap();
    bytes.swap(zero, zero - 1);
    zero - header
}

#[test]
fn a_run_of_an_older_version_is_read_and_what_cannot_be_checked_is_said() {
    let Finished { runs, run } = finished(&[]);
    // As versions without digests of their own and manifests wrote them.
    for folder in [run.clone(), dense(runs.path())] {
        for file in files(&folder) {
            let path = folder.join(&file);
            if file.ends_with("done.json") || file == "identity.json" {
                let mut value: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
                value.as_object_mut().unwrap().remove("digest").unwrap();
                let text = format!("{}\n", serde_json::to_string_pretty(&value).unwrap());
                fs::remove_file(&path).unwrap();
                fs::write(&path, text).unwrap();
            }
        }
    }
    fs::remove_file(run.join(MANIFEST)).unwrap();
    let output = expect(&mut command("verify", &run, &[]), 0);
    let said = String::from_utf8(output.stdout).unwrap();
    for fragment in [
        "not checked: every bit of done.json",
        "not checked: every bit of identity.json",
        "that kept no manifest.json",
    ] {
        assert!(said.contains(fragment), "{fragment}: {said}");
    }
    let levels = digests(&run.join("seed-0"));
    expect(&mut small(runs.path(), &[]), 0);
    assert_eq!(digests(&run.join("seed-0")), levels);
}

#[test]
fn a_sweep_is_checked_with_its_runs_and_its_own_files() {
    let folder = tempfile::tempdir().unwrap();
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments/imp.toml");
    let text = format!(
        "base = {base:?}\nname = \"few\"\nseeds = [0]\n[model]\nhidden = [8]\n[train]\nepochs = 1\n\
         [prune]\nlevels = 1\n[sweep.methods.imp]\n[sweep.methods.lrr]\nstrategy.rewind = \"lrr/learning-rate\"\n"
    );
    let file = folder.path().join("few.toml");
    fs::write(&file, text).unwrap();
    let runs = folder.path().join("runs");
    let runs_text = runs.to_str().unwrap();
    expect(
        &mut command("run", &file, &["--quiet", "--runs", runs_text]),
        0,
    );
    let sweep = runs.join("few");
    let output = expect(&mut command("verify", &sweep, &["--json"]), 0);
    let said = String::from_utf8(output.stdout).unwrap();
    // The sweep itself, its two runs, and the sum.
    assert_eq!(said.lines().count(), 4, "{said}");
    let own = files(&sweep).into_iter();
    // What the processes had to say is no result.
    let own: Vec<String> = own.filter(|file| !file.starts_with("logs/")).collect();
    assert!(own.len() >= 4, "{own:?}");
    for file in &own {
        let path = sweep.join(file);
        let whole = fs::read(&path).unwrap();
        for way in &WAYS {
            damage(&path, way);
            let found = collection(&sweep, "sweep.json");
            let is_named = found.problems.iter().any(|it| it.file == *file);
            let is_said = found.unchecked.iter().any(|it| it.why.contains(file));
            assert!(is_named || is_said, "{file}, {}: {found:?}", way.0);
            fs::write(&path, &whole).unwrap();
        }
    }
    let before = digests(&sweep);
    fs::remove_file(sweep.join("sweep.json")).unwrap();
    expect(&mut command("verify", &sweep, &["--no-data"]), 5);
    expect(
        &mut command("run", &file, &["--quiet", "--runs", runs_text]),
        0,
    );
    let mut after = digests(&sweep);
    after.retain(|path, _| !path.starts_with("logs"));
    assert!(after.iter().all(|(path, digest)| before[path] == *digest));
}
