//! How the host's costs grow with the network, with seeds side by side, and over many levels.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use host::report::chart::{Axis, LineChart, Point, Series};
use serde_json::{Value, json};

use crate::bench::Bench;
use crate::error::BenchError;
use crate::machine::{Machine, today};
use crate::measure::{Side, in_turn};
use crate::ours::{Data, Stepping, Work};
use crate::results::{Curve, Results};
use crate::settings::root;
use crate::statistics::Quartiles;
use crate::table;

const WIDTHS: [u64; 6] = [64, 128, 256, 512, 1024, 2048];
const LAYERS: [usize; 5] = [1, 2, 4, 8, 16];
const SEEDS: [u64; 7] = [1, 2, 3, 4, 6, 9, 12];
const LEVELS: u64 = 1_000;

/// Measures all of it, and writes tables and pictures.
///
/// # Errors
/// The host's, or those of files.
pub fn run(bench: &mut Bench) -> Result<(), BenchError> {
    let path = bench.settings.results();
    let mut results = Results::read(&path)?;
    results.be_of(Machine::this(&bench.settings, &bench.about));
    let width = |width: u64| (json!([width, width]), 1, format!("two layers of {width}"));
    let depth = |layers: usize| {
        (
            json!(vec![256; layers]),
            1,
            format!("{layers} layers of 256"),
        )
    };
    let seeds = |seeds: u64| (json!([128, 128]), seeds, String::new());
    let by_width = steps(bench, WIDTHS.map(width).into_iter())?;
    let by_depth = steps(bench, LAYERS.map(depth).into_iter())?;
    let by_seeds = steps(bench, SEEDS.map(seeds).into_iter())?;
    let by_weights = |points: &[Timed]| {
        let point = |it: &Timed| (it.weights as f64, it.microseconds, it.word.clone());
        curve(
            "prunable weights",
            "µs a step",
            points.iter().map(point).collect(),
        )
    };
    let one = by_seeds.first().map_or(f64::NAN, |it| it.microseconds);
    let beside = |it: &Timed| {
        let word = format!("{:.2} times one seed", it.microseconds / one);
        (it.seeds as f64, it.microseconds, word)
    };
    results.scaling.clear();
    for (name, curve) in [
        ("Width", by_weights(&by_width)),
        ("Depth", by_weights(&by_depth)),
        (
            "Seeds side by side",
            curve("seeds", "µs a step", by_seeds.iter().map(beside).collect()),
        ),
        ("Memory over levels", curve("level", "MiB", levels(bench)?)),
    ] {
        results.scaling.insert(name.to_owned(), curve);
    }
    results.write(&path)?;
    draw(&results)?;
    table::write(&results, bench.settings.place)
}

/// The time of a step.
struct Timed {
    weights: u64,
    seeds: u64,
    microseconds: f64,
    word: String,
}

/// Times MLPs with these hidden layers and seeds on MNIST-1D.
fn steps(
    bench: &Bench,
    networks: impl Iterator<Item = (Value, u64, String)>,
) -> Result<Vec<Timed>, BenchError> {
    let mut all = Vec::new();
    for (hidden, seeds, word) in networks {
        let mut work = Work::new("mlp", Data::Mnist1d);
        work.options = json!({ "hidden": hidden });
        let trainer = work.trainer()?;
        let masks = trainer.dense_mask();
        let side = Stepping::of_seeds("host", &trainer, &masks, seeds)?;
        let period = side.period() as f64;
        let measured = in_turn(vec![Box::new(side)], &bench.settings)?;
        let rate = Quartiles::of(&measured.series[0].rates).median;
        let images = trainer.data().train.len() as f64 / period * seeds as f64;
        let timed = Timed {
            weights: trainer.layers().iter().map(plugin_api::Layer::len).sum(),
            seeds,
            microseconds: 1e6 * images / rate,
            word,
        };
        eprintln!(
            "{hidden}, {seeds} seeds: {:.0} µs a step",
            timed.microseconds
        );
        all.push(timed);
    }
    Ok(all)
}

