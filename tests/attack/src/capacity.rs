//! A sweep on many machines, on paper: how many calls of a shared file server its processes make, by the formulas and
//! by a simulation of every process, so that one is checked by the other.
//!
//! The numbers of calls are those that the program makes (`attacks::capacity` counts them), the times those of the
//! experiment and of the server.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

/// Calls that a process makes of the file server.
#[derive(Clone, Copy, Debug)]
pub struct Calls {
    /// To start and to read what the sweep consists of.
    pub start: f64,
    /// To look at a run that another process has.
    pub look: f64,
    /// To find that a run is done.
    pub done: f64,
    /// To take a run, to begin it and to give it back.
    pub claim: f64,
    /// To write a level.
    pub level: f64,
    /// To say that it is at work.
    pub beat: f64,
}

/// A sweep and what runs it.
#[derive(Clone, Copy, Debug)]
pub struct Sweep {
    /// Processes.
    pub processes: usize,
    /// Runs.
    pub cells: usize,
    /// Levels of a run, without the dense one.
    pub levels: usize,
    /// Seconds of a level.
    pub seconds: f64,
    /// Runs that share a dense level.
    pub shared_by: usize,
    /// Calls that the server answers in a second.
    pub server: f64,
    /// Whether each process has a share of its own, instead of what nobody has.
    pub shares: bool,
}

/// Seconds between two beats.
pub const BEAT: f64 = 5.0;
/// Looks a second at most, and how many runs of others are looked at again, as the program has them.
const FIRST: usize = 64;
const NEAR: usize = 16;
/// Seconds between two looks at a run.
const PAUSE: f64 = 1.0;

/// What a sweep comes to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// Seconds until all is done.
    pub seconds: f64,
    /// Seconds that it would take if the server answered at once and no level were waited for.
    pub ideal: f64,
    /// Calls a second while all processes train.
    pub calls: f64,
    /// Calls in all.
    pub total: f64,
    /// The longest time that a call waited for the server.
    pub wait: f64,
}

/// What the formulas say.
pub fn formulas(sweep: &Sweep, calls: &Calls) -> Outcome {
    let run = sweep.levels as f64 * sweep.seconds;
    let rounds = (sweep.cells as f64 / sweep.processes as f64).ceil();
    let each = calls.beat / BEAT + (calls.level * sweep.levels as f64 + calls.claim) / run;
    let busy = sweep.processes.min(sweep.cells) as f64;
    let dense = (sweep.cells as f64 / sweep.shared_by as f64).ceil();
    let work = sweep.cells as f64 * run + dense * sweep.seconds;
    let ideal = work / busy;
    // Who takes what is left looks once at each run, done or not.
    let seen = match sweep.shares {
        true => 1.0,
        false => sweep.processes as f64,
    };
    let total = sweep.processes as f64 * calls.start
        + seen * sweep.cells as f64 * calls.done
        + sweep.cells as f64 * (calls.claim + calls.level * sweep.levels as f64)
        + dense * calls.level
        + work / BEAT * calls.beat;
    // Who waits for the dense level that it shares with others waits once; the last round waits for its slowest.
    let waited = match sweep.shared_by {
        1 => sweep.seconds * rounds,
        _ => sweep.seconds * (dense / busy).ceil(),
    };
    let start = sweep.processes as f64 * calls.start / sweep.server;
    Outcome {
        seconds: start + rounds * run + waited,
        ideal,
        calls: busy * each,
        total,
        wait: start,
    }
}

/// The most processes that a server carries while all of them train.
pub fn most(sweep: &Sweep, calls: &Calls) -> f64 {
    let run = sweep.levels as f64 * sweep.seconds;
    sweep.server / (calls.beat / BEAT + (calls.level * sweep.levels as f64 + calls.claim) / run)
}

/// A moment of the simulation; only their order counts.
type Moment = Reverse<(u64, usize)>;

/// A server that answers one call after the other.
struct Server {
    rate: f64,
    free: f64,
    total: f64,
    wait: f64,
}

