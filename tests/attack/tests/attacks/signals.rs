//! Who asks the program to stop gets it stopped, soon and in order.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use attack::experiments::Experiment;
use attack::process::{Ended, end, run, signal, start};
use attack::program::{only_run, wait_until};
use attack::tree::{differences, leftovers};

/// One at a time: what is measured here is time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Two seconds; more where other programs keep the cores busy.
fn soon() -> Duration {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: f64 = text.split(' ').next().unwrap().parse().unwrap_or(1.0);
    let cores = thread::available_parallelism().map_or(1, usize::from) as f64;
    Duration::from_secs(2).mul_f64((load / cores).max(1.0))
}

#[track_caller]
fn stops(child: Child, name: &str) -> Ended {
    signal(&child, name);
    let ended = end(child, Duration::from_secs(60)).expect(4);
    let limit = soon();
    assert!(ended.took < limit, "{:?}, not {limit:?}", ended.took);
    ended
}

/// Waits until a file of the only run of this name is there.
fn wait_for(child: &mut Child, runs: &Path, file: &str) {
    wait_until(child, file, || {
        let runs = fs::read_dir(runs).into_iter().flatten().flatten();
        runs.map(|run| run.path().join(file)).any(|it| it.exists())
    });
}

fn assert_same(expected: &Path, got: &Path) {
    let differences = differences(expected, got);
    assert!(differences.is_empty(), "{differences:#?}");
    assert_eq!(leftovers(got), Vec::<std::path::PathBuf>::new());
}

/// Long enough to be found at work, with checkpoints so rare that only signals make them.
fn long(name: &'static str) -> Experiment {
    Experiment::new(name, 12)
}

#[test]
fn sigterm_and_ctrl_c_checkpoint_and_leave_within_two_seconds() {
    let _alone = alone();
    for name in ["lrr", "convolution"] {
        let experiment = long(name);
        let folder = tempfile::tempdir().unwrap();
        let [whole, stopped] = ["whole", "stopped"].map(|it| folder.path().join(it));
        run(&mut experiment.rare(&whole)).expect(0);
        for (number, level) in [("TERM", 0), ("INT", 1), ("TERM", 2)] {
            let mut child = start(&mut experiment.rare(&stopped));
            wait_for(
                &mut child,
                &stopped,
                &format!("seed-0/level-{level:02}/start.safetensors"),
            );
            // Into the steps.
            thread::sleep(Duration::from_millis(50));
            stops(child, number);
        }
        run(&mut experiment.rare(&stopped)).expect(0);
        assert_same(&whole, &stopped);
    }
}

#[test]
fn a_signal_for_a_checkpoint_makes_one_and_changes_no_byte() {
    let _alone = alone();
    let experiment = long("drop-and-grow");
    let folder = tempfile::tempdir().unwrap();
    let [whole, asked] = ["whole", "asked"].map(|it| folder.path().join(it));
    run(&mut experiment.rare(&whole)).expect(0);
    let mut child = start(&mut experiment.rare(&asked));
    let checkpoint = |level| {
        let runs = fs::read_dir(&asked).into_iter().flatten().flatten();
        let checkpoints = runs.map(|run| run.path().join("seed-1/progress/checkpoint.json"));
        let read = checkpoints.filter_map(|path| fs::read_to_string(path).ok());
        let parsed = read.filter_map(|text| serde_json::from_str::<serde_json::Value>(&text).ok());
        parsed
            .into_iter()
            .any(|checkpoint| checkpoint["level"] == level)
    };
    wait_for(&mut child, &asked, "seed-1/level-01/start.safetensors");
    assert!(!checkpoint(1));
    thread::sleep(Duration::from_millis(20));
    signal(&child, "USR1");
    wait_until(&mut child, "a checkpoint", || checkpoint(1));
    end(child, Duration::from_secs(60)).expect(0);
    assert_same(&whole, &asked);
}

const HANG: &str = "strategy.score=misbehaving/never-returns";

