//! What lies between two levels of a run.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::whole::host;
use super::{GPU, Row, WHOLE};
use crate::bench::Bench;
use crate::error::BenchError;
use crate::files;
use crate::measure::{Measured, Whole, in_turn};
use crate::place::Place;
use crate::results::Unit;
use crate::settings::Settings;

/// How much each level trains: longer than its files take to be written.
struct Size {
    model: &'static str,
    samples: i64,
    side: i64,
    epochs: u64,
    batch: u64,
}

fn row(name: &str, group: &'static str) -> Row {
    let what = "from a level's last step to the start of the next: test, masks, records, scores, rewinding; LRR of a ResNet-50";
    Row::new(name, group, what, Unit::Seconds, measure)
}

/// On processors.
pub(super) fn rows() -> Vec<Row> {
    vec![row("level-change", WHOLE)]
}

/// On a GPU.
pub(super) fn gpu_rows() -> Vec<Row> {
    vec![row("gpu-level-change", GPU).limit(0.6)]
}

fn measure(bench: &mut Bench, row: &str) -> Result<Measured, BenchError> {
    let (settings, folder) = (bench.settings.clone(), bench.empty_folder(row)?);
    let size = match settings.place {
        Place::Dry => Size {
            model: "resnet-20",
            samples: 16,
            side: 8,
            epochs: 1,
            batch: 8,
        },
        Place::Processors => Size {
            model: "resnet-50",
            samples: 192,
            side: 32,
            epochs: 1,
            batch: 32,
        },
        Place::Gpu(_) => Size {
            model: "resnet-50",
            samples: 4096,
            side: 32,
            epochs: 10,
            batch: 512,
        },
    };
    let file = write(&folder, &size)?;
    let out = folder.join("out");
    let ours = || change(&settings, &file, &out);
    in_turn(vec![Box::new(Whole::new("host", ours))], &settings)
}

/// Seconds of a change in the mean, without that from the dense level, which is written at once: others may wait for it.
fn change(settings: &Settings, file: &Path, out: &Path) -> Result<f64, BenchError> {
    files::empty(out)?;
    let mut command = host(settings);
    command.args(["run", "--json", "--threads", &settings.threads.to_string()]);
    command.args(["--device", &settings.place.name(), "--runs"]);
    command.arg(out).arg(file).stdout(Stdio::piped());
    let mut child = command
        .spawn()
        .map_err(|error| BenchError::program("host run", error))?;
    let stdout = child
        .stdout
        .take()
        .into_iter()
        .flat_map(|it| BufReader::new(it).lines());
    let (mut trained, mut changes) = (None, Vec::<Duration>::new());
    for line in stdout {
        let line = line.map_err(|error| BenchError::program("host run", error))?;
        let now = Instant::now();
        let event: Value = serde_json::from_str(&line).map_err(BenchError::ours)?;
        match event["event"].as_str() {
            Some("epoch") => trained = Some(now),
            Some("level-started") if event["level"].as_u64() > Some(1) => {
                changes.extend(trained.map(|trained| now - trained));
            }
            _ => {}
        }
    }
    let status = child
        .wait()
        .map_err(|error| BenchError::program("host run", error))?;
    if !status.success() || changes.is_empty() {
        return Err(BenchError::program("host run", status));
    }
    Ok(changes.iter().sum::<Duration>().as_secs_f64() / changes.len() as f64)
}

/// A run of three levels after the dense one, with its images.
fn write(folder: &Path, size: &Size) -> Result<PathBuf, BenchError> {
    let path = files::images(folder, [size.samples, 10], size.side)?;
    let stem = if size.model == "resnet-50" {
        ", stem = \"cifar\""
    } else {
        ""
    };
    let text = format!(
        "name = \"change\"\nseeds = [0]\n\
         data = {{ name = \"arrays\", train = {path:?}, classes = 10 }}\nmodel = {{ name = {:?}{stem} }}\n\
         strategy = \"lrr\"\n[train]\nepochs = {}\nbatch_size = {}\n\
         optimizer = {{ name = \"sgd\", lr = 0.05, momentum = 0.9, weight_decay = 5e-4 }}\n\
         schedule = {{ name = \"cosine\" }}\n[prune]\nlevels = 3\nrate = 0.2\n",
        size.model, size.epochs, size.batch,
    );
    let file = folder.join("change.toml");
    fs::write(&file, text).map_err(BenchError::file(&file))?;
    Ok(file)
}
