//! Open codes: what the boundary's frozen methods are asked to do.
//!
//! A number is never reused. A host that does not know one answers [`UNSUPPORTED`](super::ErrorCode::UNSUPPORTED).

use abi_stable::StableAbi;

/// Type of a tensor's elements.
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy, Debug, PartialEq, Eq)]
pub struct DType(pub u32);

impl DType {
    /// 32-bit float.
    pub const F32: Self = Self(0);
    /// 64-bit float.
    pub const F64: Self = Self(1);
    /// 64-bit signed integer.
    pub const I64: Self = Self(2);
    /// Any other type of the host's.
    pub const OTHER: Self = Self(u32::MAX);
}

/// Code of the `call` of every component: the text of the last panic that ended a component's `Drop`
/// in this plugin, empty if there was none; asking takes it.
pub const TAKE_DROP_PANIC: u32 = 1;

/// Code of the `call` of every component, from 1.1 on: what it has against an
/// [`Experiment`](crate::Experiment), as a list of [`Finding`](crate::Finding)s, both in JSON. A
/// component that does not know the code has nothing against it.
pub const REVIEW: u32 = 2;

/// Code of the `call` of a mask update, from 1.1 on: the [`UnitRule`](crate::UnitRule) by which its masks keep whole
/// units, or null, in JSON. A component that does not know the code counts weights.
pub const UNIT_RULE: u32 = 3;

/// Code of the `call` of every component, from 1.1 on: the JSON Schema of its options where they follow from one of
/// them, such as a [`Script`](crate::Script), or null. A component that does not know the code has those of its
/// manifest.
pub const OPTIONS: u32 = 4;

/// An operation on tensors: `operands`, `ints` and `floats` are its arguments.
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Op(pub u32);