/// The command with the fixture's component armed.
fn hanging(command: &mut Command) -> &mut Command {
    command.env("MISBEHAVE", "never-returns")
}

#[test]
fn a_plugin_that_does_not_return_keeps_nobody_from_stopping() {
    let _alone = alone();
    let hang = HANG;
    // Between levels, and, since the mask is updated there alone, within one.
    let within = [
        hang,
        "strategy.mask={ use = \"gmp/gradual\", every = \"5it\" }",
        "strategy.rewind=lrr/learning-rate",
    ];
    for set in [&[hang][..], &within] {
        let experiment = Experiment::new("imp", 1).with(set);
        let folder = tempfile::tempdir().unwrap();
        let mut child = start(hanging(&mut experiment.rare(folder.path())));
        wait_for(&mut child, folder.path(), "seed-1/level-00/done.json");
        thread::sleep(Duration::from_millis(500));
        stops(child, "TERM");
        let kept = only_run(folder.path(), "imp").join("seed-0/level-00/done.json");
        assert!(kept.exists());
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
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let experiment = Experiment::new("lrr", 2)
        .with(&LARGE)
        .with(&["train.evaluate_every=\"5ep\"", "model.hidden=[1600, 1600]"]);
    let [whole, stopped] = ["whole", "stopped"].map(|it| folder.path().join(it));
    run(&mut experiment.rare(&whole)).expect(0);
    // After the last record of the level there is nothing but its evaluation.
    let mut child = start(experiment.rare(&stopped).arg("--json"));
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let last = |line: &String| line.contains("\"epoch\":1,") && line.contains("\"seed\":1");
    assert!(lines.by_ref().map_while(Result::ok).any(|line| last(&line)));
    signal(&child, "TERM");
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    end(child, Duration::from_secs(60)).expect(4);
    assert!(
        !rest.iter().any(|line| line.contains("level-done")),
        "{rest:?}"
    );
    let ended = run(experiment.rare(&stopped).arg("--json")).expect(0);
    // Its steps are not made again.
    let first = ended.stdout.lines().next().unwrap().to_owned();
    let value: serde_json::Value = serde_json::from_str(&first).unwrap();
    assert_eq!(value["event"], "level-started");
    assert_eq!(value["step"], value["steps"], "{first}");
    assert_same(&whole, &stopped);
}

#[test]
fn stopped_at_any_time_while_it_evaluates_often_a_run_comes_to_the_same_bytes() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let experiment = Experiment::new("lrr", 2).with(&LARGE);
    let [whole, stopped] = ["whole", "stopped"].map(|it| folder.path().join(it));
    let took = run(&mut experiment.rare(&whole)).expect(0).took;
    for part in [0.05, 0.4, 0.6, 0.5, 0.45, 0.35] {
        let mut child = start(&mut experiment.rare(&stopped));
        thread::sleep(took.mul_f64(part));
        if child.try_wait().unwrap().is_some() {
            break;
        }
        signal(&child, "TERM");
        let ended = end(child, Duration::from_secs(60));
        let code = ended.status.code();
        // Before the program is up, or when it is done, a signal finds nothing to stop.
        assert!(matches!(code, None | Some(0 | 4)), "{ended:?}");
    }
    run(&mut experiment.rare(&stopped)).expect(0);
    assert_same(&whole, &stopped);
}

#[test]
fn a_second_ctrl_c_leaves_at_once() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let experiment = Experiment::new("imp", 1).with(&[HANG]);
    let mut child = start(hanging(&mut experiment.rare(folder.path())));
    wait_for(&mut child, folder.path(), "seed-1/level-00/done.json");
    thread::sleep(Duration::from_millis(500));
    // A call that does not come back is given a second after the first one.
    signal(&child, "INT");
    thread::sleep(Duration::from_millis(200));
    assert!(child.try_wait().unwrap().is_none(), "it has a second");
    let ended = stops(child, "INT");
    assert!(ended.took < soon() / 4, "{:?}", ended.took);
}
