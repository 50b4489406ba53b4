//! Sweeps of small networks, and what their processes say.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use attack::program::host;
use attack::tree::{differences, leftovers};
use serde_json::Value;

/// A number of the long form, from the environment, or that of the short one.
pub fn asked(variable: &str, short: usize) -> usize {
    let asked = std::env::var(variable).ok();
    asked.and_then(|text| text.parse().ok()).unwrap_or(short)
}

/// A sweep of small networks with so many seeds on a grid of learning rates.
pub struct Desk {
    /// Where all of it lies.
    pub folder: tempfile::TempDir,
    /// Its file.
    pub file: PathBuf,
    /// Seconds without a beat after which a process counts as dead.
    pub limit: String,
}

impl Desk {
    /// One of so many rates.
    pub fn new(rates: usize, epochs: usize, methods: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("small.toml");
        let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments/imp.toml");
        let rates: Vec<String> = (1..=rates).map(|it| format!("0.{it:04}")).collect();
        let text = format!(
            "base = {base:?}\nname = \"small\"\nseeds = [0]\n\
             [model]\nhidden = [8]\n[train]\nepochs = {epochs}\nbatch_size = 1000\n[prune]\nlevels = 2\n\
             {methods}[sweep.grid]\ntrain.optimizer.lr = [{}]\n",
            rates.join(", ")
        );
        fs::write(&file, text).unwrap();
        Self {
            folder,
            file,
            limit: "60".to_owned(),
        }
    }

    /// The folder of runs of this name.
    pub fn runs(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs the sweep there.
    pub fn command(&self, runs: &str, more: &[&str]) -> Command {
        let mut command = Command::new(host());
        command.arg("run").arg(&self.file);
        command.args(["--json", "--jobs", "1", "--runs"]);
        command.arg(self.runs(runs)).args(more);
        command.env("HOST_CLAIM_LIMIT", &self.limit);
        command
    }

    /// Fails unless two folders of runs have the same bytes but for what processes told people.
    #[track_caller]
    pub fn assert_same(&self, expected: &str, got: &str) {
        let mut different = differences(&self.runs(expected), &self.runs(got));
        let of_results = |it: &String| {
            !["small/logs/", "small/submitted/"]
                .iter()
                .any(|own| it.starts_with(own))
        };
        different.retain(of_results);
        assert!(different.is_empty(), "{different:#?}");
        assert_eq!(leftovers(&self.runs(got)), Vec::<PathBuf>::new());
    }
}

/// Two methods.
pub const TWO: &str =
    "[sweep.methods.imp]\n[sweep.methods.lrr]\nstrategy.rewind = \"lrr/learning-rate\"\n";

/// What a process said.
pub fn events(stdout: &str) -> Vec<Value> {
    let lines = stdout.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// How often each level of each cell was begun.
pub fn begun(outputs: &[String]) -> BTreeMap<String, usize> {
    let mut begun = BTreeMap::new();
    for event in outputs.iter().flat_map(|it| events(it)) {
        if event["event"] == "level-started" {
            let name = format!("{} {} {}", event["cell"], event["seed"], event["level"]);
            *begun.entry(name).or_insert(0) += 1;
        }
    }
    begun
}

/// How the cells stand, as a process said at its end.
pub fn states(stdout: &str) -> BTreeMap<String, String> {
    let last = events(stdout).pop().unwrap();
    let cells = last["cells"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    cells
        .map(|cell| (text(&cell["cell"]), text(&cell["state"])))
        .collect()
}
