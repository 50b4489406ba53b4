//! Networks that PyTorch exported: `torch.export`'s archives (`.pt2`), trained through libtorch's dispatcher.
//!
//! The archive's graphs say what is computed in training and in evaluation, its state which parameters and
//! buffers there are. What is prunable, and how far the host understands how layers are connected, follows from
//! the graphs.

mod fewer;
mod fused;
mod head;
mod lower;
mod names;
mod products;
mod program;
mod quiet;
mod roles;
mod rules;
mod state;
mod topology;
mod units;
mod views;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ::pt2::Archive;
use plugin_api::schemars::{self, JsonSchema, schema_for};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use self::head::Renewed;
use self::program::{Program, Setting};
use self::state::{Given, State};
use super::{
    Buffer, Build, Graph, Held, InputSpec, Mode, ModelError, Network, Parameter, ReplaceHead, Units,
};
use crate::registry::{self, Entry, Options};
use crate::rng::Purpose;
use crate::samples::InputType;

pub(super) const ENTRY: Entry<Build> = Entry {
    name: NAME,
    summary: "any network that PyTorch exported: an archive of torch.export",
    schema: || schema_for!(Pt2Options),
    build,
};
const NAME: &str = "pt2";
/// Programs for levels that lost units, which are kept at a time.
const MOST_PROGRAMS: usize = 8;

/// Options of `pt2`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pt2Options {
    /// Path of the archive; a relative one starts at the experiment file's folder.
    // What the file holds decides, not where it lies: its digest goes to the option that `x-file` names.
    #[schemars(extend("x-location" = true, "x-file" = "blake3", "x-copy" = "model.pt2"))]
    pub file: PathBuf,
    /// BLAKE3 of the archive in hexadecimal, which it must have; computed if not given.
    #[serde(default)]
    pub blake3: String,
    /// How the network starts.
    #[serde(default)]
    pub init: Start,
    /// Whether the output layer is drawn anew by seed, for as many classes as the dataset has; or the names of the
    /// layers or tensors, or patterns, that are.
    #[serde(default)]
    pub replace_head: ReplaceHead,
}

/// How an imported network starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// With the values in the archive, the same for every seed.
    #[default]
    File,
    /// By seed: weights of linear and convolution layers and their biases uniform on ±1/√fan_in, norms as the
    /// identity, embeddings normal; all else as in the archive.
    Pytorch,
    /// By seed: as `pytorch`, but weights normal with standard deviation √(2/fan_in).
    KaimingNormal,
}

fn build(options: &Options, spec: &InputSpec) -> Result<Box<dyn Network>, ModelError> {
    let options: Pt2Options = registry::parse(options).map_err(|source| ModelError::Options {
        model: NAME,
        source,
    })?;
    let network = Imported::read(&options, spec.classes)?;
    network.check(spec)?;
    Ok(Box::new(network))
}

/// The samples that an archive's network was exported for, and its number of outputs.
///
/// # Errors
/// If it cannot be read, or its network takes or gives something else than a tensor a sample.
pub fn spec_of(path: &Path) -> Result<InputSpec, ModelError> {
    let archive = Archive::open(path).map_err(|error| ModelError::Archive(Box::new(error)))?;
    let refuse = |reason: String| ModelError::Imported {
        path: path.to_owned(),
        reason,
    };
    let graph = archive.graph(::pt2::Mode::Train);
    let (shape, dtype) = views::sample(graph, graph.input).map_err(refuse)?;
    let (output, _) = views::sample(graph, graph.output).map_err(refuse)?;
    Ok(InputSpec {
        shape,
        classes: output.first().copied().unwrap_or(1),
        input_type: match dtype {
            ::pt2::Dtype::I64 => InputType::Tokens,
            _ => InputType::Numbers,
        },
        target_shape: output.get(1..).unwrap_or_default().to_vec(),
        ..InputSpec::default()
    })
}

