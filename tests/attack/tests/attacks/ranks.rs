//! Ranks that train one network are killed, one at a time, and others go on: the bytes are those of one process.

use std::process::Command;
use std::time::{Duration, Instant};

use attack::campaign::kills;
use attack::experiments::Experiment;
use attack::patience::wait_until;
use attack::process::{children, end, run, send, start, wait_for_ends};
use attack::space::{limit, needs, peak, size};
use attack::tree::{differences, leftovers};
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

use super::desk::asked;

/// Numbers of ranks among which four shards can be shared out.
const RANKS: [usize; 3] = [1, 2, 4];

fn stands_kills(what: &str, set: &[&str], seed: u64) {
    let folder = tempfile::tempdir().unwrap();
    let set = [&["train.shards=4", "prune.levels=1"], set].concat();
    let experiment = Experiment::new("convolution", 2).with(&set);
    let command = |runs: &str, ranks: usize| {
        let mut command = experiment.command(&folder.path().join(runs));
        command.args(["--ranks", &ranks.to_string()]);
        command
    };
    let since = Instant::now();
    run(&mut command("whole", 1)).expect(0);
    let total = since.elapsed();
    for ranks in &RANKS[1..] {
        let name = format!("on-{ranks}");
        run(&mut command(&name, *ranks)).expect(0);
        let wrong = differences(&folder.path().join("whole"), &folder.path().join(&name));
        assert!(wrong.is_empty(), "{what} on {ranks} ranks: {wrong:#?}");
    }
    let mut draw = ChaCha8Rng::seed_from_u64(seed);
    let mut below = |n: u64| draw.next_u64() % n;
    let (mut killed, mut finished, mut run_number) = ([0; 2], 0, 0);
    while killed[0] + killed[1] < kills() {
        let name = format!("run-{run_number}");
        let ranks = RANKS[1 + below(2) as usize];
        let leader = start(&mut command(&name, ranks));
        std::thread::sleep(Duration::from_millis(below(total.as_millis() as u64)));
        let others = children(leader.id());
        // Some are not started yet, and the leader alone stands for them.
        let victim = match below(1 + others.len() as u64) as usize {
            0 => leader.id(),
            other => others[other - 1],
        };
        let of_others = usize::from(victim != leader.id());
        send(victim, "KILL");
        let ended = end(leader);
        wait_for_ends(&others);
        let code = ended.status.code();
        match (code, of_others) {
            // It was done before.
            (Some(0), _) => {
                finished += 1;
                let own = folder.path().join(&name);
                let wrong = differences(&folder.path().join("whole"), &own);
                assert!(wrong.is_empty(), "{what}: {wrong:#?}");
                run_number += 1;
            }
            (None, 0) | (Some(5), 1) => killed[of_others] += 1,
            _ => {
                ended.expect(5);
            }
        }
    }
    let name = format!("run-{run_number}");
    run(&mut command(&name, RANKS[below(3) as usize])).expect(0);
    let own = folder.path().join(&name);
    let wrong = differences(&folder.path().join("whole"), &own);
    assert!(wrong.is_empty(), "{what}: {wrong:#?}");
    assert!(leftovers(&own).is_empty());
    let [leaders, others] = killed;
    println!("| {what} | {leaders} | {others} | {} | 0 |", finished + 1);
}

#[test]
fn a_network_in_shards_stands_kills_of_any_rank() {
    println!(
        "| ranks | killed: rank 0 | others | runs | bytes that differ |\n|---|---|---|---|---|"
    );
    let variants = [
        (
            "bf16, synchronised",
            &["train.precision=\"bf16\"", "train.sync_batch_norm=true"][..],
        ),
        ("fp32", &[]),
        ("fp32, synchronised", &["train.sync_batch_norm=true"]),
        ("bf16", &["train.precision=\"bf16\""]),
    ];
    // The short form has the one with the most to go wrong.
    let asked = std::env::var_os("ATTACK_KILLS").map_or(1, |_| variants.len());
    for (at, (what, set)) in variants[..asked].iter().enumerate() {
        stands_kills(what, set, at as u64);
    }
}

/// A rank whose machine has less memory than the others': from some moment on it gets none.
#[test]
fn a_rank_that_gets_no_more_memory_ends_all_with_its_reason_and_costs_nothing() {
    let times = asked("ATTACK_FAULTS", 2);
    let folder = tempfile::tempdir().unwrap();
    let experiment = Experiment::new("convolution", 1).with(&["train.shards=2", "prune.levels=1"]);
    let command = |runs: &str, ranks: usize| {
        let mut command = experiment.command(&folder.path().join(runs));
        command.args(["--ranks", &ranks.to_string()]);
        command
    };
    let started = |runs: &str| {
        let mut leader = start(&mut command(runs, 2));
        let (id, mut others) = (leader.id(), Vec::new());
        wait_until(&mut leader, "the other rank's start", || {
            others = children(id);
            !others.is_empty()
        });
        (leader, others)
    };
    let since = Instant::now();
    let (mut whole, others) = started("whole");
    let most = peak(others[0], &mut whole);
    end(whole).expect(0);
    let total = since.elapsed().as_millis() as u64;
    // What the program takes to be up at all.
    let least = needs(Command::new(attack::program::host()).arg("--version"));
    let mut draw = ChaCha8Rng::seed_from_u64(3);
    for time in 0..times {
        let name = format!("run-{time}");
        let (leader, others) = started(&name);
        // A process that has all that it needs does not feel that it gets no more: one limit is
        // sure to be felt.
        let surely = time == 0;
        if surely {
            limit(others[0], least.midpoint(most));
        } else {
            std::thread::sleep(Duration::from_millis(draw.next_u64() % (total / 2)));
            if let Some(size) = size(others[0], "VmSize") {
                limit(others[0], size);
            }
        }
        let ended = end(leader);
        wait_for_ends(&others);
        match ended.status.code() {
            Some(0) => assert!(!surely, "half of {most} KiB was not felt"),
            _ => {
                let said = ended.expect(5).stderr;
                let last = said.lines().last().unwrap_or_default();
                println!("{last}");
                assert!(said.contains("rank 1 "), "{said}");
            }
        }
        run(&mut command(&name, 1)).expect(0);
        let wrong = differences(&folder.path().join("whole"), &folder.path().join(&name));
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}
