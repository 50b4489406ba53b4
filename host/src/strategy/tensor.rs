//! The host's side of a plugin's tensor handle.

#![allow(unsafe_code)]

use std::ffi::c_void;

use abi_stable::std_types::{RResult, RSlice, RVec};
use abi_stable::type_level::downcasting::TD_CanDowncast;
use kernels::elementwise::{Binary, Operand, Unary, unary};
use kernels::shim;
use plugin_api::abi::{
    AbiError, AbiResult, DType, ErrorCode, Op, RawSlice, TensorBox, TensorInfo, TensorObject,
};
use tch::{Device, Kind, TchError, Tensor};

use super::loan::Owner;
use super::select;
use super::tape::Node;

/// A tensor of the host's behind a plugin's handle, with its place where it is written down how it came to be.
pub struct HostTensor(Tensor, Owner, Option<usize>);

impl Clone for HostTensor {
    fn clone(&self) -> Self {
        Self(self.0.shallow_clone(), self.1.clone(), self.2)
    }
}

/// Hands a tensor to a component.
pub fn lend(tensor: &Tensor, owner: &Owner) -> TensorBox {
    lend_from(
        tensor,
        owner,
        Node::Other("a tensor that is no part of the step"),
    )
}

/// Hands a tensor to a component, and writes down where it comes from where that is asked for.
pub(super) fn lend_from(tensor: &Tensor, owner: &Owner, node: Node) -> TensorBox {
    let tensor = HostTensor(tensor.shallow_clone(), owner.clone(), owner.push(node));
    TensorBox::from_value(tensor, TD_CanDowncast)
}

/// The place of a handle's tensor where it is written down how it came to be.
pub(super) fn place_of(handle: &TensorBox) -> Option<usize> {
    handle.obj.downcast_as::<HostTensor>().ok()?.2
}

/// Why a handle is not taken, completing "... is ".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The plugin made it itself.
    #[error("not a tensor of this host")]
    Foreign,
    /// It was lent to another component, or for another seed.
    #[error("a tensor that was lent to another component or seed")]
    OfAnother,
}

/// Takes back a tensor that a component hands over.
///
/// # Errors
/// If it is not one of its own.
pub fn take(handle: &TensorBox, owner: &Owner) -> Result<Tensor, Refused> {
    let tensor = handle.obj.downcast_as::<HostTensor>();
    let HostTensor(tensor, own, _) = tensor.map_err(|_| Refused::Foreign)?;
    match own.is(owner) {
        true => Ok(tensor.shallow_clone()),
        false => Err(Refused::OfAnother),
    }
}

pub use kernels::{elements, elements_mut};

/// libtorch's message without its backtrace.
pub fn message(error: &TchError) -> String {
    let text = error.to_string();
    let end = text.find("\nException raised from").unwrap_or(text.len());
    text[..end].trim_end().to_owned()
}

/// An error of a call, for the plugin.
pub fn failed(message: impl Into<String>) -> AbiError {
    AbiError {
        code: ErrorCode::FAILED,
        message: message.into().into(),
    }
}

fn unsupported(what: String) -> AbiError {
    AbiError {
        code: ErrorCode::UNSUPPORTED,
        message: what.into(),
    }
}

/// Runs an operation of libtorch without recording it for differentiation.
fn compute(
    op: Op,
    owner: &Owner,
    work: impl FnOnce() -> Result<Tensor, TchError>,
) -> AbiResult<TensorBox> {
    match tch::no_grad(work) {
        Ok(result) => RResult::ROk(lend(&result, owner)),
        Err(error) => RResult::RErr(failed(format!("{}: {}", op.name(), message(&error)))),
    }
}

/// Arguments of an operation, with an error that names what is missing.
struct Arguments<'a> {
    op: Op,
    owner: &'a Owner,
    operands: RSlice<'a, TensorBox>,
    ints: &'a [i64],
    floats: &'a [f64],
}

