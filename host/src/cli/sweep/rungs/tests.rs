use serde_json::json;

use super::*;
use crate::experiment::{Experiment, Stop, stored};
use crate::store::RunDir;

const LEVELS: u64 = 4;

/// A group of cells with a rung at each of some levels, and a run for each.
struct Desk {
    folder: tempfile::TempDir,
    rungs: Rungs,
}

fn experiment(levels: u64) -> Experiment {
    let text = format!(
        r#"
name = "a"
seeds = [0, 1, 2]
data = {{ name = "mnist1d", validation = 0.1 }}
model.name = "mlp"
train = {{ epochs = 1, batch_size = 100, optimizer = {{ name = "sgd", lr = 0.1 }} }}
prune = {{ levels = {levels}, rate = 0.2 }}
strategy = {{ score = "imp/magnitude", mask = "imp/global", rewind = "imp/weights" }}
"#
    );
    stored(text.as_bytes()).unwrap()
}

impl Desk {
    fn new(cells: &[&str], stop: serde_json::Value, spared: Option<usize>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let stop: Stop = serde_json::from_value(stop).unwrap();
        let experiment = experiment(LEVELS);
        let mut group = Group::new("part", &stop, &BTreeMap::new(), &experiment.seeds);
        let mut jobs = Vec::new();
        for (job, name) in cells.iter().enumerate() {
            let place = group.add(Entrant::new((*name).to_owned(), job, &stop, &experiment));
            jobs.push(Own {
                run: folder.path().join(name),
                last: LEVELS,
                is_free: spared == Some(job),
                cells: vec![(0, place)],
            });
        }
        if let Some(place) = spared {
            group.spare(place);
        }
        let rungs = Rungs {
            sweep: folder.path().join("sweep"),
            groups: vec![group],
            jobs,
            record: StopRecord::default(),
            stopped: BTreeMap::new(),
            known: None,
        };
        Self { folder, rungs }
    }

    /// Another process that looks at the same files.
    fn again(&self, cells: &[&str], stop: serde_json::Value) -> Rungs {
        let mut rungs = Self::new(cells, stop, None).rungs;
        rungs.sweep = self.folder.path().join("sweep");
        for (own, name) in rungs.jobs.iter_mut().zip(cells) {
            own.run = self.folder.path().join(name);
        }
        rungs.look_at_all();
        rungs
    }

    fn finish(&self, cell: &str, level: u64, accuracies: [f64; 3]) {
        for (seed, accuracy) in accuracies.into_iter().enumerate() {
            let folder = RunDir::new(self.folder.path().join(cell))
                .seed(seed as u64)
                .level(level);
            let summary = json!({
                "seed": seed, "level": level, "density": 1.0, "survivors": 1, "weights": 1,
                "test_loss": 0.0, "test_correct": 5, "test_samples": 10, "test_accuracy": 0.5, "validation_accuracy": accuracy,
                "train_loss": 0.0, "flips_init": 0.0, "flips_start": 0.0,
            });
            crate::store::write(&folder.file("summary.json"), summary.to_string().as_bytes())
                .unwrap();
            folder
                .finish(&["summary.json".to_owned()], json!({}))
                .unwrap();
        }
    }

    fn goals(&mut self) -> Vec<u64> {
        self.rungs.look_at_all();
        self.rungs.decide(&|_| false);
        (0..self.rungs.jobs.len())
            .map(|job| self.rungs.goal(job))
            .collect()
    }
}

#[test]
fn nobody_passes_a_rung_before_all_are_there_and_who_is_behind_ends_there() {
    let mut desk = Desk::new(&["a", "b", "c"], json!({ "at": [1, 3] }), None);
    assert_eq!(desk.goals(), [1, 1, 1]);
    desk.finish("a", 1, [0.7, 0.8, 0.9]);
    desk.finish("b", 1, [0.6, 0.7, 0.8]);
    assert_eq!(desk.goals(), [1, 1, 1]);
    assert_eq!(desk.rungs.awaited(), [(2, "c")]);
    desk.finish("c", 1, [0.7, 0.89, 0.8]);
    assert_eq!(desk.goals(), [3, 1, 3]);
    let stopped = desk.rungs.stopped(1).unwrap();
    assert_eq!((stopped.level, stopped.behind.as_str()), (1, "a"));
    assert!((stopped.difference + 0.1).abs() < 1e-9);
    assert!(desk.rungs.stopped(0).is_none() && !desk.rungs.is_there_in_part(1, 1));
    // Of those that are left, the one that is behind now ends; the other has the rest to itself.
    desk.finish("a", 3, [0.5, 0.5, 0.5]);
    desk.finish("c", 3, [0.6, 0.6, 0.61]);
    assert_eq!(desk.goals(), [3, 1, LEVELS]);
    let rungs = &desk.rungs.record.rungs;
    assert_eq!(rungs[1].compared, ["a", "c"]);
    assert_eq!(rungs[1].best.as_deref(), Some("c"));
}

