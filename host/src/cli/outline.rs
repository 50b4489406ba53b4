//! What a run would do, as data.

use plugin_api::{Cadence, Distribution, Layer, Measure};
use serde::Serialize;
use serde_json::Value;

use super::disk::{FileOutline, files};
use super::estimate::Estimate;
use super::exit::{Exit, Failure};
use crate::data::Split;
use crate::experiment::Part;
use crate::levels::{Course, Length, Seed};
use crate::run::{OpenError, Read};
use crate::samples::{InputType, Task};
use crate::strategy::distribution::spread;
use crate::strategy::{Plugin, Strategy};

/// What a run would do.
#[derive(Clone, Debug, Serialize)]
pub struct Outline {
    /// Name in the experiment file.
    pub name: String,
    /// The run's folder; its end is not known while the data are missing.
    pub run: Option<String>,
    /// The folder of the dense level; not known while the data are missing.
    pub dense: Option<String>,
    /// Whether the run has started.
    pub started: bool,
    /// The data.
    pub data: DataOutline,
    /// The network's name.
    pub model: String,
    /// Number of its parameters.
    pub parameters: u64,
    /// Number of its prunable weights.
    pub prunable: u64,
    /// Its prunable layers.
    pub layers: Vec<LayerOutline>,
    /// The strategy's components.
    pub strategy: Vec<String>,
    /// Epochs of the dense level, and of others unless they end earlier.
    pub epochs: u64,
    /// Steps of an epoch.
    pub steps_per_epoch: u64,
    /// Steps of the dense level, and of others unless they end earlier.
    pub steps_per_level: u64,
    /// Steps of all levels of a seed.
    pub steps_per_seed: u64,
    /// Whether all seeds train at the same time.
    pub side_by_side: bool,
    /// The seeds and where they stand.
    pub seeds: Vec<SeedOutline>,
    /// The levels.
    pub levels: Vec<LevelOutline>,
    /// What is written for a level of a seed.
    pub files: Vec<FileOutline>,
    /// Bytes on disk of the whole run, about.
    pub bytes: u64,
    /// How long it will take.
    pub estimate: Option<Estimate>,
}

/// The data.
#[derive(Clone, Debug, Serialize)]
pub struct DataOutline {
    /// Name.
    pub name: String,
    /// Whether they are here.
    pub here: bool,
    /// Shape of one input.
    pub shape: Vec<i64>,
    /// What an input is made of.
    #[serde(skip_serializing_if = "is_usual")]
    pub input_type: InputType,
    /// What is to be learnt.
    pub task: Task,
    /// Number of classes.
    pub classes: i64,
    /// What the classes are called, by their number, unless they are numbered in the data.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub class_names: Vec<String>,
    /// Shape of the targets of one sample, unless there is one each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub target_shape: Vec<i64>,
    /// Samples to train on.
    pub train: i64,
    /// Samples that are held out to choose by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation: Option<i64>,
    /// Samples to evaluate on.
    pub test: i64,
}

/// A prunable layer.
#[derive(Clone, Debug, Serialize)]
pub struct LayerOutline {
    /// PyTorch's name of the weight.
    pub name: String,
    /// What it computes.
    pub kind: plugin_api::LayerKind,
    /// PyTorch's shape.
    pub shape: Vec<i64>,
    /// Number of weights.
    pub weights: u64,
}

/// Where a seed stands.
#[derive(Clone, Debug, Serialize)]
pub struct SeedOutline {
    /// Its number.
    pub seed: u64,
    /// Levels that are done.
    pub levels_done: u64,
    /// Step of the next level that its checkpoint holds.
    pub step: u64,
    /// Whether level 0 is taken from an experiment with the same dense training.
    pub dense_shared: bool,
}

/// A level.
#[derive(Clone, Debug, Serialize)]
pub struct LevelOutline {
    /// Its number; 0 is dense.
    pub level: u64,
    /// Its steps.
    pub steps: u64,
    /// Share of the prunable weights that it keeps.
    pub density: f64,
    /// Number of weights that it keeps; of masks of whole units, what it keeps at most of what these count.
    pub keep: u64,
    /// What is counted, where that is not weights to the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub whole_units: Option<WholeUnits>,
    /// The same for each layer, where that does not depend on scores.
    pub keep_per_layer: Option<Vec<u64>>,
}

/// What masks of whole units count.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct WholeUnits {
    /// Weights, units or multiply-adds.
    pub measure: Measure,
    /// All of them.
    pub total: u64,
}

/// Whether inputs are numbers, as they usually are.
fn is_usual(input_type: &InputType) -> bool {
    *input_type == InputType::Numbers
}

