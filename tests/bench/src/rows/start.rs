//! How long the program takes to start.

use std::path::Path;
use std::time::Instant;

use host::strategy::{Loader, Trust};

use super::whole::{host, time};
use super::{FILES, Row};
use crate::bench::Bench;
use crate::error::BenchError;
use crate::measure::{Measured, Side, Whole, in_turn};
use crate::peer::python;
use crate::results::Unit;
use crate::settings::root;

/// The program's start, that of a plan, and that of plugins.
pub(super) fn rows() -> Vec<Row> {
    vec![
        Row::new(
            "start-version",
            FILES,
            "`host --version`, and a Python that imports torch",
            Unit::Seconds,
            |bench, _| version(bench),
        ),
        Row::new(
            "start-plan",
            FILES,
            "`host plan experiments/lrr.toml --no-estimate`",
            Unit::Seconds,
            |bench, _| plan(bench),
        )
        .limit(0.3),
        Row::new(
            "start-plugin",
            FILES,
            "loading a shipped plugin: read, digest, layout check, registration",
            Unit::Seconds,
            |bench, _| plugins(bench),
        ),
    ]
}

fn version(bench: &mut Bench) -> Result<Measured, BenchError> {
    let settings = &bench.settings;
    let ours = || time(host(settings).arg("--version"));
    let theirs = || time(python(settings, "import_torch.py").arg(""));
    let sides: Vec<Box<dyn Side>> = vec![
        Box::new(Whole::new("host", ours)),
        Box::new(Whole::new("import torch", theirs)),
    ];
    in_turn(sides, settings)
}

fn plan(bench: &mut Bench) -> Result<Measured, BenchError> {
    let settings = &bench.settings;
    let file = root().join("experiments/lrr.toml");
    let runs = bench.empty_folder("plan")?;
    let ours = || {
        let mut command = host(settings);
        command.args(["plan", "--no-estimate", "--runs"]).arg(&runs);
        time(command.arg(&file))
    };
    in_turn(vec![Box::new(Whole::new("host", ours))], settings)
}

fn plugins(bench: &mut Bench) -> Result<Measured, BenchError> {
    let settings = &bench.settings;
    let folder = settings.target.join("release/plugins");
    let ours = || {
        let mut command = std::process::Command::new(settings.program("bench"));
        let output = command.args(["--child", "plugins"]).arg(&folder).output();
        let output = output.map_err(|error| BenchError::program("bench --child plugins", error))?;
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let said = || String::from_utf8_lossy(&output.stderr).into_owned();
        text.parse()
            .map_err(|_| BenchError::program("bench --child plugins", said()))
    };
    in_turn(vec![Box::new(Whole::new("host", ours))], settings)
}

/// Loads all plugins of a folder and prints the seconds that one takes in the mean. A process keeps a
/// library for good, so that each measurement needs one of its own.
///
/// # Errors
/// A plugin that cannot be loaded.
pub(super) fn load_plugins(folder: &Path) -> Result<(), BenchError> {
    let folders = vec![folder.to_owned()];
    let mut loader = Loader::new(folders, Vec::new(), None, Trust::Everything);
    let names = loader.names();
    let start = Instant::now();
    for name in &names {
        loader.load(name, None).map_err(BenchError::ours)?;
    }
    println!("{}", start.elapsed().as_secs_f64() / names.len() as f64);
    Ok(())
}
