//! The index and the server, over sockets, of folders that somebody else may have written.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

mod answers;
mod rows;

use super::*;
use crate::records::{Epoch, SignRecord, Summary, SweepCell, SweepPart, SweepRecord, lines};
use crate::store::{self, RunDir};

const MARKUP: &str = "<img src=x onerror=alert(1)>";

const EXPERIMENT: &str = r#"
name = "small"
seeds = [0, 1]
[data]
name = "mnist1d"
[model]
name = "mlp"
[train]
epochs = 2
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

/// A folder of runs with what shows it.
struct Desk {
    runs: tempfile::TempDir,
    board: Arc<Board>,
}

impl Desk {
    /// A sweep of these cells, whose runs lie beside it.
    fn new(cells: &[(&str, &str)]) -> Self {
        let runs = tempfile::tempdir().unwrap();
        let cell = |(name, run): &(&str, &str)| SweepCell {
            name: (*name).to_owned(),
            method: "lrr".to_owned(),
            seeds: vec![0, 1],
            run: run.into(),
            ..SweepCell::default()
        };
        let record = SweepRecord {
            name: "sweep".to_owned(),
            parts: vec![SweepPart {
                title: MARKUP.to_owned(),
                cells: cells.iter().map(cell).collect(),
                ..SweepPart::default()
            }],
            ..SweepRecord::default()
        };
        let desk = Self {
            runs,
            board: Arc::default(),
        };
        desk.write("sweep/sweep.json", &record.bytes().unwrap());
        desk
    }

    fn at(&self, file: &str) -> PathBuf {
        self.runs.path().join(file)
    }

    fn write(&self, file: &str, bytes: &[u8]) {
        store::write(&self.at(file), bytes).unwrap();
    }

    fn begin(&self, run: &str) {
        self.write(&format!("{run}/experiment.toml"), EXPERIMENT.as_bytes());
    }

    fn finish(&self, run: &str, seed: u64, level: u64, accuracy: f64) {
        let dir = RunDir::new(self.at(run)).seed(seed).level(level);
        let summary = Summary {
            density: 0.8f64.powi(level as i32),
            test_accuracy: accuracy,
            test_loss: f64::NAN,
            ..Summary::of_layers(seed, level, 100, &[])
        };
        let epoch = Epoch {
            level,
            epoch: 0,
            step: 36,
            lr: 0.1,
            train_loss: 0.5,
            train_accuracy: 0.75,
            test_loss: None,
            test_accuracy: None,
            validation_loss: None,
            validation_accuracy: None,
        };
        let signs = SignRecord {
            level,
            epoch: 0,
            survivors: vec![40, 40],
            crossed_epoch: vec![8, 0],
            crossed_start: vec![8, 8],
        };
        for (name, bytes) in [
            ("signs.jsonl", lines(&[signs]).unwrap()),
            ("summary.json", serde_json::to_vec(&summary).unwrap()),
            ("metrics.jsonl", lines(&[epoch]).unwrap()),
            ("done.json", Vec::new()),
        ] {
            store::write(&dir.file(name), &bytes).unwrap();
        }
    }

    fn index(&self) -> Index<'_> {
        Index::new(self.runs.path(), &self.board)
    }

    /// The items on the board by their names.
    fn item(&self, kind: &str, id: &str) -> Option<Value> {
        let changes = self.board.changes(0, Duration::ZERO);
        let items = changes
            .items
            .iter()
            .map(|it| serde_json::from_str::<Value>(it).unwrap());
        items
            .into_iter()
            .find(|it| it["kind"] == kind && it["id"] == id)
    }

    fn run(&self, id: &str) -> Value {
        self.item("run", id).unwrap_or_else(|| panic!("no {id}"))
    }

    fn serve(&self) -> (SocketAddr, String) {
        let token = Token::draw().unwrap();
        let word = token.word().to_owned();
        let door = Door::open(IpAddr::V4(Ipv4Addr::LOCALHOST), 0).unwrap();
        let server = Server::new(
            self.runs.path(),
            self.board.clone(),
            token,
            "node7".to_owned(),
        );
        let address = door.address;
        assert_eq!(server.url(&door), format!("http://{address}/#{word}"));
        std::thread::spawn(move || Arc::new(server).serve(door));
        (address, word)
    }
}
