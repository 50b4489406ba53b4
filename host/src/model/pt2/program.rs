//! A graph as calls of libtorch's operations, for one device and one precision.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use ::pt2::{
    Archive, Argument as Written, Dtype, Graph, Mode, Node, Scalar, ScalarOp, Source, Target,
};
use kernels::dispatch::{
    self, Argument, Arithmetic, Frame, MemoryFormat, Operator, Output, Slot, Whole,
};
use kernels::shim::ShimError;
use tch::{Device, Kind, Tensor};

use super::fused::{self, Convolution, Norm};
use super::quiet::quiet;
use super::state::{self, Given, State};
use super::views;

/// What a program is for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Setting {
    /// Whether it is the graph for training.
    pub trains: bool,
    /// Whether random numbers are drawn.
    pub draws: bool,
    /// Where its tensors lie.
    pub device: Device,
    /// What parameters are, and samples unless they are tokens: fp32 or fp64.
    pub kind: Kind,
}

/// A graph ready to be called, by several threads at once.
pub struct Program {
    pub setting: Setting,
    calls: Vec<Call>,
    slots: usize,
    inputs: Vec<(Slot, Input)>,
    /// What stays in a frame from pass to pass.
    constants: Mutex<Vec<(Slot, Tensor)>>,
    output: Slot,
    /// Values that become a buffer's contents after the pass.
    updates: Vec<(Slot, usize)>,
    is_random: bool,
    frames: Mutex<Vec<Frame>>,
}

/// One call, with its name in the archive.
struct Call {
    name: String,
    work: Work,
    /// What nothing reads afterwards; a dispatched node drops its own.
    drops: Vec<Slot>,
}

enum Work {
    Dispatched(dispatch::Node),
    Convolution(Convolution),
    Norm(Norm),
}

impl Work {
    /// The slots that it reads and fills.
    fn touches(&self) -> Vec<Slot> {
        match self {
            Self::Dispatched(node) => [node.reads(), node.makes()].concat(),
            Self::Convolution(it) => [it.reads(), vec![it.makes()]].concat(),
            Self::Norm(it) => [it.reads(), vec![it.makes()]].concat(),
        }
    }

    fn call(&self, frame: &mut Frame) -> Result<(), ShimError> {
        match self {
            Self::Dispatched(node) => frame.call(node),
            Self::Convolution(it) => it.call(frame),
            Self::Norm(it) => it.call(frame),
        }
    }
}

/// What is put into a slot for a pass.
enum Input {
    Parameter(usize),
    Buffer {
        at: usize,
        copied: bool,
    },
    /// Changed by the graph, so that each pass has its own.
    Copy(Mutex<Tensor>),
    Sample {
        copied: bool,
    },
}

/// Held while random numbers are drawn: libtorch's generator is one for all threads.
static DRAWS: Mutex<()> = Mutex::new(());

impl Program {
    /// The program of an archive's graph.
    ///
    /// # Errors
    /// Which node calls what this libtorch lacks, or takes what the host does not know.
    pub fn new(
        archive: &Archive,
        state: &State,
        setting: Setting,
        channels_last: bool,
    ) -> Result<Self, String> {
        let mode = match setting.trains {
            true => Mode::Train,
            false => Mode::Eval,
        };
        let graph = archive.graph(mode);
        let changes: HashSet<Source> = graph.changes().into_iter().collect();
        let (mut inputs, mut constants) = (Vec::new(), Vec::new());
        let place = |tensor: &Tensor| {
            let tensor = tensor.to_device(setting.device);
            match tensor.kind() {
                Kind::Float => tensor.to_kind(setting.kind),
                _ => tensor,
            }
        };
        for input in &graph.inputs {
            let (slot, changed) = (slot(input.value), changes.contains(&input.source));
            match input.source {
                Source::Input => {
                    inputs.push((slot, Input::Sample { copied: changed }));
                    continue;
                }
                source => match state.given(source) {
                    Given::Parameter(_) if changed => {
                        return Err(format!(
                            "its forward pass changes the parameter `{}`: only an optimizer may",
                            graph.value(input.value).name
                        ));
                    }
                    Given::Parameter(at) => inputs.push((slot, Input::Parameter(at))),
                    Given::Buffer(at) => {
                        // Evaluation leaves everything as it is.
                        let copied = changed && !setting.trains;
                        inputs.push((slot, Input::Buffer { at, copied }));
                    }
                    Given::Fixed => {
                        let constant = place(&state::fixed(archive, mode, source)?);
                        match changed {
                            true => inputs.push((slot, Input::Copy(Mutex::new(constant)))),
                            false => constants.push((slot, constant)),
                        }
                    }
                },
            }
        }
        let mut updates = Vec::new();
        for update in graph.updates.iter().filter(|_| setting.trains) {
            if let Given::Buffer(at) = state.given(update.target) {
                updates.push((slot(update.value), at));
            }
        }
        let calls = calls(graph, state, setting, channels_last)?;
        let is_random = (calls.iter())
            .any(|call| matches!(&call.work, Work::Dispatched(node) if node.is_random()));
        let mut program = Self {
            setting,
            calls,
            slots: graph.values.len(),
            inputs,
            constants: Mutex::default(),
            output: slot(graph.output),
            updates,
            is_random,
            frames: Mutex::default(),
        };
        let kept = constants.iter().map(|(slot, _)| *slot);
        (program.drop_early(kept)).map_err(|error| error.to_string())?;
        program.constants = Mutex::new(constants);
        Ok(program)
    }

