//! Arguments of operations, and whether they fit.

use std::fmt;

use tch::{Device, Kind, Tensor};

use super::error::NodeError;
use super::operator::{Operator, Parameter, Type};
use super::raw::*;

/// A place of a [`Frame`](super::Frame).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u32);

impl Slot {
    pub(super) fn raw(self) -> i64 {
        i64::from(self.0)
    }
}

/// A whole number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whole {
    /// This one.
    Given(i64),
    /// The one in this slot.
    Slot(Slot),
}

impl Whole {
    pub(super) fn slot(self) -> Option<Slot> {
        match self {
            Self::Given(_) => None,
            Self::Slot(slot) => Some(slot),
        }
    }

    pub(super) fn raw(self) -> RawWhole {
        match self {
            Self::Given(value) => RawWhole { slot: -1, value },
            Self::Slot(slot) => RawWhole::of(Some(slot)),
        }
    }
}

/// In which order dimensions lie in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryFormat {
    /// The last dimension is dense.
    Contiguous,
    /// As it was.
    Preserve,
    /// Channels of images are dense.
    ChannelsLast,
    /// Channels of volumes are dense.
    ChannelsLast3d,
}

/// What a parameter is given.
///
/// A whole number does for any kind of number, and a number for a tensor: there it takes part in the promotion of
/// kinds as it does in Python.
#[derive(Debug)]
pub enum Argument {
    /// Nothing, where the parameter is optional.
    None,
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// A text.
    String(String),
    /// Whole numbers, or as many numbers.
    Ints(Vec<i64>),
    /// Numbers.
    Floats(Vec<f64>),
    /// Booleans.
    Bools(Vec<bool>),
    /// A kind of numbers.
    ScalarType(Kind),
    /// An order of dimensions.
    MemoryFormat(MemoryFormat),
    /// The layout of all tensors that are not sparse.
    Strided,
    /// Where the result lies. A network's archive names the device that it was exported on: give the one that
    /// it runs on.
    Device(Device),
    /// A constant.
    Tensor(Tensor),
    /// What is in this slot.
    Slot(Slot),
    /// The tensors in these slots.
    Slots(Vec<Slot>),
    /// The tensors in these slots, and nothing between them.
    OptionalSlots(Vec<Option<Slot>>),
    /// Whole numbers, some of them from slots.
    IntSlots(Vec<Whole>),
}

impl Argument {
    /// The slots that it is read from.
    pub(super) fn slots(&self) -> Vec<Slot> {
        match self {
            Self::Slot(slot) => vec![*slot],
            Self::Slots(slots) => slots.clone(),
            Self::OptionalSlots(slots) => slots.iter().copied().flatten().collect(),
            Self::IntSlots(numbers) => numbers.iter().filter_map(|it| it.slot()).collect(),
            _ => Vec::new(),
        }
    }

