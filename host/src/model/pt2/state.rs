//! The archive's state as the host keeps it: what is trained, what training changes, and what stays.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use ::pt2::{Archive, ArchiveError, Argument, Dtype, Graph, Mode, Source};
use tch::{Kind, Tensor};

use super::head::Renewed;
use super::{Start, roles, views};
use crate::model::{Buffer, Held, Init, NORM_MOMENTUM, Parameter};

/// Parameters and buffers, and which of the archive's they are.
///
/// The trainer has the parameters that PyTorch trains, tied ones once, and the buffers of float32 that training
/// changes. All else stays as it is in the archive: frozen parameters, constants, counters of batches.
#[derive(Debug)]
pub struct State {
    pub parameters: Vec<Parameter>,
    pub buffers: Vec<Buffer>,
    /// By the archive's places, the trainer's.
    of_parameters: Vec<Option<usize>>,
    of_buffers: Vec<Option<usize>>,
}

/// Where something that a graph is given comes from.
pub enum Given {
    /// The trainer's parameter.
    Parameter(usize),
    /// The trainer's buffer.
    Buffer(usize),
    /// What stays as it is in the archive.
    Fixed,
}

impl State {
    /// The state of an archive, which starts as asked, and of which some is drawn anew in any case.
    ///
    /// # Errors
    /// If it cannot be read, training changes what cannot be stored, or there is no rule to draw something by.
    pub fn of(archive: &Archive, start: Start, renewed: &Renewed) -> Result<Self, String> {
        let train = archive.graph(Mode::Train);
        let changes: HashSet<usize> = (train.changes().into_iter())
            .filter_map(|it| match it {
                Source::Buffer(at) => Some(at),
                _ => None,
            })
            .collect();
        let mut state = Self {
            parameters: Vec::new(),
            buffers: Vec::new(),
            of_parameters: vec![None; archive.parameters().len()],
            of_buffers: vec![None; archive.buffers().len()],
        };
        let uses = roles::uses(train);
        for (at, parameter) in archive.parameters().iter().enumerate() {
            if parameter.tied_to.is_some() {
                continue;
            }
            let shape: Vec<i64> = parameter.shape.iter().map(|&it| it as i64).collect();
            if !parameter.trainable {
                continue;
            }
            let values = archive.read_parameter(at).map_err(said)?;
            let uses = uses.get(&at).map_or(&[][..], Vec::as_slice);
            let drawn = || roles::init(uses, start == Start::KaimingNormal);
            let is_renewed = renewed.parameters.contains(&at);
            let rule = match start {
                Start::File if !is_renewed => None,
                _ => drawn(),
            };
            if is_renewed && rule.is_none() {
                return Err(format!(
                    "`{}` is to be drawn anew, but nothing says how: only weights and biases of layers, norms and \
                     embeddings have a rule; leave it out of `replace_head`",
                    parameter.name
                ));
            }
            let shape = renewed.shape(at, shape);
            state.of_parameters[at] = Some(state.parameters.len());
            state.parameters.push(Parameter {
                name: parameter.name.clone(),
                role: roles::role(uses, &shape),
                init: rule.unwrap_or_else(|| Init::Values(floats(&values))),
                shape,
            });
        }
        let statistics = statistics(train);
        for (at, buffer) in archive.buffers().iter().enumerate() {
            if buffer.tied_to.is_some() {
                continue;
            }
            let shape: Vec<i64> = buffer.shape.iter().map(|&it| it as i64).collect();
            if buffer.dtype != Dtype::F32 || !changes.contains(&at) {
                continue;
            }
            let values = archive.read_buffer(at).map_err(said)?;
            let [features] = shape[..] else {
                return Err(format!(
                    "training changes the buffer `{}` of shape {shape:?}, expected one of one dimension, such as \
                     running statistics: make it a parameter, or leave it as it is",
                    buffer.name
                ));
            };
            let statistic = statistics.get(&at);
            let is_fresh =
                statistic.is_some() && (start != Start::File || renewed.buffers.contains(&at));
            state.of_buffers[at] = Some(state.buffers.len());
            state.buffers.push(Buffer {
                name: buffer.name.clone(),
                features,
                initial: statistic.map_or(0.0, |it| it.initial),
                values: (!is_fresh).then(|| floats(&values)),
                momentum: statistic.map(|it| it.momentum),
            });
        }
        Ok(state)
    }

