//! One network on many processes: the same bytes on any number of them, and no process left when one is lost.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use attack::process::{children, end, send, start, wait_for_ends};
use attack::tree::files;
use end_to_end::program::{self, digests, expect, run, wait_until};

/// A small experiment in four shards, of two levels.
fn command(runs: &Path, ranks: usize, set: &[&str]) -> Command {
    let mut all = vec![
        "train.shards=4",
        "train.batch_size=500",
        "train.epochs=2",
        "prune.levels=1",
        "seeds=[0, 1]",
    ];
    all.extend(set);
    let set: Vec<&str> = all.iter().flat_map(|set| ["--set", set]).collect();
    let mut command = run("lrr.toml", runs, &set);
    command.args(["--ranks", &ranks.to_string()]);
    command.stdin(Stdio::null());
    command
}

/// The same command with so many threads.
fn on_threads(command: &Command, threads: &str) -> Command {
    let mut arguments: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
    let at = arguments.iter().position(|it| it == "--threads").unwrap();
    arguments[at + 1] = threads.into();
    let mut other = end_to_end::program::command();
    other.args(arguments).stdin(Stdio::null());
    other
}

/// Long enough to be met in the middle of a level, with a checkpoint after every step.
fn long(runs: &Path, ranks: usize) -> Command {
    let set = ["train.epochs=60", "model.hidden=[32]", "seeds=[0]"];
    let mut command = command(runs, ranks, &set);
    command.args(["--checkpoint-every", "0"]);
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn has_checkpoint(runs: &Path) -> bool {
    let mut names = files(runs).into_iter();
    names.any(|path| path.to_string_lossy().contains("progress/"))
}

/// A run in the middle of a level, with the processes that it started.
fn under_way(runs: &Path, mut command: Command) -> (Child, Vec<u32>) {
    let mut leader = start(&mut command);
    wait_until(&mut leader, "a checkpoint", || has_checkpoint(runs));
    let others = children(leader.id());
    assert_eq!(others.len(), 3, "{others:?}");
    (leader, others)
}

/// A port that nobody listens at, for now.
fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// Waits for the end of all, with this exit code: what was said.
fn end_all(leader: Child, others: &[u32], code: i32) -> String {
    let said = end(leader).expect(code).stderr;
    wait_for_ends(others);
    said
}

#[test]
fn a_run_has_the_same_bytes_on_any_number_of_ranks_and_threads() {
    for set in [
        &[][..],
        &["model.dropout=0.2", "train.sync_batch_norm=true"],
        &[
            "model={ name = \"cnn1d\", dropout = 0.1 }",
            "train.precision=\"bf16\"",
            "seeds=[0]",
        ],
        &[
            "train.metrics=[\"ece\", \"confusion\"]",
            "data.validation=0.2",
            "train.evaluate_every=\"1ep\"",
        ],
    ] {
        let folder = tempfile::tempdir().unwrap();
        let runs = |name: &str| folder.path().join(name);
        expect(&mut command(&runs("1"), 1, set), 0);
        let alone = digests(&runs("1"));
        assert!(alone.len() > 20, "{alone:?}");
        for ranks in [2, 4] {
            let own = runs(&ranks.to_string());
            expect(&mut command(&own, ranks, set), 0);
            assert_eq!(digests(&own), alone, "{set:?} on {ranks} ranks");
            let mut runs = fs::read_dir(&own).unwrap().map(|it| it.unwrap().path());
            let run = runs.find(|it| it.join("summary.csv").exists());
            expect(program::command().arg("verify").arg(run.unwrap()), 0);
        }
        let mut over_sockets = command(&runs("sockets"), 2, set);
        expect(over_sockets.env("REWIND_SHARED_MEMORY", "0"), 0);
        assert_eq!(digests(&runs("sockets")), alone, "{set:?} over sockets");
        expect(&mut on_threads(&command(&runs("t"), 1, set), "3"), 0);
        assert_eq!(digests(&runs("t")), alone, "{set:?} with other threads");
    }
}

#[test]
fn one_shard_is_what_an_experiment_without_shards_trains() {
    let folder = tempfile::tempdir().unwrap();
    let runs = |name: &str| folder.path().join(name);
    let set = [
        "--set",
        "train.epochs=1",
        "--set",
        "prune.levels=1",
        "--set",
        "seeds=[0]",
    ];
    expect(&mut run("lrr.toml", &runs("without"), &set), 0);
    let mut one = run("lrr.toml", &runs("one"), &set);
    expect(one.args(["--set", "train.shards=1"]), 0);
    let mut several = run("lrr.toml", &runs("several"), &set);
    expect(several.args(["--set", "train.shards=2"]), 0);
    let (without, one, several) = (runs("without"), runs("one"), runs("several"));
    let digests_of = |runs: &Path| {
        let mut all = digests(runs);
        // It holds the file as it was given.
        all.retain(|path, _| {
            !path.ends_with("experiment.toml") && !path.ends_with("manifest.json")
        });
        all
    };
    assert_eq!(digests_of(&without), digests_of(&one));
    assert_ne!(digests_of(&without), digests_of(&several));
}

#[test]
fn a_rank_that_is_killed_ends_all_and_another_number_of_ranks_goes_on_with_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let alone = folder.path().join("alone");
    expect(&mut long(&alone, 1), 0);
    for shared_memory in ["0", "1"] {
        let runs = folder.path().join(shared_memory);
        let mut four = long(&runs, 4);
        four.env("REWIND_SHARED_MEMORY", shared_memory);
        let (leader, others) = under_way(&runs, four);
        send(others[1], "KILL");
        let said = end_all(leader, &others, 5);
        assert!(
            said.contains(&format!("(process {}) is gone", others[1])),
            "{said}"
        );
        assert!(said.contains("goes on from the last checkpoint"), "{said}");
        assert_ne!(digests(&runs), digests(&alone));
        expect(&mut long(&runs, 2), 0);
        assert_eq!(digests(&runs), digests(&alone));
    }
}

