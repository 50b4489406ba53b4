//! Whole runs, from the start of a program to its results on disk.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use serde_json::{Value, json};

use super::{Row, WHOLE};
use crate::bench::Bench;
use crate::error::BenchError;
use crate::files;
use crate::measure::{Measured, Side, Whole, in_turn};
use crate::ours::{BATCH, Data};
use crate::peer::python;
use crate::results::Unit;
use crate::settings::Settings;

/// One seed of a larger network, and six seeds of a small one.
pub(super) fn rows() -> Vec<Row> {
    let lenet = Row::new(
        "lrr-lenet",
        WHOLE,
        "LRR of LeNet-300-100 to density 0.01: 22 levels of 2 epochs, tested each epoch",
        Unit::Seconds,
        |bench, row| {
            let (fashion, _) = bench.fashion()?;
            measure(bench, row, &Run::lenet(&fashion), &[WELL])
        },
    );
    let mnist1d = Row::new(
        "lrr-mnist1d-6-seeds",
        WHOLE,
        "LRR of an MLP on MNIST-1D: 6 seeds, 5 levels after the dense one, of 20 epochs",
        Unit::Seconds,
        |bench, row| measure(bench, row, &Run::mnist1d(), &[TUTORIAL, WELL]),
    );
    vec![
        lenet.goals(&[("written well", 2.5)]),
        mnist1d.goals(&[("tutorial", 6.0)]),
    ]
}

/// A side's name and its script.
type Script = (&'static str, &'static str);
const WELL: Script = ("written well", "lrr.py");
const TUTORIAL: Script = ("tutorial", "tutorial.py");

/// What both sides do.
struct Run {
    model: &'static str,
    options: &'static str,
    data: Data,
    shape: Value,
    levels: u64,
    epochs: u64,
    seeds: Vec<u64>,
    tests_epochs: bool,
}

impl Run {
    fn lenet(fashion: &Path) -> Self {
        Self {
            model: "lenet-300-100",
            options: "",
            data: Data::Fashion(fashion.to_owned()),
            shape: json!([1, 28, 28]),
            levels: 21,
            epochs: 2,
            seeds: vec![0],
            tests_epochs: true,
        }
    }

    fn mnist1d() -> Self {
        Self {
            model: "mlp",
            options: "hidden = [128, 128]\nbatch_norm = true\n",
            data: Data::Mnist1d,
            shape: json!([40]),
            levels: 5,
            epochs: 20,
            seeds: (0..6).collect(),
            tests_epochs: false,
        }
    }

    /// The experiment file.
    fn experiment(&self, name: &str) -> String {
        let data = match &self.data {
            Data::Fashion(folder) => format!("name = \"fashion-mnist\"\ndir = {folder:?}"),
            _ => "name = \"mnist1d\"".to_owned(),
        };
        let mut train = String::new();
        if self.tests_epochs {
            train += "evaluate_every = \"1ep\"\n";
        }
        format!(
            "name = \"{name}\"\nseeds = {:?}\n\n[data]\n{data}\n\n\
             [model]\nname = \"{}\"\n{}init = \"kaiming-normal\"\n\n\
             [train]\nepochs = {}\nbatch_size = {BATCH}\n{train}\
             optimizer = {{ name = \"sgd\", lr = 0.05, momentum = 0.9, weight_decay = 5e-4 }}\n\
             schedule = {{ name = \"cosine\", warmup = \"1ep\" }}\n\n\
             [prune]\nlevels = {}\nrate = 0.2\n\n\
             [strategy]\nscore = \"imp/magnitude\"\nmask = \"imp/global\"\n\
             rewind = \"lrr/learning-rate\"\n",
            self.seeds, self.model, self.options, self.epochs, self.levels,
        )
    }

    /// The same for a script, which leaves its results in `out`.
    fn task(&self, out: &Path) -> Value {
        json!({
            "model": self.model, "shape": self.shape, "classes": 10, "data": self.data.for_peer(10),
            "levels": self.levels, "rate": 0.2, "epochs": self.epochs, "batch": BATCH, "lr": 0.05,
            "seeds": self.seeds, "evaluate_epochs": self.tests_epochs, "out": out,
        })
    }
}

fn measure(
    bench: &Bench,
    row: &str,
    run: &Run,
    scripts: &[Script],
) -> Result<Measured, BenchError> {
    let settings = &bench.settings;
    let folder = bench.empty_folder(row)?;
    let file = folder.join("experiment.toml");
    fs::write(&file, run.experiment(row)).map_err(BenchError::file(&file))?;
    let out = folder.join("out");
    let ours = || {
        files::empty(&out)?;
        let mut command = host(settings);
        command
            .args(["run", "--quiet", "--threads"])
            .arg(settings.threads.to_string());
        time(command.arg("--runs").arg(&out).arg(&file))
    };
    let mut sides: Vec<Box<dyn Side>> = vec![Box::new(Whole::new("host", ours))];
    for &(name, script) in scripts {
        let theirs = || {
            files::empty(&out)?;
            time(python(settings, script).arg(run.task(&out).to_string()))
        };
        sides.push(Box::new(Whole::new(name, theirs)));
    }
    in_turn(sides, settings)
}

/// A command of the program, whose user trusts nobody.
pub(super) fn host(settings: &Settings) -> Command {
    let mut command = Command::new(settings.program("host"));
    command.env(
        "REWIND_CONFIG",
        settings.folder().join("no-configuration.toml"),
    );
    command
}

/// Seconds of a command from its start to its end.
pub(super) fn time(command: &mut Command) -> Result<f64, BenchError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let start = Instant::now();
    let output = command
        .output()
        .map_err(|error| BenchError::program(&program, error))?;
    let seconds = start.elapsed().as_secs_f64();
    if output.status.success() {
        return Ok(seconds);
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let last = said
        .trim()
        .lines()
        .last()
        .unwrap_or("it said nothing")
        .to_owned();
    Err(BenchError::program(
        &program,
        format!("{}: {last}", output.status),
    ))
}
