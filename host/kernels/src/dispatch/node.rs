//! Calls of operations, and arithmetic on slots.

use std::collections::HashSet;
use std::ptr::{NonNull, null, null_mut};

use super::argument::{Argument, Converted, RawValue, RawWhole, Slot, Whole};
use super::operator::{Operator, RawOperator, Type};
use crate::shim::{ShimError, Text, check};

/// A node of the C++.
#[repr(C)]
pub(super) struct RawNode {
    _private: [u8; 0],
}

/// Where a result goes, for the C++.
#[repr(C)]
struct RawOutput {
    slot: i64,
    items: *const i64,
    count: usize,
}

unsafe extern "C" {
    fn rewind_node_call(
        operator: *const RawOperator,
        values: *const RawValue,
        value_count: usize,
        outputs: *const RawOutput,
        output_count: usize,
        out: *mut *mut RawNode,
    ) -> Text;
    fn rewind_node_arithmetic(
        arithmetic: i32,
        operands: *const RawWhole,
        count: usize,
        slot: i64,
        out: *mut *mut RawNode,
    ) -> Text;
    fn rewind_node_drops(node: *mut RawNode, slots: *const i64, count: usize) -> Text;
    fn rewind_node_free(node: *mut RawNode);
}

/// Why a node cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum NodeError {
    /// The operation has no parameter of this name.
    #[error("{operator} has no parameter {argument:?}; it takes {known}")]
    Unknown {
        operator: String,
        argument: String,
        known: String,
    },
    /// A parameter is given more than once.
    #[error("{operator}: argument {argument} is given twice")]
    Twice { operator: String, argument: String },
    /// A parameter without a default is not given.
    #[error("{operator}: argument {argument} is missing, expected {expected}")]
    Missing {
        operator: String,
        argument: String,
        expected: Type,
    },
    /// An argument is of another type.
    #[error("{operator}: argument {argument} is {got}, expected {expected}")]
    Type {
        operator: String,
        argument: String,
        got: String,
        expected: String,
    },
    /// The operation gives more results, or fewer.
    #[error("{operator} gives {gives} results, but places for {got} are given")]
    Results {
        operator: String,
        gives: usize,
        got: usize,
    },
    /// Something is to be stored as a list of tensors that is none.
    #[error("{operator}: result {at} is {gives}, expected a list of tensors")]
    NoList {
        operator: String,
        at: usize,
        gives: Type,
    },
    /// Arithmetic takes more operands, or fewer.
    #[error("{arithmetic:?} takes {expected} operands, not {got}")]
    Operands {
        arithmetic: Arithmetic,
        expected: usize,
        got: usize,
    },
    /// A failure inside libtorch.
    #[error(transparent)]
    Libtorch(#[from] ShimError),
}

/// Where a result of an operation goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Nowhere.
    None,
    /// To this slot.
    Slot(Slot),
    /// The tensors of a list to these slots; their number is checked when it is known.
    List(Vec<Option<Slot>>),
}

impl Output {
    fn slots(&self) -> impl Iterator<Item = Slot> {
        let (one, list) = match self {
            Self::None => (None, &[][..]),
            Self::Slot(slot) => (Some(*slot), &[][..]),
            Self::List(slots) => (None, &slots[..]),
        };
        one.into_iter().chain(list.iter().copied().flatten())
    }
}

/// What is computed of whole numbers, as Python computes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    /// `a + b`.
    Add,
    /// `a - b`.
    Sub,
    /// `a * b`.
    Mul,
    /// `a // b`, which rounds down.
    FloorDiv,
    /// `a % b`, which has the sign of `b`.
    Mod,
    /// `-a`.
    Neg,
    /// The smaller one.
    Min,
    /// The larger one.
    Max,
    /// `a == b`, a boolean, as the following.
    Eq,
    /// `a != b`.
    Ne,
    /// `a < b`.
    Lt,
    /// `a <= b`.
    Le,
    /// `a > b`.
    Gt,
    /// `a >= b`.
    Ge,
}

// What follows the arithmetic in dispatch.cpp.
const SIZE: i32 = Arithmetic::Ge as i32 + 1;
const STRIDE: i32 = SIZE + 1;
const NUMEL: i32 = STRIDE + 1;

/// One call of a network, for any number of passes and threads.
#[derive(Debug)]
pub struct Node {
    raw: NonNull<RawNode>,
    name: String,
    reads: Vec<Slot>,
    changes: Vec<Slot>,
    makes: Vec<Slot>,
    random: bool,
}

// SAFETY: the C++ reads it alone when it is called; its tensors and lists are counted atomically.
unsafe impl Send for Node {}
// SAFETY: as above.
unsafe impl Sync for Node {}

