//! Several runs side by side on one GPU.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::whole::{host, time};
use super::{GPU, Row};
use crate::bench::Bench;
use crate::error::BenchError;
use crate::files;
use crate::measure::{Measured, Side, Whole, in_turn};
use crate::peer::python;
use crate::place::Place;
use crate::results::Unit;

const RUNS: usize = 8;

/// How much each run trains.
struct Size {
    samples: i64,
    side: i64,
    epochs: u64,
    batch: u64,
}

/// A sweep's runs, at once and one after the other, beside as many processes of PyTorch.
pub(super) fn rows() -> Vec<Row> {
    let what = "8 runs of ResNet-20 in bf16, 3x32x32, batches of 128, a dense level of 20 epochs and one more, on one GPU at once";
    vec![Row::new("gpu-8-runs", GPU, what, Unit::Seconds, measure)]
}

fn measure(bench: &mut Bench, row: &str) -> Result<Measured, BenchError> {
    let (settings, folder) = (bench.settings.clone(), bench.empty_folder(row)?);
    let size = match settings.place {
        Place::Dry => Size {
            samples: 16,
            side: 8,
            epochs: 1,
            batch: 8,
        },
        _ => Size {
            samples: 12_800,
            side: 32,
            epochs: 20,
            batch: 128,
        },
    };
    let file = write(&folder, &size)?;
    let out = folder.join("out");
    let ours = |jobs: usize| {
        files::empty(&out)?;
        let mut command = host(&settings);
        command.args(["run", "--quiet", "--threads", "1", "--device"]);
        command.arg(settings.place.name());
        if settings.place.device().is_cuda() {
            command.arg("--cuda-graphs");
        }
        command.args(["--jobs", &jobs.to_string()]);
        time(command.arg("--runs").arg(&out).arg(&file))
    };
    let theirs = || {
        files::empty(&out)?;
        time(python(&settings, "lrr.py").arg(task(&size, &settings.place, &out)))
    };
    let mut sides: Vec<Box<dyn Side>> = vec![
        Box::new(Whole::new("host", || ours(RUNS))),
        Box::new(Whole::new("host, one by one", || ours(1))),
    ];
    let mut notes = Vec::new();
    match settings.with_peers {
        true => sides.push(Box::new(Whole::new("written well", theirs))),
        false => notes.push("PyTorch is left out: written well".to_owned()),
    }
    let mut measured = in_turn(sides, &settings)?;
    measured.notes.append(&mut notes);
    Ok(measured)
}

/// A sweep of as many runs, with its images.
fn write(folder: &Path, size: &Size) -> Result<PathBuf, BenchError> {
    let tested = size.samples / 10 + 10;
    let path = files::images(folder, [size.samples, tested], size.side)?;
    // They differ by their rates, so that no two share a dense level.
    let rates: Vec<f64> = (0..RUNS).map(|it| 0.04 + 0.001 * it as f64).collect();
    let text = format!(
        "name = \"abreast\"\nseeds = [0]\n\
         data = {{ name = \"arrays\", train = {path:?}, classes = 10 }}\nmodel = {{ name = \"resnet-20\" }}\n\
         strategy = \"lrr\"\n[train]\nepochs = {}\nbatch_size = {}\nprecision = \"bf16\"\n\
         optimizer = {{ name = \"sgd\", lr = 0.05, momentum = 0.9, weight_decay = 5e-4 }}\n\
         schedule = {{ name = \"cosine\", warmup = \"1ep\" }}\n[prune]\nlevels = 1\nrate = 0.2\n\
         [sweep]\ngrid = {{ \"train.optimizer.lr\" = {rates:?} }}\n",
        size.epochs, size.batch,
    );
    let file = folder.join("abreast.toml");
    fs::write(&file, text).map_err(BenchError::file(&file))?;
    Ok(file)
}

/// The same for PyTorch's script, by seeds.
fn task(size: &Size, place: &Place, out: &Path) -> String {
    let shape = [3, size.side, size.side];
    json!({
        "model": "resnet-20", "shape": shape, "classes": 10,
        "data": {"random": [size.samples, shape], "classes": 10},
        "levels": 1, "rate": 0.2, "epochs": size.epochs, "batch": size.batch, "lr": 0.05,
        "seeds": (0..RUNS).collect::<Vec<_>>(), "apart": true, "evaluate_epochs": false,
        "device": place.name(), "precision": "bf16", "out": out,
    })
    .to_string()
}
