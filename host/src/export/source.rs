//! The model of a stored level, read from a run without its data or its plugins.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::json;
use tch::{Kind, Tensor};

use super::{ExportError, Model};
use crate::data::{DataError, Declared, declared};
use crate::experiment::{self, Experiment, Named};
use crate::model::{Held, MODELS, ModelError, Network, network as model_of};
use crate::program;
use crate::registry::find;
use crate::statistics::{StatisticsError, common_seeds, last_common_level};
use crate::store::{
    self, ARCHIVE, LevelDir, MANIFEST, Manifest, RunDir, RunIdentity, StoreError, read_tensors,
};

/// A level's end, as the model that it is.
pub struct Source {
    /// The seed.
    pub seed: u64,
    /// The level.
    pub level: u64,
    /// The network.
    pub network: Box<dyn Network>,
    /// What is known of its data.
    pub data: Declared,
    /// What is exported.
    pub model: Model,
    /// Number of prunable weights.
    pub weights: u64,
    /// Number of those that survive.
    pub survivors: u64,
    /// Where the archive of an imported network lies.
    pub archive: Option<PathBuf>,
}

/// Weights and running statistics at a level's end.
const END: &str = "end.safetensors";
/// Masks at a level's end.
const MASK: &str = "mask.safetensors";
const EXPERIMENT: &str = "experiment.toml";

/// Reads a level of a seed: if not given, the last one that is finished, and the first seed that has it.
///
/// # Errors
/// What is no run or no finished level; a file that is missing, damaged or another model's.
pub fn read(run: &RunDir, seed: Option<u64>, level: Option<u64>) -> Result<Source, ExportError> {
    let experiment = experiment(run)?;
    let (seed, level) = choose(run, seed, level)?;
    let dir = run.seed(seed).level(level);
    for file in [END, MASK] {
        dir.check_file(file)?;
    }
    let end: BTreeMap<String, Tensor> = read_tensors(&dir.file(END))?.into_iter().collect();
    let masks = read_tensors(&dir.file(MASK))?;
    let (network, data) = build(&experiment, &end, &dir)?;
    check(&*network, &end, &dir)?;
    check_masks(&masks, &end, &dir)?;
    let graph = network.graph();
    let held = (network.held().into_iter()).filter_map(|(name, held)| match held {
        Held::Tied(first) => Some((name, end.get(&first)?.shallow_clone())),
        Held::Constant(tensor) => Some((name, tensor)),
    });
    let held = held.collect();
    let archive = (experiment::files_of(&experiment.model).into_iter())
        .find(|it| it.copy == ARCHIVE)
        .map(|it| it.path);
    let weights = masks.iter().map(|(_, mask)| mask.numel() as u64).sum();
    let survivors = masks.iter().map(|(_, mask)| count(mask)).sum();
    let mut source = Source {
        seed,
        level,
        network,
        model: Model {
            graph,
            tensors: end,
            held,
            prunable: masks.into_iter().map(|(name, _)| name).collect(),
            input_shape: data.input_shape.clone(),
            outputs: data.classes,
            metadata: BTreeMap::new(),
        },
        data,
        weights,
        survivors,
        archive,
    };
    source.model.metadata = metadata(run, &experiment, &source, &dir)?;
    Ok(source)
}

impl Source {
    /// Share of the prunable weights that survive.
    pub fn density(&self) -> f64 {
        self.survivors as f64 / self.weights.max(1) as f64
    }
}

/// The run's experiment, as its manifest says if it has one.
fn experiment(run: &RunDir) -> Result<Experiment, ExportError> {
    let path = run.file(EXPERIMENT);
    if !path.exists() {
        return Err(StatisticsError::NoExperiment(run.path().to_owned()).into());
    }
    let manifest = Manifest::read(run.path(), MANIFEST)?;
    if let Some(expected) = manifest.and_then(|mut it| it.files.remove(EXPERIMENT)) {
        store::expect_digest(&path, &expected)?;
    }
    Ok(experiment::read_stored(&path)?)
}

fn choose(
    run: &RunDir,
    seed: Option<u64>,
    level: Option<u64>,
) -> Result<(u64, u64), StatisticsError> {
    let seed = match (seed, level) {
        (Some(seed), _) => seed,
        (None, level) => {
            let last = || last_common_level(std::slice::from_ref(run));
            let level = level.or_else(last).unwrap_or(0);
            common_seeds(std::slice::from_ref(run), level)?[0]
        }
    };
    let finished = run.seed(seed).finished_levels();
    let level = level.unwrap_or(finished.saturating_sub(1));
    match level < finished {
        true => Ok((seed, level)),
        false => Err(StatisticsError::Unfinished {
            level: run.seed(seed).level(level).path().to_owned(),
            run: run.path().to_owned(),
        }),
    }
}

