//! Operations and their schemas.

use std::ffi::{CStr, CString, c_char, c_void};
use std::fmt;
use std::ptr::{NonNull, null_mut};

use super::argument::{Argument, RawValue};
use crate::shim::{ShimError, Text, check};

/// An operation of the C++.
#[repr(C)]
pub(super) struct RawOperator {
    _private: [u8; 0],
}

/// A parameter as the C++ describes it.
#[repr(C)]
struct RawParameter {
    name: *const c_char,
    kind: *const c_char,
    default: *const RawValue,
    repeats: i32,
    writes: bool,
}

unsafe extern "C" {
    fn rewind_operator_find(
        name: *const c_char,
        overload: *const c_char,
        out: *mut *mut RawOperator,
    ) -> Text;
    fn rewind_operator_free(operator: *mut RawOperator);
    fn rewind_operator_is_random(operator: *const RawOperator) -> bool;
    fn rewind_operator_describe(
        operator: *const RawOperator,
        state: *mut c_void,
        parameter: unsafe extern "C" fn(*mut c_void, *const RawParameter),
        result: unsafe extern "C" fn(*mut c_void, *const c_char),
    ) -> Text;
}

/// What a parameter takes, or an operation gives; shown as in libtorch's schemas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    /// A tensor, or a number that stands for one.
    Tensor,
    /// A whole number, a number or a boolean.
    Scalar,
    /// A whole number.
    Int,
    /// A number.
    Float,
    /// True or false.
    Bool,
    /// A text.
    String,
    /// A kind of numbers.
    ScalarType,
    /// An order of dimensions in memory.
    MemoryFormat,
    /// Strided or sparse.
    Layout,
    /// A device.
    Device,
    /// A generator of random numbers. There is no argument of this type: what is left out is the default one.
    Generator,
    /// Another type, by its name. There is no argument of it.
    Other(String),
    /// A list of these.
    List(Box<Type>),
    /// One of these, or none.
    Optional(Box<Type>),
}

impl Type {
    /// Whether there are arguments of it.
    pub(super) fn is_known(&self) -> bool {
        match self {
            Self::Generator | Self::Other(_) => false,
            Self::List(inner) | Self::Optional(inner) => inner.is_known(),
            _ => true,
        }
    }

    /// Reads it from a schema.
    fn read(text: &str) -> Self {
        if let Some(inner) = text.strip_suffix('?') {
            return Self::Optional(Box::new(Self::read(inner)));
        }
        if let Some(inner) = text.strip_suffix("[]") {
            return Self::List(Box::new(Self::read(inner)));
        }
        match text {
            "Tensor" => Self::Tensor,
            "Scalar" => Self::Scalar,
            "int" | "SymInt" => Self::Int,
            "float" => Self::Float,
            "bool" => Self::Bool,
            "str" => Self::String,
            "ScalarType" => Self::ScalarType,
            "MemoryFormat" => Self::MemoryFormat,
            "Layout" => Self::Layout,
            "Device" => Self::Device,
            "Generator" => Self::Generator,
            other => Self::Other(other.to_owned()),
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tensor => f.write_str("Tensor"),
            Self::Scalar => f.write_str("Scalar"),
            Self::Int => f.write_str("int"),
            Self::Float => f.write_str("float"),
            Self::Bool => f.write_str("bool"),
            Self::String => f.write_str("str"),
            Self::ScalarType => f.write_str("ScalarType"),
            Self::MemoryFormat => f.write_str("MemoryFormat"),
            Self::Layout => f.write_str("Layout"),
            Self::Device => f.write_str("Device"),
            Self::Generator => f.write_str("Generator"),
            Self::Other(name) => f.write_str(name),
            Self::List(inner) => write!(f, "{inner}[]"),
            Self::Optional(inner) => write!(f, "{inner}?"),
        }
    }
}

/// A parameter of an operation.
#[derive(Debug)]
pub struct Parameter {
    /// Its name in the schema.
    pub name: String,
    /// What it takes.
    pub kind: Type,
    /// What it is if left out; libtorch's number for memory formats and the like. None: it must be given.
    pub default: Option<Argument>,
    /// How many items a single number stands for, where a list of numbers is taken.
    pub repeats: Option<usize>,
    /// Whether the operation may write to it. Batch norms write to running statistics in training, though their
    /// schemas do not say so.
    pub writes: bool,
}