impl Server {
    /// When these calls are answered that are made now.
    fn answer(&mut self, now: f64, calls: f64) -> f64 {
        let begins = self.free.max(now);
        self.wait = self.wait.max(begins - now);
        self.total += calls;
        self.free = begins + calls / self.rate;
        self.free
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Cell {
    Free,
    Taken,
    Done,
}

#[derive(Clone, Copy, PartialEq)]
enum Dense {
    None,
    Made,
    Done,
}

/// What a process does next.
#[derive(Clone, Copy)]
enum Step {
    Start,
    /// It looks for a run, from its own place on; so many were looked at for the first time, of this second.
    Seek,
    /// It begins a level of a run. Level 0 is the dense one.
    Train(usize, usize),
    /// It has trained a level of a run.
    Write(usize, usize),
    /// It was at the last level of a run.
    End(usize),
    Gone,
}

struct Process {
    first: usize,
    /// Runs that it knows to be done, from its first one on in a row.
    passed: usize,
    known: Vec<bool>,
    number: usize,
    idle: usize,
    step: Step,
}

/// What every process does, one call of the server after the other.
pub fn simulate(sweep: &Sweep, calls: &Calls, seed: u64) -> Outcome {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut server = Server {
        rate: sweep.server,
        free: 0.0,
        total: 0.0,
        wait: 0.0,
    };
    let mut cells = vec![Cell::Free; sweep.cells];
    let mut dense = vec![Dense::None; sweep.cells.div_ceil(sweep.shared_by)];
    let mut processes: Vec<Process> = (0..sweep.processes)
        .map(|number| Process {
            first: random.next_u32() as usize % sweep.cells,
            passed: 0,
            known: vec![false; sweep.cells],
            number,
            idle: 0,
            step: Step::Start,
        })
        .collect();
    // Microseconds.
    let at = |seconds: f64| (seconds * 1e6) as u64;
    let mut moments: BinaryHeap<Moment> = (0..sweep.processes)
        .map(|process| Reverse((at(f64::from(random.next_u32() % 1000) / 1000.0), process)))
        .collect();
    let mut end = 0.0_f64;
    while let Some(Reverse((now, number))) = moments.pop() {
        let now = now as f64 / 1e6;
        let process = &mut processes[number];
        let next = match process.step {
            Step::Start => {
                process.step = Step::Seek;
                server.answer(now, calls.start)
            }
            Step::Seek => seek(
                sweep,
                calls,
                (&mut cells, &mut dense),
                process,
                &mut server,
                now,
            ),
            Step::Train(cell, level) => {
                process.step = Step::Write(cell, level);
                now + sweep.seconds
            }
            Step::Write(cell, level) => {
                process.step = match level {
                    _ if level == sweep.levels => Step::End(cell),
                    _ => Step::Train(cell, level + 1),
                };
                if level == 0 {
                    dense[cell / sweep.shared_by] = Dense::Done;
                }
                // With its beats since it began.
                server.answer(now, calls.level + sweep.seconds / BEAT * calls.beat)
            }
            Step::End(cell) => {
                cells[cell] = Cell::Done;
                process.known[cell] = true;
                process.step = Step::Seek;
                end = end.max(now);
                now
            }
            Step::Gone => continue,
        };
        if !matches!(process.step, Step::Gone) {
            moments.push(Reverse((at(next), number)));
        }
    }
    let formula = formulas(sweep, calls);
    Outcome {
        seconds: end,
        ideal: formula.ideal,
        calls: server.total / end,
        total: server.total,
        wait: server.wait,
    }
}

/// Looks for a run as the program does: past what is known to be done, at others' runs a few times, at new ones up to
/// a number a second.
fn seek(
    sweep: &Sweep,
    calls: &Calls,
    (cells, dense): (&mut [Cell], &mut [Dense]),
    process: &mut Process,
    server: &mut Server,
    now: f64,
) -> f64 {
    let (mut made, mut first, mut near, mut waits) = (0.0, 0, 0, false);
    while process.passed < sweep.cells
        && process.known[(process.first + process.passed) % sweep.cells]
        && cells[(process.first + process.passed) % sweep.cells] == Cell::Done
    {
        process.passed += 1;
    }
    for place in process.passed..sweep.cells {
        let cell = (process.first + place) % sweep.cells;
        let is_known = process.known[cell];
        if sweep.shares && cell % sweep.processes != process.number {
            continue;
        }
        match cells[cell] {
            Cell::Done if is_known => continue,
            Cell::Done => {
                made += calls.done;
                process.known[cell] = true;
            }
            Cell::Taken if is_known && near >= NEAR => near += 1,
            Cell::Taken => {
                if !is_known {
                    first += 1;
                }
                if first > FIRST {
                    waits = true;
                    break;
                }
                process.known[cell] = true;
                near += 1;
                made += calls.look;
            }
            Cell::Free if dense[cell / sweep.shared_by] == Dense::Made => waits = true,
            Cell::Free => {
                cells[cell] = Cell::Taken;
                process.idle = 0;
                let level = match dense[cell / sweep.shared_by] {
                    Dense::Done => 1,
                    _ => {
                        dense[cell / sweep.shared_by] = Dense::Made;
                        0
                    }
                };
                process.step = Step::Train(cell, level);
                return server.answer(now, made + calls.claim);
            }
        }
    }
    process.idle += 1;
    // It has seen the others' beats change.
    if !waits && (near == 0 || process.idle as f64 > BEAT / PAUSE + 1.0) {
        process.step = Step::Gone;
    }
    server.answer(now, made).max(now + PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALLS: Calls = Calls {
        start: 50.0,
        look: 5.0,
        done: 2.0,
        claim: 100.0,
        level: 80.0,
        beat: 3.0,
    };

    fn sweep(processes: usize, cells: usize) -> Sweep {
        Sweep {
            processes,
            cells,
            levels: 10,
            seconds: 100.0,
            shared_by: 1,
            server: 1e6,
            shares: false,
        }
    }

    #[test]
    fn a_fast_server_costs_nothing_and_both_agree() {
        for (processes, cells) in [(1, 7), (8, 64), (100, 1000)] {
            let sweep = sweep(processes, cells);
            let (paper, run) = (formulas(&sweep, &CALLS), simulate(&sweep, &CALLS, 1));
            let apart = |a: f64, b: f64| (a - b).abs() / b;
            assert!(
                apart(paper.seconds, run.seconds) < 0.02,
                "{paper:?}\n{run:?}"
            );
            assert!(apart(paper.total, run.total) < 0.2, "{paper:?}\n{run:?}");
        }
    }

    #[test]
    fn a_slow_server_is_the_bottleneck_where_the_formula_says_so() {
        let slow = Sweep {
            server: 100.0,
            ..sweep(1000, 2000)
        };
        assert!(most(&slow, &CALLS) < 200.0);
        let run = simulate(&slow, &CALLS, 1);
        // It answers all calls one after the other, and nothing hides that.
        assert!(run.seconds > run.total / slow.server * 0.95, "{run:?}");
        assert!(run.seconds > 5.0 * run.ideal, "{run:?}");
    }

    #[test]
    fn who_looks_for_what_is_left_looks_at_all_and_who_has_a_share_does_not() {
        let slow = Sweep {
            server: 10_000.0,
            ..sweep(1000, 4000)
        };
        let shares = Sweep {
            shares: true,
            ..slow
        };
        let [left, own] = [slow, shares].map(|it| simulate(&it, &CALLS, 1));
        assert!(
            left.total > own.total + 1000.0 * 4000.0,
            "{left:?}\n{own:?}"
        );
        assert!(own.seconds < 1.1 * own.ideal + 100.0, "{own:?}");
    }

    #[test]
    fn a_dense_level_that_all_share_is_waited_for_once() {
        let shared = Sweep {
            shared_by: 64,
            ..sweep(64, 64)
        };
        let run = simulate(&shared, &CALLS, 1);
        let expected = 11.0 * shared.seconds;
        assert!((run.seconds - expected).abs() < 0.02 * expected, "{run:?}");
    }
}
