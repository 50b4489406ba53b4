//! A network's program: nodes in the order in which they run, on numbered values.

use std::fmt;

use crate::scalar::ScalarOp;
use crate::tensor::Dtype;

/// Number of a value in [`Graph::values`]. The numbers are dense, so that values fit into a vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValueId(pub u32);

impl ValueId {
    /// Its place in [`Graph::values`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// What a network computes in one of its modes.
///
/// Every node reads values of the graph's inputs or of nodes before it, and every value has one name and one
/// origin. Nodes may still change tensors in place (`relu_`, `add_`, the running statistics of a batch norm).
#[derive(Debug, Clone)]
pub struct Graph {
    /// Everything that has a name.
    pub values: Vec<Value>,
    /// What the graph is given: parameters, buffers, constants and the input, each once.
    pub inputs: Vec<GraphInput>,
    /// What runs, in order.
    pub nodes: Vec<Node>,
    /// The network's input; its first dimension is [`Dim::Batch`], the others are fixed.
    pub input: ValueId,
    /// The network's output, a tensor of float32; its first dimension is [`Dim::Batch`].
    pub output: ValueId,
    /// What is to be copied when all nodes have run, in graphs where nothing changes in place.
    pub updates: Vec<Update>,
    /// Tensors that are no part of the state, by the index in [`Source::Constant`].
    pub constants: Vec<Constant>,
    /// The sizes of the batch that the graph was exported for.
    pub batch: BatchRange,
}

/// Something of a graph that has a name.
#[derive(Debug, Clone, PartialEq)]
pub struct Value {
    /// In the archive, for messages.
    pub name: String,
    /// Its type, as it was when the network was exported.
    pub kind: ValueKind,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq)]
pub enum ValueKind {
    /// A tensor.
    Tensor {
        /// Of its elements.
        dtype: Dtype,
        /// Its dimensions.
        shape: Vec<Dim>,
    },
    /// An integer that follows from the batch's size.
    Int(Dim),
    /// A truth value.
    Bool,
    /// A number with a fraction.
    Float,
}

/// Size of a dimension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dim {
    /// The same for every batch.
    Fixed(usize),
    /// The batch's size.
    Batch,
    /// Anything else that follows from the batch's size: an expression as SymPy writes it, for messages.
    Other(String),
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(size) => write!(f, "{size}"),
            Self::Batch => f.write_str("batch"),
            Self::Other(expression) => f.write_str(expression),
        }
    }
}

/// A shape as `[batch, 3, 32, 32]`.
pub fn shown(shape: &[Dim]) -> String {
    let sizes: Vec<String> = shape.iter().map(Dim::to_string).collect();
    format!("[{}]", sizes.join(", "))
}

/// The sizes of a batch that a graph was exported for. Others may fail in a node or be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchRange {
    /// The smallest, at least 1.
    pub min: u64,
    /// The largest; none without a bound.
    pub max: Option<u64>,
}

/// Something that a graph is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GraphInput {
    /// Where nodes find it.
    pub value: ValueId,
    /// What it is.
    pub source: Source,
}

/// Where a graph's input comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// One of [`crate::Archive::parameters`]; of tied ones always the first.
    Parameter(usize),
    /// One of [`crate::Archive::buffers`]; of tied ones always the first.
    Buffer(usize),
    /// One of [`Graph::constants`].
    Constant(usize),
    /// The network's input.
    Input,
}

/// A value that becomes a tensor's new contents after the pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Update {
    /// The new contents.
    pub value: ValueId,
    /// [`Source::Parameter`], [`Source::Buffer`] or [`Source::Input`].
    pub target: Source,
}

/// A tensor of the graph that is neither parameter nor buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Constant {
    /// Its name in the archive.
    pub name: String,
    /// Of its elements.
    pub dtype: Dtype,
    /// Its dimensions.
    pub shape: Vec<usize>,
}

/// A step of a graph.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Its name in the archive, for messages.
    pub name: String,
    /// What it calls.
    pub target: Target,
    /// Arguments by the names that the operator's schema gives them. What is not here has its default there.
    pub inputs: Vec<(String, Argument)>,
    /// What becomes of each of the results, in order.
    pub outputs: Vec<Output>,
}

impl Node {
    /// The argument of this name, if it was given.
    pub fn argument(&self, name: &str) -> Option<&Argument> {
        let given = self.inputs.iter().find(|(given, _)| given == name);
        given.map(|(_, argument)| argument)
    }

    /// The values that it reads, a value that is read twice twice.
    pub fn reads(&self) -> Vec<ValueId> {
        let mut reads = Vec::new();
        for (_, argument) in &self.inputs {
            argument.collect(&mut reads);
        }
        reads
    }

    /// The values that it makes.
    pub fn makes(&self) -> impl Iterator<Item = ValueId> {
        self.outputs
            .iter()
            .flat_map(|output| match output {
                Output::None => &[],
                Output::Value(value) => std::slice::from_ref(value),
                Output::List(values) => values.as_slice(),
            })
            .copied()
    }
}