impl Node {
    /// A call of this operation. Arguments go by the schema's names; what is left out is the schema's default.
    ///
    /// # Errors
    /// If an argument is not of its parameter's type, is unknown, given twice or missing, or there is not one
    /// output for each result.
    pub fn call(
        operator: &Operator,
        arguments: &[(&str, Argument)],
        outputs: Vec<Output>,
    ) -> Result<Self, NodeError> {
        let values = values(operator, arguments)?;
        let values: Vec<RawValue> = values.iter().map(Converted::raw).collect();
        expect_places(operator, &outputs)?;
        let lists: Vec<Vec<i64>> = outputs
            .iter()
            .map(|output| match output {
                Output::List(slots) => slots.iter().map(|it| it.map_or(-1, Slot::raw)).collect(),
                _ => Vec::new(),
            })
            .collect();
        let places: Vec<RawOutput> = (outputs.iter().zip(&lists))
            .map(|(output, list)| RawOutput {
                slot: match output {
                    Output::Slot(slot) => slot.raw(),
                    _ => -1,
                },
                items: match output {
                    Output::List(_) => list.as_ptr(),
                    _ => null(),
                },
                count: list.len(),
            })
            .collect();
        let mut raw = null_mut();
        // SAFETY: the operation and all that the values and places point to outlive the call.
        let text = unsafe {
            rewind_node_call(
                operator.raw(),
                values.as_ptr(),
                values.len(),
                places.as_ptr(),
                places.len(),
                &mut raw,
            )
        };
        let writes = |name: &str| {
            let mut parameters = operator.parameters().iter();
            parameters.any(|it| it.name == name && it.writes)
        };
        let changed = arguments.iter().filter(|(name, _)| writes(name));
        Ok(Self {
            raw: made(text, raw)?,
            name: operator.name().to_owned(),
            reads: arguments.iter().flat_map(|(_, it)| it.slots()).collect(),
            changes: changed.flat_map(|(_, it)| it.slots()).collect(),
            makes: outputs.iter().flat_map(Output::slots).collect(),
            random: operator.is_random(),
        })
    }

    /// Arithmetic on whole numbers, without the dispatcher.
    ///
    /// # Errors
    /// If there are not as many operands as it takes.
    pub fn arithmetic(
        arithmetic: Arithmetic,
        operands: &[Whole],
        output: Slot,
    ) -> Result<Self, NodeError> {
        let expected = if arithmetic == Arithmetic::Neg { 1 } else { 2 };
        if operands.len() != expected {
            return Err(NodeError::Operands {
                arithmetic,
                expected,
                got: operands.len(),
            });
        }
        let reads = operands.iter().filter_map(|it| it.slot()).collect();
        let name = format!("{arithmetic:?}");
        Self::computed(arithmetic as i32, operands, name, reads, output)
    }

    /// The extent of this tensor's dimension; those below 0 count from the last.
    ///
    /// # Errors
    /// Libtorch's message.
    pub fn size(tensor: Slot, dimension: i64, output: Slot) -> Result<Self, NodeError> {
        Self::asked(SIZE, "size", tensor, dimension, output)
    }

    /// How far neighbours along this tensor's dimension lie apart.
    ///
    /// # Units
    /// Elements.
    ///
    /// # Errors
    /// Libtorch's message.
    pub fn stride(tensor: Slot, dimension: i64, output: Slot) -> Result<Self, NodeError> {
        Self::asked(STRIDE, "stride", tensor, dimension, output)
    }

    /// The number of this tensor's elements.
    ///
    /// # Errors
    /// Libtorch's message.
    pub fn numel(tensor: Slot, output: Slot) -> Result<Self, NodeError> {
        Self::asked(NUMEL, "numel", tensor, 0, output)
    }

    fn asked(
        what: i32,
        name: &str,
        tensor: Slot,
        dimension: i64,
        output: Slot,
    ) -> Result<Self, NodeError> {
        let operands = [Whole::Slot(tensor), Whole::Given(dimension)];
        Self::computed(what, &operands, name.to_owned(), vec![tensor], output)
    }

    fn computed(
        what: i32,
        operands: &[Whole],
        name: String,
        reads: Vec<Slot>,
        output: Slot,
    ) -> Result<Self, NodeError> {
        let operands: Vec<RawWhole> = operands.iter().map(|it| it.raw()).collect();
        let mut raw = null_mut();
        // SAFETY: the operands outlive the call, and are as many as `what` takes.
        let text = unsafe {
            rewind_node_arithmetic(
                what,
                operands.as_ptr(),
                operands.len(),
                output.raw(),
                &mut raw,
            )
        };
        Ok(Self {
            raw: made(text, raw)?,
            name,
            reads,
            changes: Vec::new(),
            makes: vec![output],
            random: false,
        })
    }

