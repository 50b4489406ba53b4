//! Every file damaged in every way: `host verify` names it, and `host run` gets over it or refuses.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use attack::hold::Hold;
use end_to_end::program::{digests, expect, only_run, run};
use serde_json::Value;

use crate::finished::{
    Finished, SMALL, WAYS, Way, command, copy, damage, dense, files, finished, small, verdict,
};

#[test]
fn every_file_of_a_finished_run_damaged_in_any_way_is_named() {
    let Finished { runs, run } = finished(&[]);
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
            // Two who need the dense level anew, each with another point, and then those who have it.
            for name in ["name=third", "name=fourth", "name=wr", "name=other"] {
                let rewind = match name {
                    "name=fourth" | "name=wr" => &[][..],
                    _ => &other[..],
                };
                expect(
                    &mut small(runs.path(), &[rewind, &["--set", name]].concat()),
                    0,
                );
            }
            for name in ["third", "fourth"] {
                fs::remove_dir_all(only_run(runs.path(), name)).unwrap();
            }
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
        let more = ["--set", "train.epochs=4", "--checkpoint-every", seconds];
        let own = [&SMALL[..4], &SMALL[6..10], &seeds, &more].concat();
        run("wr.toml", runs, &own)
    };
    let whole = tempfile::tempdir().unwrap();
    expect(&mut with(whole.path(), "600"), 0);
    let expected = digests(&only_run(whole.path(), "wr"));
    let runs = tempfile::tempdir().unwrap();
    let mut command = with(runs.path(), "0");
    let mut hold = Hold::at(&mut command, "rename", &runs.path().join("wr-"));
    let mut child = command.spawn().unwrap();
    hold.until(&mut child, "a checkpoint within level 1", |_| {
        let folders = fs::read_dir(runs.path()).into_iter().flatten().flatten();
        folders.map(|it| it.path()).any(|run| {
            let bytes = fs::read(run.join("seed-0/progress/checkpoint.json")).unwrap_or_default();
            let read: Value = serde_json::from_slice(&bytes).unwrap_or_default();
            read["level"] == 1 && read["position"]["step"].as_u64() > Some(10)
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