    /// Has each call empty the slots that none after it reads.
    fn drop_early(
        &mut self,
        constants: impl Iterator<Item = Slot>,
    ) -> Result<(), dispatch::NodeError> {
        let updates = self.updates.iter().map(|(slot, _)| *slot);
        let mut later: HashSet<Slot> = constants.chain(updates).chain([self.output]).collect();
        for call in self.calls.iter_mut().rev() {
            let touched = call.work.touches().into_iter();
            let last: Vec<Slot> = touched.filter(|slot| later.insert(*slot)).collect();
            match &mut call.work {
                Work::Dispatched(node) => node.drop_after(&last)?,
                _ => call.drops = last,
            }
        }
        Ok(())
    }

    /// The output for a batch. Random numbers, where there are any, follow from the seed alone.
    ///
    /// # Errors
    /// Which node failed, with libtorch's message.
    pub fn run(
        &self,
        parameters: &[Tensor],
        buffers: &[Tensor],
        input: &Tensor,
        seed: u64,
    ) -> Result<Tensor, String> {
        let mut frame = self.frame().map_err(|error| error.to_string())?;
        let _alone = match self.is_random {
            true => {
                let alone = DRAWS.lock().unwrap_or_else(PoisonError::into_inner);
                dispatch::seed(self.setting.device, seed).map_err(|error| error.to_string())?;
                Some(alone)
            }
            false => None,
        };
        self.fill(&mut frame, parameters, buffers, input)
            .map_err(|error| error.to_string())?;
        for call in &self.calls {
            let named = |error| format!("node `{}`: {error}", call.name);
            call.work.call(&mut frame).map_err(named)?;
            for slot in &call.drops {
                frame.clear(*slot).map_err(named)?;
            }
        }
        let output = self.finish(&mut frame, buffers);
        let output = output.map_err(|error| error.to_string())?;
        let mut frames = self.frames.lock().unwrap_or_else(PoisonError::into_inner);
        frames.push(frame);
        Ok(output)
    }

    /// A frame with the constants, and nothing else.
    fn frame(&self) -> Result<Frame, ShimError> {
        let mut frames = self.frames.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(frame) = frames.pop() {
            return Ok(frame);
        }
        drop(frames);
        let mut frame = Frame::new(self.slots)?;
        let constants = self.constants.lock();
        for (slot, tensor) in constants.unwrap_or_else(PoisonError::into_inner).iter() {
            frame.set(*slot, tensor)?;
        }
        Ok(frame)
    }

    fn fill(
        &self,
        frame: &mut Frame,
        parameters: &[Tensor],
        buffers: &[Tensor],
        input: &Tensor,
    ) -> Result<(), ShimError> {
        let put = |frame: &mut Frame, slot, tensor: &Tensor, copied| match copied {
            true => frame.set(slot, &tensor.copy()),
            false => frame.set(slot, tensor),
        };
        for (slot, from) in &self.inputs {
            match from {
                Input::Parameter(at) => frame.set(*slot, &parameters[*at])?,
                Input::Buffer { at, copied } => put(frame, *slot, &buffers[*at], *copied)?,
                Input::Copy(tensor) => {
                    let tensor = tensor.lock().unwrap_or_else(PoisonError::into_inner);
                    put(frame, *slot, &tensor, true)?;
                }
                Input::Sample { copied } => put(frame, *slot, input, *copied)?,
            }
        }
        Ok(())
    }