/// What a node calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// An operator of libtorch, `aten::NAME.OVERLOAD`.
    Aten {
        /// Such as `batch_norm`.
        name: String,
        /// Such as `Tensor`; empty for the one that PyTorch calls `default`.
        overload: String,
    },
    /// `aten::sym_size.int`: the size of the dimension `dim` of the tensor `self`, an integer.
    Size,
    /// Arithmetic on single numbers. The arguments' names do not matter, their order does.
    Scalar(ScalarOp),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Aten { name, overload } if overload.is_empty() => write!(f, "aten.{name}"),
            Self::Aten { name, overload } => write!(f, "aten.{name}.{overload}"),
            Self::Size => f.write_str("aten.sym_size.int"),
            Self::Scalar(op) => write!(f, "{op:?}"),
        }
    }
}

/// A number that is written in the graph or computed by a node before.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scalar<T> {
    /// Written there.
    Fixed(T),
    /// Computed.
    Value(ValueId),
}

/// An argument of a node.
#[derive(Debug, Clone, PartialEq)]
pub enum Argument {
    /// Python's `None`.
    None,
    /// A tensor.
    Tensor(ValueId),
    /// A list of tensors.
    Tensors(Vec<ValueId>),
    /// A list with gaps, such as indices.
    OptionalTensors(Vec<Option<ValueId>>),
    /// Lists of tensors.
    TensorLists(Vec<Vec<ValueId>>),
    /// An integer. Where the schema wants a tensor or a scalar, it is a number all the same.
    Int(i64),
    /// Integers.
    Ints(Vec<i64>),
    /// Lists of integers.
    IntLists(Vec<Vec<i64>>),
    /// A float; infinite and NaN occur.
    Float(f64),
    /// Floats.
    Floats(Vec<f64>),
    /// Lists of floats.
    FloatLists(Vec<Vec<f64>>),
    /// A truth value.
    Bool(bool),
    /// Truth values.
    Bools(Vec<bool>),
    /// A text, such as a mode of rounding.
    String(String),
    /// Texts.
    Strings(Vec<String>),
    /// An integer that may follow from the batch's size.
    SymInt(Scalar<i64>),
    /// Such integers, as in a shape.
    SymInts(Vec<Scalar<i64>>),
    /// A float that may follow from the batch's size.
    SymFloat(Scalar<f64>),
    /// Such floats.
    SymFloats(Vec<Scalar<f64>>),
    /// A truth value that may follow from the batch's size.
    SymBool(Scalar<bool>),
    /// Such truth values.
    SymBools(Vec<Scalar<bool>>),
    /// The type of a tensor's elements.
    Dtype(Dtype),
    /// How a tensor lies in memory.
    MemoryFormat(MemoryFormat),
    /// Always `torch.strided`: other layouts are refused.
    Strided,
    /// Where the network was exported; whoever runs it elsewhere means its own device.
    Device {
        /// Such as `cpu` or `cuda`.
        kind: String,
        /// Which of several.
        index: Option<u32>,
    },
}

/// How a tensor lies in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryFormat {
    /// Row after row.
    Contiguous,
    /// Channels side by side, of pictures.
    ChannelsLast,
    /// Channels side by side, of volumes.
    ChannelsLast3d,
    /// As the input lies.
    Preserve,
}

impl Argument {
    fn collect(&self, into: &mut Vec<ValueId>) {
        fn scalars<T>(list: &[Scalar<T>], into: &mut Vec<ValueId>) {
            into.extend(list.iter().filter_map(|it| match it {
                Scalar::Value(value) => Some(*value),
                Scalar::Fixed(_) => None,
            }));
        }
        match self {
            Self::Tensor(value) => into.push(*value),
            Self::Tensors(values) => into.extend(values),
            Self::OptionalTensors(values) => into.extend(values.iter().flatten()),
            Self::TensorLists(lists) => into.extend(lists.iter().flatten()),
            Self::SymInt(it) => scalars(std::slice::from_ref(it), into),
            Self::SymInts(list) => scalars(list, into),
            Self::SymFloat(it) => scalars(std::slice::from_ref(it), into),
            Self::SymFloats(list) => scalars(list, into),
            Self::SymBool(it) => scalars(std::slice::from_ref(it), into),
            Self::SymBools(list) => scalars(list, into),
            _ => {}
        }
    }
}

/// What becomes of a result of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// It is not used, or there is none.
    None,
    /// It becomes a value.
    Value(ValueId),
    /// It is a list, whose elements become values.
    List(Vec<ValueId>),
}

impl Graph {
    /// A value.
    ///
    /// # Panics
    /// If it is another graph's.
    pub fn value(&self, id: ValueId) -> &Value {
        &self.values[id.index()]
    }

    /// The shape of a value; none if it is no tensor.
    pub fn shape(&self, id: ValueId) -> Option<&[Dim]> {
        match &self.value(id).kind {
            ValueKind::Tensor { shape, .. } => Some(shape),
            _ => None,
        }
    }
}
