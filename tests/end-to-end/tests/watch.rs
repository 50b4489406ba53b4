//! The page of `host watch`, in a browser where there is one, and what the command refuses.

use std::fs;
use std::path::Path;
use std::process::Command;

use end_to_end::program::{self, expect};

const BROWSER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../browser");

/// Why the page cannot be opened here, if it cannot.
fn lacks() -> Option<&'static str> {
    let probe =
        "import sys, chromium; sys.exit(sys.version_info < (3, 10) or chromium.find() is None)";
    let mut python = Command::new("python3");
    python.args(["-c", probe]).current_dir(BROWSER);
    match python.env("PYTHONDONTWRITEBYTECODE", "1").status() {
        Ok(status) if status.success() => None,
        Ok(_) => Some(
            "there is no Chromium (apt install chromium, or name one in CHROMIUM) or no Python 3.10",
        ),
        Err(_) => Some("there is no python3"),
    }
}

#[test]
fn a_browser_shows_a_sweep_as_it_goes_on_and_its_report() {
    if let Some(reason) = lacks() {
        program::leave_out(&format!(
            "the page of `watch` and a report are not opened in a browser: {reason}; `make browser` does it"
        ));
        return;
    }
    for file in ["watch.py", "report.py"] {
        let output = Command::new("python3")
            .arg(Path::new(BROWSER).join(file))
            .arg(program::host())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        assert!(said.contains("Ran 2 tests"), "{said}");
    }
}

#[test]
fn what_is_no_folder_of_runs_is_refused_before_anything_listens() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |line: &[&str]| {
        let mut command = program::command();
        command.current_dir(folder.path()).arg("watch").args(line);
        String::from_utf8(expect(&mut command, 2).stderr).unwrap()
    };
    let missing = refused(&[]);
    assert!(
        missing.contains("failed to read the folder of runs runs: No such file"),
        "{missing}"
    );
    fs::create_dir_all(folder.path().join("runs/paper")).unwrap();
    fs::write(folder.path().join("runs/paper/sweep.json"), "{}").unwrap();
    let sweep = refused(&["runs/paper"]);
    assert!(
        sweep.contains("runs/paper is a sweep or a run: name the folder that it lies in"),
        "{sweep}"
    );
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let port = refused(&["runs", "--port", &port.to_string()]);
    assert!(
        port.contains("is taken: name another one with --port"),
        "{port}"
    );
    let address = refused(&["runs", "--bind", "192.0.2.1"]);
    assert!(
        address.contains("name an address of this machine with --bind"),
        "{address}"
    );
}