impl Arguments<'_> {
    fn operand(&self, place: usize) -> Result<Tensor, AbiError> {
        let handle = self.operands.get(place).ok_or_else(|| {
            failed(format!(
                "{}: operand {} is missing",
                self.op.name(),
                place + 1
            ))
        })?;
        take(handle, self.owner).map_err(|refused| {
            let op = self.op.name();
            failed(format!("{op}: operand {} is {refused}", place + 1))
        })
    }

    fn int(&self, place: usize) -> Result<i64, AbiError> {
        self.ints.get(place).copied().ok_or_else(|| {
            failed(format!(
                "{}: whole number {} is missing",
                self.op.name(),
                place + 1
            ))
        })
    }

    fn float(&self, place: usize) -> Result<f64, AbiError> {
        self.floats.get(place).copied().ok_or_else(|| {
            failed(format!(
                "{}: number {} is missing",
                self.op.name(),
                place + 1
            ))
        })
    }
}

/// The powers that libtorch computes without a logarithm.
fn power(exponent: f32) -> Option<Unary> {
    Some(match exponent {
        0.5 => Unary::Sqrt,
        2.0 => Unary::Square,
        -1.0 => Unary::Reciprocal,
        _ => return None,
    })
}

fn kind_of(dtype: i64) -> Option<Kind> {
    match u32::try_from(dtype).map(DType).ok()? {
        DType::F32 => Some(Kind::Float),
        DType::F64 => Some(Kind::Double),
        DType::I64 => Some(Kind::Int64),
        _ => None,
    }
}

/// What a component does that looks at elements.
const READS: &str = "reads elements of a tensor";

/// Operations on elements that have no number beside them.
fn unary_of(op: Op) -> Option<Unary> {
    Some(match op {
        Op::NEG => Unary::Neg,
        Op::ABS => Unary::Abs,
        Op::SIGN => Unary::Sign,
        Op::SQRT => Unary::Sqrt,
        Op::SQUARE => Unary::Square,
        Op::EXP => Unary::Exp,
        Op::LOG => Unary::Log,
        Op::RECIPROCAL => Unary::Reciprocal,
        Op::TANH => Unary::Tanh,
        Op::IS_FINITE => Unary::IsFinite,
        _ => return None,
    })
}

/// Operations on the elements of two tensors, or of one and a number.
fn binary_of(op: Op) -> Option<Binary> {
    Some(match op {
        Op::ADD | Op::ADD_SCALAR => Binary::Add,
        Op::SUB => Binary::Sub,
        Op::MUL | Op::MUL_SCALAR => Binary::Mul,
        Op::DIV => Binary::Div,
        Op::MAXIMUM => Binary::Maximum,
        Op::MINIMUM => Binary::Minimum,
        Op::GT | Op::GT_SCALAR => Binary::Gt,
        Op::GE | Op::GE_SCALAR => Binary::Ge,
        Op::LT | Op::LT_SCALAR => Binary::Lt,
        Op::LE | Op::LE_SCALAR => Binary::Le,
        Op::EQ | Op::EQ_SCALAR => Binary::Eq,
        _ => return None,
    })
}

impl HostTensor {
    /// The function of ours, whose bits are those of a step that is replayed; none where nothing is replayed.
    fn own(&self, op: Unary) -> Option<Tensor> {
        if !self.1.records() || self.0.device() != Device::Cpu || self.0.kind() != Kind::Float {
            return None;
        }
        let operand = self.0.contiguous();
        let mut result = operand.empty_like();
        unary(
            op,
            Operand::Array(elements(&operand)?),
            elements_mut(&mut result)?,
        );
        Some(result)
    }

    /// The same result of an operation, with how it came to be written down.
    fn written(&self, made: TensorBox, arguments: &Arguments<'_>) -> TensorBox {
        let Ok(tensor) = take(&made, &self.1) else {
            return made;
        };
        let node = self.node(&tensor, arguments);
        let node = node.unwrap_or(Node::Other(arguments.op.name()));
        lend_from(&tensor, &self.1, node)
    }

