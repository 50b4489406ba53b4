//! Tensors that live in the host, on the host's device.

use std::ffi::c_void;
use std::fmt;
use std::ops;

use abi_stable::std_types::RSlice;

use crate::abi::{DType, Op, TensorBox};
use crate::error::{Error, Result};

/// A tensor that lives in the host, on the host's device (CPU or CUDA).
///
/// Operations call back into the host, so that the same plugin runs on every device and links no
/// tensor library. Cloning copies a handle, not the elements; no operation changes its operands.
///
/// Comparisons give f32 tensors of zeros and ones.
///
/// # Panics
/// An operation that the host refuses (shapes that do not fit, say) ends the component's call: the
/// user sees the host's message with the names of plugin and component. [`Tensor::try_apply`] gives
/// the error instead.
#[derive(Clone)]
pub struct Tensor(pub(crate) TensorBox);

/// A refused operation on its way out of the component; never seen outside this crate.
pub(crate) struct Refused(pub(crate) Error);

impl Tensor {
    /// The result of an operation, by its code.
    ///
    /// # Errors
    /// What the host says, such as that the shapes do not fit or that it does not know the operation.
    pub fn try_apply(
        &self,
        op: Op,
        operands: &[&Tensor],
        ints: &[i64],
        floats: &[f64],
    ) -> Result<Tensor> {
        let result = match operands {
            [] => self.0.apply(op, RSlice::EMPTY, ints.into(), floats.into()),
            [one] => self
                .0
                .apply(op, RSlice::from_ref(&one.0), ints.into(), floats.into()),
            many => {
                let handles: Vec<TensorBox> = many.iter().map(|tensor| tensor.0.clone()).collect();
                self.0
                    .apply(op, handles.as_slice().into(), ints.into(), floats.into())
            }
        };
        Ok(Tensor(result.into_result()?))
    }

    fn apply(&self, op: Op, operands: &[&Tensor], ints: &[i64], floats: &[f64]) -> Tensor {
        self.try_apply(op, operands, ints, floats)
            .unwrap_or_else(|error| refuse(error))
    }

