//! The largest size of a process that trains.

use std::fs;
use std::process::Command;

use super::{MEMORY, Row};
use crate::bench::Bench;
use crate::error::BenchError;
use crate::measure::{Measured, Side, Whole, in_turn};
use crate::ours::{Data, Stepping, Work, random_masks};
use crate::peer::python;
use crate::results::Unit;
use crate::settings::Settings;

/// Sizes hardly differ from one process to the next.
const ROUNDS: usize = 3;

/// Two networks.
pub(super) fn rows() -> Vec<Row> {
    let row = |name, model: &'static str, steps: u64| {
        let what = format!(
            "process that trains {model} on 12,800 images of 3x32x32, {steps} steps: the host keeps images as bytes"
        );
        let measure = move |bench: &mut Bench, _: &str| measure(bench, model, steps);
        Row::new(name, MEMORY, what, Unit::Mebibytes, measure)
    };
    vec![
        row("memory-resnet20", "resnet-20", 20),
        row("memory-resnet18", "resnet-18", 5),
    ]
}

fn work(model: &str) -> Work {
    let model = if model == "resnet-18" {
        "resnet-18"
    } else {
        "resnet-20"
    };
    Work::new(model, Data::Random(12_800, [3, 32, 32]))
}

fn measure(bench: &mut Bench, model: &'static str, steps: u64) -> Result<Measured, BenchError> {
    let settings = Settings {
        rounds: bench.settings.rounds.min(ROUNDS),
        ..bench.settings.clone()
    };
    let work = work(model);
    let task = work.for_peer(&work.trainer()?).to_string();
    let steps = steps.to_string();
    let ours = || {
        let mut command = Command::new(settings.program("bench"));
        size(command.args(["--child", "memory", model, &steps]))
    };
    let mut sides: Vec<Box<dyn Side>> = vec![Box::new(Whole::new("host", ours))];
    for name in ["eager", "eager-cl"] {
        let theirs = || {
            let mut command = python(&settings, "peer.py");
            size(command.args(["--memory", name, &task, &steps]))
        };
        sides.push(Box::new(Whole::new(name, theirs)));
    }
    in_turn(sides, &settings)
}

/// MiB, of a command that prints KiB.
fn size(command: &mut Command) -> Result<f64, BenchError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .map_err(|error| BenchError::program(&program, error))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let said = || String::from_utf8_lossy(&output.stderr).into_owned();
    let kib: f64 = (text.trim().parse()).map_err(|_| BenchError::program(&program, said()))?;
    Ok(kib / 1024.0)
}

/// Trains so many steps and prints the largest size of the process in KiB.
///
/// # Errors
/// The host's.
pub(super) fn child(model: &str, steps: &str) -> Result<(), BenchError> {
    let trainer = work(model).trainer()?;
    let masks = random_masks(trainer.layers(), 0.5)?;
    let steps = steps.parse().map_err(BenchError::ours)?;
    Stepping::new("host", &trainer, &masks)?.measure(steps)?;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    match line.and_then(|line| line.split_whitespace().next()) {
        Some(kib) => println!("{kib}"),
        None => return Err(BenchError::Ours("the system does not say VmHWM".to_owned())),
    }
    Ok(())
}
