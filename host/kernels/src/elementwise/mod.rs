//! Programs of elementwise operations, each run as one pass over its arrays.
//!
//! A formula that says one operation after the other reads and writes whole arrays at each of them. Written
//! down once as a [`Program`] it goes through memory once at every step of training, with exactly the bits of
//! the operations one by one: [`unary`], [`binary`], [`clamp`] and [`select`].
//!
//! All are those of libtorch on a CPU, to the bit, but `exp`, `log` and `tanh`, which are at most 2 units in
//! the last place off, and the square root: it is rounded right here, and libtorch may leave it to a library
//! whose roots are a unit off. No result depends on the processor, on threads or on an element's place. A NaN
//! is any NaN: its bits are not promised.

mod kernels;
mod math;
mod plan;
mod run;
mod single;
#[cfg(test)]
mod tests;

pub use run::Run;
pub use single::{Operand, binary, clamp, select, unary};

/// A value of a program, for each element. Operands are earlier operations, by their indices.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Operation {
    /// The element of this array, as it was before the run.
    Array(usize),
    /// A number given at each run, such as a learning rate: the same for all elements.
    Scalar(usize),
    /// A number that never changes.
    Constant(f32),
    /// An operation of one operand.
    Unary(Unary, usize),
    /// An operation of two operands.
    Binary(Binary, usize, usize),
    /// No less than the first number, then no more than the second. NaN passes.
    Clamp(usize, f32, f32),
    /// The second operand where the first is not 0, else the third.
    Select(usize, usize, usize),
}

/// An operation of one operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unary {
    /// The other sign, of NaN and zeros, too.
    Neg,
    /// Without a sign.
    Abs,
    /// -1, 0 or 1; of NaN and zeros +0.
    Sign,
    /// The square root.
    Sqrt,
    /// The product with itself.
    Square,
    /// The exponential function.
    Exp,
    /// The natural logarithm.
    Log,
    /// 1 over it.
    Reciprocal,
    /// The hyperbolic tangent.
    Tanh,
    /// 1 unless infinite or NaN, else 0.
    IsFinite,
}

/// An operation of two operands. Comparisons give 1 or 0; with NaN 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Binary {
    /// The sum.
    Add,
    /// The first less the second.
    Sub,
    /// The product.
    Mul,
    /// The first over the second.
    Div,
    /// The greater one; NaN if either is. Of equal ones the second.
    Maximum,
    /// The lesser one; NaN if either is. Of equal ones the second.
    Minimum,
    /// Whether the first is greater.
    Gt,
    /// Whether the first is greater or equal.
    Ge,
    /// Whether the first is less.
    Lt,
    /// Whether the first is less or equal.
    Le,
    /// Whether both are equal.
    Eq,
}

/// Operations on the elements of arrays, and which of their values become which array.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    operations: Vec<Operation>,
    writes: Vec<(usize, usize)>,
    arrays: usize,
    scalars: usize,
}

impl Program {
    /// The program of `operations` whose `writes`, pairs of an operation and an array, are its results.
    ///
    /// None if an operand is not earlier than its operation, if a result is no operation, or if an array is
    /// written twice.
    pub fn new(operations: Vec<Operation>, writes: Vec<(usize, usize)>) -> Option<Self> {
        let (mut arrays, mut scalars) = (0, 0);
        for (index, operation) in operations.iter().enumerate() {
            if operation.operands().any(|operand| operand >= index) {
                return None;
            }
            match *operation {
                Operation::Array(array) => arrays = arrays.max(array.checked_add(1)?),
                Operation::Scalar(scalar) => scalars = scalars.max(scalar.checked_add(1)?),
                _ => {}
            }
        }
        for (nth, &(operation, array)) in writes.iter().enumerate() {
            if operation >= operations.len() || writes[..nth].iter().any(|other| other.1 == array) {
                return None;
            }
            arrays = arrays.max(array.checked_add(1)?);
        }
        Some(Self {
            operations,
            writes,
            arrays,
            scalars,
        })
    }

    /// Whether the operation has the same value for all elements whatever is in the arrays.
    ///
    /// # Panics
    /// If the program has no such operation.
    pub fn is_uniform(&self, operation: usize) -> bool {
        let mut uniform = Vec::with_capacity(operation + 1);
        for operation in &self.operations[..=operation] {
            let is_array = matches!(operation, Operation::Array(_));
            uniform.push(!is_array && operation.operands().all(|operand| uniform[operand]));
        }
        uniform[operation]
    }

    /// How many arrays a run needs.
    pub fn arrays(&self) -> usize {
        self.arrays
    }

    /// How many numbers a run needs.
    pub fn scalars(&self) -> usize {
        self.scalars
    }
}

impl Operation {
    /// The operations whose values it needs.
    fn operands(&self) -> impl Iterator<Item = usize> + use<> {
        let operands = match *self {
            Self::Array(_) | Self::Scalar(_) | Self::Constant(_) => [None; 3],
            Self::Unary(_, a) | Self::Clamp(a, ..) => [Some(a), None, None],
            Self::Binary(_, a, b) => [Some(a), Some(b), None],
            Self::Select(condition, a, b) => [Some(condition), Some(a), Some(b)],
        };
        operands.into_iter().flatten()
    }
}