    /// What is called, such as `aten::add.Tensor`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The slots that it reads.
    pub fn reads(&self) -> &[Slot] {
        &self.reads
    }

    /// Those of them whose tensors it writes to.
    pub fn changes(&self) -> &[Slot] {
        &self.changes
    }

    /// The slots that it fills.
    pub fn makes(&self) -> &[Slot] {
        &self.makes
    }

    /// Whether it draws random numbers, from the default generator of its tensors' device.
    pub fn is_random(&self) -> bool {
        self.random
    }

    /// Has these slots emptied after the call, and no others.
    ///
    /// # Errors
    /// Libtorch's message.
    pub fn drop_after(&mut self, slots: &[Slot]) -> Result<(), NodeError> {
        let raw: Vec<i64> = slots.iter().map(|it| it.raw()).collect();
        // SAFETY: the list outlives the call, and nobody else has the node.
        let text = unsafe { rewind_node_drops(self.raw.as_ptr(), raw.as_ptr(), raw.len()) };
        Ok(check(text)?)
    }

    pub(super) fn raw(&self) -> *const RawNode {
        self.raw.as_ptr()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // SAFETY: it is ours, and not used again.
        unsafe { rewind_node_free(self.raw.as_ptr()) };
    }
}

/// Has each of these nodes, which are called in this order, empty the slots that none after it reads, so that an
/// activation lives no longer than autograd needs it. `kept` slots are read afterwards, or are not to be
/// set again for each pass.
///
/// # Errors
/// Libtorch's message.
pub fn drop_early(nodes: &mut [Node], kept: &[Slot]) -> Result<(), NodeError> {
    let mut later: HashSet<Slot> = kept.iter().copied().collect();
    for node in nodes.iter_mut().rev() {
        let touched = node.reads.iter().chain(&node.makes).copied();
        let last: Vec<Slot> = touched.filter(|slot| later.insert(*slot)).collect();
        node.drop_after(&last)?;
    }
    Ok(())
}

/// The C++'s new node, or its error.
fn made(text: Text, raw: *mut RawNode) -> Result<NonNull<RawNode>, ShimError> {
    check(text)?;
    NonNull::new(raw).ok_or_else(|| ShimError::new("no node was made".to_owned()))
}

/// A value for each parameter.
fn values<'a>(
    operator: &Operator,
    arguments: &'a [(&str, Argument)],
) -> Result<Vec<Converted<'a>>, NodeError> {
    let name = || operator.name().to_owned();
    let parameters = operator.parameters();
    let mut values: Vec<Option<Converted<'a>>> = parameters.iter().map(|_| None).collect();
    for (argument, given) in arguments {
        let mut all = parameters.iter().zip(&mut values);
        let Some((parameter, value)) = all.find(|(it, _)| it.name == *argument) else {
            let known: Vec<&str> = parameters.iter().map(|it| &it.name[..]).collect();
            return Err(NodeError::Unknown {
                operator: name(),
                argument: (*argument).to_owned(),
                known: known.join(", "),
            });
        };
        if value.is_some() {
            return Err(NodeError::Twice {
                operator: name(),
                argument: (*argument).to_owned(),
            });
        }
        let converted = given.converted(parameter);
        *value = Some(converted.ok_or_else(|| NodeError::Type {
            operator: name(),
            argument: parameter.name.clone(),
            got: given.to_string(),
            expected: if parameter.writes {
                format!("a slot with the {} that is written to", parameter.kind)
            } else {
                parameter.kind.to_string()
            },
        })?);
    }
    let all = parameters.iter().zip(values);
    all.map(|(parameter, value)| match (value, &parameter.kind) {
        (Some(value), _) => Ok(value),
        (None, _) if parameter.default.is_some() => Ok(Converted::default()),
        (None, Type::Optional(_)) => Ok(Converted::none()),
        (None, expected) => Err(NodeError::Missing {
            operator: name(),
            argument: parameter.name.clone(),
            expected: expected.clone(),
        }),
    })
    .collect()
}

/// Fails unless there is an output for each result.
fn expect_places(operator: &Operator, outputs: &[Output]) -> Result<(), NodeError> {
    let results = operator.results();
    if results.len() != outputs.len() {
        return Err(NodeError::Results {
            operator: operator.name().to_owned(),
            gives: results.len(),
            got: outputs.len(),
        });
    }
    let list = Type::List(Box::new(Type::Tensor));
    for (at, (gives, output)) in results.iter().zip(outputs).enumerate() {
        if matches!(output, Output::List(_)) && *gives != list {
            return Err(NodeError::NoList {
                operator: operator.name().to_owned(),
                at,
                gives: gives.clone(),
            });
        }
    }
    Ok(())
}
