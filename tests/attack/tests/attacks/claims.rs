//! Many processes work on one sweep at once, are killed and stand still: nothing is lost, nothing is done twice,
//! and no byte differs.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;
use std::time::Instant;

use attack::patience::wait_until;
use attack::process::{end, run, send, signal, start};
use attack::program::host;
use attack::tree::leftovers;
use serde_json::Value;

use super::desk::{Desk, TWO, asked, begun, events, states};
use super::siege::{Siege, crowd, still};

#[test]
fn many_processes_that_claim_do_every_cell_once() {
    let cells = asked("ATTACK_CELLS", 6);
    let claimers = if cells > 100 { 8 } else { 3 };
    let desk = Desk::new(cells, 1, "");
    let began = Instant::now();
    let children: Vec<Child> = (0..claimers)
        .map(|_| start(&mut desk.command("many", &["--claim"])))
        .collect();
    // All at once: what one says must not fill its pipe while another is waited for.
    let ends: Vec<_> = children
        .into_iter()
        .map(|child| thread::spawn(move || end(child).expect(0)))
        .collect();
    let ends: Vec<_> = ends.into_iter().map(|it| it.join().unwrap()).collect();
    let took = began.elapsed().as_secs_f64();
    let outputs: Vec<String> = ends.into_iter().map(|it| it.stdout).collect();
    let begun = begun(&outputs);
    // Each has a dense level of its own, and two more.
    assert_eq!(begun.len(), 3 * cells);
    let twice: Vec<_> = begun.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "{twice:#?}");
    let shares: Vec<usize> = outputs.iter().map(|it| begun_by(it)).collect();
    println!(
        "{cells} cells by {claimers} processes in {took:.0} s, {:.1} a second: {shares:?}",
        cells as f64 / took
    );
    for output in &outputs {
        assert_eq!(states(output).len(), cells);
    }
    // Of a thousand that would take another quarter of an hour.
    if cells <= 100 {
        run(&mut desk.command("one", &[])).expect(0);
        desk.assert_same("one", "many");
    }
    assert_eq!(leftovers(&desk.runs("many")), Vec::<PathBuf>::new());
}

/// Number of cells that a process did.
fn begun_by(output: &str) -> usize {
    let all = events(output).into_iter();
    let cells: BTreeSet<String> = all
        .filter(|it| it["event"] == "level-started")
        .map(|it| it["cell"].to_string())
        .collect();
    cells.len()
}

#[test]
fn tasks_share_a_sweep_and_all_of_them_do_all_of_it() {
    let methods = format!(
        "{TWO}[sweep.methods.back]\nstrategy.rewind = {{ use = \"imp/weights\", to = \"lrr#level-1-end\" }}\n"
    );
    let desk = Desk::new(2, 1, &methods);
    let tasks = ["1/3", "2/3", "3/3"];
    let children = tasks.map(|task| start(&mut desk.command("runs", &["--task", task])));
    let outputs = children.map(|child| end(child).expect(0).stdout);
    assert!(begun(&outputs).values().all(|times| *times == 1));
    let done = |method: &str| {
        let runs = fs::read_dir(desk.runs("runs")).unwrap().flatten();
        let own = format!("small-{method}-");
        let own = runs.filter(|run| run.file_name().to_string_lossy().starts_with(&own));
        own.filter(|run| run.path().join("seed-0/level-02/done.json").exists())
            .count()
    };
    assert_eq!(["imp", "lrr", "back"].map(done), [2, 2, 2]);
    // Run again in this folder, so that what takes from another cell names it by the same path.
    let before = fs::read_dir(desk.runs("runs")).unwrap().count();
    let again = run(&mut desk.command("runs", &[])).expect(0).stdout;
    assert!(begun(&[again]).is_empty());
    assert_eq!(fs::read_dir(desk.runs("runs")).unwrap().count(), before);
}

#[test]
fn only_works_from_two_terminals_at_once() {
    let desk = Desk::new(1, 3, TWO);
    let children = ["imp", "lrr"].map(|it| start(&mut desk.command("two", &["--only", it])));
    let outputs = children.map(|child| end(child).expect(0).stdout);
    for (output, own) in outputs.iter().zip(["imp-", "lrr-"]) {
        for (cell, state) in states(output) {
            let expected = ["not asked for", "done"][usize::from(cell.starts_with(own))];
            assert_eq!(state, expected, "{cell}");
        }
    }
    // The dense level, which they share, was trained once.
    let begun = begun(&outputs);
    assert_eq!(begun.len(), 5, "{begun:#?}");
    run(&mut desk.command("one", &[])).expect(0);
    desk.assert_same("one", "two");
}