/// An operation of libtorch.
#[derive(Debug)]
pub struct Operator {
    raw: NonNull<RawOperator>,
    name: String,
    parameters: Vec<Parameter>,
    results: Vec<Type>,
}

// SAFETY: the C++ keeps a reference to the dispatcher's entry, which any thread may read.
unsafe impl Send for Operator {}
// SAFETY: as above; nothing changes it.
unsafe impl Sync for Operator {}

impl Operator {
    /// Looks up the operation with this name, such as `aten::add`, and overload, such as `Tensor`, or the
    /// empty text for the one that has none.
    ///
    /// # Errors
    /// If there is none; the message names it.
    pub fn find(name: &str, overload: &str) -> Result<Self, ShimError> {
        let dot = if overload.is_empty() { "" } else { "." };
        let full = format!("{name}{dot}{overload}");
        let c_string = |text: &str| {
            CString::new(text).map_err(|_| ShimError::new(format!("{full:?} has a zero byte")))
        };
        let (c_name, c_overload) = (c_string(name)?, c_string(overload)?);
        let mut raw = null_mut();
        // SAFETY: both texts outlive the call; on success `raw` is an operation that is ours.
        check(unsafe { rewind_operator_find(c_name.as_ptr(), c_overload.as_ptr(), &mut raw) })?;
        let raw = NonNull::new(raw).ok_or_else(|| ShimError::new(format!("no {full}")))?;
        let mut operator = Self {
            raw,
            name: full,
            parameters: Vec::new(),
            results: Vec::new(),
        };
        let state: *mut Self = &mut operator;
        // SAFETY: the C++ calls both functions with `state` during the call alone, one at a time, and what
        // they are given is valid while they run.
        check(unsafe {
            rewind_operator_describe(raw.as_ptr(), state.cast(), add_parameter, add_result)
        })?;
        Ok(operator)
    }

    /// Its name and overload, such as `aten::add.Tensor`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it takes, in the schema's order.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// What it gives, in the schema's order.
    pub fn results(&self) -> &[Type] {
        &self.results
    }

    /// Whether it draws random numbers.
    pub fn is_random(&self) -> bool {
        // SAFETY: the operation lives as long as `self`.
        unsafe { rewind_operator_is_random(self.raw.as_ptr()) }
    }

    pub(super) fn raw(&self) -> *const RawOperator {
        self.raw.as_ptr()
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        // SAFETY: it is ours, and not used again.
        unsafe { rewind_operator_free(self.raw.as_ptr()) };
    }
}

/// # Safety
/// `text` ends in a zero byte.
unsafe fn text_of(text: *const c_char) -> String {
    // SAFETY: by the caller's promise.
    unsafe { CStr::from_ptr(text) }
        .to_string_lossy()
        .into_owned()
}

/// # Safety
/// `state` is the operator that is being described, and all pointers of `parameter` are valid.
unsafe extern "C" fn add_parameter(state: *mut c_void, parameter: *const RawParameter) {
    // SAFETY: by the caller's promise.
    let (operator, parameter) = unsafe { (&mut *state.cast::<Operator>(), &*parameter) };
    // SAFETY: as above; no default is a null.
    let (name, kind, default) = unsafe {
        (
            text_of(parameter.name),
            text_of(parameter.kind),
            parameter.default.as_ref().map(|it| it.read()),
        )
    };
    let unsaid = name.starts_with("running_") && operator.name.contains("_norm");
    operator.parameters.push(Parameter {
        name,
        kind: Type::read(&kind),
        default,
        repeats: usize::try_from(parameter.repeats).ok().filter(|n| *n > 0),
        writes: parameter.writes || unsaid,
    });
}

/// # Safety
/// `state` is the operator that is being described, and `kind` ends in a zero byte.
unsafe extern "C" fn add_result(state: *mut c_void, kind: *const c_char) {
    // SAFETY: by the caller's promise.
    unsafe {
        let operator = &mut *state.cast::<Operator>();
        operator.results.push(Type::read(&text_of(kind)));
    }
}
