//! The index and the server, over sockets, of folders that somebody else may have written.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::records::{Epoch, Summary, SweepCell, SweepPart, SweepRecord, lines};
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
        for (name, bytes) in [
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
        let items = changes.items.iter().map(|it| serde_json::from_str::<Value>(it).unwrap());
        items.into_iter().find(|it| it["kind"] == kind && it["id"] == id)
    }

    fn run(&self, id: &str) -> Value {
        self.item("run", id).unwrap_or_else(|| panic!("no {id}"))
    }

    fn serve(&self) -> (SocketAddr, String) {
        let token = Token::draw().unwrap();
        let word = token.word().to_owned();
        let door = Door::open(IpAddr::V4(Ipv4Addr::LOCALHOST), 0).unwrap();
        let server = Server::new(self.runs.path(), self.board.clone(), token, "node7".to_owned());
        let address = door.address;
        assert_eq!(server.url(&door), format!("http://{address}/#{word}"));
        std::thread::spawn(move || Arc::new(server).serve(door));
        (address, word)
    }
}

/// Status, head and body of the answer to a request.
fn ask(address: SocketAddr, request: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_owned(), body.to_owned())
}

fn get(address: SocketAddr, path: &str, token: &str) -> (u16, Value) {
    let host = format!("Host: {address}\r\nAuthorization: Bearer {token}");
    let (status, head, body) = ask(address, &format!("GET {path} HTTP/1.1\r\n{host}\r\n\r\n"));
    let length = format!("Content-Length: {}\r\n", body.len());
    assert!(head.contains(&length), "{head}");
    assert!(head.contains("Content-Security-Policy: default-src 'none'; script-src 'self';"));
    (status, serde_json::from_str(&body).unwrap_or(Value::Null))
}

#[test]
fn rows_say_how_runs_stand_and_what_their_last_level_came_to() {
    let desk = Desk::new(&[("a", "../a-01234567"), (MARKUP, "../b-01234567")]);
    desk.begin("a-01234567");
    for (seed, accuracy) in [(0, 0.5), (1, 0.75)] {
        for level in 0..3 {
            desk.finish("a-01234567", seed, level, accuracy);
        }
    }
    desk.begin("alone-01234567");
    desk.finish("alone-01234567", 0, 0, 0.25);
    let mut index = desk.index();
    index.round(1);
    let (done, waits, alone) = (desk.run("a-01234567"), desk.run("b-01234567"), desk.run("alone-01234567"));
    assert_eq!((&done["state"], &done["levels_done"], &done["levels"]), (&"done".into(), &6.into(), &6.into()));
    assert_eq!((&done["level"], &done["test_accuracy"]), (&2.into(), &0.625.into()));
    assert_eq!((&done["test_loss"], &done["cells"][0]["method"]), (&Value::Null, &"lrr".into()));
    assert_eq!((&waits["state"], &waits["cells"][0]["cell"]), (&"waiting".into(), &MARKUP.into()));
    assert_eq!((&alone["state"], &alone["level"], &alone["cells"]), (&"stopped".into(), &0.into(), &json!([])));
    let sweep = desk.item("sweep", "sweep").unwrap();
    assert_eq!((&sweep["states"]["done"], &sweep["titles"][0]), (&1.into(), &MARKUP.into()));
    assert!(done["bytes"].as_u64().unwrap() > 0);
    // A round in which nothing happens changes nothing, and one with a new level its run and its sweep alone.
    index.round(2);
    let before = desk.board.changes(0, Duration::ZERO).version;
    index.round(3);
    assert_eq!(desk.board.changes(0, Duration::ZERO).version, before);
    desk.begin("b-01234567");
    desk.finish("b-01234567", 0, 0, 0.1);
    index.round(4);
    let changed = desk.board.changes(before, Duration::ZERO);
    assert_eq!(changed.items.len(), 2, "{changed:?}");
    assert_eq!(desk.run("b-01234567")["state"], "stopped");
}

