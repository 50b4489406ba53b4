//! How many calls of a shared file server a sweep makes, and what that comes to on a thousand machines.

use std::fs;

use attack::capacity::{Calls, Outcome, Sweep, formulas, most, simulate};
use attack::process::run;
use attack::stale::count;

use super::desk::Desk;

/// Calls of one look at a lock that another process has: its folder, whether it was given back, its owner and its beat,
/// each looked at and read.
const LOOK: f64 = 6.0;
/// A beat is opened, written and synced, and the next generation is looked for.
const BEAT_CALLS: f64 = 4.0;

/// Calls that a process makes of a sweep of so many cells with so many levels, which is new or done.
fn made(cells: usize, levels: usize, is_done: bool) -> f64 {
    let desk = Desk {
        // No beat falls into it.
        limit: "100000".to_owned(),
        ..Desk::new(cells, 1, "")
    };
    let levels = format!("prune.levels={levels}");
    // Checkpoints come with the time, not with the levels.
    let more = ["--claim", "--checkpoint-every", "100000", "--set", &levels];
    if is_done {
        run(&mut desk.command("runs", &more)).expect(0);
    }
    let file = desk.runs("calls");
    let mut command = desk.command("runs", &more);
    count(&mut command, &desk.runs("runs"), &file);
    run(&mut command).expect(0);
    fs::read_to_string(file).unwrap().lines().count() as f64
}

/// What the program does.
fn calls() -> Calls {
    let new = [2, 4, 6, 8].map(|levels| made(1, levels, false));
    // Where a point's weights were given anew is looked for in all levels before; that is all that grows, and evenly.
    let [early, middle, late] = [0, 1, 2].map(|at| new[at + 1] - new[at]);
    assert_eq!(late - middle, middle - early, "{new:?}");
    let growth = (middle - early) / 4.0;
    let level = late / 2.0;
    println!("a level: {level} calls, {growth} more than the one before");
    assert!(growth <= 3.0, "{new:?}");
    let done = [1, 3].map(|cells| made(cells, 2, true));
    let each = (done[1] - done[0]) / 2.0;
    let start = done[0] - each;
    Calls {
        start,
        look: LOOK,
        done: each,
        claim: new[0] - start - early,
        level,
        beat: BEAT_CALLS,
    }
}

#[test]
fn what_a_sweep_asks_of_the_file_server_is_as_documented() {
    let calls = calls();
    println!("{calls:?}");
    // What the documentation tells, which a change of what is written may have to change.
    assert!((100.0..400.0).contains(&calls.level), "{calls:?}");
    assert!((50.0..800.0).contains(&calls.claim), "{calls:?}");
    assert!(calls.done < 20.0 && calls.start < 100.0, "{calls:?}");
    println!(
        "processes   runs  shares  level (s)  calls/s  of 10,000/s  most  ideal (s)  paper (s)  simulated (s)  longest wait (s)"
    );
    for (processes, cells, seconds, shared_by, shares) in [
        (100, 1000, 60.0, 1, false),
        (300, 1000, 60.0, 1, false),
        (1000, 1000, 60.0, 1, false),
        (1000, 1000, 60.0, 1, true),
        (1000, 10_000, 60.0, 1, false),
        (1000, 10_000, 60.0, 1, true),
        (1000, 1000, 60.0, 100, true),
        (2000, 2000, 60.0, 1, true),
        (4000, 4000, 60.0, 1, true),
        (1000, 1000, 5.0, 1, true),
    ] {
        let sweep = Sweep {
            processes,
            cells,
            levels: 10,
            seconds,
            shared_by,
            server: 10_000.0,
            shares,
        };
        let (paper, simulated) = (formulas(&sweep, &calls), simulate(&sweep, &calls, 1));
        let Outcome {
            calls: busy, ideal, ..
        } = paper;
        println!(
            "{processes:9}  {cells:5}  {shares:6}  {seconds:9}  {busy:7.0}  {:10.0}%  {:5.0}  {ideal:9.0}  {:9.0}  {:13.0}  {:16.1}",
            busy / sweep.server * 100.0,
            most(&sweep, &calls),
            paper.seconds,
            simulated.seconds,
            simulated.wait,
        );
    }
}