#[test]
fn rank_0_that_is_killed_leaves_no_rank_behind() {
    let folder = tempfile::tempdir().unwrap();
    let (mut leader, others) = under_way(folder.path(), long(folder.path(), 4));
    leader.kill().unwrap();
    leader.wait().unwrap();
    wait_for_ends(&others);
}

#[test]
fn a_rank_that_stands_still_ends_all_within_the_limit() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = long(folder.path(), 4);
    command.args(["--rank-limit", "3"]);
    let (leader, others) = under_way(folder.path(), command);
    send(others[2], "STOP");
    // Its parent kills it in the end.
    let said = end_all(leader, &others, 5);
    let expected = format!("(process {}) has said nothing for 3 s", others[2]);
    assert!(said.contains(&expected), "{said}");
}

#[test]
fn a_signal_to_any_rank_has_all_stop_in_order() {
    for to_leader in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let (leader, others) = under_way(folder.path(), long(folder.path(), 4));
        let to = if to_leader { leader.id() } else { others[0] };
        send(to, "TERM");
        end_all(leader, &others, 4);
        assert!(has_checkpoint(folder.path()));
    }
}

#[test]
fn ranks_that_cannot_share_the_shards_out_are_refused_with_those_that_can() {
    let folder = tempfile::tempdir().unwrap();
    let said = text(&expect(&mut command(folder.path(), 3, &[]), 2).stderr);
    assert!(
        said.contains("3 ranks") && said.contains("one of 1, 2, 4"),
        "{said}"
    );
    let said = text(&expect(&mut command(folder.path(), 2, &["train.shards=1"]), 2).stderr);
    assert!(said.contains("expected 1; `train.shards = 4`"), "{said}");
    let said = text(&expect(&mut command(folder.path(), 1, &["train.batch_size=3"]), 2).stderr);
    assert!(
        said.contains("batch_size") && said.contains("4 shards"),
        "{said}"
    );
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn ranks_that_are_not_the_same_are_refused_with_every_difference() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let rank = |number: usize, set: &[&str]| {
        let mut command = run("lrr.toml", folder.path(), &[]);
        for set in [&["train.shards=2", "train.epochs=1"], set].concat() {
            command.args(["--set", set]);
        }
        command
            .stdin(Stdio::null())
            .env("RANK", number.to_string())
            .env("WORLD_SIZE", "2")
            .env("MASTER_ADDR", "127.0.0.1")
            .env("MASTER_PORT", port.to_string());
        command.spawn().unwrap()
    };
    let (first, second) = (
        rank(0, &["seeds=[0]"]),
        rank(1, &["seeds=[1]", "train.label_smoothing=0.1"]),
    );
    for rank in [first, second] {
        let output = rank.wait_with_output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(
            said.contains("seeds: rank 1 on ") && said.contains("has [1], rank 0 on "),
            "{said}"
        );
        assert!(said.contains("experiment (identity): rank 1 on "), "{said}");
        assert!(!said.contains("libtorch: rank"), "{said}");
    }
}

#[test]
fn ranks_that_somebody_else_starts_find_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let (alone, runs) = (folder.path().join("alone"), folder.path().join("runs"));
    expect(&mut command(&alone, 1, &[]), 0);
    let port = free_port();
    let ranks: Vec<Child> = (0..2)
        .map(|rank| {
            let mut placed = command(&runs, 1, &[]);
            // As the first command, but for the flag, which would have it train alone.
            let arguments: Vec<_> = placed.get_args().map(ToOwned::to_owned).collect();
            let kept = arguments.len() - 2;
            let mut command = end_to_end::program::command();
            command
                .args(&arguments[..kept])
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .env("SLURM_PROCID", rank.to_string())
                .env("SLURM_STEP_NUM_TASKS", "2")
                .env("SLURM_STEP_ID", "0")
                .env("MASTER_ADDR", "127.0.0.1")
                .env("MASTER_PORT", port.to_string());
            placed.stdin(Stdio::null());
            command.spawn().unwrap()
        })
        .collect();
    for rank in ranks {
        let output = rank.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    }
    assert_eq!(digests(&runs), digests(&alone));
}
