//! A run that gets no more memory says so, with a number and what to do, and loses nothing.

use std::fs;
use std::process::Command;

use attack::experiments::Experiment;
use attack::process::run;
use attack::program::only_run;
use attack::space::{needs, within};
use attack::tree::differences;

/// Networks and batches that are large beside the program.
fn large(name: &'static str) -> Experiment {
    match name {
        "convolution" => Experiment::new(name, 1).with(&[
            "data.size=96",
            "model.width=8",
            "train.batch_size=16",
            "prune.levels=1",
        ]),
        name => Experiment::new(name, 1).with(&[
            "model.hidden=[1200, 1200]",
            "train.batch_size=2000",
            "prune.levels=1",
        ]),
    }
}

fn limits() -> usize {
    let asked = std::env::var("ATTACK_FAULTS").ok();
    asked.and_then(|text| text.parse().ok()).unwrap_or(1)
}

fn stands_every_limit(name: &'static str) {
    let experiment = large(name);
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole");
    let most = needs(&mut experiment.command(&whole));
    assert!(
        only_run(&whole, name)
            .join("seed-1/level-01/done.json")
            .exists()
    );
    // What the program takes to be up at all.
    let least = needs(Command::new(attack::program::host()).arg("--version"));
    let mut hit = 0;
    for part in 1..=limits() as u64 {
        let limit = least + (most - least) * part / (limits() as u64 + 1);
        let runs = folder.path().join(format!("{part}"));
        let ended = run(&mut within(&experiment.command(&runs), limit));
        let said = &ended.stderr;
        match ended.status.code() {
            Some(0) => {}
            Some(5) => {
                hit += 1;
                assert!(said.contains("memory"), "{limit} KiB: {said}");
                assert!(said.contains("the same command"), "{limit} KiB: {said}");
                assert!(!said.contains("bug of the program"), "{limit} KiB: {said}");
                println!(
                    "{name}, {limit} of {most} KiB: {}",
                    said.lines().last().unwrap_or("")
                );
            }
            _ => panic!("{} with {limit} KiB of {most}:\n{said}", ended.status),
        }
        run(&mut experiment.command(&runs)).expect(0);
        let different = differences(&whole, &runs);
        assert!(different.is_empty(), "{limit} KiB: {different:#?}");
        fs::remove_dir_all(&runs).unwrap();
    }
    assert!(hit > 0, "no limit was felt");
}

#[test]
fn a_network_of_lanes_that_gets_no_more_memory_says_so_and_loses_nothing() {
    stands_every_limit("lrr");
}

#[test]
fn a_convolution_net_that_gets_no_more_memory_says_so_and_loses_nothing() {
    stands_every_limit("convolution");
}
