//! The top-level modules of the host import each other in one direction, as ARCHITECTURE.md says: by
//! `host/setup/imports.py`, as `make tidy` runs it.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::Command;

const TOP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Whether the check passes, and what it complains of.
fn check(sources: &Path, architecture: &Path) -> (bool, String) {
    let mut python = Command::new("python3");
    python.current_dir(TOP).arg("host/setup/imports.py");
    let done = python.args([sources, architecture]).output().unwrap();
    let complaint = String::from_utf8(done.stderr).unwrap();
    (done.status.success(), complaint)
}

#[test]
fn the_imports_form_no_ring_and_are_as_architecture_says() {
    let (passes, complaint) = check("host/src".as_ref(), "ARCHITECTURE.md".as_ref());
    assert!(passes, "{complaint}");
}

#[test]
fn the_check_finds_a_ring_and_an_untrue_table() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let sources = folder.path().join("src");
    fs::create_dir(&sources).unwrap();
    write("src/low.rs", "// use crate::high;\n");
    write("src/middle.rs", "use crate::low::Low;\n");
    write("src/high.rs", "use crate::{low, middle::{self, Middle}};\n");
    let table = "| module of `host/src` | does | knows of |\n|---|---|---|\n";
    let table = |high: &str| format!("{table}{high}| `middle`, `low` | | nothing |\n\nMore.\n");
    write("TRUE.md", &table("| `high/` | | `middle` |\n"));
    write("WRONG.md", &table("| `high/` | | `low` |\n"));
    write("SHORT.md", &table(""));
    let check = |name: &str| check(&sources, &folder.path().join(name));
    assert_eq!(check("TRUE.md"), (true, String::new()));
    let wrong = check("WRONG.md");
    assert!(
        !wrong.0 && wrong.1.contains("high: knows of middle"),
        "{wrong:?}"
    );
    let short = check("SHORT.md");
    assert!(
        !short.0 && short.1.contains("`high` is missing"),
        "{short:?}"
    );

    write("src/middle.rs", "use crate::high::High;\n");
    let ring = check("TRUE.md");
    assert!(
        !ring.0 && ring.1.contains("middle imports high in middle.rs"),
        "{ring:?}"
    );
}
