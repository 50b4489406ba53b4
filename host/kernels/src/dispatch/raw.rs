//! Arguments as they cross to the C++.

use std::ffi::c_void;
use std::marker::PhantomData;
use std::ptr::null;
use std::slice;

use tch::{Device, Kind};

use super::argument::{Argument, Slot};

// The same numbers stand in dispatch.cpp.
pub(super) const NONE: i32 = 0;
pub(super) const INT: i32 = 1;
pub(super) const FLOAT: i32 = 2;
pub(super) const BOOL: i32 = 3;
pub(super) const STRING: i32 = 4;
pub(super) const INTS: i32 = 5;
pub(super) const FLOATS: i32 = 6;
pub(super) const BOOLS: i32 = 7;
pub(super) const DEVICE: i32 = 8;
pub(super) const TENSOR: i32 = 9;
pub(super) const WRAPPED_INT: i32 = 10;
pub(super) const WRAPPED_FLOAT: i32 = 11;
pub(super) const WRAPPED_BOOL: i32 = 12;
pub(super) const DEFAULT: i32 = 13;
pub(super) const SLOT: i32 = 14;
pub(super) const SLOTS: i32 = 15;
pub(super) const OPTIONAL_SLOTS: i32 = 16;
pub(super) const INT_SLOTS: i32 = 17;

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
    pub(super) slot: i64,
    pub(super) value: i64,
}

impl RawWhole {
    pub(super) fn of(slot: Option<Slot>) -> Self {
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
    _of: PhantomData<&'a Argument>,
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
            _of: PhantomData,
        }
    }

    pub(super) fn plain(kind: i32) -> Self {
        Self::new(kind, 0, 0.0, Items::None)
    }

    pub(super) fn whole(kind: i32, whole: i64) -> Self {
        Self::new(kind, whole, 0.0, Items::None)
    }

    pub(super) fn real(kind: i32, real: f64) -> Self {
        Self::new(kind, 0, real, Items::None)
    }

    pub(super) fn ints(kind: i32, items: Vec<i64>) -> Self {
        Self::new(kind, 0, 0.0, Items::Ints(items))
    }

    pub(super) fn floats(items: Vec<f64>) -> Self {
        Self::new(FLOATS, 0, 0.0, Items::Floats(items))
    }

    pub(super) fn wholes(kind: i32, items: Vec<RawWhole>) -> Self {
        Self::new(kind, 0, 0.0, Items::Wholes(items))
    }

    pub(super) fn borrowed(kind: i32, items: *const c_void, count: usize) -> Self {
        let mut converted = Self::plain(kind);
        converted.value.items = items;
        converted.value.count = count;
        converted
    }
}

/// Libtorch's number of a kind.
pub(super) fn number_of(kind: Kind) -> i64 {
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
