//! One process at a time on one run, whatever became of the last one, and whatever the clock says.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command};
use std::thread;

use attack::experiments::Experiment;
use attack::faults::shift_clock;
use attack::hold::Hold;
use attack::patience::wait_until;
use attack::process::{end, run, signal, start};
use attack::program::{host, only_run};
use attack::tree::differences;

/// So long that it is never at its end while a test looks at it.
fn endless() -> Experiment {
    Experiment::new("lrr", 1_000_000)
}

fn loud(experiment: &Experiment, runs: &Path) -> Command {
    let mut command = experiment.rare(runs);
    let kept: Vec<_> = command
        .get_args()
        .filter(|it| *it != "--quiet")
        .map(ToOwned::to_owned)
        .collect();
    command = Command::new(host());
    command.args(kept);
    command
}

/// Waits until a file of a run is there.
fn wait_for(child: &mut Child, runs: &Path, file: &str) {
    wait_until(child, file, || {
        let runs = fs::read_dir(runs).into_iter().flatten().flatten();
        runs.map(|run| run.path().join(file)).any(|it| it.exists())
    });
}

/// What the last of a lock's generations says of who made it.
fn owner(lock: &Path) -> String {
    let generations = fs::read_dir(lock).into_iter().flatten().flatten();
    let is_made = |it: &fs::DirEntry| it.file_name().to_string_lossy().parse::<u64>().is_ok();
    let last = generations.filter(is_made).map(|it| it.path()).max();
    let text = last.map(|it| fs::read_to_string(it.join("owner.json")));
    text.and_then(Result::ok).unwrap_or_default()
}

#[test]
fn a_lock_left_by_a_dead_process_is_taken_over_with_a_note() {
    let runs = tempfile::tempdir().unwrap();
    let mut child = start(&mut endless().rare(runs.path()));
    wait_for(&mut child, runs.path(), "experiment.toml");
    signal(&child, "KILL");
    let dead = child.id();
    end(child);
    let mut next = start(&mut loud(&endless(), runs.path()));
    let own = format!("\"pid\":{},", next.id());
    let lock = only_run(runs.path(), "lrr").join("lock");
    wait_until(&mut next, "its lock", || owner(&lock).contains(&own));
    signal(&next, "TERM");
    let said = end(next).expect(4).stderr;
    let note = format!("took over the lock of process {dead} on ");
    assert!(said.contains(&note), "{said}");
}

#[test]
fn a_process_that_is_stopped_in_its_tracks_still_holds_its_run() {
    let runs = tempfile::tempdir().unwrap();
    let mut first = start(&mut endless().rare(runs.path()));
    wait_for(&mut first, runs.path(), "experiment.toml");
    signal(&first, "STOP");
    // It is told at once, and does not wait for what will never happen.
    let said = run(&mut endless().rare(runs.path())).expect(5).stderr;
    let holder = format!("is in use by process {} on ", first.id());
    assert!(said.contains(&holder), "{said}");
    signal(&first, "KILL");
    end(first);
}

#[test]
fn a_run_waits_for_another_that_trains_its_dense_level_and_can_be_stopped_meanwhile() {
    let runs = tempfile::tempdir().unwrap();
    let short = |name: &'static str| Experiment::new(name, 3);
    let mut command = short("lrr").rare(runs.path());
    let mut hold = Hold::at_events(&mut command);
    let mut first = command.spawn().unwrap();
    hold.until(&mut first, "level 0", |it| {
        it.has(|event| event["event"] == "level-started" && event["seed"] == 1)
    });
    let mut hold = Some(hold);
    let note = format!("waits for process {} on ", first.id());
    for stop in [true, false] {
        let mut second = start(&mut loud(&short("imp"), runs.path()));
        let mut lines = BufReader::new(second.stderr.take().unwrap()).lines();
        let is_told = lines
            .by_ref()
            .map_while(Result::ok)
            .any(|line| line.contains(&note));
        assert!(is_told, "it does not say that it {note}");
        if stop {
            signal(&second, "TERM");
        } else {
            hold.take().unwrap().release();
        }
        // What else it says must not fill the pipe.
        let rest = thread::spawn(move || lines.map_while(Result::ok).count());
        end(second).expect(if stop { 4 } else { 0 });
        rest.join().unwrap();
    }
    end(first).expect(0);
    let level = |name| only_run(runs.path(), name).join("seed-0/level-00");
    assert!(differences(&level("lrr"), &level("imp")).is_empty());
}

#[test]
fn a_clock_that_is_set_back_between_stop_and_start_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let experiment = Experiment::new("drop-and-grow", 3);
    let [whole, shifted] = ["whole", "shifted"].map(|it| folder.path().join(it));
    run(&mut experiment.rare(&whole)).expect(0);
    let year = 365 * 24 * 3600;
    for (level, shift) in [(0, 0), (1, -10 * year), (2, 5 * year)] {
        let mut command = experiment.rare(&shifted);
        command.args(["--checkpoint-every", "1"]);
        shift_clock(&mut command, shift);
        let mut hold = Hold::at_events(&mut command);
        let mut child = command.spawn().unwrap();
        hold.until(&mut child, &format!("level {level}"), |it| {
            it.has(|event| event["event"] == "epoch" && event["record"]["level"] == level)
        });
        signal(&child, "TERM");
        hold.release();
        end(child).expect(4);
    }
    let mut command = experiment.rare(&shifted);
    shift_clock(&mut command, -year);
    run(&mut command).expect(0);
    let different = differences(&whole, &shifted);
    assert!(different.is_empty(), "{different:#?}");
}

#[test]
fn a_clock_shift_reaches_the_program() {
    // What the test above shifts is what a program sees.
    let folder = tempfile::tempdir().unwrap();
    let mut date = Command::new("date");
    date.arg("+%Y").current_dir(folder.path());
    let now: i64 = run(&mut date).expect(0).stdout.trim().parse().unwrap();
    shift_clock(&mut date, -10 * 365 * 24 * 3600 - 10 * 24 * 3600);
    let then: i64 = run(&mut date).expect(0).stdout.trim().parse().unwrap();
    assert!(now - then == 10 || now - then == 11, "{now}, {then}");
}
