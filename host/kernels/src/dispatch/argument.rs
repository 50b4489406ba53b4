//! Arguments of operations, as they are given and as they cross to the C++.

use std::ffi::c_void;
use std::fmt;
use std::ptr::null;
use std::slice;

use tch::{Device, Kind, Tensor};

use super::operator::{Parameter, Type};

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

// The same numbers stand in dispatch.cpp.
const NONE: i32 = 0;
const INT: i32 = 1;
const FLOAT: i32 = 2;
const BOOL: i32 = 3;
const STRING: i32 = 4;
const INTS: i32 = 5;
const FLOATS: i32 = 6;
const BOOLS: i32 = 7;
const DEVICE: i32 = 8;
const TENSOR: i32 = 9;
const WRAPPED_INT: i32 = 10;
const WRAPPED_FLOAT: i32 = 11;
const WRAPPED_BOOL: i32 = 12;
const DEFAULT: i32 = 13;
const SLOT: i32 = 14;
const SLOTS: i32 = 15;
const OPTIONAL_SLOTS: i32 = 16;
const INT_SLOTS: i32 = 17;

/// An argument as it crosses the boundary; `items` are what the kind says, booleans as whole numbers.
#[repr(C)]
pub(super) struct RawValue {
    kind: i32,
    whole: i64,
    real: f64,
    items: *const c_void,
    count: usize,
}

impl RawValue {
    /// The default that it describes.
    ///
    /// # Safety
    /// Its items are valid and of its kind.
    pub(super) unsafe fn read(&self) -> Argument {
        let truth = |whole: &i64| *whole != 0;
        // SAFETY: by the caller's promise.
        unsafe {
            match self.kind {
                INT => Argument::Int(self.whole),
                FLOAT => Argument::Float(self.real),
                BOOL => Argument::Bool(truth(&self.whole)),
                STRING => {
                    Argument::String(String::from_utf8_lossy(self.items_as::<u8>()).into_owned())
                }
                INTS => Argument::Ints(self.items_as::<i64>().to_vec()),
                FLOATS => Argument::Floats(self.items_as::<f64>().to_vec()),
                BOOLS => Argument::Bools(self.items_as::<i64>().iter().map(truth).collect()),
                _ => Argument::None,
            }
        }
    }

    /// # Safety
    /// Its items are valid and of this type.
    unsafe fn items_as<T>(&self) -> &[T] {
        if self.count == 0 {
            return &[];
        }
        // SAFETY: by the caller's promise.
        unsafe { slice::from_raw_parts(self.items.cast(), self.count) }
    }
}

/// A number, or the slot that holds it, or where there is a slot or none: then `slot` is -1 for none.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct RawWhole {
    slot: i64,
    value: i64,
}

impl RawWhole {
    fn of(slot: Option<Slot>) -> Self {
        let slot = slot.map_or(-1, Slot::raw);
        Self { slot, value: 0 }
    }
}

/// Items that an argument had to be converted to.
enum Items {
    None,
    Ints(Vec<i64>),
    Floats(Vec<f64>),
    Wholes(Vec<RawWhole>),
}

/// A value for the C++, with what it points to.
pub(super) struct Converted<'a> {
    value: RawValue,
    items: Items,
    // The argument that the value may point into.
    _of: std::marker::PhantomData<&'a Argument>,
}

impl Converted<'_> {
    /// The schema's default.
    pub(super) fn default() -> Self {
        Self::plain(DEFAULT)
    }

    /// Nothing.
    pub(super) fn none() -> Self {
        Self::plain(NONE)
    }

    /// Valid while `self` lives and is not moved from.
    pub(super) fn raw(&self) -> RawValue {
        let (items, count) = match &self.items {
            Items::None => (self.value.items, self.value.count),
            Items::Ints(items) => (items.as_ptr().cast(), items.len()),
            Items::Floats(items) => (items.as_ptr().cast(), items.len()),
            Items::Wholes(items) => (items.as_ptr().cast(), items.len()),
        };
        RawValue {
            items,
            count,
            ..self.value
        }
    }

    fn new(kind: i32, whole: i64, real: f64, items: Items) -> Self {
        Self {
            value: RawValue {
                kind,
                whole,
                real,
                items: null(),
                count: 0,
            },
            items,
            _of: std::marker::PhantomData,
        }
    }

    fn plain(kind: i32) -> Self {
        Self::new(kind, 0, 0.0, Items::None)
    }

    fn whole(kind: i32, whole: i64) -> Self {
        Self::new(kind, whole, 0.0, Items::None)
    }

    fn real(kind: i32, real: f64) -> Self {
        Self::new(kind, 0, real, Items::None)
    }

    fn ints(kind: i32, items: Vec<i64>) -> Self {
        Self::new(kind, 0, 0.0, Items::Ints(items))
    }

    fn floats(items: Vec<f64>) -> Self {
        Self::new(FLOATS, 0, 0.0, Items::Floats(items))
    }

    fn wholes(kind: i32, items: Vec<RawWhole>) -> Self {
        Self::new(kind, 0, 0.0, Items::Wholes(items))
    }

    fn borrowed(kind: i32, items: *const c_void, count: usize) -> Self {
        let mut converted = Self::plain(kind);
        converted.value.items = items;
        converted.value.count = count;
        converted
    }
}

/// Libtorch's number of a kind.
fn number_of(kind: Kind) -> i64 {
    match kind {
        Kind::Uint8 => 0,
        Kind::Int8 => 1,
        Kind::Int16 => 2,
        Kind::Int => 3,
        Kind::Int64 => 4,
        Kind::Half => 5,
        Kind::Float => 6,
        Kind::Double => 7,
        Kind::ComplexHalf => 8,
        Kind::ComplexFloat => 9,
        Kind::ComplexDouble => 10,
        Kind::Bool => 11,
        Kind::QInt8 => 12,
        Kind::QUInt8 => 13,
        Kind::QInt32 => 14,
        Kind::BFloat16 => 15,
        Kind::Float8e5m2 => 23,
        Kind::Float8e4m3fn => 24,
        Kind::Float8e5m2fnuz => 25,
        Kind::Float8e4m3fnuz => 26,
    }
}

/// The shim's number of a device, if it knows it.
pub(super) fn number_of_device(device: Device) -> Option<i64> {
    match device {
        Device::Cpu => Some(-1),
        Device::Cuda(index) => i8::try_from(index).ok().map(i64::from),
        Device::Mps => Some(-2),
        Device::Vulkan => None,
    }
}
