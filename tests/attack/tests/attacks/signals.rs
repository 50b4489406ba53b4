//! Who asks the program to stop gets it stopped, soon and in order.

use std::fs;
use std::path::Path;
use std::process::{Child, Command};
use std::thread;
use std::time::Duration;

use attack::experiments::Experiment;
use attack::faults::raise_before_main;
use attack::hold::Hold;
use attack::patience::wait_until;
use attack::process::{Ended, end, is_pending, run, signal, start};
use attack::program::{host, only_run};
use attack::tree::{differences, leftovers};
use serde_json::Value;

/// What the documentation promises. Only `make attack` holds the program to it: on a machine that does
/// something else, a process that is asked to stop may not even get a processor in that time.
const SOON: Duration = Duration::from_secs(2);

const INT: u32 = 2;
const TERM: u32 = 15;

#[track_caller]
fn stopped(child: Child) -> Ended {
    let ended = end(child).expect(4);
    let is_timed = std::env::var_os("ATTACK_TIMES").is_some();
    assert!(!is_timed || ended.took < SOON, "{:?}", ended.took);
    ended
}

fn assert_same(expected: &Path, got: &Path) {
    let differences = differences(expected, got);
    assert!(differences.is_empty(), "{differences:#?}");
    assert_eq!(leftovers(got), Vec::<std::path::PathBuf>::new());
}

/// What an epoch's event says of level and seed.
fn is_epoch(event: &Value, level: u64, seed: u64) -> bool {
    event["event"] == "epoch" && event["record"]["level"] == level && event["seed"] == seed
}

/// What is under way, as the newest checkpoint of a seed in the only folder that has one says it.
fn checkpoint(runs: &Path, seed: u64) -> Option<Value> {
    let runs = fs::read_dir(runs).into_iter().flatten().flatten();
    let file = format!("seed-{seed}/progress/checkpoint.json");
    let texts = runs.filter_map(|run| fs::read_to_string(run.path().join(&file)).ok());
    texts
        .filter_map(|text| serde_json::from_str(&text).ok())
        .last()
}

#[test]
fn sigterm_and_ctrl_c_within_a_level_checkpoint_after_the_next_step_at_most() {
    for name in ["lrr", "convolution"] {
        let experiment = Experiment::new(name, 2);
        let folder = tempfile::tempdir().unwrap();
        let [whole, stop] = ["whole", "stop"].map(|it| folder.path().join(it));
        run(&mut experiment.rare(&whole)).expect(0);
        for (number, level) in [("TERM", 0), ("INT", 1), ("TERM", 2)] {
            let mut command = experiment.rare(&stop);
            let mut hold = Hold::at_events(&mut command);
            let mut child = command.spawn().unwrap();
            // Its steps are made, and the level is not at its end.
            let what = format!("an epoch of level {level}");
            hold.until(&mut child, &what, |it| {
                it.has(|event| is_epoch(event, level, 0))
            });
            let made = hold
                .events()
                .iter()
                .filter(|it| is_epoch(it, level, 0))
                .count();
            // That of the level before goes when its end is on disk, while this level trains.
            let older = |it: Value| it["level"].as_u64() < Some(level);
            let before = checkpoint(&stop, 0);
            assert_eq!((made, before.is_none_or(older)), (1, true), "{name}");
            signal(&child, number);
            hold.release();
            stopped(child);
            let kept = checkpoint(&stop, 0).unwrap();
            let step = &kept["position"]["step"];
            let epoch = if name == "lrr" { 20 } else { 5 };
            assert_eq!(
                (&kept["level"], step),
                (&level.into(), &epoch.into()),
                "{name}"
            );
        }
        run(&mut experiment.rare(&stop)).expect(0);
        assert_same(&whole, &stop);
    }
}

#[test]
fn a_signal_for_a_checkpoint_makes_one_and_changes_no_byte() {
    let experiment = Experiment::new("drop-and-grow", 2);
    let folder = tempfile::tempdir().unwrap();
    let [whole, asked] = ["whole", "asked"].map(|it| folder.path().join(it));
    run(&mut experiment.rare(&whole)).expect(0);
    let mut command = experiment.rare(&asked);
    let mut hold = Hold::at_events(&mut command);
    let mut child = command.spawn().unwrap();
    let first = |it: &Hold| it.has(|event| is_epoch(event, 1, 1));
    hold.until(&mut child, "an epoch of level 1", first);
    assert_eq!(checkpoint(&asked, 1), None);
    signal(&child, "USR1");
    // Nothing but the signal asks for one, and it is gone when the level is done.
    let both = |it: &Hold| {
        it.events()
            .iter()
            .filter(|event| is_epoch(event, 1, 1))
            .count()
            == 2
    };
    hold.until(&mut child, "the next epoch", both);
    assert_eq!(checkpoint(&asked, 1).unwrap()["level"], 1);
    hold.release();
    end(child).expect(0);
    assert_same(&whole, &asked);
}

/// An experiment whose component does not return.
fn hanging(more: &[&str]) -> Experiment {
    let hang = ["strategy.score=misbehaving/never-returns"];
    Experiment::new("imp", 1).with(&hang).with(more)
}

/// Starts it with the component armed, and waits until it was called.
fn hung(experiment: &Experiment, folder: &Path) -> Child {
    let called = folder.join("called");
    let mut command = experiment.rare(&folder.join("runs"));
    command.env("MISBEHAVE", "never-returns");
    command.env("MISBEHAVE_CALLED", &called);
    let mut child = start(&mut command);
    wait_until(&mut child, "a call of the component", || called.exists());
    child
}

