//! `host verify`: what it checks, and what does not get past it.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use end_to_end::program::{digests, expect};
use host::store::{MANIFEST, Manifest, RunDir};
use host::verify::collection;
use serde_json::Value;

use crate::finished::{
    Finished, WAYS, command, copy, damage, dense, files, finished, small, verdict,
};

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
    let Finished { runs: _kept, run } = finished(&[]);
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
    // Signs, line by line: more than survive, another epoch, a count that the weights do not give.
    let signs = level.file("signs.jsonl");
    let lines = fs::read_to_string(&signs).unwrap();
    let last: Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    let list = |key: &str, more: u64| {
        let counts = last[key].as_array().unwrap();
        let first = counts[0].as_u64().unwrap() + more;
        let rest = counts[1..].iter().map(|it| format!(",{it}"));
        format!("\"{key}\":[{first}{}]", rest.collect::<String>())
    };
    let survivors = last["survivors"][0].as_u64().unwrap();
    for (from, to, reason) in [
        (
            list("crossed_epoch", 0),
            list("crossed_epoch", survivors + 1),
            "crossed zero",
        ),
        (
            list("crossed_start", 0),
            list("crossed_start", 1),
            "weights crossed zero within the level",
        ),
        (
            list("survivors", 0),
            list("survivors", 1),
            "the survivors are",
        ),
        (
            "\"epoch\":1".to_owned(),
            "\"epoch\":2".to_owned(),
            "level and epoch are",
        ),
    ] {
        let (first, second) = lines.trim_end().split_once('\n').unwrap();
        let forged = format!("{first}\n{}\n", second.replace(&from, &to));
        assert_ne!(forged, lines);
        fs::write(&signs, forged).unwrap();
        reseal();
        let line = said();
        assert!(
            line.contains("level-02/signs.jsonl: ") && line.contains(reason),
            "{line}"
        );
    }
    fs::write(&signs, &lines).unwrap();
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
                if let Some(digests) = value.get_mut("digests").and_then(Value::as_object_mut)
                    && digests.remove("signs.jsonl").is_some()
                {
                    fs::remove_file(path.with_file_name("signs.jsonl")).unwrap();
                }
                let text = format!("{}\n", serde_json::to_string_pretty(&value).unwrap());
                fs::remove_file(&path).unwrap();
                fs::write(&path, text).unwrap();
            }
        }
    }
    // Its event files are without what those versions did not record.
    expect(&mut command("tensorboard", &run, &[]), 0);
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
    assert!(!run.join("seed-0/level-01/signs.jsonl").exists());
    expect(&mut command("report", &run, &[]), 0);
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