    /// Length of each dimension.
    pub fn shape(&self) -> Vec<i64> {
        self.0.info().shape.into()
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape().iter().product::<i64>() as usize
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Type of the elements.
    pub fn dtype(&self) -> DType {
        self.0.info().dtype
    }

    /// The elements without a copy, row-major, where they are contiguous f32 on the CPU.
    #[allow(unsafe_code)]
    pub fn as_slice(&self) -> Option<&[f32]> {
        let view = self.0.view();
        if view.start.is_null() {
            return None;
        }
        // SAFETY: the host's view holds `len` elements for as long as this handle lives, and the
        // host changes no tensor during a component's call.
        Some(unsafe { std::slice::from_raw_parts(view.start, view.len) })
    }

    /// A copy of the elements, row-major, from any device and type.
    pub fn to_vec(&self) -> Vec<f32> {
        match self.0.read_f32().into_result() {
            Ok(elements) => elements.into(),
            Err(error) => refuse(error.into()),
        }
    }

    /// A copy of the elements as f64, row-major, from any device and type.
    pub fn to_vec_f64(&self) -> Vec<f64> {
        match self.0.read().into_result() {
            Ok(elements) => elements.into(),
            Err(error) => refuse(error.into()),
        }
    }

    /// The only element.
    ///
    /// # Panics
    /// If there is not exactly one.
    pub fn item(&self) -> f64 {
        match self.to_vec_f64().as_slice() {
            [value] => *value,
            other => refuse(Error::new(format!(
                "item() wants one element, the tensor has {}",
                other.len()
            ))),
        }
    }

    /// A DLPack `DLManagedTensor` that shares the memory, for plugins with kernels of their own.
    /// Whoever takes it calls its deleter.
    ///
    /// # Errors
    /// If the host cannot share this tensor.
    pub fn to_dlpack(&self) -> Result<*mut c_void> {
        Ok(self.0.dlpack().into_result()?)
    }

    /// `self ^ exponent`.
    pub fn powf(&self, exponent: f64) -> Tensor {
        self.apply(Op::POW_SCALAR, &[], &[], &[exponent])
    }

    /// Limited to `low..=high`.
    pub fn clamp(&self, low: f64, high: f64) -> Tensor {
        self.apply(Op::CLAMP, &[], &[], &[low, high])
    }

    /// A tensor of this shape, type and device, filled with `value`.
    pub fn full_like(&self, value: f64) -> Tensor {
        self.apply(Op::FULL_LIKE, &[], &[], &[value])
    }

    /// `kept` where this tensor is not 0, `other` elsewhere.
    pub fn choose(&self, kept: &Tensor, other: &Tensor) -> Tensor {
        self.apply(Op::WHERE, &[kept, other], &[], &[])
    }

    /// 1 at the `k` largest elements, lower index first among equals; 0 elsewhere.
    pub fn top_k_mask(&self, k: u64) -> Tensor {
        self.apply(Op::TOP_K_MASK, &[], &[k as i64], &[])
    }

    /// The same elements, row-major, with another shape.
    pub fn reshape(&self, shape: &[i64]) -> Tensor {
        self.apply(Op::RESHAPE, &[], shape, &[])
    }

    /// One dimension of all elements, row-major.
    pub fn flatten(&self) -> Tensor {
        self.reshape(&[-1])
    }

    /// The dimensions in another order.
    pub fn permute(&self, dimensions: &[i64]) -> Tensor {
        self.apply(Op::PERMUTE, &[], dimensions, &[])
    }

    /// Sums over some dimensions, which stay with length 1.
    pub fn sum_over(&self, dimensions: &[i64]) -> Tensor {
        self.apply(Op::SUM, &[], dimensions, &[])
    }

    /// Means over some dimensions, which stay with length 1.
    pub fn mean_over(&self, dimensions: &[i64]) -> Tensor {
        self.apply(Op::MEAN, &[], dimensions, &[])
    }

    /// Largest elements over some dimensions, which stay with length 1.
    pub fn max_over(&self, dimensions: &[i64]) -> Tensor {
        self.apply(Op::MAX, &[], dimensions, &[])
    }

    /// Smallest elements over some dimensions, which stay with length 1.
    pub fn min_over(&self, dimensions: &[i64]) -> Tensor {
        self.apply(Op::MIN, &[], dimensions, &[])
    }

    /// Running sum along a dimension.
    pub fn cumsum(&self, dimension: i64) -> Tensor {
        self.apply(Op::CUMSUM, &[], &[dimension], &[])
    }

    /// Indices (i64) that sort along a dimension, stable.
    pub fn argsort(&self, dimension: i64, descending: bool) -> Tensor {
        self.apply(Op::ARGSORT, &[], &[dimension, i64::from(descending)], &[])
    }

    /// Elements along a dimension at `indices` (i64, same rank).
    pub fn gather(&self, dimension: i64, indices: &Tensor) -> Tensor {
        self.apply(Op::GATHER, &[indices], &[dimension], &[])
    }

    /// Slices along a dimension at `indices` (i64, one dimension).
    pub fn index_select(&self, dimension: i64, indices: &Tensor) -> Tensor {
        self.apply(Op::INDEX_SELECT, &[indices], &[dimension], &[])
    }

    /// The same elements as another type.
    pub fn to_dtype(&self, dtype: DType) -> Tensor {
        self.apply(Op::CAST, &[], &[i64::from(dtype.0)], &[])
    }
}

macro_rules! unary {
    ($($(#[$doc:meta])* $name:ident = $op:ident,)*) => {
        impl Tensor {
            $($(#[$doc])* pub fn $name(&self) -> Tensor { self.apply(Op::$op, &[], &[], &[]) })*
        }
    };
}

unary! {
    /// `|x|`.
    abs = ABS,
    /// -1, 0 or 1.
    sign = SIGN,
    /// Square root.
    sqrt = SQRT,
    /// `x * x`.
    square = SQUARE,
    /// Exponential.
    exp = EXP,
    /// Natural logarithm.
    log = LOG,
    /// Hyperbolic tangent.
    tanh = TANH,
    /// `1 / x`.
    reciprocal = RECIPROCAL,
    /// 1 where the element is finite, else 0.
    is_finite = IS_FINITE,
    /// A copy with memory of its own.
    copy = COPY,
    /// Sum of all elements.
    sum = SUM,
    /// Mean of all elements.
    mean = MEAN,
    /// Largest element.
    max = MAX,
    /// Smallest element.
    min = MIN,
}

macro_rules! comparison {
    ($($(#[$doc:meta])* $name:ident = $op:ident, $(#[$scalar_doc:meta])* $scalar_name:ident = $scalar_op:ident;)*) => {
        impl Tensor {
            $(
                $(#[$doc])*
                pub fn $name(&self, other: &Tensor) -> Tensor { self.apply(Op::$op, &[other], &[], &[]) }
                $(#[$scalar_doc])*
                pub fn $scalar_name(&self, value: f64) -> Tensor {
                    self.apply(Op::$scalar_op, &[], &[], &[value])
                }
            )*
        }
    };
}

comparison! {
    /// 1 where this is larger than `other`.
    gt = GT, /// 1 where this is larger than `value`.
    gt_scalar = GT_SCALAR;
    /// 1 where this is at least `other`.
    ge = GE, /// 1 where this is at least `value`.
    ge_scalar = GE_SCALAR;
    /// 1 where this is smaller than `other`.
    lt = LT, /// 1 where this is smaller than `value`.
    lt_scalar = LT_SCALAR;
    /// 1 where this is at most `other`.
    le = LE, /// 1 where this is at most `value`.
    le_scalar = LE_SCALAR;
    /// 1 where this equals `other`.
    eq = EQ, /// 1 where this equals `value`.
    eq_scalar = EQ_SCALAR;
}

impl Tensor {
    /// Larger of the two, element by element.
    pub fn maximum(&self, other: &Tensor) -> Tensor {
        self.apply(Op::MAXIMUM, &[other], &[], &[])
    }

    /// Smaller of the two, element by element.
    pub fn minimum(&self, other: &Tensor) -> Tensor {
        self.apply(Op::MINIMUM, &[other], &[], &[])
    }

    /// Matrix product.
    pub fn matmul(&self, other: &Tensor) -> Tensor {
        self.apply(Op::MATMUL, &[other], &[], &[])
    }
}

/// One operator for every mix of owned tensors, borrowed tensors and numbers.
macro_rules! operator {
    ($trait:ident, $method:ident, $op:ident, $scalar:expr) => {
        operator!(@tensor $trait, $method, $op, Tensor, Tensor);
        operator!(@tensor $trait, $method, $op, Tensor, &Tensor);
        operator!(@tensor $trait, $method, $op, &Tensor, Tensor);
        operator!(@tensor $trait, $method, $op, &Tensor, &Tensor);
        operator!(@scalar $trait, $method, $scalar, Tensor);
        operator!(@scalar $trait, $method, $scalar, &Tensor);
    };
    (@tensor $trait:ident, $method:ident, $op:ident, $left:ty, $right:ty) => {
        impl ops::$trait<$right> for $left {
            type Output = Tensor;
            fn $method(self, other: $right) -> Tensor {
                self.apply(Op::$op, &[&other], &[], &[])
            }
        }
    };
    (@scalar $trait:ident, $method:ident, $scalar:expr, $left:ty) => {
        impl ops::$trait<f64> for $left {
            type Output = Tensor;
            fn $method(self, value: f64) -> Tensor {
                let (op, value) = $scalar(value);
                self.apply(op, &[], &[], &[value])
            }
        }
    };
}

operator!(Add, add, ADD, |value: f64| (Op::ADD_SCALAR, value));
operator!(Sub, sub, SUB, |value: f64| (Op::ADD_SCALAR, -value));
operator!(Mul, mul, MUL, |value: f64| (Op::MUL_SCALAR, value));
operator!(Div, div, DIV, |value: f64| (Op::MUL_SCALAR, 1.0 / value));

impl ops::Neg for Tensor {
    type Output = Tensor;
    fn neg(self) -> Tensor {
        self.apply(Op::NEG, &[], &[], &[])
    }
}

impl ops::Neg for &Tensor {
    type Output = Tensor;
    fn neg(self) -> Tensor {
        self.apply(Op::NEG, &[], &[], &[])
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor{:?}", self.shape())
    }
}

/// Ends the component's call with this error; caught by the boundary, which never prints it.
pub(crate) fn refuse(error: Error) -> ! {
    std::panic::resume_unwind(Box::new(Refused(error)))
}
