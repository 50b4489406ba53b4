//! What the server tells whom.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use serde_json::{Value, json};

use super::{Desk, EXPERIMENT, MARKUP};

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
fn nothing_is_told_without_the_token_nor_by_another_name_nor_of_another_folder() {
    let desk = Desk::new(&[("a", "../a-01234567")]);
    desk.begin("a-01234567");
    desk.write("secret/key.txt", b"secret");
    desk.index().round(1);
    let (address, token) = desk.serve();
    let run = "/api/run?id=a-01234567";
    assert_eq!(get(address, run, &token).0, 200);
    for wrong in [
        "",
        "0",
        &token[1..],
        &format!("{token}0"),
        &token.to_uppercase(),
    ] {
        let is_same = *wrong == token;
        assert!(is_same || get(address, run, wrong).0 == 401, "{wrong}");
    }
    let (status, _, _) = ask(
        address,
        &format!("GET {run} HTTP/1.1\r\nHost: {address}\r\n\r\n"),
    );
    assert_eq!(status, 401);
    let named = |host: &str, path: &str| {
        let text =
            format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n");
        ask(address, &text).0
    };
    assert_eq!(
        (named("evil.example", run), named("evil.example", "/")),
        (421, 421)
    );
    assert_eq!(
        (named("localhost", run), named("node7:80", run)),
        (200, 200)
    );
    for path in [
        "/api/run?id=../a-01234567",
        "/api/run?id=secret",
        "/api/logs?id=..%2Fsecret%2Fkey.txt",
        "/api/run",
        "/api/settings?id=%2Fetc%2Fpasswd",
        "/api/epochs?id=a-01234567%00",
        "/api/no",
        "/..",
        "/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/a-01234567/experiment.toml",
        "//etc/passwd",
        "/page/main.js",
    ] {
        let (status, said) = get(address, path, &token);
        assert!(
            status == 404 && !said.to_string().contains("secret"),
            "{path}: {status} {said}"
        );
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let text = format!(
            "{method} {run} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\r\n"
        );
        assert_eq!(ask(address, &text).0, 405);
    }
    assert_eq!(ask(address, "\u{16}\u{3}\u{1}\r\n\r\n").0, 400);
    let (status, head, body) = ask(
        address,
        &format!("HEAD / HTTP/1.1\r\nHost: {address}\r\n\r\n"),
    );
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
    let text = format!(
        "GET /api/changes?since=0 HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
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
    assert!(
        then.contains("\"whole\":false") && then.contains("\"test_accuracy\":0.5"),
        "{then}"
    );
    // At the end the stream ends.
    desk.board.close();
    assert!(stream.read_to_end(&mut Vec::new()).is_ok());
}

#[test]
fn a_run_that_is_asked_for_tells_its_levels_epochs_settings_and_log() {
    let desk = Desk::new(&[("a b", "../a-01234567")]);
    desk.begin("a-01234567");
    desk.finish("a-01234567", 0, 0, 0.5);
    desk.write(
        "sweep/logs/a-b.log",
        format!("{}\nthe end {MARKUP}\n", "x".repeat(70_000)).as_bytes(),
    );
    desk.index().round(1);
    let (address, token) = desk.serve();
    let ask = |question: &str| get(address, &format!("/api/{question}?id=a-01234567"), &token).1;
    let run = ask("run");
    assert_eq!(
        (
            &run["seeds"][0]["summaries"][0]["test_accuracy"],
            &run["seeds"][1]["summaries"]
        ),
        (&0.5.into(), &json!([]))
    );
    let epochs = ask("epochs");
    assert_eq!(epochs["seeds"][0]["epochs"]["train_loss"], json!([0.5]));
    assert_eq!(epochs["seeds"][0]["epochs"]["crossed_epoch"], json!([0.1]));
    assert_eq!(epochs["seeds"][0]["epochs"]["crossed_start"], json!([0.2]));
    assert_eq!(epochs["seeds"][1]["epochs"], json!({}));
    let settings = ask("settings");
    assert_eq!(
        (
            &settings["settings"]["prune.levels"],
            &settings["settings"]["train.shards"]
        ),
        (&2.into(), &1.into())
    );
    assert_eq!(settings["text"], EXPERIMENT);
    let logs = ask("logs");
    let log = &logs["logs"][0];
    assert_eq!(
        (&log["text"], &log["bytes"]),
        (&format!("the end {MARKUP}\n").into(), &70_038.into())
    );
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
    let ask = |question: &str, id: &str| {
        get(
            address,
            &format!("/api/{question}?id={id}-01234567"),
            &token,
        )
        .1
    };
    for (question, place) in [("logs", "/logs/0/trouble"), ("settings", "/trouble")] {
        let said = ask(question, "a");
        let why = said
            .pointer(place)
            .and_then(Value::as_str)
            .unwrap_or_default();
        assert!(
            why.contains("leads out of its folder") && !said.to_string().contains("\"secret\""),
            "{said}"
        );
    }
    assert_eq!(ask("settings", "b")["text"], EXPERIMENT);
}
