//! An experiment that is killed again and again, until it has been killed often enough.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

use crate::experiments::Experiment;
use crate::faults::{Call, Fault, When, calls, log, strike};
use crate::patience::wait_until;
use crate::process::{end, run, start};
use crate::tree::{differences, finished_levels, leftovers};

const SIGKILL: i32 = 9;

/// What kills count under in the table.
const COLUMNS: [&str; 6] = [
    "by clock",
    "in a write",
    "at a write",
    "at a rename",
    "at an fsync",
    "elsewhere",
];

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    name: String,
    kills: [usize; COLUMNS.len()],
    levels: BTreeSet<usize>,
    chains: usize,
    /// In what the runs differ from one that was not killed, and what is left over.
    pub wrong: Vec<String>,
}

/// Random numbers.
struct Draw(ChaCha8Rng);

impl Draw {
    /// A number below `n`; the small numbers here are as likely as the others to a part in 10^15.
    fn below(&mut self, n: u64) -> u64 {
        self.0.next_u64() % n
    }
}

/// How many kills an experiment has to stand: `ATTACK_KILLS`, else a few.
pub fn kills() -> usize {
    let asked = std::env::var("ATTACK_KILLS").ok();
    asked.and_then(|text| text.parse().ok()).unwrap_or(2)
}

/// The uninterrupted run that all are compared with.
struct Whole {
    calls: Vec<Call>,
    /// Time until the first file, and until the end.
    first: Duration,
    total: Duration,
}

/// Kills an experiment so often, at moments that follow from `seed`. A run that is done before is
/// compared, and another one is begun.
///
/// # Panics
/// If a run ends otherwise than by being killed or being done.
pub fn attack(experiment: &Experiment, kills: usize, seed: u64) -> Outcome {
    let folder = tempfile::tempdir().expect("temporary folders can be made");
    let whole_runs = folder.path().join("whole");
    let whole = uninterrupted(experiment, &whole_runs, folder.path());
    let mut stream = Draw(ChaCha8Rng::seed_from_u64(seed));
    let mut outcome = Outcome {
        name: experiment.name.to_owned(),
        ..Outcome::default()
    };
    let mut made = 0;
    while made < kills {
        let runs = folder.path().join(format!("chain-{}", outcome.chains));
        outcome.chains += 1;
        while made < kills && outcome.strike(experiment, &runs, &whole, kills, &mut stream) {
            made += 1;
        }
        run(&mut experiment.command(&runs)).expect(0);
        outcome.wrong.extend(differences(&whole_runs, &runs));
        let left = leftovers(&runs).into_iter();
        outcome
            .wrong
            .extend(left.map(|path| format!("{} is left over", path.display())));
        if outcome.wrong.is_empty() {
            let _ = fs::remove_dir_all(&runs);
        }
    }
    outcome
}

fn uninterrupted(experiment: &Experiment, runs: &Path, folder: &Path) -> Whole {
    let mut command = experiment.command(runs);
    let file = folder.join("calls");
    log(&mut command, runs, &file);
    let began = Instant::now();
    let mut child = start(&mut command);
    wait_until(&mut child, "its folder", || runs.exists());
    let first = began.elapsed();
    end(child).expect(0);
    Whole {
        calls: calls(&file),
        first,
        total: began.elapsed(),
    }
}

impl Outcome {
    /// Starts the program and kills it; false if it was done before that.
    fn strike(
        &mut self,
        experiment: &Experiment,
        runs: &Path,
        whole: &Whole,
        kills: usize,
        stream: &mut Draw,
    ) -> bool {
        let report = runs.with_extension("report");
        let _ = fs::remove_file(&report);
        let mut command = experiment.command(runs);
        let by_clock = stream.below(4) == 0;
        let ended = if by_clock {
            let parts = kills as u32 + 1;
            let most = 2 * (whole.total - whole.first.min(whole.total)) / parts;
            let part = stream.below(1001) as f64 / 1000.0;
            let mut child = start(&mut command);
            thread::sleep(whole.first + most.mul_f64(part));
            // It fails if the program is done.
            let _ = child.kill();
            end(child)
        } else {
            let (kinds, when) = pick(stream);
            let count = whole.calls.iter().filter(|call| call.kind == kinds).count();
            let most = (2 * count / (kills + 1)).max(4) as u64;
            let fault = Fault {
                root: runs.to_owned(),
                kinds,
                at: 1 + stream.below(most),
                when,
                action: "kill",
                lasts: false,
            };
            strike(&mut command, &fault, &report);
            end(start(&mut command))
        };
        if ended.status.signal() != Some(SIGKILL) {
            ended.expect(0);
            return false;
        }
        let struck = calls(&report).pop();
        let column = match struck.as_ref().map(|it| (it.kind.as_str(), &it.when[..])) {
            None => 0,
            Some(("write", "half")) => 1,
            Some(("write", _)) => 2,
            Some(("rename", _)) => 3,
            Some(("sync", _)) => 4,
            Some(_) => 5,
        };
        self.kills[column] += 1;
        self.levels.insert(finished_levels(runs));
        true
    }
}

/// A kind of call, and where in it.
fn pick(stream: &mut Draw) -> (&'static str, When) {
    let kind = [
        "write", "write", "write", "rename", "rename", "sync", "sync", "open", "unlink", "mkdir",
        "link",
    ];
    let kind = kind[stream.below(kind.len() as u64) as usize];
    let when = match (kind, stream.below(3)) {
        ("write", 0) => When::Half,
        (_, 0 | 1) => When::Before,
        _ => When::After,
    };
    (kind, when)
}

/// The head of the table of outcomes.
pub fn head() -> String {
    let columns = COLUMNS.map(|name| format!("{name:>11}")).join(" |");
    format!(
        "{:<18} | kills |{columns} | levels      | runs | differences",
        "experiment"
    )
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.kills.map(|count| format!("{count:>11}")).join(" |");
        let levels: Vec<String> = self.levels.iter().map(ToString::to_string).collect();
        write!(
            formatter,
            "{:<18} | {:>5} |{columns} | {:<11} | {:>4} | {:>11}",
            self.name,
            self.kills.iter().sum::<usize>(),
            levels.join(", "),
            self.chains,
            self.wrong.len()
        )
    }
}