    /// How the result of an operation came to be, if it is one on elements of tensors of one shape and of numbers.
    fn node(&self, result: &Tensor, arguments: &Arguments<'_>) -> Option<Node> {
        let op = arguments.op;
        let of = |handle: &TensorBox| {
            let HostTensor(tensor, _, place) = handle.obj.downcast_as::<Self>().ok()?;
            // A number is the same for every element, all else is of the result's shape.
            let fits = tensor.size().is_empty() || tensor.size() == result.size();
            (fits && tensor.kind() == Kind::Float).then_some((*place)?)
        };
        let fits = self.0.size().is_empty() || self.0.size() == result.size();
        let x = self
            .2
            .filter(|_| fits && self.0.kind() == Kind::Float && result.kind() == Kind::Float)?;
        let operands: Vec<usize> = (arguments.operands.iter()).map(of).collect::<Option<_>>()?;
        let number = |at: usize| arguments.floats.get(at).map(|it| *it as f32);
        if let Some(op) = unary_of(op) {
            return Some(Node::Unary(op, x));
        }
        if let (Some(op), [y]) = (binary_of(op), operands.as_slice()) {
            return Some(Node::Binary(op, x, *y));
        }
        if let (Some(op), []) = (binary_of(op), operands.as_slice()) {
            let y = self.1.push(Node::Constant(number(0)?))?;
            return Some(Node::Binary(op, x, y));
        }
        Some(match (op, operands.as_slice()) {
            (Op::COPY | Op::CAST, []) => {
                Node::Binary(Binary::Mul, x, self.1.push(Node::Constant(1.0))?)
            }
            (Op::POW_SCALAR, []) => Node::Unary(power(number(0)?)?, x),
            (Op::CLAMP, []) => Node::Clamp(x, number(0)?, number(1)?),
            (Op::FULL_LIKE, []) => Node::Constant(number(0)?),
            (Op::WHERE, [kept, other]) => Node::Select(x, *kept, *other),
            _ => return None,
        })
    }

    fn reduce(&self, op: Op, dims: &[i64]) -> AbiResult<TensorBox> {
        let x = &self.0;
        compute(op, &self.1, || match (op, dims) {
            (Op::SUM, []) => x.f_sum(x.kind()),
            (Op::SUM, dims) => x.f_sum_dim_intlist(dims, true, x.kind()),
            (Op::MEAN, []) => x.f_mean(x.kind()),
            (Op::MEAN, dims) => x.f_mean_dim(dims, true, x.kind()),
            (Op::MAX, []) => x.f_max(),
            (Op::MAX, dims) => x.f_amax(dims, true),
            (_, []) => x.f_min(),
            (_, dims) => x.f_amin(dims, true),
        })
    }

    fn unary(&self, op: Op) -> Option<AbiResult<TensorBox>> {
        let x = &self.0;
        if let Some(own) = unary_of(op).and_then(|op| self.own(op)) {
            return Some(compute(op, &self.1, || Ok(own)));
        }
        Some(match op {
            Op::NEG => compute(op, &self.1, || x.f_neg()),
            Op::ABS => compute(op, &self.1, || x.f_abs()),
            Op::SIGN => compute(op, &self.1, || x.f_sign()),
            Op::SQRT => compute(op, &self.1, || x.f_sqrt()),
            Op::SQUARE => compute(op, &self.1, || x.f_square()),
            Op::EXP => compute(op, &self.1, || x.f_exp()),
            Op::LOG => compute(op, &self.1, || x.f_log()),
            Op::TANH => compute(op, &self.1, || x.f_tanh()),
            Op::RECIPROCAL => compute(op, &self.1, || x.f_reciprocal()),
            Op::COPY => compute(op, &self.1, || Ok(x.copy())),
            Op::IS_FINITE => compute(op, &self.1, || x.f_isfinite()?.f_to_kind(Kind::Float)),
            _ => return None,
        })
    }