/// A network of an archive.
struct Imported {
    path: PathBuf,
    archive: Archive,
    state: State,
    /// The graph for evaluation, as far as the host understands it.
    graph: Graph,
    /// Whether the graph for training is understood as the same.
    trains_its_graph: bool,
    /// Number of outputs, which is not the archive's if the output layer was made another size.
    outputs: Option<i64>,
    channels_last: bool,
    /// Made when they are first needed: a device and a precision have their own.
    programs: Mutex<Vec<Arc<Program>>>,
}

impl Imported {
    fn read(options: &Pt2Options, classes: i64) -> Result<Self, ModelError> {
        let refuse = |reason: String| ModelError::Imported {
            path: options.file.clone(),
            reason,
        };
        let bytes = std::fs::read(&options.file)
            .map_err(|error| refuse(format!("failed to read it: {error}")))?;
        let digest = blake3::hash(&bytes).to_hex();
        if !options.blake3.is_empty() && options.blake3 != digest.as_str() {
            return Err(refuse(format!(
                "its BLAKE3 is {digest}, expected {}: put the file back, or change `blake3`",
                options.blake3
            )));
        }
        let archive = Archive::from_bytes(&options.file, bytes)
            .map_err(|error| ModelError::Archive(Box::new(error)))?;
        let [train, eval] = [::pt2::Mode::Train, ::pt2::Mode::Eval].map(|mode| archive.graph(mode));
        let renewed = Renewed::of(&archive, &options.replace_head, classes)?;
        let state = State::of(&archive, options.init, &renewed).map_err(refuse)?;
        let graph = topology::graph(&archive, ::pt2::Mode::Eval, &state);
        let trains_its_graph = topology::graph(&archive, ::pt2::Mode::Train, &state) == graph;
        let channels_last = views::suit_channels_last([train, eval]);
        let network = Self {
            path: options.file.clone(),
            state,
            graph,
            trains_its_graph,
            outputs: renewed.resized.map(|(_, outputs)| outputs),
            channels_last,
            archive,
            programs: Mutex::default(),
        };
        // What this libtorch lacks is said before anything trains.
        for trains in [true, false] {
            let setting = Setting {
                trains,
                draws: trains,
                device: Device::Cpu,
                kind: Kind::Float,
            };
            network.program(setting, None).map_err(refuse)?;
        }
        Ok(network)
    }

    /// Whether the archive's network takes these samples and tells as many classes apart.
    fn check(&self, spec: &InputSpec) -> Result<(), ModelError> {
        let refuse = |reason: String| ModelError::Imported {
            path: self.path.clone(),
            reason,
        };
        let graph = self.archive.graph(::pt2::Mode::Train);
        let (shape, dtype) = views::sample(graph, graph.input).map_err(refuse)?;
        let (expected, advice) = match spec.input_type {
            InputType::Numbers => (
                ::pt2::Dtype::F32,
                "samples are numbers; tokens are whole numbers of more than a byte, such as int32",
            ),
            InputType::Tokens => (
                ::pt2::Dtype::I64,
                "samples are tokens; numbers are float32, or bytes (uint8)",
            ),
        };
        if dtype != expected {
            return Err(refuse(format!(
                "its input is {dtype}, expected {expected}: {advice}"
            )));
        }
        if shape != spec.shape {
            return Err(ModelError::Input {
                model: NAME,
                got: spec.shape.clone(),
                expected: format!("{shape:?}, which {} was exported for", self.path.display()),
            });
        }
        let mut got = views::sample(graph, graph.output).map_err(refuse)?.0;
        let expected = spec.outputs();
        if let ([own], Some(outputs)) = (&mut got[..], self.outputs) {
            *own = outputs;
        }
        match (&got[..], &expected[..]) {
            (got, expected) if got == expected => Ok(()),
            (&[got], &[expected]) => Err(ModelError::Outputs {
                path: self.path.clone(),
                got,
                expected,
            }),
            (got, &[_]) => Err(refuse(format!(
                "a sample's output has shape {got:?}, expected one number for each class"
            ))),
            (got, expected) => Err(refuse(format!(
                "a sample's output has shape {got:?}, and its targets have shape {:?}: expected {expected:?}, a number \
                 for each class at each position (`logits.transpose(1, 2)` puts the classes first)",
                spec.target_shape
            ))),
        }
    }

