use std::fs::{self, File};
use std::time::{Duration, SystemTime};

use super::*;
use crate::records::{Behind, Rung, StopRecord, SweepCell, SweepPart, SweepRecord};
use crate::store::{self, RunDir};

const CELL: &str = r#"
name = "small-NAME"
seeds = [0, 1]
[data]
name = "mnist1d"
[model]
name = "mlp"
[train]
epochs = 1
batch_size = 100
optimizer = { name = "sgd", lr = 0.1 }
[prune]
levels = 2
rate = 0.2
[strategy]
score = "imp/magnitude"
mask = "imp/global"
rewind = "lrr/learning-rate"
"#;

struct Desk {
    runs: tempfile::TempDir,
    record: SweepRecord,
}

impl Desk {
    fn new(cells: &[&str]) -> Self {
        let runs = tempfile::tempdir().unwrap();
        let cell = |name: &&str| SweepCell {
            name: (*name).to_owned(),
            seeds: vec![0, 1],
            run: format!("../small-{name}-01234567").into(),
            ..SweepCell::default()
        };
        let record = SweepRecord {
            name: "small".to_owned(),
            parts: vec![SweepPart {
                cells: cells.iter().map(cell).collect(),
                ..SweepPart::default()
            }],
            ..SweepRecord::default()
        };
        let desk = Self { runs, record };
        for name in cells {
            let file = format!("small/cells/small-{name}.toml");
            store::write(&desk.at(&file), CELL.replace("NAME", name).as_bytes()).unwrap();
        }
        desk
    }

    fn at(&self, file: &str) -> PathBuf {
        self.runs.path().join(file)
    }

    fn run(&self, name: &str) -> RunDir {
        RunDir::new(self.at(&format!("small-{name}-01234567")))
    }

    /// Finishes levels of a seed, which took these seconds from this one on.
    fn finish(&self, name: &str, seed: u64, mut at: u64, seconds: &[u64]) {
        for (level, &took) in seconds.iter().enumerate() {
            let level = self.run(name).seed(seed).level(level as u64);
            for (file, time) in [("start.safetensors", at), ("done.json", at + took)] {
                store::write(&level.file(file), b"").unwrap();
                let time = SystemTime::UNIX_EPOCH + Duration::from_secs(time);
                let file = File::options().write(true).open(level.file(file)).unwrap();
                file.set_modified(time).unwrap();
            }
            at += took;
        }
    }

    fn cells(&self) -> Vec<Standing> {
        Look::default().cells(&self.at("small"), &self.record)
    }
}

#[test]
fn a_cell_waits_runs_stops_and_is_done_as_its_files_say() {
    let desk = Desk::new(&["done", "running", "stopped", "failed", "waiting"]);
    for seed in [0, 1] {
        desk.finish("done", seed, 1000, &[9, 10, 20]);
        desk.finish("running", seed, 2000, &[9, 30]);
        desk.finish("failed", seed, 2000, &[9]);
    }
    desk.finish("stopped", 0, 5000, &[9, 7]);
    let failure = r#"{"seed": 1, "level": 1, "reason": "the loss is NaN"}"#;
    store::write(&desk.run("failed").seed(1).failure(), failure.as_bytes()).unwrap();
    let _lock = desk.run("running").lock().unwrap();
    let cells = desk.cells();
    let states: Vec<&str> = cells.iter().map(|it| it.state.word()).collect();
    assert_eq!(states, ["done", "running", "stopped", "failed", "waiting"]);
    let levels: Vec<u64> = cells.iter().map(|it| it.levels_done).collect();
    assert_eq!(levels, [6, 4, 2, 2, 0]);
    assert!(cells.iter().all(|it| it.levels == Some(6)));
    let owner = cells[1].owner.as_ref().unwrap();
    assert_eq!(owner.pid, std::process::id());
    assert!(
        cells[1]
            .note()
            .starts_with(&format!("process {} on ", owner.pid))
    );
    assert_eq!(cells[3].note(), "seed 1 at level 1: the loss is NaN");
}