    fn finish(&self, frame: &mut Frame, buffers: &[Tensor]) -> Result<Tensor, ShimError> {
        for (slot, at) in &self.updates {
            let new = frame.tensor(*slot)?;
            tch::no_grad(|| buffers[*at].shallow_clone().copy_(&new));
            frame.clear(*slot)?;
        }
        let output = frame.tensor(self.output)?;
        frame.clear(self.output)?;
        // What no call reads is still there.
        for (slot, _) in &self.inputs {
            frame.clear(*slot)?;
        }
        Ok(output)
    }
}

fn slot(value: ::pt2::ValueId) -> Slot {
    Slot(value.0)
}

fn calls(
    graph: &Graph,
    state: &State,
    setting: Setting,
    channels_last: bool,
) -> Result<Vec<Call>, String> {
    let reads = views::reads(graph);
    let changed = views::changed(graph);
    let sources = views::sources(graph);
    // A counter that nothing reads counts for nobody.
    let is_idle = |node: &Node| {
        let Some(value) = node.changes_in_place() else {
            return false;
        };
        let is_fixed = (sources.get(&value))
            .is_some_and(|it| *it != Source::Input && matches!(state.given(*it), Given::Fixed));
        let times = |value: ::pt2::ValueId| reads.get(&value).copied().unwrap_or_default();
        is_fixed && times(value) == 1 && node.makes().all(|made| times(made) == 0)
    };
    // Checks of types and sizes are for whoever exports.
    let is_check = |node: &Node| {
        views::name(node)
            .is_some_and(|it| it.starts_with("_assert") || it.starts_with("sym_constrain"))
    };
    let mut operators: HashMap<(String, String), Operator> = HashMap::new();
    let mut calls = Vec::new();
    let (mut norms, in_norms) = fused::norms(graph);
    for (at, node) in graph.nodes.iter().enumerate() {
        if is_idle(node) || is_check(node) || in_norms.contains(&at) {
            continue;
        }
        let own = (norms.remove(&at).map(Work::Norm))
            .or_else(|| Convolution::of(graph, node).map(Work::Convolution));
        if let Some(work) = own {
            let (name, drops) = (node.name.clone(), Vec::new());
            calls.push(Call { name, work, drops });
            continue;
        }
        let node = match setting.draws {
            true => node.clone(),
            false => quiet(node),
        };
        // A view of what lies channel by channel may need a copy.
        let node = match channels_last && !node.makes().any(|made| changed.contains(&made)) {
            true => reshaped(node),
            false => node,
        };
        let made = call(&node, setting, &mut operators).map_err(|reason| {
            format!("its node `{}` calls {}: {reason}", node.name, node.target)
        })?;
        calls.push(Call {
            name: node.name,
            work: Work::Dispatched(made),
            drops: Vec::new(),
        });
    }
    Ok(calls)
}

/// The same with `reshape` for `view`.
fn reshaped(mut node: Node) -> Node {
    if let Target::Aten { name, overload } = &mut node.target
        && matches!(name.as_str(), "view" | "_unsafe_view")
        && overload.is_empty()
    {
        *name = "reshape".to_owned();
        for (argument, _) in node.inputs.iter_mut().filter(|(name, _)| name == "size") {
            *argument = "shape".to_owned();
        }
    }
    node
}

fn call(
    node: &Node,
    setting: Setting,
    operators: &mut HashMap<(String, String), Operator>,
) -> Result<dispatch::Node, String> {
    let said = |error: dispatch::NodeError| error.to_string();
    let output = || match node.outputs.first() {
        Some(::pt2::Output::Value(value)) => Ok(slot(*value)),
        _ => Err("its result goes nowhere".to_owned()),
    };
    match &node.target {
        Target::Aten { name, overload } => {
            let key = (name.clone(), overload.clone());
            let operator = match operators.entry(key) {
                std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
                std::collections::hash_map::Entry::Vacant(new) => {
                    let found = Operator::find(&format!("aten::{name}"), overload);
                    let found = found.map_err(|error| {
                        format!("this libtorch does not have it ({error}); export the network with a PyTorch of its version")
                    })?;
                    new.insert(found)
                }
            };
            let mut arguments = Vec::new();
            for (name, given) in &node.inputs {
                let argument = argument(given, setting).ok_or_else(|| {
                    format!("its argument {name} is {given:?}, which is not known here")
                })?;
                arguments.push((name.as_str(), argument));
            }
            let outputs = node.outputs.iter().map(|it| match it {
                ::pt2::Output::None => Output::None,
                ::pt2::Output::Value(value) => Output::Slot(slot(*value)),
                ::pt2::Output::List(values) => {
                    Output::List(values.iter().map(|it| Some(slot(*it))).collect())
                }
            });
            dispatch::Node::call(operator, &arguments, outputs.collect()).map_err(said)
        }
        Target::Size => {
            let (Some(tensor), Some(Written::Int(dimension))) =
                (views::first(node), node.argument("dim"))
            else {
                return Err("expected a tensor and a dimension".to_owned());
            };
            dispatch::Node::size(slot(tensor), *dimension, output()?).map_err(said)
        }
        Target::Scalar(op) => {
            let arithmetic = arithmetic(*op).ok_or("numbers with fractions are not known here")?;
            let operands = node.inputs.iter().map(|(_, it)| match it {
                Written::Int(number) | Written::SymInt(Scalar::Fixed(number)) => {
                    Ok(Whole::Given(*number))
                }
                Written::SymInt(Scalar::Value(value)) => Ok(Whole::Slot(slot(*value))),
                other => Err(format!("{other:?} is no whole number")),
            });
            let operands = operands.collect::<Result<Vec<_>, _>>()?;
            dispatch::Node::arithmetic(arithmetic, &operands, output()?).map_err(said)
        }
    }
}