    /// What the C++ is given for this parameter, or none if it is of another type.
    pub(super) fn converted(&self, parameter: &Parameter) -> Option<Converted<'_>> {
        match &parameter.kind {
            Type::Optional(inner) => match self {
                Self::None => Some(Converted::plain(NONE)),
                _ => self.converted_to(inner, parameter),
            },
            kind => self.converted_to(kind, parameter),
        }
    }

    fn converted_to(&self, kind: &Type, parameter: &Parameter) -> Option<Converted<'_>> {
        Some(match (self, kind) {
            (Self::Slot(slot), kind) if kind.is_known() => Converted::whole(SLOT, slot.raw()),
            (Self::Int(number), Type::Int | Type::Scalar) => Converted::whole(INT, *number),
            (Self::Int(number), Type::Float) => Converted::real(FLOAT, *number as f64),
            (Self::Float(number), Type::Float | Type::Scalar) => Converted::real(FLOAT, *number),
            (Self::Bool(truth), Type::Bool | Type::Scalar) => {
                Converted::whole(BOOL, i64::from(*truth))
            }
            // What the operation writes to is no number.
            (Self::Int(number), Type::Tensor) if !parameter.writes => {
                Converted::whole(WRAPPED_INT, *number)
            }
            (Self::Float(number), Type::Tensor) if !parameter.writes => {
                Converted::real(WRAPPED_FLOAT, *number)
            }
            (Self::Bool(truth), Type::Tensor) if !parameter.writes => {
                Converted::whole(WRAPPED_BOOL, i64::from(*truth))
            }
            (Self::Tensor(tensor), Type::Tensor) if !parameter.writes => {
                Converted::borrowed(TENSOR, tensor.as_ptr().cast(), 1)
            }
            (Self::String(text), Type::String) => {
                Converted::borrowed(STRING, text.as_ptr().cast(), text.len())
            }
            (Self::ScalarType(kind), Type::ScalarType) => Converted::whole(INT, number_of(*kind)),
            (Self::MemoryFormat(format), Type::MemoryFormat) => {
                let number = match format {
                    MemoryFormat::Contiguous => 0,
                    MemoryFormat::Preserve => 1,
                    MemoryFormat::ChannelsLast => 2,
                    MemoryFormat::ChannelsLast3d => 3,
                };
                Converted::whole(INT, number)
            }
            (Self::Strided, Type::Layout) => Converted::whole(INT, 0),
            (Self::Device(device), Type::Device) => {
                Converted::whole(DEVICE, number_of_device(*device)?)
            }
            (argument, Type::List(inner)) => return argument.converted_to_list(inner, parameter),
            _ => return None,
        })
    }

    fn converted_to_list(&self, inner: &Type, parameter: &Parameter) -> Option<Converted<'_>> {
        Some(match (self, inner) {
            (Self::Int(number), Type::Int) => {
                Converted::ints(INTS, vec![*number; parameter.repeats?])
            }
            (Self::Int(number), Type::Float) => {
                Converted::floats(vec![*number as f64; parameter.repeats?])
            }
            (Self::Float(number), Type::Float) => {
                Converted::floats(vec![*number; parameter.repeats?])
            }
            (Self::Ints(numbers), Type::Int) => {
                Converted::borrowed(INTS, numbers.as_ptr().cast(), numbers.len())
            }
            (Self::Ints(numbers), Type::Float) => {
                Converted::floats(numbers.iter().map(|it| *it as f64).collect())
            }
            (Self::Floats(numbers), Type::Float) => {
                Converted::borrowed(FLOATS, numbers.as_ptr().cast(), numbers.len())
            }
            (Self::Bools(truths), Type::Bool) => {
                Converted::ints(BOOLS, truths.iter().map(|it| i64::from(*it)).collect())
            }
            // An empty list says nothing of what would be in it.
            (Self::Ints(numbers), Type::Bool) if numbers.is_empty() => {
                Converted::ints(BOOLS, Vec::new())
            }
            (Self::IntSlots(numbers), Type::Int) => {
                Converted::wholes(INT_SLOTS, numbers.iter().map(|it| it.raw()).collect())
            }
            (Self::Slots(slots), Type::Tensor) => {
                let raw = slots.iter().map(|it| RawWhole::of(Some(*it)));
                Converted::wholes(SLOTS, raw.collect())
            }
            (Self::Slots(slots), Type::Optional(inner)) if **inner == Type::Tensor => {
                let raw = slots.iter().map(|it| RawWhole::of(Some(*it)));
                Converted::wholes(OPTIONAL_SLOTS, raw.collect())
            }
            (Self::OptionalSlots(slots), Type::Optional(inner)) if **inner == Type::Tensor => {
                let raw = slots.iter().map(|it| RawWhole::of(*it));
                Converted::wholes(OPTIONAL_SLOTS, raw.collect())
            }
            _ => return None,
        })
    }
}

impl fmt::Display for Argument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Int(number) => write!(f, "the int {number}"),
            Self::Float(number) => write!(f, "the float {number:?}"),
            Self::Bool(truth) => write!(f, "the bool {truth}"),
            Self::String(text) => write!(f, "the text {text:?}"),
            Self::Ints(numbers) => write!(f, "the ints {numbers:?}"),
            Self::Floats(numbers) => write!(f, "the floats {numbers:?}"),
            Self::Bools(truths) => write!(f, "the bools {truths:?}"),
            Self::ScalarType(kind) => write!(f, "the ScalarType {kind:?}"),
            Self::MemoryFormat(format) => write!(f, "the MemoryFormat {format:?}"),
            Self::Strided => f.write_str("the Layout strided"),
            Self::Device(device) => write!(f, "the Device {device:?}"),
            Self::Tensor(tensor) => write!(f, "a constant tensor {:?}", tensor.size()),
            Self::Slot(slot) => write!(f, "slot {}", slot.0),
            Self::Slots(_) => f.write_str("a list of tensors"),
            Self::OptionalSlots(_) => f.write_str("a list of tensors and nothing"),
            Self::IntSlots(_) => f.write_str("ints from slots"),
        }
    }
}

/// A value for each parameter, in the schema's order.
pub(super) fn values<'a>(
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