/// The network and its data, neither of which has to be here.
fn build(
    experiment: &Experiment,
    end: &BTreeMap<String, Tensor>,
    dir: &LevelDir,
) -> Result<(Box<dyn Network>, Declared), ExportError> {
    let Named { name, options } = &experiment.model;
    let entry = find(MODELS, name).ok_or_else(|| ExportError::UnknownModel(name.clone()))?;
    let make = |data: &Declared| model_of(entry, options, &data.spec());
    let Named { name, options } = &experiment.data;
    match declared(name, options) {
        Ok(data) => Ok((make(&data)?, data)),
        // The number of a folder's classes is that of the output layer's biases, or of its rows.
        Err(DataError::Undeclared { .. }) => {
            let mut options = options.clone();
            options.insert(
                "expect".to_owned(),
                json!({"classes": 2, "train": 1, "test": 1}),
            );
            let mut data = declared(name, &options)?;
            let network = match make(&data) {
                // An archive says the number itself.
                Err(ModelError::Outputs { got, .. }) => {
                    data.classes = got;
                    return Ok((make(&data)?, data));
                }
                other => other?,
            };
            let parameters = network.parameters();
            let last = network.head().last().map(|&at| &parameters[at]);
            let last = last.or(parameters.last()).map(|it| it.name.clone());
            let last = last.unwrap_or_default();
            let bias = end.get(&last).filter(|bias| !bias.size().is_empty());
            let path = dir.file(END);
            let bias = bias.ok_or_else(|| damaged(&path, format!("it lacks `{last}`")))?;
            data.classes = bias.size()[0];
            Ok((make(&data)?, data))
        }
        Err(error) => Err(error.into()),
    }
}

/// Fails unless the tensors are the network's.
fn check(
    network: &dyn Network,
    tensors: &BTreeMap<String, Tensor>,
    dir: &LevelDir,
) -> Result<(), StoreError> {
    let refuse = |reason: String| Err(damaged(&dir.file(END), reason));
    let parameters = network.parameters().iter();
    let parameters = parameters.map(|it| (&it.name, it.shape.clone()));
    let buffers = network.buffers().iter();
    let buffers = buffers.map(|it| (&it.name, vec![it.features]));
    let expected: BTreeMap<&String, Vec<i64>> = parameters.chain(buffers).collect();
    for (name, shape) in &expected {
        match tensors.get(*name) {
            None => return refuse(format!("it lacks `{name}`")),
            Some(it) if it.size() != *shape || it.kind() != Kind::Float => {
                return refuse(format!(
                    "`{name}` has shape {:?} and type {:?}, expected {shape:?} and Float",
                    it.size(),
                    it.kind()
                ));
            }
            Some(_) => {}
        }
    }
    match tensors.keys().find(|name| !expected.contains_key(name)) {
        Some(name) => refuse(format!("it holds `{name}`, which is not the model's")),
        None => Ok(()),
    }
}

/// Fails unless the masks are of these tensors, and what they prune is 0.
fn check_masks(
    masks: &[(String, Tensor)],
    tensors: &BTreeMap<String, Tensor>,
    dir: &LevelDir,
) -> Result<(), StoreError> {
    for (name, mask) in masks {
        let weight = tensors.get(name).filter(|it| it.size() == mask.size());
        let Some(weight) = weight else {
            let reason = format!("`{name}` {:?} is no mask of {END}", mask.size());
            return Err(damaged(&dir.file(MASK), reason));
        };
        let alive = weight.ne(0.0).logical_and(&mask.eq(0));
        if alive.any().int64_value(&[]) != 0 {
            let reason = format!("`{name}` is not 0 where {MASK} prunes it");
            return Err(damaged(&dir.file(END), reason));
        }
    }
    Ok(())
}

fn count(mask: &Tensor) -> u64 {
    mask.ne(0).sum(Kind::Int64).int64_value(&[]) as u64
}

fn metadata(
    run: &RunDir,
    experiment: &Experiment,
    source: &Source,
    dir: &LevelDir,
) -> Result<BTreeMap<String, String>, StoreError> {
    let identity = RunIdentity::read(run)?.ok_or_else(|| {
        let reason = format!(
            "it is missing; `{} run` on the experiment writes it anew",
            program::name()
        );
        damaged(&run.file("identity.json"), reason)
    })?;
    let done = dir.read_sealed()?.value;
    // Where files lay on this machine is of no use elsewhere.
    let mut options = experiment.model.options.clone();
    for file in experiment::files_of(&experiment.model) {
        options.remove(&file.option);
    }
    let pixels = (source.data.pixels.as_ref()).map(|it| json!({ "mean": it.mean, "std": it.std }));
    let (seed, level) = (source.seed, source.level);
    let version = env!("CARGO_PKG_VERSION");
    Ok([
        ("producer", format!("rewind {version}")),
        ("model", experiment.model.name.clone()),
        ("model_options", json!(options).to_string()),
        ("dataset", experiment.data.name.clone()),
        ("input_shape", json!(source.data.input_shape).to_string()),
        ("classes", source.data.classes.to_string()),
        ("normalisation", json!(pixels).to_string()),
        ("run", run.name()),
        ("identity", identity.value.identity),
        ("seed", seed.to_string()),
        ("level", level.to_string()),
        ("weights", source.weights.to_string()),
        ("survivors", source.survivors.to_string()),
        ("density", source.density().to_string()),
        ("source", format!("seed-{seed}/level-{level:02}/{END}")),
        (
            "source_blake3",
            done.digests.get(END).cloned().unwrap_or_default(),
        ),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into())
}

fn damaged(path: &Path, reason: String) -> StoreError {
    StoreError::Damaged {
        path: path.to_owned(),
        reason,
    }
}

#[cfg(test)]
mod tests;