fn arithmetic(op: ScalarOp) -> Option<Arithmetic> {
    Some(match op {
        ScalarOp::Add => Arithmetic::Add,
        ScalarOp::Sub => Arithmetic::Sub,
        ScalarOp::Mul => Arithmetic::Mul,
        ScalarOp::FloorDiv => Arithmetic::FloorDiv,
        ScalarOp::Mod => Arithmetic::Mod,
        ScalarOp::Neg => Arithmetic::Neg,
        ScalarOp::Min => Arithmetic::Min,
        ScalarOp::Max => Arithmetic::Max,
        ScalarOp::Eq => Arithmetic::Eq,
        ScalarOp::Ne => Arithmetic::Ne,
        ScalarOp::Lt => Arithmetic::Lt,
        ScalarOp::Le => Arithmetic::Le,
        ScalarOp::Gt => Arithmetic::Gt,
        ScalarOp::Ge => Arithmetic::Ge,
        _ => return None,
    })
}

fn argument(given: &Written, setting: Setting) -> Option<Argument> {
    Some(match given {
        Written::None => Argument::None,
        Written::Tensor(value) => Argument::Slot(slot(*value)),
        Written::Tensors(values) => Argument::Slots(values.iter().map(|it| slot(*it)).collect()),
        Written::OptionalTensors(values) => {
            Argument::OptionalSlots(values.iter().map(|it| it.map(slot)).collect())
        }
        Written::Int(number) => Argument::Int(*number),
        Written::Ints(numbers) => Argument::Ints(numbers.clone()),
        Written::Float(number) => Argument::Float(*number),
        Written::Floats(numbers) => Argument::Floats(numbers.clone()),
        Written::Bool(truth) => Argument::Bool(*truth),
        Written::Bools(truths) => Argument::Bools(truths.clone()),
        Written::String(text) => Argument::String(text.clone()),
        Written::SymInt(Scalar::Fixed(number)) => Argument::Int(*number),
        Written::SymFloat(Scalar::Fixed(number)) => Argument::Float(*number),
        Written::SymBool(Scalar::Fixed(truth)) => Argument::Bool(*truth),
        Written::SymInt(Scalar::Value(value))
        | Written::SymFloat(Scalar::Value(value))
        | Written::SymBool(Scalar::Value(value)) => Argument::Slot(slot(*value)),
        Written::SymInts(numbers) => Argument::IntSlots(
            (numbers.iter())
                .map(|it| match it {
                    Scalar::Fixed(number) => Whole::Given(*number),
                    Scalar::Value(value) => Whole::Slot(slot(*value)),
                })
                .collect(),
        ),
        Written::Dtype(dtype) => Argument::ScalarType(match dtype {
            // The network's precision is the setting's.
            Dtype::F32 => setting.kind,
            dtype => state::kind(*dtype),
        }),
        Written::MemoryFormat(format) => Argument::MemoryFormat(match format {
            ::pt2::MemoryFormat::Contiguous => MemoryFormat::Contiguous,
            ::pt2::MemoryFormat::Preserve => MemoryFormat::Preserve,
            ::pt2::MemoryFormat::ChannelsLast => MemoryFormat::ChannelsLast,
            ::pt2::MemoryFormat::ChannelsLast3d => MemoryFormat::ChannelsLast3d,
        }),
        Written::Strided => Argument::Strided,
        Written::Device { .. } => Argument::Device(setting.device),
        _ => return None,
    })
}