    fn scalar(
        &self,
        op: Op,
        arguments: &Arguments<'_>,
    ) -> Result<Option<AbiResult<TensorBox>>, AbiError> {
        let x = &self.0;
        let truth = |compared: Result<Tensor, TchError>| compared?.f_to_kind(Kind::Float);
        Ok(Some(match op {
            Op::ADD_SCALAR => {
                let value = arguments.float(0)?;
                compute(op, &self.1, || x.f_add_scalar(value))
            }
            Op::MUL_SCALAR => {
                let value = arguments.float(0)?;
                compute(op, &self.1, || x.f_mul_scalar(value))
            }
            Op::POW_SCALAR => {
                let value = arguments.float(0)?;
                match power(value as f32).and_then(|op| self.own(op)) {
                    Some(own) => compute(op, &self.1, || Ok(own)),
                    None => compute(op, &self.1, || x.f_pow_tensor_scalar(value)),
                }
            }
            Op::CLAMP => {
                let (low, high) = (arguments.float(0)?, arguments.float(1)?);
                compute(op, &self.1, || x.f_clamp(low, high))
            }
            Op::FULL_LIKE => {
                let value = arguments.float(0)?;
                compute(op, &self.1, || x.f_full_like(value))
            }
            Op::GT_SCALAR => {
                let value = arguments.float(0)?;
                compute(op, &self.1, || truth(x.f_gt(value)))
            }
            Op::GE_SCALAR => {
                let value = arguments.float(0)?;
                compute(op, &self.1, || truth(x.f_ge(value)))
            }
            Op::LT_SCALAR => {
                let value = arguments.float(0)?;
                compute(op, &self.1, || truth(x.f_lt(value)))
            }
            Op::LE_SCALAR => {
                let value = arguments.float(0)?;
                compute(op, &self.1, || truth(x.f_le(value)))
            }
            Op::EQ_SCALAR => {
                let value = arguments.float(0)?;
                compute(op, &self.1, || truth(x.f_eq(value)))
            }
            _ => return Ok(None),
        }))
    }

    fn binary(
        &self,
        op: Op,
        arguments: &Arguments<'_>,
    ) -> Result<Option<AbiResult<TensorBox>>, AbiError> {
        let x = &self.0;
        let binary: fn(&Tensor, &Tensor) -> Result<Tensor, TchError> = match op {
            Op::ADD => |x, y| x.f_add(y),
            Op::SUB => |x, y| x.f_sub(y),
            Op::MUL => |x, y| x.f_mul(y),
            Op::DIV => |x, y| x.f_div(y),
            Op::MAXIMUM => |x, y| x.f_maximum(y),
            Op::MINIMUM => |x, y| x.f_minimum(y),
            Op::GT => |x, y| x.f_gt_tensor(y)?.f_to_kind(Kind::Float),
            Op::GE => |x, y| x.f_ge_tensor(y)?.f_to_kind(Kind::Float),
            Op::LT => |x, y| x.f_lt_tensor(y)?.f_to_kind(Kind::Float),
            Op::LE => |x, y| x.f_le_tensor(y)?.f_to_kind(Kind::Float),
            Op::EQ => |x, y| x.f_eq_tensor(y)?.f_to_kind(Kind::Float),
            Op::MATMUL => |x, y| x.f_matmul(y),
            _ => return Ok(None),
        };
        let y = arguments.operand(0)?;
        Ok(Some(compute(op, &self.1, || binary(x, &y))))
    }

    fn rearrange(
        &self,
        op: Op,
        arguments: &Arguments<'_>,
    ) -> Result<AbiResult<TensorBox>, AbiError> {
        let x = &self.0;
        Ok(match op {
            Op::WHERE => {
                let (kept, other) = (arguments.operand(0)?, arguments.operand(1)?);
                compute(op, &self.1, || kept.f_where_self(&x.f_ne(0.0)?, &other))
            }
            Op::SUM | Op::MEAN | Op::MAX | Op::MIN => self.reduce(op, arguments.ints),
            Op::CUMSUM => {
                let dim = arguments.int(0)?;
                compute(op, &self.1, || x.f_cumsum(dim, x.kind()))
            }
            Op::RESHAPE => compute(op, &self.1, || x.f_reshape(arguments.ints)),
            Op::PERMUTE => compute(op, &self.1, || x.f_permute(arguments.ints)?.f_contiguous()),
            Op::ARGSORT => {
                let (dim, descending) = (arguments.int(0)?, arguments.int(1)? == 1);
                compute(op, &self.1, || x.f_argsort_stable(true, dim, descending))
            }
            Op::GATHER => {
                let (dim, indices) = (arguments.int(0)?, arguments.operand(0)?);
                compute(op, &self.1, || x.f_gather(dim, &indices, false))
            }
            Op::INDEX_SELECT => {
                let (dim, indices) = (arguments.int(0)?, arguments.operand(0)?);
                compute(op, &self.1, || x.f_index_select(dim, &indices))
            }
            Op::CAST => {
                let dtype = arguments.int(0)?;
                let kind = kind_of(dtype).ok_or_else(|| {
                    unsupported(format!("CAST: this host has no element type {dtype}"))
                })?;
                compute(op, &self.1, || x.f_to_kind(kind))
            }
            Op::TOP_K_MASK => {
                let k = u64::try_from(arguments.int(0)?)
                    .map_err(|_| failed("TOP_K_MASK: k is negative"))?;
                match select::top_k(x, k) {
                    Ok(mask) => RResult::ROk(lend(&mask, &self.1)),
                    Err(error) => RResult::RErr(failed(format!("TOP_K_MASK: {error}"))),
                }
            }
            Op(code) => {
                return Err(unsupported(format!(
                    "this host (plugin-api {}.{}) does not know tensor operation {code}",
                    plugin_api::abi::API_MAJOR,
                    plugin_api::abi::API_MINOR
                )));
            }
        })
    }