#[test]
fn a_cell_that_its_sweep_stopped_is_behind_and_has_nothing_left() {
    let desk = Desk::new(&["ends", "goes-on", "given-up"]);
    for seed in [0, 1] {
        desk.finish("ends", seed, 1000, &[9, 10]);
        desk.finish("goes-on", seed, 1000, &[9, 10]);
    }
    desk.finish("given-up", 0, 1000, &[9, 10]);
    let failure = r#"{"seed": 1, "level": 0, "reason": "the loss is NaN"}"#;
    store::write(&desk.run("given-up").seed(1).failure(), failure.as_bytes()).unwrap();
    let behind = |cell: &str| Behind {
        cell: cell.to_owned(),
        difference: -0.1,
        low: -0.11,
        high: -0.09,
        seeds: vec![0, 1],
    };
    let record = StopRecord {
        rungs: vec![Rung {
            part: String::new(),
            within: Default::default(),
            level: 1,
            density: 0.8,
            compared: Vec::new(),
            missing: Vec::new(),
            best: Some("goes-on".to_owned()),
            accuracy: Some(0.9),
            confidence: 0.95,
            stopped: vec![behind("ends"), behind("given-up")],
        }],
    };
    record.write(&desk.at("small")).unwrap();
    let cells = desk.cells();
    let states: Vec<&str> = cells.iter().map(|it| it.state.word()).collect();
    assert_eq!(states, ["behind", "stopped", "behind"]);
    let levels: Vec<_> = cells.iter().map(|it| (it.levels_done, it.levels)).collect();
    assert_eq!(levels, [(4, Some(4)), (4, Some(6)), (2, Some(4))]);
    assert_eq!(cells[0].seconds_left, Some(0.0));
    assert!(
        cells[2]
            .note()
            .starts_with("stopped at level 1: 10.00 points behind goes-on")
    );
    let total = Total::of(&cells);
    assert_eq!((total.states[1], total.levels), (2, 14));
}

#[test]
fn what_is_left_takes_as_long_as_what_was_finished() {
    let desk = Desk::new(&["side", "after", "waiting"]);
    for seed in [0, 1] {
        desk.finish("side", seed, 2000, &[9, 30]);
        // One seed after the other.
        desk.finish("after", seed, 3000 + 500 * seed, &[9, 50]);
    }
    let cells = desk.cells();
    let left: Vec<f64> = cells.iter().map(|it| it.seconds_left.unwrap()).collect();
    // One level of both seeds; one of each; three as the mean of 30 and 100.
    assert_eq!(left, [30.0, 100.0, 195.0]);
}

#[test]
fn a_larger_network_says_nothing_of_a_smaller_one() {
    let desk = Desk::new(&["small", "same", "large"]);
    desk.finish("small", 0, 2000, &[9, 30]);
    desk.finish("small", 1, 2000, &[9, 30]);
    let file = desk.at("small/cells/small-large.toml");
    let text = fs::read_to_string(&file).unwrap();
    let text = text.replace("\"mlp\"", "\"mlp\"\nhidden = [999]");
    store::write(&file, text.as_bytes()).unwrap();
    let cells = desk.cells();
    let left: Vec<Option<f64>> = cells.iter().map(|it| it.seconds_left).collect();
    assert_eq!(left, [Some(30.0), Some(90.0), None]);
    assert_eq!(Total::of(&cells).seconds, None);
}

#[test]
fn a_cell_whose_process_failed_says_what_it_said_last() {
    let desk = Desk::new(&["a"]);
    let log = desk.at("small/logs/a.log");
    store::write(&log, b"{\"error\": \"no room\", \"exit\": 5}\n").unwrap();
    let cells = desk.cells();
    assert_eq!(
        (cells[0].state, cells[0].note()),
        (State::Failed, "no room".to_owned())
    );
}

#[test]
fn a_second_look_finds_what_was_finished_taken_away_and_finished_again() {
    let desk = Desk::new(&["a"]);
    let mut look = Look::default();
    let mut done = || {
        look.cells(&desk.at("small"), &desk.record)[0]
            .finished
            .clone()
    };
    assert_eq!(done(), [0, 0]);
    desk.finish("a", 0, 1000, &[9, 10]);
    assert_eq!(done(), [2, 0]);
    // Nothing changes in the seed's own folder.
    let level = desk.run("a").seed(0).level(2);
    fs::create_dir_all(level.path()).unwrap();
    assert_eq!(done(), [2, 0]);
    store::write(&level.file("done.json"), b"").unwrap();
    desk.finish("a", 1, 2000, &[9]);
    assert_eq!(done(), [3, 1]);
    let seed = desk.run("a").seed(0);
    store::remove(seed.level(1).path()).unwrap();
    // Two changes within a tick of the file system's clock look like one.
    let later = SystemTime::now() + Duration::from_secs(1);
    File::open(seed.path())
        .unwrap()
        .set_modified(later)
        .unwrap();
    assert_eq!(done(), [1, 1]);
    store::remove(desk.run("a").path()).unwrap();
    assert_eq!(done(), [0, 0]);
}
