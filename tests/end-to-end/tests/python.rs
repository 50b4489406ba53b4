//! The Python package reads, runs and compares what this program makes.

use std::path::Path;
use std::process::Command;

use end_to_end::built;
use end_to_end::program;

const PACKAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../host/python");

/// `python3`, or what `$PYTHON` names, if it is 3.10 or newer and has NumPy; else why not.
pub(crate) fn python() -> Result<String, String> {
    python_with("sys, numpy", "is older than 3.10 or has no NumPy")
}

/// The same without NumPy.
pub(crate) fn plain_python() -> Result<String, String> {
    python_with("sys", "is older than 3.10")
}

fn python_with(modules: &str, lacks: &str) -> Result<String, String> {
    let name = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let probe = format!("import {modules}; sys.exit(sys.version_info < (3, 10))");
    match Command::new(&name).args(["-c", &probe]).output() {
        Ok(output) if output.status.success() => Ok(name),
        Ok(_) => Err(format!("{name} {lacks}")),
        Err(error) => Err(format!("{name} cannot be started: {error}")),
    }
}

#[test]
fn the_python_package_keeps_its_tests() {
    let python = match python() {
        Ok(python) => python,
        Err(reason) => {
            program::leave_out(&format!(
                "the tests of the Python package are left out: {reason}; `make python PYTHON=...` runs them"
            ));
            return;
        }
    };
    let output = Command::new(&python)
        .args(["-m", "unittest", "discover", "-t", ".", "-s", "tests"])
        .current_dir(PACKAGE)
        .env("REWIND", program::host())
        .env("REWIND_CONFIG", built::own().join("no-configuration.toml"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    // It ends with a line such as `Ran 70 tests in 20.1s`.
    let ran = said.lines().rev().find_map(|it| it.strip_prefix("Ran "));
    let count: usize = (ran.and_then(|it| it.split(' ').next()))
        .and_then(|it| it.parse().ok())
        .unwrap();
    assert!(count > 30, "{said}");
}

#[test]
fn every_version_that_names_pytorch_names_the_same() {
    let read =
        |path: &str| std::fs::read_to_string(Path::new(PACKAGE).join("../..").join(path)).unwrap();
    let quoted = |path: &str, name: &str| {
        let text = read(path);
        let line = text.lines().find_map(|it| it.strip_prefix(name));
        let value = line.unwrap_or_else(|| panic!("{path} has no {name}"));
        value.split('"').nth(1).unwrap().to_owned()
    };
    let libtorch = quoted("host/setup/libtorch.py", "VERSION = ");
    let minor = libtorch.rsplit_once('.').unwrap().0;
    assert_eq!(
        quoted("host/python/rewind/libtorch.py", "VERSION = "),
        minor
    );
    assert_eq!(quoted("host/setup/wheel.py", "TORCH = "), minor);
    assert_eq!(
        quoted("host/python/rewind/__init__.py", "__version__ = "),
        env!("CARGO_PKG_VERSION")
    );
}