    fn dispatch(&self, arguments: &Arguments<'_>) -> Result<AbiResult<TensorBox>, AbiError> {
        let op = arguments.op;
        if let Some(result) = self.unary(op) {
            return Ok(result);
        }
        if let Some(result) = self.scalar(op, arguments)? {
            return Ok(result);
        }
        if let Some(result) = self.binary(op, arguments)? {
            return Ok(result);
        }
        self.rearrange(op, arguments)
    }
}

impl TensorObject for HostTensor {
    fn apply(
        &self,
        op: Op,
        operands: RSlice<'_, TensorBox>,
        ints: RSlice<'_, i64>,
        floats: RSlice<'_, f64>,
    ) -> AbiResult<TensorBox> {
        let arguments = Arguments {
            op,
            owner: &self.1,
            operands,
            ints: ints.as_slice(),
            floats: floats.as_slice(),
        };
        let result = self.dispatch(&arguments).unwrap_or_else(RResult::RErr);
        match result {
            RResult::ROk(made) if self.1.records() => RResult::ROk(self.written(made, &arguments)),
            result => result,
        }
    }

    fn info(&self) -> TensorInfo {
        TensorInfo {
            shape: self.0.size().into(),
            dtype: match self.0.kind() {
                Kind::Float => DType::F32,
                Kind::Double => DType::F64,
                Kind::Int64 => DType::I64,
                _ => DType::OTHER,
            },
            on_cpu: self.0.device() == Device::Cpu,
        }
    }

    fn view(&self) -> RawSlice {
        self.1.show();
        self.1.note_impure(READS);
        match elements(&self.0) {
            Some(slice) => RawSlice {
                start: slice.as_ptr(),
                len: slice.len(),
            },
            None => RawSlice {
                start: std::ptr::null(),
                len: 0,
            },
        }
    }

    fn read(&self) -> AbiResult<RVec<f64>> {
        self.1.note_impure(READS);
        let flat = self
            .0
            .f_flatten(0, -1)
            .and_then(|flat| flat.f_to_kind(Kind::Double));
        match flat.and_then(|flat| Vec::<f64>::try_from(&flat)) {
            Ok(elements) => RResult::ROk(elements.into()),
            Err(error) => RResult::RErr(failed(format!("read: {}", message(&error)))),
        }
    }

    fn read_f32(&self) -> AbiResult<RVec<f32>> {
        self.1.note_impure(READS);
        let flat = self
            .0
            .f_flatten(0, -1)
            .and_then(|flat| flat.f_to_kind(Kind::Float));
        match flat.and_then(|flat| Vec::<f32>::try_from(&flat)) {
            Ok(elements) => RResult::ROk(elements.into()),
            Err(error) => RResult::RErr(failed(format!("read: {}", message(&error)))),
        }
    }

    fn dlpack(&self) -> AbiResult<*mut c_void> {
        self.1.show();
        self.1.note_impure(READS);
        match shim::to_dlpack(&self.0) {
            Ok(managed) => RResult::ROk(managed.as_ptr()),
            Err(error) => RResult::RErr(failed(format!("to_dlpack: {error}"))),
        }
    }

    fn call(&self, code: u32, _payload: RSlice<'_, u8>) -> AbiResult<RVec<u8>> {
        RResult::RErr(unsupported(format!(
            "this host does not know tensor call {code}"
        )))
    }
}
