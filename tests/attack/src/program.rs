//! The program that is attacked.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// What the experiments use; the fixture is `drop-and-grow`, `misbehaving` does not return.
const PACKAGES: [&str; 10] = [
    "program",
    "imp",
    "lrr",
    "random-mask",
    "sign-perturbation",
    "gmp",
    "aws",
    "sign-in",
    "drop-and-grow",
    "misbehaving",
];

/// The program, with its plugins beside it: that of `ATTACK_PROGRAM`, else the one that cargo builds in
/// the profile of this test.
///
/// # Panics
/// With cargo's output, if it fails.
pub fn host() -> &'static Path {
    static HOST: OnceLock<PathBuf> = OnceLock::new();
    HOST.get_or_init(|| env::var_os("ATTACK_PROGRAM").map_or_else(build, PathBuf::from))
}

fn build() -> PathBuf {
    let test = env::current_exe().expect("the system knows what it runs");
    // The test is `target/release/deps/name-hash`.
    let folder = test.ancestors().nth(2).expect("tests are in deps/");
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") => "dev",
        Some(name) => name,
        None => "release",
    };
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into()));
    cargo
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
        .args(["build", "--quiet", "--profile", profile, "--target-dir"])
        .arg(folder.parent().expect("profiles are in a target folder"));
    for package in PACKAGES {
        cargo.args(["--package", package]);
    }
    // What cargo tells this test of its own package would make build scripts run anew.
    let of_the_test = |name: &str| {
        name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") || name == "OUT_DIR"
    };
    for (name, _) in env::vars().filter(|(name, _)| of_the_test(name)) {
        cargo.env_remove(name);
    }
    let built = cargo.output().expect("cargo runs, it runs this test");
    assert!(
        built.status.success(),
        "cargo failed to build the program:\n{}",
        String::from_utf8_lossy(&built.stderr)
    );
    folder.join("host")
}

/// A command that runs a shipped experiment, or a file of one's own, with one thread.
pub fn run(experiment: &str, runs: &Path, more: &[&str]) -> Command {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments");
    let mut command = Command::new(host());
    command.arg("run").arg(shipped.join(experiment));
    command.args(["--threads", "1", "--quiet", "--runs"]);
    command.arg(runs).args(more);
    command
}

/// The only run of this name in a folder of runs.
///
/// # Panics
/// If there is none or more than one.
pub fn only_run(runs: &Path, name: &str) -> PathBuf {
    let own = |path: &PathBuf| {
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        file.strip_prefix(name)
            .is_some_and(|rest| rest.len() == 9 && rest.starts_with('-'))
    };
    let entries = fs::read_dir(runs).expect("the folder is there").flatten();
    let found: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(own).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].clone()
}
