//! The nodes of a graph as calls: of libtorch's operations, or of the project's own kernels.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use ::pt2::{Argument as Written, Dtype, Graph, Node, Scalar, ScalarOp, Source, Target};
use kernels::dispatch::{
    self, Argument, Arithmetic, Frame, MemoryFormat, Operator, Output, Slot, Whole,
};
use kernels::shim::ShimError;

use super::fewer::Fewer;
use super::fused::{self, Convolution, Norm};
use super::program::Setting;
use super::quiet::quiet;
use super::state::{self, Given, State};
use super::views;

/// One call, with its name in the archive.
pub struct Call {
    pub name: String,
    pub work: Work,
    /// What nothing reads afterwards; a dispatched node drops its own.
    pub drops: Vec<Slot>,
}

/// Who computes it.
pub enum Work {
    Dispatched(dispatch::Node),
    Convolution(Convolution),
    Norm(Norm),
}

impl Work {
    /// The slots that it reads and fills.
    pub fn touches(&self) -> Vec<Slot> {
        match self {
            Self::Dispatched(node) => [node.reads(), node.makes()].concat(),
            Self::Convolution(it) => [it.reads(), vec![it.makes()]].concat(),
            Self::Norm(it) => [it.reads(), vec![it.makes()]].concat(),
        }
    }

    /// Calls it.
    ///
    /// # Errors
    /// libtorch's.
    pub fn call(&self, frame: &mut Frame) -> Result<(), ShimError> {
        match self {
            Self::Dispatched(node) => frame.call(node),
            Self::Convolution(it) => it.call(frame),
            Self::Norm(it) => it.call(frame),
        }
    }
}

/// Where a value lies.
pub fn slot(value: ::pt2::ValueId) -> Slot {
    Slot(value.0)
}

/// The calls of a graph, in order, with the sizes that are left of it; what nothing needs is left out.
///
/// # Errors
/// Which node calls what this libtorch lacks, or takes what the host does not know.
pub fn calls(
    graph: &Graph,
    state: &State,
    setting: Setting,
    channels_last: bool,
    mut fewer: Option<Fewer<'_>>,
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
        let named = |reason| format!("its node `{}` calls {}: {reason}", node.name, node.target);
        let node = match &mut fewer {
            Some(fewer) => &fewer.node(node).map_err(named)?,
            None => node,
        };
        let node = match setting.draws {
            true => node.clone(),
            false => quiet(node),
        };
        // A view of what lies channel by channel may need a copy.
        let node = match channels_last && !node.makes().any(|made| changed.contains(&made)) {
            true => reshaped(node),
            false => node,
        };
        let made = call(&node, setting, &mut operators).map_err(named)?;
        calls.push(Call {
            name: node.name,
            work: Work::Dispatched(made),
            drops: Vec::new(),
        });
    }
    Ok(calls)
}

/// A node that moves numbers, to be called on whatever lies in its slots.
///
/// # Errors
/// As [`calls`].
pub fn mover(node: &Node, setting: Setting) -> Result<dispatch::Node, String> {
    call(&reshaped(node.clone()), setting, &mut HashMap::new())
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
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => {
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
