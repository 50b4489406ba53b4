//! What a run writes.

use plugin_api::Layer;
use serde::Serialize;

use super::exit::Failure;
use crate::experiment::Metric;
use crate::levels::Course;
use crate::optimizer::OPTIMIZERS;
use crate::registry::find;

/// A file of a level.
#[derive(Clone, Debug, Serialize)]
pub struct FileOutline {
    /// Its name.
    pub name: String,
    /// Its length, about.
    pub bytes: u64,
    /// Whether only level 0 has it.
    pub dense_only: bool,
}

/// The files of a level with their lengths: tensors exactly, what is around them about.
///
/// # Errors
/// If the optimizer cannot be made.
pub fn files(course: &Course<'_>, stored: &[u64]) -> Result<Vec<FileOutline>, Failure> {
    let (trainer, optimizer) = (course.trainer, &course.experiment.train.optimizer);
    let wrong =
        |reason: String| Failure::bad_input(format!("optimizer `{}` {reason}", optimizer.name));
    let entry =
        find(OPTIMIZERS, &optimizer.name).ok_or_else(|| wrong("is not known".to_owned()))?;
    let built = (entry.build)(&optimizer.options).map_err(|error| wrong(error.to_string()))?;
    let states = built.state_names().len() as u64;
    let layout = trainer.layout();
    let (tensors, values) = layout.parameters().fold((0, 0), |(n, sum), it| {
        (n + 1, sum + it.shape.iter().product::<i64>() as u64)
    });
    let statistics: u64 = layout.buffers().iter().map(|it| it.features as u64).sum();
    let layers = trainer.layers();
    let prunable: u64 = layers.iter().map(Layer::len).sum();
    let header = |tensors: u64| 40 + 80 * tensors;
    let point = header(tensors + layout.buffers().len() as u64) + 4 * (values + statistics);
    let layer_count = layers.len() as u64;
    let beside = trainer.states_of_weights().count() as u64 - states;
    let state = header(states * tensors + beside * layer_count + 1)
        + 4 * (states * values + beside * prunable)
        + 8;
    let file = |name: &str, bytes| FileOutline {
        name: name.to_owned(),
        bytes,
        dense_only: false,
    };
    let mut files = vec![
        file("start.safetensors", point),
        file("mask.safetensors", header(layer_count) + prunable),
        file("end.safetensors", point),
        file("optimizer.safetensors", state),
        file("metrics.jsonl", 150 * trainer.epochs()),
        file("signs.jsonl", (80 + 18 * layer_count) * trainer.epochs()),
        file("layers.jsonl", 220 * layer_count),
        file("summary.json", 400),
        file("done.json", 800),
    ];
    let metrics = &course.experiment.train.metrics;
    let (counts, confused) = (Metric::PerClass, Metric::Confusion);
    if metrics.contains(&counts) || metrics.contains(&confused) {
        let classes = trainer.data().classes.max(0) as u64;
        let row = if metrics.contains(&confused) {
            3 * classes
        } else {
            0
        };
        files.push(file("classes.jsonl", classes * (100 + row)));
    }
    for step in stored {
        files.push(FileOutline {
            name: format!("the point at step {step}"),
            bytes: point + state,
            dense_only: true,
        });
    }
    Ok(files)
}