/// Names the codes and lists them once, so that the host can print one.
macro_rules! codes {
    ($type:ident { $($(#[$doc:meta])* $name:ident = $value:literal,)* }) => {
        impl $type {
            $($(#[$doc])* pub const $name: Self = Self($value);)*

            /// Every code of this version.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The code's name, for messages.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                    _ => "unknown",
                }
            }
        }
    };
}

codes!(Op {
    /// `-x`.
    NEG = 0,
    /// `|x|`.
    ABS = 1,
    /// -1, 0 or 1.
    SIGN = 2,
    /// Square root.
    SQRT = 3,
    /// `x * x`.
    SQUARE = 4,
    /// Exponential.
    EXP = 5,
    /// Natural logarithm.
    LOG = 6,
    /// `1 / x`.
    RECIPROCAL = 7,
    /// A copy with memory of its own.
    COPY = 8,
    /// Conversion to the [`DType`] in `ints[0]`.
    CAST = 9,
    /// 1 where the element is finite, else 0.
    IS_FINITE = 10,
    /// Hyperbolic tangent.
    TANH = 11,
    /// `x + floats[0]`.
    ADD_SCALAR = 20,
    /// `x * floats[0]`.
    MUL_SCALAR = 21,
    /// `x ^ floats[0]`.
    POW_SCALAR = 22,
    /// Limited to `floats[0]..=floats[1]`.
    CLAMP = 23,
    /// `x > floats[0]`, as 0 or 1 in f32.
    GT_SCALAR = 24,
    /// `x >= floats[0]`, as 0 or 1 in f32.
    GE_SCALAR = 25,
    /// `x < floats[0]`, as 0 or 1 in f32.
    LT_SCALAR = 26,
    /// `x <= floats[0]`, as 0 or 1 in f32.
    LE_SCALAR = 27,
    /// `x == floats[0]`, as 0 or 1 in f32.
    EQ_SCALAR = 28,
    /// A tensor like `x`, filled with `floats[0]`.
    FULL_LIKE = 29,
    /// `x + y`.
    ADD = 40,
    /// `x - y`.
    SUB = 41,
    /// `x * y`.
    MUL = 42,
    /// `x / y`.
    DIV = 43,
    /// Larger of the two, element by element.
    MAXIMUM = 44,
    /// Smaller of the two, element by element.
    MINIMUM = 45,
    /// `x > y`, as 0 or 1 in f32.
    GT = 46,
    /// `x >= y`, as 0 or 1 in f32.
    GE = 47,
    /// `x < y`, as 0 or 1 in f32.
    LT = 48,
    /// `x <= y`, as 0 or 1 in f32.
    LE = 49,
    /// `x == y`, as 0 or 1 in f32.
    EQ = 50,
    /// Matrix product.
    MATMUL = 51,
    /// `operands[0]` where `x` is not 0, else `operands[1]`.
    WHERE = 60,
    /// Sum of all elements, or over the dimensions in `ints`, which stay with length 1.
    SUM = 70,
    /// Mean of all elements, or over the dimensions in `ints`, which stay with length 1.
    MEAN = 71,
    /// Largest element, or over the dimensions in `ints`, which stay with length 1.
    MAX = 72,
    /// Smallest element, or over the dimensions in `ints`, which stay with length 1.
    MIN = 73,
    /// Running sum along dimension `ints[0]`.
    CUMSUM = 74,
    /// The same elements with shape `ints`.
    RESHAPE = 90,
    /// Dimensions in the order of `ints`.
    PERMUTE = 91,
    /// Indices that sort along dimension `ints[0]`, descending if `ints[1]` is 1; stable.
    ARGSORT = 92,
    /// Elements along dimension `ints[0]` at the indices in `operands[0]` (same rank).
    GATHER = 93,
    /// Slices along dimension `ints[0]` at the indices in `operands[0]` (one-dimensional).
    INDEX_SELECT = 94,
    /// 1 at the `ints[0]` largest elements, lower index first among equals; 0 elsewhere.
    TOP_K_MASK = 95,
});

/// A service of the host.
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Service(pub u32);

codes!(Service {
    /// Query: [`Facts`](super::wire::Facts).
    FACTS = 0,
    /// Query: number of weights to keep per layer, for a [`CountsRequest`](super::wire::CountsRequest).
    COUNTS = 1,
    /// Query: a 256-bit key, as 32 bytes, for a random stream of the component's own.
    RANDOM_KEY = 2,
    /// Query: the points that the strategy's components declared.
    POINTS = 3,
    /// Query: survivors per layer of the current masks.
    SURVIVORS = 4,
    /// Query, from 1.1 on: [`Units`](crate::Units).
    UNITS = 5,
    /// Query, from 1.1 on: what a call may cost, as [`CallLimits`](super::wire::CallLimits).
    LIMITS = 6,
    /// Tensors: the current weights.
    WEIGHTS = 100,
    /// Tensors: the current masks.
    MASKS = 101,
    /// Tensors: the weights at a [`Point`](crate::Point).
    POINT_WEIGHTS = 102,
    /// Tensors: gradients for a [`GradientRequest`](crate::GradientRequest).
    GRADIENTS = 103,
    /// Tensors: Hessian times the input vectors, for a [`GradientRequest`](crate::GradientRequest).
    HESSIAN_VECTOR = 104,
    /// Tensors: the scores (mask updates only).
    SCORES = 105,
    /// Tensors: masks chosen from the input scores, for a [`SelectRequest`](super::wire::SelectRequest).
    SELECT = 106,
    /// Tensors: one tensor of uniform numbers for each shape in the request.
    UNIFORM = 107,
    /// Tensors: one tensor of normal numbers for each shape in the request.
    NORMAL = 108,
    /// Tensors: one random permutation of 0..n.
    PERMUTATION = 109,
    /// Tensors: the masks of a level of this or another run, for a [`MasksRequest`](super::wire::MasksRequest).
    STORED_MASKS = 110,
    /// Tensors, from 1.1 on: masks of whole units chosen by the input scores, for a
    /// [`UnitRule`](crate::UnitRule).
    SELECT_UNITS = 111,
    /// Tensors, from 1.1 on: for each set of units how large the norms' scales of each are.
    UNIT_SCALES = 112,
    /// Tensors, from 1.1 on: the gradients of a step (updates only).
    STEP_GRADIENTS = 113,
    /// Tensors, from 1.1 on: the update's state of the name in the request.
    STEP_STATE = 114,
    /// Tensors, from 1.1 on: one without dimensions, a [`StepNumber`](crate::StepNumber).
    STEP_NUMBER = 115,
    /// Tensors, from 1.1 on: scale and shift of every norm, now or at the [`Point`](crate::Point) in the request
    /// (updates only).
    NORMS = 116,
    /// Tensors, from 1.1 on: the gradients of what replaced them.
    NORM_GRADIENTS = 117,
    /// Tensors, from 1.1 on: a state of an update at a level's end, by the names of update and state.
    UPDATE_STATE = 118,
});

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::ErrorCode;

    /// A plugin that was built with one of these numbers means it by it forever: lines are only
    /// ever added, and no number comes twice.
    const OPS: &str = "\
        NEG 0, ABS 1, SIGN 2, SQRT 3, SQUARE 4, EXP 5, LOG 6, RECIPROCAL 7, COPY 8, CAST 9, \
        IS_FINITE 10, TANH 11, \
        ADD_SCALAR 20, MUL_SCALAR 21, POW_SCALAR 22, CLAMP 23, GT_SCALAR 24, GE_SCALAR 25, \
        LT_SCALAR 26, LE_SCALAR 27, EQ_SCALAR 28, FULL_LIKE 29, \
        ADD 40, SUB 41, MUL 42, DIV 43, MAXIMUM 44, MINIMUM 45, GT 46, GE 47, LT 48, LE 49, \
        EQ 50, MATMUL 51, \
        WHERE 60, \
        SUM 70, MEAN 71, MAX 72, MIN 73, CUMSUM 74, \
        RESHAPE 90, PERMUTE 91, ARGSORT 92, GATHER 93, INDEX_SELECT 94, TOP_K_MASK 95";

    const SERVICES: &str = "\
        FACTS 0, COUNTS 1, RANDOM_KEY 2, POINTS 3, SURVIVORS 4, UNITS 5, LIMITS 6, \
        WEIGHTS 100, MASKS 101, POINT_WEIGHTS 102, GRADIENTS 103, HESSIAN_VECTOR 104, SCORES 105, \
        SELECT 106, UNIFORM 107, NORMAL 108, PERMUTATION 109, STORED_MASKS 110, SELECT_UNITS 111, UNIT_SCALES 112, \
        STEP_GRADIENTS 113, STEP_STATE 114, STEP_NUMBER 115, NORMS 116, NORM_GRADIENTS 117, UPDATE_STATE 118";

    #[test]
    fn codes_keep_their_numbers() {
        let list = |codes: Vec<(&str, u32)>| {
            let codes: Vec<String> = codes
                .iter()
                .map(|(name, number)| format!("{name} {number}"))
                .collect();
            codes.join(", ")
        };
        let ops = Op::ALL.iter().map(|op| (op.name(), op.0)).collect();
        assert_eq!(list(ops), OPS);
        let services = Service::ALL.iter().map(|s| (s.name(), s.0)).collect();
        assert_eq!(list(services), SERVICES);
        let dtypes = [DType::F32, DType::F64, DType::I64, DType::OTHER];
        assert_eq!(dtypes.map(|dtype| dtype.0), [0, 1, 2, u32::MAX]);
        let errors = [
            ErrorCode::FAILED,
            ErrorCode::PANICKED,
            ErrorCode::UNSUPPORTED,
            ErrorCode::BAD_OPTIONS,
            ErrorCode::MISSING,
        ];
        assert_eq!(errors.map(|code| code.0), [0, 1, 2, 3, 4]);
        assert_eq!((TAKE_DROP_PANIC, REVIEW, UNIT_RULE, OPTIONS), (1, 2, 3, 4));
    }

    #[test]
    fn no_number_comes_twice() {
        for mut numbers in [
            Op::ALL.iter().map(|op| op.0).collect::<Vec<_>>(),
            Service::ALL.iter().map(|service| service.0).collect(),
        ] {
            let all = numbers.len();
            numbers.sort_unstable();
            numbers.dedup();
            assert_eq!(numbers.len(), all);
        }
    }

    #[test]
    fn a_later_code_has_no_name_here() {
        assert_eq!(Op(9_999).name(), "unknown");
        assert_eq!(Service(9_999).name(), "unknown");
    }
}