/// The size of a run's process at the end of each of many levels.
fn levels(bench: &Bench) -> Result<Vec<(f64, f64, String)>, BenchError> {
    let folder = bench.empty_folder("levels")?;
    let file = folder.join("experiment.toml");
    let text = format!(
        "name = \"levels\"\nseeds = [0]\n\n[data]\nname = \"mnist1d\"\n\n\
         [model]\nname = \"mlp\"\nhidden = [64, 64]\n\n\
         [train]\nepochs = 1\nbatch_size = 4000\noptimizer = {{ name = \"sgd\", lr = 0.05 }}\n\n\
         [prune]\nlevels = {LEVELS}\nrate = 0.004\n\n\
         [strategy]\nscore = \"imp/magnitude\"\nmask = \"imp/global\"\nrewind = \"lrr/learning-rate\"\n"
    );
    fs::write(&file, text).map_err(BenchError::file(&file))?;
    let mut command = Command::new(bench.settings.program("host"));
    command
        .env("REWIND_CONFIG", folder.join("no-configuration.toml"))
        .args(["run", "--json", "--runs"])
        .arg(folder.join("runs"))
        .arg(&file)
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let failed = |reason: String| BenchError::program("host run", reason);
    let mut child = command.spawn().map_err(|error| failed(error.to_string()))?;
    let mut points = Vec::new();
    for line in child
        .stdout
        .take()
        .map(BufReader::new)
        .into_iter()
        .flat_map(BufRead::lines)
    {
        let line = line.map_err(|error| failed(error.to_string()))?;
        let event: Value = serde_json::from_str(&line).unwrap_or_default();
        if event["event"] == "level-done"
            && let Some(level) = event["summary"]["level"].as_f64()
            && let Some(size) = resident(&child)
        {
            points.push((level, size, String::new()));
        }
    }
    let status = child.wait().map_err(|error| failed(error.to_string()))?;
    match status.success() && !points.is_empty() {
        true => Ok(points),
        false => Err(failed(status.to_string())),
    }
}

/// MiB of a process in memory.
fn resident(child: &Child) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib / 1024.0)
}

fn curve(x: &str, y: &str, points: Vec<(f64, f64, String)>) -> Curve {
    Curve {
        x: x.to_owned(),
        y: y.to_owned(),
        date: today(),
        points,
    }
}

fn draw(results: &Results) -> Result<(), BenchError> {
    let series = |rank: usize, name: &str| Series {
        name: name.to_owned(),
        rank,
        points: (results.scaling.get(name).iter())
            .flat_map(|curve| &curve.points)
            .map(|&(x, y, _)| Point {
                x,
                y,
                interval: None,
            })
            .collect(),
        plain: name == LEVELS_CURVE,
        ..Series::default()
    };
    let zero = |label: &str| Axis::linear(label).holding(0.0);
    for (file, title, x, y, series) in [
        (
            "scaling-size",
            "Time of a step, MLPs on MNIST-1D, batch 128",
            Axis::log("prunable weights"),
            Axis::log("µs"),
            vec![series(0, "Width"), series(1, "Depth")],
        ),
        (
            "scaling-seeds",
            "Time of a step of all seeds, MLP 128-128",
            zero("seeds side by side"),
            zero("µs"),
            vec![series(0, "Seeds side by side")],
        ),
        (
            "scaling-levels",
            "Memory of a run's process over its levels",
            zero("level"),
            zero("MiB"),
            vec![series(0, LEVELS_CURVE)],
        ),
    ] {
        let chart = LineChart {
            title: title.to_owned(),
            x,
            y,
            series,
            ..LineChart::default()
        };
        let path = root().join("docs").join(format!("{file}.svg"));
        let svg = chart.svg().map_err(BenchError::ours)?;
        fs::write(&path, svg).map_err(BenchError::file(&path))?;
    }
    Ok(())
}

const LEVELS_CURVE: &str = "Memory over levels";