#[test]
fn a_cell_that_others_take_from_is_compared_and_goes_on() {
    let mut desk = Desk::new(&["a", "source"], json!({ "every": 2 }), Some(1));
    assert_eq!(desk.goals(), [2, LEVELS]);
    desk.finish("source", 2, [0.1, 0.1, 0.1]);
    desk.finish("a", 2, [0.7, 0.8, 0.9]);
    assert_eq!(desk.goals(), [LEVELS, LEVELS]);
    assert!(desk.rungs.record.rungs[0].stopped.is_empty());
    desk.finish("source", 2, [0.8, 0.9, 1.0]);
    let mut anew = desk.again(&["a", "source"], json!({ "every": 2 }));
    anew.decide(&|_| false);
    assert!(anew.stopped(0).is_some());
}

#[test]
fn cells_that_are_lost_are_not_waited_for_and_count_once_they_are_there() {
    let cells = ["a", "b", "c"];
    let mut desk = Desk::new(&cells, json!({ "at": [1] }), None);
    desk.finish("a", 1, [0.7, 0.8, 0.9]);
    desk.finish("b", 1, [0.6, 0.7, 0.8]);
    desk.rungs.look_at_all();
    let is_lost = |job| job == 2;
    desk.rungs.decide(&is_lost);
    assert_eq!([0, 1].map(|job| desk.rungs.goal(job)), [LEVELS, 1]);
    assert_eq!(desk.rungs.record.rungs[0].missing, ["c"]);
    desk.rungs.publish(&is_lost).unwrap();
    // A process that has the third to do, and sees that the rung was decided without it, leaves that be until it is there.
    let mut other = desk.again(&cells, json!({ "at": [1] }));
    other.decide(&|_| false);
    assert_eq!(other.goal(0), 1);
    other.publish(&|_| false).unwrap();
    assert_eq!(StopRecord::read(&other.sweep).unwrap(), desk.rungs.record);
    // As it comes, the second is behind it by less than chance: what the files say now holds.
    desk.finish("c", 1, [0.99, 0.71, 0.81]);
    other.look(2);
    other.decide(&|_| false);
    assert_eq!([0, 1, 2].map(|job| other.goal(job)), [LEVELS; 3]);
    other.publish(&|_| false).unwrap();
    // The first one looks again before it writes.
    desk.rungs.known = None;
    desk.rungs.publish(&is_lost).unwrap();
    let written = StopRecord::read(&other.sweep).unwrap();
    assert_eq!(written, other.record);
    assert!(written.cells().is_empty());
}

#[test]
fn a_seed_that_was_given_up_is_left_out_and_a_damaged_summary_is_waited_for() {
    let mut desk = Desk::new(&["a", "b"], json!({ "at": [1] }), None);
    desk.finish("a", 1, [0.7, 0.8, 0.9]);
    desk.finish("b", 1, [0.6, 0.7, 0.8]);
    let seed = RunDir::new(desk.folder.path().join("b")).seed(2);
    crate::store::remove(seed.level(1).path()).unwrap();
    assert_eq!(desk.goals(), [1, 1]);
    crate::store::write(
        &seed.failure(),
        br#"{"seed": 2, "level": 1, "reason": "NaN"}"#,
    )
    .unwrap();
    assert_eq!(desk.goals(), [LEVELS, 1]);
    assert_eq!(desk.rungs.stopped(1).unwrap().seeds, [0, 1]);
    assert!(desk.rungs.is_there_in_part(1, 1) && !desk.rungs.is_there_in_part(0, 1));
    // It went on after all.
    desk.finish("b", 1, [0.6, 0.7, 0.95]);
    crate::store::remove(&seed.failure()).unwrap();
    assert_eq!(desk.goals(), [LEVELS, LEVELS]);
    let summary = desk.folder.path().join("a/seed-0/level-01/summary.json");
    let text = std::fs::read_to_string(&summary).unwrap();
    std::fs::write(&summary, text.replace("0.7", "0.1")).unwrap();
    let mut anew = desk.again(&["a", "b"], json!({ "at": [1] }));
    anew.decide(&|_| false);
    assert_eq!(anew.awaited(), [(0, "a")]);
}

#[test]
fn cells_of_other_densities_are_not_compared() {
    let folder = tempfile::tempdir().unwrap();
    let stop: Stop = serde_json::from_value(json!({ "at": [1] })).unwrap();
    let mut sparser = experiment(LEVELS);
    sparser.prune.rate = 0.5;
    let mut group = Group::new("part", &stop, &BTreeMap::new(), &[0, 1, 2]);
    for (job, experiment) in [experiment(LEVELS), sparser].iter().enumerate() {
        group.add(Entrant::new(job.to_string(), job, &stop, experiment));
    }
    let jobs = (0..2).map(|place| Own {
        run: folder.path().join(place.to_string()),
        last: LEVELS,
        is_free: false,
        cells: vec![(0, place)],
    });
    let rungs = Rungs {
        sweep: folder.path().join("sweep"),
        groups: vec![group],
        jobs: jobs.collect(),
        record: StopRecord::default(),
        stopped: BTreeMap::new(),
        known: None,
    };
    let mut desk = Desk { folder, rungs };
    desk.finish("0", 1, [0.7, 0.8, 0.9]);
    desk.finish("1", 1, [0.1, 0.2, 0.3]);
    assert_eq!(desk.goals(), [LEVELS, LEVELS]);
    assert!(desk.rungs.record.rungs.is_empty());
}