#[test]
fn what_is_strange_is_a_row_that_says_so_and_stops_nothing() {
    let desk = Desk::new(&[
        ("out", "../../elsewhere"),
        ("absolute", "/etc"),
        ("hidden", "../.removed-a"),
        ("later", "../later-01234567"),
        ("cut", "../cut-01234567"),
        ("gone", "../gone-01234567"),
    ]);
    let text = format!("{EXPERIMENT}\n[future]\nkey = 1\n");
    desk.write("later-01234567/experiment.toml", text.as_bytes());
    desk.finish("later-01234567", 0, 0, 0.5);
    desk.begin("cut-01234567");
    desk.finish("cut-01234567", 0, 0, 0.5);
    desk.write("cut-01234567/seed-0/level-00/summary.json", b"{\"seed\": 0, \"lev");
    desk.begin("gone-01234567");
    desk.finish("gone-01234567", 0, 0, 0.5);
    desk.write("broken/sweep.json", b"{");
    desk.write("notes/read-me.txt", b"no run");
    let mut index = desk.index();
    index.round(1);
    for (cell, run) in [("out", "../../elsewhere"), ("absolute", "/etc"), ("hidden", "../.removed-a")] {
        let row = desk.run(&format!("sweep:{cell}"));
        let note = row["note"].as_str().unwrap();
        assert!(row["state"] == "failed" && note.contains(&format!("its run is {run}, which is no folder")), "{row}");
    }
    let said = |id: &str| desk.run(id)["trouble"].as_str().unwrap_or_default().to_owned();
    assert!(said("later-01234567").contains("experiment.toml is damaged") && said("later-01234567").contains("future"));
    assert!(said("cut-01234567").contains("summary.json is damaged"));
    assert_eq!(desk.run("later-01234567")["level"], 0);
    assert!(desk.item("sweep", "broken").unwrap()["trouble"].as_str().unwrap().contains("sweep.json is damaged"));
    assert!(desk.item("run", "notes").is_none());
    // While it is looked at, a run goes, and so does a sweep.
    fs::remove_dir_all(desk.at("gone-01234567/seed-0")).unwrap();
    fs::remove_dir_all(desk.at("broken")).unwrap();
    index.round(2);
    assert_eq!((&desk.run("gone-01234567")["levels_done"], &desk.run("gone-01234567")["level"]), (&0.into(), &Value::Null));
    fs::remove_dir_all(desk.at("gone-01234567")).unwrap();
    index.round(3);
    assert_eq!(desk.run("gone-01234567")["state"], "waiting");
    assert!(desk.item("sweep", "broken").is_none());
    // What was mended is read.
    desk.finish("cut-01234567", 0, 0, 0.5);
    index.round(4);
    assert_eq!(said("cut-01234567"), "");
    fs::remove_dir_all(desk.runs.path()).unwrap();
    index.round(5);
    let folder = desk.board.changes(0, Duration::ZERO);
    assert!(folder.items[0].contains("No such file"), "{folder:?}");
}

#[test]
fn nothing_is_told_without_the_token_nor_by_another_name_nor_of_another_folder() {
    let desk = Desk::new(&[("a", "../a-01234567")]);
    desk.begin("a-01234567");
    desk.write("secret/key.txt", b"secret");
    desk.index().round(1);
    let (address, token) = desk.serve();
    let run = "/api/run?id=a-01234567";
    assert_eq!(get(address, run, &token).0, 200);
    for wrong in ["", "0", &token[1..], &format!("{token}0"), &token.to_uppercase()] {
        let is_same = *wrong == token;
        assert!(is_same || get(address, run, wrong).0 == 401, "{wrong}");
    }
    let (status, _, _) = ask(address, &format!("GET {run} HTTP/1.1\r\nHost: {address}\r\n\r\n"));
    assert_eq!(status, 401);
    let named = |host: &str, path: &str| {
        let text = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n");
        ask(address, &text).0
    };
    assert_eq!((named("evil.example", run), named("evil.example", "/")), (421, 421));
    assert_eq!((named("localhost", run), named("node7:80", run)), (200, 200));
    for path in [
        "/api/run?id=../a-01234567", "/api/run?id=secret", "/api/logs?id=..%2Fsecret%2Fkey.txt", "/api/run",
        "/api/settings?id=%2Fetc%2Fpasswd", "/api/epochs?id=a-01234567%00", "/api/no", "/..", "/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd", "/a-01234567/experiment.toml", "//etc/passwd", "/page/main.js",
    ] {
        let (status, said) = get(address, path, &token);
        assert!(status == 404 && !said.to_string().contains("secret"), "{path}: {status} {said}");
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let text = format!("{method} {run} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\r\n");
        assert_eq!(ask(address, &text).0, 405);
    }
    assert_eq!(ask(address, "\u{16}\u{3}\u{1}\r\n\r\n").0, 400);
    let (status, head, body) = ask(address, &format!("HEAD / HTTP/1.1\r\nHost: {address}\r\n\r\n"));
    assert!(status == 200 && head.contains("Content-Type: text/html") && body.is_empty());
    assert_eq!(get(address, "/main.js", "").0, 200);
}

