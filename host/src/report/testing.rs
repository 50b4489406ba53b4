//! Run folders for the tests, made of known numbers.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tch::Tensor;

use super::part::{Cell, Part};
use super::results::Results;
use crate::records::{
    ClassRecord, Epoch, LayerRecord, SignRecord, Stopped, Summary, SweepCell, SweepPart,
    SweepRecord, lines,
};
use crate::store::{self, RunDir, write_tensors};

/// Test accuracy by method, seed and level.
pub const ACCURACIES: [(&str, [&[f64]; 3]); 3] = [
    (
        "lrr",
        [
            &[0.60, 0.70, 0.65],
            &[0.60, 0.72, 0.67],
            &[0.60, 0.74, 0.69],
        ],
    ),
    (
        "imp",
        [
            &[0.60, 0.66, 0.60],
            &[0.60, 0.70, 0.62],
            &[0.60, 0.68, 0.64],
        ],
    ),
    // Two of its seeds stopped after level 0.
    ("half", [&[0.60], &[0.60], &[0.60, 0.61, 0.62]]),
];

const SIZE: u64 = 100;

/// A folder of runs.
pub struct Desk {
    folder: tempfile::TempDir,
}

impl Desk {
    pub fn new() -> Self {
        let desk = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        for (name, seeds) in ACCURACIES {
            desk.write_run(name, &seeds);
        }
        desk
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn results(&self, name: &str) -> Results {
        Results::read(&self.path(name), None)
    }

    /// The part, with the method that did not get far as one that was stopped.
    pub fn part_with_stop(&self) -> Part {
        let mut part = self.part();
        part.cells[2].stopped = Some(Stopped {
            level: 0,
            behind: "lrr".to_owned(),
            difference: -0.2,
            low: -0.3,
            high: -0.1,
            confidence: 0.95,
            seeds: vec![0, 1, 2],
        });
        part
    }

    pub fn part(&self) -> Part {
        let cell = |name: &str| Cell {
            name: name.to_owned(),
            method: name.to_owned(),
            values: Default::default(),
            results: self.results(name),
            stopped: None,
        };
        Part {
            name: "methods".to_owned(),
            title: "Methods".to_owned(),
            cells: ACCURACIES.map(|(name, _)| cell(name)).into(),
            claims: Vec::new(),
            neuron: None,
            ranks: Default::default(),
        }
    }

    /// A sweep of these runs under the names of their methods.
    pub fn write_sweep(
        &self,
        title: &str,
        methods: &[(&str, &str)],
        neuron: Option<&str>,
    ) -> PathBuf {
        let cell = |&(method, run): &(&str, &str)| SweepCell {
            name: method.to_owned(),
            method: method.to_owned(),
            values: Default::default(),
            seeds: vec![0, 1, 2],
            run: Path::new("..").join(run),
        };
        let claim = json!({ "claim": title, "above": methods[0].0, "below": methods[1].0 });
        let record = SweepRecord {
            file: "sweep.toml".into(),
            name: "paper".to_owned(),
            parts: vec![SweepPart {
                name: "methods".to_owned(),
                title: title.to_owned(),
                cells: methods.iter().map(cell).collect(),
                claims: vec![serde_json::from_value(claim).unwrap()],
                neuron: neuron.map(|it| Path::new("..").join(it)),
                stop: None,
            }],
        };
        let folder = self.path("paper");
        crate::store::write(&folder.join("sweep.json"), &record.bytes().unwrap()).unwrap();
        folder
    }

    pub fn write_run(&self, name: &str, seeds: &[&[f64]]) {
        let run = RunDir::new(self.path(name));
        store::write(&run.file("experiment.toml"), experiment(name).as_bytes()).unwrap();
        let identity = json!({
            "identity": "0123456789abcdef", "canonical": { "data_checksum": "abc" },
            "plugins": { "imp": { "version": "1.2.3", "blake3": "ff" } },
        });
        store::write(&run.file("identity.json"), identity.to_string().as_bytes()).unwrap();
        for (seed, accuracies) in seeds.iter().enumerate() {
            for (level, &accuracy) in accuracies.iter().enumerate() {
                self.write_level(&run, seed as u64, level as u64, accuracy);
            }
        }
    }

    fn write_level(&self, run: &RunDir, seed: u64, level: u64, accuracy: f64) {
        let dir = run.seed(seed).level(level);
        let survivors = [100, 80, 64][level as usize];
        let density = survivors as f64 / SIZE as f64;
        let measured = run.name() == "lrr";
        let summary = Summary {
            effective_survivors: None,
            effective_density: None,
            seed,
            level,
            weights: SIZE,
            survivors,
            density,
            train_loss: 0.5,
            test_loss: 0.75,
            test_correct: (1000.0 * accuracy) as u64,
            test_samples: 1000,
            test_accuracy: accuracy,
            validation_loss: None,
            validation_correct: None,
            validation_samples: None,
            validation_accuracy: None,
            flips_init: 0.1 + 0.01 * seed as f64,
            flips_start: 0.05,
            flips_previous: (level > 0).then_some(0.02),
            // One of the methods asks for metrics.
            test_nll: measured.then_some(2.0 - accuracy),
            test_ece: measured.then_some(0.05),
            ..Summary::of_layers(seed, level, SIZE, &[])
        };
        let class = |class: u64, right: u64| ClassRecord {
            level,
            class,
            test_samples: 500,
            test_correct: Some(right),
            test_accuracy: Some(right as f64 / 500.0),
            predicted: Some(match class {
                0 => vec![right, 500 - right],
                _ => vec![500 - right, right],
            }),
        };
        let layer = |layer: &str, survivors| LayerRecord {
            effective: None,
            level,
            layer: layer.to_owned(),
            size: SIZE / 2,
            survivors,
            density: survivors as f64 / (SIZE / 2) as f64,
            flips_init: 5,
            flips_start: 2,
            flips_previous: None,
            norm: 1.0,
        };
        let layers = [
            layer("fc1.weight", survivors - SIZE / 2),
            layer("fc2.weight", SIZE / 2),
        ];
        let epochs: Vec<Epoch> = (0..3u64)
            .map(|epoch| Epoch {
                level,
                epoch,
                step: 10 * (epoch + 1),
                lr: 0.1,
                train_loss: 1.0,
                train_accuracy: 0.5,
                test_loss: Some(1.0),
                test_accuracy: Some(accuracy - 0.1 * (2 - epoch) as f64),
                validation_loss: None,
                validation_accuracy: None,
            })
            .collect();
        let files = [
            ("summary.json", lines(&[summary]).unwrap()),
            ("layers.jsonl", lines(&layers).unwrap()),
            ("metrics.jsonl", lines(&epochs).unwrap()),
        ];
        for (file, bytes) in files {
            store::write(&dir.file(file), &bytes).unwrap();
        }
        if measured {
            let classes = [class(0, 400), class(1, 250 + seed)];
            let bytes = lines(&classes).unwrap();
            store::write(&dir.file("classes.jsonl"), &bytes).unwrap();
            let signs: Vec<SignRecord> = (0..3u64)
                .map(|epoch| SignRecord {
                    level,
                    epoch,
                    survivors: vec![survivors - SIZE / 2, SIZE / 2],
                    crossed_epoch: vec![3 - epoch, level],
                    crossed_start: vec![3, level + seed],
                })
                .collect();
            store::write(&dir.file("signs.jsonl"), &lines(&signs).unwrap()).unwrap();
        }
        // Each seed loses other weights, one after another.
        let kept: Vec<u8> = (0..SIZE)
            .map(|at| u8::from((at + 10 * seed) % SIZE < survivors))
            .collect();
        let mask = vec![("fc.weight".to_owned(), Tensor::from_slice(&kept))];
        write_tensors(&dir.file("mask.safetensors"), &mask).unwrap();
        dir.finish(&[], Value::Null).unwrap();
    }
}

fn experiment(name: &str) -> String {
    format!(
        r#"name = "{name}"
seeds = [0, 1, 2]
data = {{ name = "mnist1d" }}
model = {{ name = "mlp", hidden = [4] }}
prune = {{ levels = 2, rate = 0.2 }}
[train]
epochs = 3
batch_size = 10
optimizer = {{ name = "sgd", lr = 0.1 }}
[strategy]
score = {{ use = "imp/magnitude" }}
mask = {{ use = "imp/global" }}
"#
    )
}
