//! What a network starts from, whichever it is: a state_dict, and an output layer that is drawn anew.

mod file;
mod fit;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use plugin_api::schemars::{self, JsonSchema, Schema, schema_for};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::names::{Unmatched, fits};
use super::{Build, InputSpec, ModelError, Network, names};
use crate::registry::{self, Entry, Options};

pub use fit::{Given, Misfit};

/// Options of every model, beside its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct StartOptions {
    /// Path of a state_dict in a safetensors file that the network starts from, for every seed the same; a relative
    /// one starts at the experiment file's folder.
    #[schemars(extend(
        "x-location" = true,
        "x-file" = "weights_blake3",
        "x-copy" = "weights.safetensors",
    ))]
    weights: Option<PathBuf>,
    /// BLAKE3 of that file in hexadecimal, which it must have; computed if not given.
    weights_blake3: String,
    /// Whether all names and shapes of the file have to be the network's. If not, what fits is taken.
    weights_strict: bool,
    /// Whether the output layer is drawn anew by seed, for as many classes as the dataset has; or the names of the
    /// layers or tensors, or patterns, that are.
    replace_head: ReplaceHead,
}

impl Default for StartOptions {
    fn default() -> Self {
        Self {
            weights: None,
            weights_blake3: String::new(),
            weights_strict: true,
            replace_head: ReplaceHead::default(),
        }
    }
}

/// What of a network with given weights is drawn anew all the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub enum ReplaceHead {
    /// The output layer, or nothing.
    Found(bool),
    /// The layers or tensors of these names or patterns.
    Named(Vec<String>),
}

impl Default for ReplaceHead {
    fn default() -> Self {
        Self::Found(false)
    }
}

impl ReplaceHead {
    /// Whether anything is.
    pub fn is_asked(&self) -> bool {
        match self {
            Self::Found(whether) => *whether,
            Self::Named(names) => !names.is_empty(),
        }
    }

    /// Which of these tensors have a given name, one of their layer's, or one that a pattern fits.
    ///
    /// # Errors
    /// A name or pattern that fits none.
    pub fn named(names: &[String], tensors: &[&str]) -> Result<Vec<bool>, Unmatched> {
        let mut all = vec![false; tensors.len()];
        for name in names {
            let is_layer = |tensor: &&str| {
                let rest = tensor.strip_prefix(name.as_str());
                rest.is_some_and(|rest| rest.starts_with('.'))
            };
            let own = |tensor: &&str| is_layer(tensor) || fits(name, tensor);
            if !tensors.iter().any(&own) {
                return Err(names::unmatched(name, tensors));
            }
            for (chosen, tensor) in all.iter_mut().zip(tensors) {
                *chosen |= own(tensor);
            }
        }
        Ok(all)
    }
}

/// What starts as without the file, by the places of parameters and buffers.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Replaced {
    parameters: Vec<bool>,
    buffers: Vec<bool>,
}

/// How many numbers a state_dict in these bytes gives, for [`crate::fuzzing`].
pub(crate) fn numbers_of_state_dict(bytes: &[u8]) -> Result<usize, String> {
    let dict = file::StateDict::of(bytes)?;
    let values = dict.tensors.values().filter_map(|it| it.values.as_ref());
    Ok(values.map(|it| it.len()).sum())
}

/// The schema of a model's options with those that every model takes.
pub fn with_start(own: Schema) -> Schema {
    let common = schema_for!(StartOptions).to_value();
    let mut whole = own.to_value();
    if let Some(whole) = whole.as_object_mut() {
        let properties = whole
            .entry("properties")
            .or_insert_with(|| Value::Object(Default::default()));
        let common = common["properties"].as_object().into_iter().flatten();
        for (name, property) in common {
            if let Some(properties) = properties.as_object_mut() {
                properties
                    .entry(name.clone())
                    .or_insert_with(|| property.clone());
            }
        }
    }
    // What was a schema is one with more properties.
    Schema::try_from(whole).unwrap_or_default()
}

/// The network that a model's options describe, as it is without a file of weights.
///
/// # Errors
/// If options and data do not fit.
pub fn network(
    entry: &Entry<Build>,
    options: &Options,
    spec: &InputSpec,
) -> Result<Box<dyn Network>, ModelError> {
    let (own, _) = split(entry, options)?;
    (entry.build)(&own, spec)
}

/// The first values that a model's options give its network; none if they name no file. What is to be known of
/// them is logged.
///
/// # Errors
/// If the file cannot be read, or is another network's: all that does not fit.
pub fn given(
    entry: &Entry<Build>,
    options: &Options,
    network: &dyn Network,
) -> Result<Option<Given>, ModelError> {
    let (_, start) = split(entry, options)?;
    let replaced = replaced(network, &start.replace_head).map_err(|source| ModelError::Head {
        model: entry.name,
        source,
    })?;
    let Some(path) = start.weights else {
        return Ok(None);
    };
    let refuse = |reason: String| ModelError::Weights {
        model: entry.name,
        path: path.clone(),
        reason,
    };
    let dict = file::StateDict::read(&path, &start.weights_blake3).map_err(refuse)?;
    let fitted = fit::fit(network, dict, &replaced, start.weights_strict);
    let (given, notes) = fitted.map_err(|misfit| ModelError::Misfit {
        model: entry.name,
        path: path.clone(),
        misfit: Box::new(misfit),
    })?;
    for note in notes {
        log::info!("weights of {}: {note}", path.display());
    }
    Ok(Some(given))
}

/// Options of a model's own, and those of every model.
fn split(entry: &Entry<Build>, options: &Options) -> Result<(Options, StartOptions), ModelError> {
    let own_schema = (entry.schema)().to_value();
    let common = schema_for!(StartOptions).to_value();
    let (mut own, mut start) = (Options::new(), Options::new());
    for (key, value) in options {
        let is_common = common["properties"].get(key).is_some();
        if is_common {
            start.insert(key.clone(), value.clone());
        }
        if !is_common || own_schema["properties"].get(key).is_some() {
            own.insert(key.clone(), value.clone());
        }
    }
    let start = registry::parse(&start).map_err(|source| ModelError::Options {
        model: entry.name,
        source,
    })?;
    Ok((own, start))
}

fn replaced(network: &dyn Network, asked: &ReplaceHead) -> Result<Replaced, Unmatched> {
    let parameters = network.parameters();
    let mut replaced = Replaced {
        parameters: vec![false; parameters.len()],
        buffers: vec![false; network.buffers().len()],
    };
    match asked {
        ReplaceHead::Found(false) => {}
        ReplaceHead::Found(true) => {
            for at in network.head() {
                replaced.parameters[at] = true;
            }
        }
        ReplaceHead::Named(names) => {
            let tensors = parameters.iter().map(|it| it.name.as_str());
            let tensors = tensors.chain(network.buffers().iter().map(|it| it.name.as_str()));
            let all = ReplaceHead::named(names, &tensors.collect::<Vec<_>>())?;
            let (own, rest) = all.split_at(parameters.len());
            replaced.parameters = own.to_vec();
            replaced.buffers = rest.to_vec();
        }
    }
    Ok(replaced)
}