#[test]
fn changes_are_sent_as_they_happen() {
    let desk = Desk::new(&[("a", "../a-01234567")]);
    let mut index = desk.index();
    index.round(1);
    let (address, token) = desk.serve();
    let mut stream = TcpStream::connect(address).unwrap();
    let text = format!("GET /api/changes?since=0 HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\r\n");
    stream.write_all(text.as_bytes()).unwrap();
    let mut seen = String::new();
    let mut until = |word: &str| {
        let mut piece = [0; 4096];
        while !seen.contains(word) {
            let count = stream.read(&mut piece).unwrap();
            assert!(count > 0, "{seen}");
            seen += &String::from_utf8_lossy(&piece[..count]);
        }
        std::mem::take(&mut seen)
    };
    let first = until("\"state\":\"waiting\"");
    assert!(first.contains("Content-Type: text/event-stream") && first.contains("\"whole\":true"));
    desk.begin("a-01234567");
    desk.finish("a-01234567", 0, 0, 0.5);
    index.round(2);
    let then = until("\"levels_done\":1");
    assert!(then.contains("\"whole\":false") && then.contains("\"test_accuracy\":0.5"), "{then}");
    // At the end the stream ends.
    desk.board.close();
    assert!(stream.read_to_end(&mut Vec::new()).is_ok());
}

#[test]
fn a_run_that_is_asked_for_tells_its_levels_epochs_settings_and_log() {
    let desk = Desk::new(&[("a b", "../a-01234567")]);
    desk.begin("a-01234567");
    desk.finish("a-01234567", 0, 0, 0.5);
    desk.write("sweep/logs/a-b.log", format!("{}\nthe end {MARKUP}\n", "x".repeat(70_000)).as_bytes());
    desk.index().round(1);
    let (address, token) = desk.serve();
    let ask = |question: &str| get(address, &format!("/api/{question}?id=a-01234567"), &token).1;
    let run = ask("run");
    assert_eq!((&run["seeds"][0]["summaries"][0]["test_accuracy"], &run["seeds"][1]["summaries"]), (&0.5.into(), &json!([])));
    let epochs = ask("epochs");
    assert_eq!(epochs["seeds"][0]["epochs"]["train_loss"], json!([0.5]));
    assert_eq!(epochs["seeds"][1]["epochs"], json!({}));
    let settings = ask("settings");
    assert_eq!((&settings["settings"]["prune.levels"], &settings["settings"]["train.shards"]), (&2.into(), &1.into()));
    assert_eq!(settings["text"], EXPERIMENT);
    let logs = ask("logs");
    let log = &logs["logs"][0];
    assert_eq!((&log["text"], &log["bytes"]), (&format!("the end {MARKUP}\n").into(), &70_037.into()));
}

#[cfg(unix)]
#[test]
fn links_that_lead_out_of_the_folder_are_not_followed() {
    let desk = Desk::new(&[("a", "../a-01234567"), ("b", "../b-01234567")]);
    let outside = tempfile::tempdir().unwrap();
    let secret = outside.path().join("secret");
    fs::write(&secret, "secret").unwrap();
    let link = |to: &Path| {
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(&secret, to).unwrap();
    };
    link(&desk.at("sweep/logs/a.log"));
    link(&desk.at("a-01234567/experiment.toml"));
    // A folder of runs may be a link itself, to where there is room.
    std::os::unix::fs::symlink(outside.path(), desk.at("b-01234567")).unwrap();
    fs::write(outside.path().join("experiment.toml"), EXPERIMENT).unwrap();
    desk.index().round(1);
    let (address, token) = desk.serve();
    let ask = |question: &str, id: &str| get(address, &format!("/api/{question}?id={id}-01234567"), &token).1;
    for (question, place) in [("logs", "/logs/0/trouble"), ("settings", "/trouble")] {
        let said = ask(question, "a");
        let why = said.pointer(place).and_then(Value::as_str).unwrap_or_default();
        assert!(why.contains("leads out of its folder") && !said.to_string().contains("\"secret\""), "{said}");
    }
    assert_eq!(ask("settings", "b")["text"], EXPERIMENT);
}