    fn program(
        &self,
        setting: Setting,
        left: Option<Vec<Vec<i64>>>,
    ) -> Result<Arc<Program>, String> {
        let mut programs = self.programs.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = programs.iter();
        if let Some(known) = all.find(|it| it.setting == setting && it.left == left) {
            return Ok(Arc::clone(known));
        }
        let made = self.new_program(setting, left.as_deref())?;
        let made = Arc::new(made);
        // Each level leaves other sizes.
        let of_levels = programs.iter().filter(|it| it.left.is_some()).count();
        if of_levels >= MOST_PROGRAMS {
            programs.retain(|it| it.left.is_none());
        }
        programs.push(Arc::clone(&made));
        Ok(made)
    }

    fn new_program(&self, setting: Setting, left: Option<&[Vec<i64>]>) -> Result<Program, String> {
        let Self { archive, state, .. } = self;
        Program::new(archive, state, setting, self.channels_last, left)
    }
}

impl Network for Imported {
    fn parameters(&self) -> &[Parameter] {
        &self.state.parameters
    }

    fn buffers(&self) -> &[Buffer] {
        &self.state.buffers
    }

    fn graph(&self) -> Graph {
        self.graph.clone()
    }

    fn trains_its_graph(&self) -> bool {
        self.trains_its_graph
    }

    fn head(&self) -> Vec<usize> {
        let found = head::find(&self.archive).ok();
        let places = found.into_iter().flat_map(|it| [Some(it.weight), it.bias]);
        let own = |place| self.state.given(::pt2::Source::Parameter(place));
        (places.flatten())
            .filter_map(|place| match own(place) {
                Given::Parameter(at) => Some(at),
                _ => None,
            })
            .collect()
    }

    fn held(&self) -> Vec<(String, Held)> {
        self.state.held(&self.archive)
    }

    fn multiply_adds(&self, _input: &[i64]) -> Vec<(Option<String>, u64)> {
        products::of(self.archive.graph(::pt2::Mode::Eval), &self.state)
    }

    fn values_per_feature(&self, _input: &[i64]) -> Option<i64> {
        views::values_per_feature(self.archive.graph(::pt2::Mode::Train))
    }

    fn units(&self, _input: &[i64]) -> Units {
        units::units(&self.archive, &self.state)
    }

    fn takes(&self, shapes: &[Vec<i64>]) -> Result<(), String> {
        self.computes_the_same(shapes)
    }

    fn drops_out(&self) -> bool {
        self.archive.graph(::pt2::Mode::Train).draws()
    }

    fn synchronises(&self) -> bool {
        // Random numbers are drawn under a lock that a batch norm must not wait in.
        self.buffers().is_empty()
    }

    fn channels_last(&self) -> bool {
        self.channels_last
    }

    fn forward(
        &self,
        parameters: &[Tensor],
        buffers: &[Tensor],
        input: &Tensor,
        mode: Mode<'_>,
    ) -> Tensor {
        let keys = match mode {
            Mode::Train(keys) => keys.lanes,
            Mode::Eval => &[],
        };
        let setting = Setting {
            trains: matches!(mode, Mode::Train(_)),
            draws: !keys.is_empty(),
            device: input.device(),
            // Tokens have no precision of their own.
            kind: match input.kind() {
                Kind::Int64 => parameters.first().map_or(Kind::Float, Tensor::kind),
                kind => kind,
            },
        };
        // A network draws all its numbers from one stream of the step.
        let seed = keys.first().map_or(0, |key| {
            let key = key.stream(Purpose::Dropout("")).next_key();
            let (first, _) = key.split_first_chunk().unwrap_or((&[0; 8], &[]));
            u64::from_le_bytes(*first)
        });
        let sizes = parameters.iter().zip(&self.state.parameters);
        let is_full = sizes.clone().all(|(it, own)| it.size() == own.shape);
        let left = (!is_full).then(|| sizes.map(|(it, _)| it.size()).collect());
        (self.program(setting, left))
            .and_then(|program| program.run(parameters, buffers, input, seed))
            .unwrap_or_else(|error| panic!("{}: {error}", self.path.display()))
    }
}

#[cfg(test)]
mod tests;
