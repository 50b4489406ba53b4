//! What the index makes of folders.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Desk, EXPERIMENT, MARKUP};

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
    let (done, waits, alone) = (
        desk.run("a-01234567"),
        desk.run("b-01234567"),
        desk.run("alone-01234567"),
    );
    assert_eq!(
        (&done["state"], &done["levels_done"], &done["levels"]),
        (&"done".into(), &6.into(), &6.into())
    );
    assert_eq!(
        (&done["level"], &done["test_accuracy"]),
        (&2.into(), &0.625.into())
    );
    assert_eq!(
        (&done["test_loss"], &done["cells"][0]["method"]),
        (&Value::Null, &"lrr".into())
    );
    assert_eq!(
        (&waits["state"], &waits["cells"][0]["cell"]),
        (&"waiting".into(), &MARKUP.into())
    );
    assert_eq!(
        (&alone["state"], &alone["level"], &alone["cells"]),
        (&"stopped".into(), &0.into(), &json!([]))
    );
    let sweep = desk.item("sweep", "sweep").unwrap();
    assert_eq!(
        (&sweep["states"]["done"], &sweep["titles"][0]),
        (&1.into(), &MARKUP.into())
    );
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
    desk.write(
        "cut-01234567/seed-0/level-00/summary.json",
        b"{\"seed\": 0, \"lev",
    );
    desk.begin("gone-01234567");
    desk.finish("gone-01234567", 0, 0, 0.5);
    desk.write("broken/sweep.json", b"{");
    desk.write("notes/read-me.txt", b"no run");
    let mut index = desk.index();
    index.round(1);
    for (cell, run) in [
        ("out", "../../elsewhere"),
        ("absolute", "/etc"),
        ("hidden", "../.removed-a"),
    ] {
        let row = desk.run(&format!("sweep:{cell}"));
        let note = row["note"].as_str().unwrap();
        assert!(
            row["state"] == "failed"
                && note.contains(&format!("its run is {run}, which is no folder")),
            "{row}"
        );
    }
    let said = |id: &str| {
        desk.run(id)["trouble"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    assert!(
        said("later-01234567").contains("experiment.toml is damaged")
            && said("later-01234567").contains("future")
    );
    assert!(said("cut-01234567").contains("summary.json is damaged"));
    assert_eq!(desk.run("later-01234567")["level"], 0);
    assert!(
        desk.item("sweep", "broken").unwrap()["trouble"]
            .as_str()
            .unwrap()
            .contains("sweep.json is damaged")
    );
    assert!(desk.item("run", "notes").is_none());
    // While it is looked at, a run goes, and so does a sweep.
    fs::remove_dir_all(desk.at("gone-01234567/seed-0")).unwrap();
    fs::remove_dir_all(desk.at("broken")).unwrap();
    index.round(2);
    assert_eq!(
        (
            &desk.run("gone-01234567")["levels_done"],
            &desk.run("gone-01234567")["level"]
        ),
        (&0.into(), &Value::Null)
    );
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