#[test]
fn a_plugin_that_does_not_return_keeps_nobody_from_stopping() {
    // Between levels, and, since the mask is updated there alone, within one.
    let within = [
        "strategy.mask={ use = \"gmp/gradual\", every = \"5it\" }",
        "strategy.rewind=lrr/learning-rate",
    ];
    for set in [&[][..], &within] {
        let folder = tempfile::tempdir().unwrap();
        let child = hung(&hanging(set), folder.path());
        signal(&child, "TERM");
        stopped(child);
        let run = only_run(&folder.path().join("runs"), "imp");
        assert!(run.join("seed-0/level-00/done.json").exists());
    }
}

/// So many weights that steps and evaluations take a while.
const LARGE: [&str; 3] = [
    "model.hidden=[800, 800]",
    "prune.levels=1",
    "train.batch_size=1000",
];

#[test]
fn an_evaluation_is_left_and_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let experiment = Experiment::new("lrr", 2).with(&["train.evaluate_every=\"5ep\""]);
    let [whole, stop] = ["whole", "stop"].map(|it| folder.path().join(it));
    run(&mut experiment.rare(&whole)).expect(0);
    let mut command = experiment.rare(&stop);
    let mut hold = Hold::at_events(&mut command);
    let mut child = command.spawn().unwrap();
    // After the last record of the level there is nothing but its evaluation.
    hold.until(&mut child, "the last record of level 0", |it| {
        it.has(|event| is_epoch(event, 0, 1) && event["record"]["epoch"] == 1)
    });
    signal(&child, "TERM");
    hold.release();
    stopped(child);
    let runs = fs::read_dir(&stop).unwrap().flatten();
    let mut done = runs.map(|run| run.path().join("seed-0/level-00/done.json"));
    assert!(!done.any(|it| it.exists()));
    let ended = run(experiment.rare(&stop).arg("--json")).expect(0);
    // Its steps are not made again.
    let mut lines = ended.stdout.lines();
    assert!(lines.next().unwrap().contains("\"run-started\""));
    let first = lines.next().unwrap().to_owned();
    let value: Value = serde_json::from_str(&first).unwrap();
    assert_eq!(value["event"], "level-started");
    assert_eq!(value["step"], value["steps"], "{first}");
    assert_same(&whole, &stop);
}

#[test]
fn stopped_at_any_time_while_it_evaluates_often_a_run_comes_to_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let experiment = Experiment::new("lrr", 2).with(&LARGE);
    let [whole, stop] = ["whole", "stop"].map(|it| folder.path().join(it));
    let took = run(&mut experiment.rare(&whole)).expect(0).took;
    for part in [0.05, 0.4, 0.6, 0.5, 0.45, 0.35] {
        let mut child = start(&mut experiment.rare(&stop));
        // Any moment will do.
        thread::sleep(took.mul_f64(part));
        if child.try_wait().unwrap().is_some() {
            break;
        }
        signal(&child, "TERM");
        let ended = end(child);
        let code = ended.status.code();
        // Until the dynamic loader is done, a signal does what it does to any program.
        assert!(matches!(code, None | Some(0 | 4)), "{ended:?}");
    }
    run(&mut experiment.rare(&stop)).expect(0);
    assert_same(&whole, &stop);
}

#[test]
fn a_second_ctrl_c_leaves_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Experiment::new("imp", 2).rare(folder.path());
    let mut hold = Hold::at_events(&mut command);
    let mut child = command.spawn().unwrap();
    // Work would be lost, so that the program takes its time; and here it is held, and never goes on.
    hold.until(&mut child, "an epoch", |it| {
        it.has(|event| is_epoch(event, 0, 0))
    });
    signal(&child, "INT");
    let id = child.id();
    wait_until(&mut child, "its handler", || !is_pending(id, INT));
    assert!(
        child.try_wait().unwrap().is_none(),
        "the first one lets it work"
    );
    // The first one's handler may still be at work on another thread: a person presses again, too.
    let mut lives = || {
        signal(&child, "INT");
        thread::sleep(Duration::from_millis(10));
        child.try_wait().unwrap().is_none()
    };
    while lives() {}
    assert_eq!(child.wait().unwrap().code(), Some(4));
}

#[test]
fn a_signal_before_the_program_is_up_ends_it_with_its_exit_code() {
    for number in [INT, TERM] {
        // Tests in the background of a script are started with SIGINT ignored.
        let mut command = Command::new("env");
        // It must not get the signal itself.
        raise_before_main(&mut command, number);
        command
            .env_remove("FAULT_RAISE")
            .args([
                "--default-signal=INT,TERM",
                &format!("FAULT_RAISE={number}"),
            ])
            .arg(host())
            .arg("--version");
        let ended = run(&mut command).expect(4);
        assert_eq!(ended.stdout, "");
        // What its starter ignores stays ignored.
        let mut ignoring = Command::new("sh");
        // The shell must not get the signal itself.
        let script = "trap '' INT TERM; export FAULT_RAISE=$1; exec \"$0\" --version";
        raise_before_main(&mut ignoring, number);
        ignoring.env_remove("FAULT_RAISE");
        ignoring
            .args(["-c", script])
            .arg(host())
            .arg(number.to_string());
        assert!(run(&mut ignoring).expect(0).stdout.starts_with("host "));
    }
}