    /// What the archive's state_dict holds besides what is trained here, but for counters of batches.
    ///
    /// What cannot be read is left out: reading it as a program's constant says why.
    pub fn held(&self, archive: &Archive) -> Vec<(String, Held)> {
        let constant = |source| fixed(archive, Mode::Eval, source).ok().map(Held::Constant);
        let mut held = Vec::new();
        let parameters = archive.parameters();
        for (at, parameter) in parameters.iter().enumerate() {
            let what = match parameter.tied_to {
                Some(first) => Some(Held::Tied(parameters[first].name.clone())),
                None if self.of_parameters[at].is_some() => None,
                None => constant(Source::Parameter(at)),
            };
            held.extend(what.map(|it| (parameter.name.clone(), it)));
        }
        let buffers = archive.buffers();
        for (at, buffer) in buffers.iter().enumerate() {
            if !buffer.persistent || buffer.name.ends_with("num_batches_tracked") {
                continue;
            }
            let what = match buffer.tied_to {
                Some(first) => Some(Held::Tied(buffers[first].name.clone())),
                None if self.of_buffers[at].is_some() => None,
                None => constant(Source::Buffer(at)),
            };
            held.extend(what.map(|it| (buffer.name.clone(), it)));
        }
        held
    }

    /// What a parameter or buffer of the archive, the first of tied ones, is.
    pub fn given(&self, source: Source) -> Given {
        let own = match source {
            Source::Parameter(at) => self.of_parameters[at].map(Given::Parameter),
            Source::Buffer(at) => self.of_buffers[at].map(Given::Buffer),
            Source::Constant(_) | Source::Input => None,
        };
        own.unwrap_or(Given::Fixed)
    }
}

/// What a graph is given that stays as it is in the archive.
///
/// # Errors
/// If it cannot be read.
pub fn fixed(archive: &Archive, mode: Mode, source: Source) -> Result<Tensor, String> {
    let (bytes, shape, dtype) = match source {
        Source::Parameter(at) => {
            let shape = &archive.parameters()[at].shape;
            (archive.read_parameter(at), shape, Dtype::F32)
        }
        Source::Buffer(at) => {
            let buffer = &archive.buffers()[at];
            (archive.read_buffer(at), &buffer.shape, buffer.dtype)
        }
        Source::Constant(at) => {
            let constant = &archive.graph(mode).constants[at];
            (
                archive.read_constant(mode, at),
                &constant.shape,
                constant.dtype,
            )
        }
        Source::Input => return Err("its input is no constant".to_owned()),
    };
    let shape: Vec<i64> = shape.iter().map(|&it| it as i64).collect();
    let tensor = Tensor::f_from_data_size(&bytes.map_err(said)?, &shape, kind(dtype));
    tensor.map_err(|error| error.to_string())
}

/// What a running statistic starts at where nothing was seen, and how it follows.
struct Statistic {
    initial: f32,
    momentum: f64,
}

/// The running statistics among the archive's buffers.
fn statistics(graph: &Graph) -> HashMap<usize, Statistic> {
    let sources = views::sources(graph);
    let mut statistics = HashMap::new();
    for node in &graph.nodes {
        for (argument, initial) in [("running_mean", 0.0), ("running_var", 1.0)] {
            let source = views::tensor(node, argument).and_then(|it| sources.get(&it));
            let momentum = match node.argument("momentum") {
                Some(Argument::Float(momentum)) => *momentum,
                _ => NORM_MOMENTUM,
            };
            // What never follows is no statistic.
            if let Some(Source::Buffer(at)) = source.filter(|_| momentum > 0.0) {
                statistics.insert(*at, Statistic { initial, momentum });
            }
        }
    }
    statistics
}

/// Libtorch's name of a type.
pub fn kind(dtype: Dtype) -> Kind {
    match dtype {
        Dtype::U8 => Kind::Uint8,
        Dtype::I8 => Kind::Int8,
        Dtype::I16 => Kind::Int16,
        Dtype::I32 => Kind::Int,
        Dtype::I64 => Kind::Int64,
        Dtype::F16 => Kind::Half,
        Dtype::BF16 => Kind::BFloat16,
        Dtype::F32 => Kind::Float,
        Dtype::F64 => Kind::Double,
        Dtype::Bool => Kind::Bool,
    }
}

fn floats(bytes: &[u8]) -> Arc<[f32]> {
    let (numbers, _) = bytes.as_chunks();
    numbers.iter().map(|it| f32::from_le_bytes(*it)).collect()
}

fn said(error: ArchiveError) -> String {
    error.fault.to_string()
}