#[test]
fn a_cell_that_another_process_has_is_named_and_no_failure() {
    let desk = Desk {
        limit: "12".to_owned(),
        ..Desk::new(1, 1_000_000, TWO)
    };
    let mut first = start(&mut desk.command("runs", &["--only", "imp"]));
    let lock = || {
        let runs = fs::read_dir(desk.runs("runs"))
            .into_iter()
            .flatten()
            .flatten();
        let mut cells = runs.map(|run| run.path()).filter(|run| {
            let name = run.file_name().unwrap().to_string_lossy().into_owned();
            name.starts_with("small-imp-")
        });
        cells.next().map(|it| it.join("lock/000002/owner.json"))
    };
    wait_until(&mut first, "its lock", || {
        lock().is_some_and(|it| it.exists())
    });
    let said = run(&mut desk.command("runs", &["--only", "imp"])).expect(0);
    let owner: Value = serde_json::from_slice(&fs::read(lock().unwrap()).unwrap()).unwrap();
    let last = events(&said.stdout).pop().unwrap();
    let cell = &last["cells"][0];
    assert_eq!(cell["state"], "elsewhere", "{last}");
    let reason = format!("process {} on ", owner["pid"]);
    assert!(
        cell["reason"].as_str().unwrap().starts_with(&reason),
        "{cell}"
    );
    assert!(
        said.stderr.contains("left to other processes: 1"),
        "{}",
        said.stderr
    );
    let mut status = Command::new(host());
    status.args(["status", "small", "--json", "--runs"]);
    let status = run(status.arg(desk.runs("runs"))).expect(0).stdout;
    let status = events(&status).pop().unwrap();
    let cell = &status["cells"][0];
    assert_eq!(cell["owner"]["pid"], owner["pid"], "{status}");
    let states = &status["states"];
    assert_eq!(
        (&states["running"], &states["waiting"]),
        (&1.into(), &1.into())
    );
    assert_eq!(
        (&cell["levels_done"], &cell["levels"]),
        (&0.into(), &3.into())
    );
    signal(&first, "TERM");
    end(first).expect(4);
}

/// The processes that a process started.
pub fn children_of(process: u32) -> Vec<u32> {
    let file = format!("/proc/{process}/task/{process}/children");
    let text = fs::read_to_string(file).unwrap_or_default();
    text.split_whitespace()
        .filter_map(|it| it.parse().ok())
        .collect()
}

#[test]
fn a_process_that_stood_still_writes_nothing_once_another_took_over() {
    let desk = Desk {
        limit: "3".to_owned(),
        ..Desk::new(1, 300, "")
    };
    let mut first = start(&mut desk.command("runs", &[]));
    let runs = desk.runs("runs");
    let under_way = || {
        let all = fs::read_dir(&runs).into_iter().flatten().flatten();
        let mut levels = all.map(|run| run.path().join("seed-0/level-01"));
        levels.any(|level| {
            level.join("start.safetensors").exists() && !level.join("done.json").exists()
        })
    };
    wait_until(&mut first, "its first level", under_way);
    let stopped = children_of(first.id());
    assert_eq!(stopped.len(), 1);
    send(stopped[0], "STOP");
    let said = run(&mut desk.command("runs", &["--claim"])).expect(0);
    let note = format!("process {} on ", stopped[0]);
    assert!(
        said.stderr.contains(&note) && said.stderr.contains("it is taken over"),
        "{}",
        said.stderr
    );
    run(&mut desk.command("one", &[])).expect(0);
    desk.assert_same("one", "runs");
    send(stopped[0], "CONT");
    end(first).expect(0);
    desk.assert_same("one", "runs");
    let logs = fs::read_dir(runs.join("small/logs")).unwrap().flatten();
    let logs: String = logs
        .map(|log| fs::read_to_string(log.path()).unwrap())
        .collect();
    assert!(logs.contains("was not written: process "), "{logs}");
}

#[test]
fn a_run_that_gets_further_each_time_that_it_is_killed_is_never_left_alone() {
    let desk = Desk::new(1, 100, "");
    let claim = ["--claim", "--checkpoint-every", "0"];
    let mut reached = 0;
    for _ in 0..5 {
        let mut claimer = start(&mut desk.command("runs", &claim));
        let is_further = || furthest_checkpoint(&desk.runs("runs")) > reached + 2;
        wait_until(&mut claimer, "a later checkpoint", is_further);
        let child = children_of(claimer.id());
        send(child[0], "KILL");
        let said = end(claimer).expect(5);
        assert_eq!(
            states(&said.stdout).into_values().collect::<Vec<_>>(),
            ["failed"]
        );
        reached = furthest_checkpoint(&desk.runs("runs"));
    }
    run(&mut desk.command("runs", &claim)).expect(0);
    run(&mut desk.command("one", &[])).expect(0);
    desk.assert_same("one", "runs");
}

/// The step of the dense level's checkpoint, by its file.
fn furthest_checkpoint(runs: &Path) -> u64 {
    let folders = fs::read_dir(runs).into_iter().flatten().flatten();
    let files = folders.flat_map(|it| fs::read_dir(it.path().join("seed-0/progress")));
    let names = files.flatten().flatten().map(|it| it.file_name());
    let step = |name: &str| {
        name.strip_prefix("step-")?
            .strip_suffix(".safetensors")?
            .parse()
            .ok()
    };
    let steps = names.filter_map(|it| step(it.to_str()?));
    steps.max().unwrap_or(0)
}

#[test]
fn kills_and_stops_at_any_moment_cost_no_cell_and_change_no_byte() {
    let kills = asked("ATTACK_KILLS", 3);
    let stops = kills.div_ceil(5);
    let rates = if kills > 20 { 6 } else { 1 };
    let desk = Desk {
        limit: (still() / 2).to_string(),
        ..Desk::new(rates, 40, TWO)
    };
    run(&mut desk.command("one", &[])).expect(0);
    let mut siege = Siege::new(&desk, 3, 7);
    let mut sweeps = 0;
    while siege.kills < kills || siege.stops < stops {
        siege.runs = format!("many-{sweeps}");
        siege.hold(kills, stops);
        // What a claimer left to one that was killed since.
        run(&mut desk.command(&siege.runs, &[])).expect(0);
        desk.assert_same("one", &siege.runs);
        sweeps += 1;
    }
    println!(
        "{} kills and {} stops in {sweeps} sweeps",
        siege.kills, siege.stops
    );
}

#[test]
fn a_crowd_that_is_killed_and_stopped_does_every_cell_and_finishes_no_level_twice() {
    crowd(asked("ATTACK_CROWD", 12), &|_| Vec::new());
}