impl Outline {
    /// The outline of a run of this experiment; `here` says whether the data are more than a
    /// stand-in, and only then the folders in `course` are the run's.
    ///
    /// # Errors
    /// If a component fails, or asks for what the run will not have.
    pub fn new(read: &Read, course: &Course<'_>, here: bool) -> Result<Self, Failure> {
        let (experiment, trainer) = (course.experiment, course.trainer);
        let data = trainer.data();
        let layers = trainer.layers();
        let prunable = layers.iter().map(Layer::len).sum();
        let count = experiment.last_level() + 1;
        let first = (read.seeds.first())
            .ok_or_else(|| Failure::bad_input("the experiment has no seed".to_owned()))?;
        let failed = |error: crate::levels::RunError| {
            let plugin = error.is_plugin_failure();
            Failure::new(if plugin { Exit::Plugin } else { Exit::BadInput }, error)
        };
        let stored = course.stored_steps(first).map_err(failed)?;
        let files = files(course, &stored)?;
        let level_bytes = |dense: bool| -> u64 {
            let own = files.iter().filter(|file| dense || !file.dense_only);
            own.map(|file| file.bytes).sum()
        };
        let seed_bytes = level_bytes(true) + (count - 1) * level_bytes(false);
        let seeds: Result<Vec<_>, _> = (read.seeds.iter())
            .map(|seed| place(course, seed, here))
            .collect();
        let lengths = read.lengths(course).map_err(OpenError::Make)?;
        let strategy = &experiment.strategy;
        let parts = [&strategy.score, &strategy.mask]
            .into_iter()
            .chain(&strategy.rewind)
            .chain(&strategy.update);
        let path = |run: &crate::store::RunDir| here.then(|| run.path().display().to_string());
        Ok(Self {
            name: experiment.name.clone(),
            run: path(&course.run),
            dense: path(&course.dense),
            started: here && course.run.path().exists(),
            data: DataOutline {
                name: data.name.clone(),
                here,
                shape: data.input_shape.clone(),
                input_type: data.input_type,
                task: data.task,
                classes: data.classes,
                class_names: data.class_names.clone(),
                target_shape: data.target_shape.clone(),
                train: data.train.len(),
                validation: data.validation.as_ref().map(Split::len),
                test: data.test.len(),
            },
            model: experiment.model.name.clone(),
            parameters: (trainer.layout().parameters())
                .map(|it| it.shape.iter().product::<i64>() as u64)
                .sum(),
            prunable,
            layers: layers.iter().map(outline).collect(),
            strategy: parts.map(describe).collect(),
            epochs: trainer.epochs(),
            steps_per_epoch: trainer.steps_per_epoch(),
            steps_per_level: trainer.steps_per_level(),
            steps_per_seed: lengths.iter().map(|it| it.steps).sum(),
            side_by_side: trainer.lanes(),
            bytes: seed_bytes * read.seeds.len() as u64,
            seeds: seeds.map_err(failed)?,
            levels: counts(read, first.strategy.cadence(), layers, course, &lengths),
            files,
            estimate: None,
        })
    }

    /// Steps to do one after the other until all seeds are done.
    pub fn steps_left(&self) -> u64 {
        let left = self.seeds.iter().map(|seed| {
            let done = seed.levels_done.max(u64::from(seed.dense_shared));
            let to_do = self.levels.iter().filter(|it| it.level >= done);
            let steps: u64 = to_do.map(|it| it.steps).sum();
            steps.saturating_sub(seed.step)
        });
        match self.side_by_side {
            true => left.max().unwrap_or(0),
            false => left.sum(),
        }
    }
}

fn outline(layer: &Layer) -> LayerOutline {
    LayerOutline {
        name: layer.name.clone(),
        kind: layer.kind,
        shape: layer.shape.clone(),
        weights: layer.len(),
    }
}

/// A part of the strategy as the file writes it.
fn describe(part: &Part) -> String {
    let options = part.options.iter();
    let options: Vec<String> = options
        .map(|(key, value)| format!("{key} = {value}"))
        .collect();
    match options.as_slice() {
        [] => part.component.clone(),
        options => format!("{} ({})", part.component, options.join(", ")),
    }
}

fn place(
    course: &Course<'_>,
    seed: &Seed,
    here: bool,
) -> Result<SeedOutline, crate::levels::RunError> {
    let (done, step) = if here { course.place(seed)? } else { (0, 0) };
    let shared = course.dense.seed(seed.seed).level(0).file("done.json");
    Ok(SeedOutline {
        seed: seed.seed,
        levels_done: done,
        step,
        dense_shared: here && done == 0 && shared.exists(),
    })
}

/// The levels with what they keep; per layer too, where the mask's `distribution` decides it.
fn counts(
    read: &Read,
    cadence: &Cadence,
    layers: &[Layer],
    course: &Course<'_>,
    lengths: &[Length],
) -> Vec<LevelOutline> {
    let experiment = course.experiment;
    let part = &experiment.strategy.mask;
    let distribution = (read.plugins.get(part.names().0))
        .filter(|_| cadence.between_levels)
        .filter(|_| cadence.rounds_before_training == 0 && cadence.within_level.is_none())
        .and_then(|plugin| distribution(plugin, part));
    let strategy = read.seeds.first().map(|it| &it.strategy);
    let rule = strategy.and_then(Strategy::unit_rule);
    let whole_units = rule.map(|rule| WholeUnits {
        measure: rule.measure,
        total: course.trainer.units().total(rule.measure, layers),
    });
    let mut survivors: Vec<u64> = layers.iter().map(Layer::len).collect();
    (0..)
        .zip(lengths)
        .map(|(level, length)| {
            let keep = strategy.map_or_else(|| course.keep(level), |it| course.target(level, it));
            let keep_per_layer = distribution.and_then(|distribution| {
                let counts = spread(distribution, layers, &survivors, keep).ok()?;
                survivors.clone_from(&counts);
                Some(counts)
            });
            LevelOutline {
                level,
                steps: length.steps,
                density: experiment.density(level),
                keep,
                whole_units,
                keep_per_layer,
            }
        })
        .collect()
}

/// The mask's option `distribution`, or its default.
fn distribution(plugin: &Plugin, part: &Part) -> Option<Distribution> {
    let schema = (plugin.manifest.components.iter())
        .find(|it| {
            it.kind == plugin_api::abi::wire::ComponentKind::Mask && it.name == part.names().1
        })
        .map(|component| &component.schema)?;
    let option = schema.get("properties")?.get("distribution")?;
    let value: &Value = part
        .options
        .get("distribution")
        .or_else(|| option.get("default"))?;
    serde_json::from_value(value.clone()).ok()
}
