//! The host as a program, run as a user runs it.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

pub use attack::patience::wait_until;
use attack::tree::files;
use tch::{Kind, Tensor};

use crate::built;

/// The program, built with the shipped plugins and the fixtures beside it.
pub fn host() -> &'static Path {
    static HOST: OnceLock<PathBuf> = OnceLock::new();
    HOST.get_or_init(|| built::own().join(format!("host{}", std::env::consts::EXE_SUFFIX)))
}

/// A command of the program, whose user trusts nobody: a test never meets the configuration of whoever runs
/// it.
pub fn command() -> Command {
    let mut command = Command::new(host());
    command.env("REWIND_CONFIG", built::own().join("no-configuration.toml"));
    command
}

/// A command of the program with one thread, which is quick enough for small networks and leaves
/// the other cores to other tests.
pub fn run(experiment: &str, runs: &Path, more: &[&str]) -> Command {
    let mut command = command();
    command
        .arg("run")
        .arg(
            Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("../../experiments")
                .join(experiment),
        )
        .args(["--threads", "1", "--quiet", "--runs"])
        .arg(runs)
        .args(more)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// What a page of the documentation shows to type, one block after the other, in a folder of the user's own. How the
/// program is got there is left out.
pub fn typed(page: &str, folder: &Path) -> Command {
    let blocks = page.split("```sh\n").skip(1);
    let blocks = blocks.filter_map(|block| block.split("```").next());
    let is_used = |block: &&str| !["make ", "pip "].iter().any(|it| block.starts_with(it));
    let script: String = blocks.filter(is_used).collect();
    let names = ["host", "rewind"].map(|name| format!("{name}() {{ \"$PROGRAM\" \"$@\"; }}\n"));
    let mut command = Command::new("bash");
    command
        .args(["-euc", &format!("{}{script}", names.concat())])
        .env("PROGRAM", host())
        .env("REWIND_CONFIG", folder.join("configuration.toml"))
        .current_dir(folder);
    command
}

/// Runs a command to its end and expects this exit code.
///
/// # Panics
/// With what it said, if it ends otherwise.
pub fn expect(command: &mut Command, code: i32) -> Output {
    let output = command.output().expect("the program starts");
    assert_eq!(
        output.status.code(),
        Some(code),
        "{command:?}\n{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// The only run of this name in a folder of runs.
///
/// # Panics
/// If there is none or more than one.
pub fn only_run(runs: &Path, name: &str) -> PathBuf {
    let own = |path: &PathBuf| {
        let file = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        file.strip_prefix(name)
            .is_some_and(|rest| rest.len() == 9 && rest.starts_with('-'))
    };
    let entries = fs::read_dir(runs).expect("the folder is there");
    let found: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(own)
        .collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].clone()
}

/// Says what a test leaves out, past the capture of its output: whoever reads a pass must know what it is worth.
pub fn leave_out(what: &str) {
    // Where nobody listens nobody is told.
    let _ = writeln!(std::io::stderr(), "{what}");
}

/// BLAKE3 of every file below a folder that nobody writes to now, by relative path; locks are left out.
///
/// # Panics
/// If a file cannot be read.
pub fn digests(folder: &Path) -> BTreeMap<PathBuf, String> {
    let digest = |relative: PathBuf| {
        let bytes = fs::read(folder.join(&relative)).expect("the file is there");
        (relative, blake3::hash(&bytes).to_hex().to_string())
    };
    files(folder).into_iter().map(digest).collect()
}

/// Tensors of a safetensors file, sorted by name.
///
/// # Panics
/// If it cannot be read.
pub fn tensors(path: &Path) -> BTreeMap<String, Tensor> {
    let read = Tensor::read_safetensors(path);
    read.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        .into_iter()
        .collect()
}

/// Elements of a tensor, row-major.
///
/// # Panics
/// If it cannot be read.
pub fn elements(tensor: &Tensor) -> Vec<f32> {
    let flat = tensor.to_kind(Kind::Float).contiguous().flatten(0, -1);
    Vec::try_from(&flat).expect("a flat f32 tensor")
}

/// The number of weights that an experiment with this rate keeps.
pub fn keep(rate: f64, level: u64, total: u64) -> u64 {
    ((1.0 - rate).powi(level as i32) * total as f64).round() as u64
}
