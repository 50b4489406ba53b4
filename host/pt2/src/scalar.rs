//! Arithmetic on single numbers, such as sizes: what a graph computes beside its tensors.

/// A number that is no tensor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// Such as a size.
    Int(i64),
    /// A quotient or a root.
    Float(f64),
    /// A comparison's result.
    Bool(bool),
}

impl Number {
    /// As Python counts: true is 1.
    fn int(self) -> Option<i64> {
        match self {
            Self::Int(it) => Some(it),
            Self::Bool(it) => Some(i64::from(it)),
            Self::Float(_) => None,
        }
    }

    /// The nearest float.
    pub fn float(self) -> f64 {
        match self {
            Self::Int(it) => it as f64,
            Self::Float(it) => it,
            Self::Bool(it) => f64::from(u8::from(it)),
        }
    }

    /// Whether Python takes it for true.
    pub fn truth(self) -> bool {
        self.float() != 0.0
    }
}

/// A function of single numbers, with Python's meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // Python's names say what they are.
pub enum ScalarOp {
    Add,
    Sub,
    Mul,
    FloorDiv,
    TrueDiv,
    Mod,
    Pow,
    LeftShift,
    RightShift,
    Neg,
    Pos,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    And,
    Or,
    Not,
    Max,
    Min,
    /// `a if condition else b`: the condition, a, b.
    Ite,
    /// Truncated.
    Int,
    Float,
    Sqrt,
}

impl ScalarOp {
    /// The function behind a node's target, such as `_operator.floordiv`.
    pub(crate) fn named(target: &str) -> Option<Self> {
        Some(match target {
            "_operator.add" => Self::Add,
            "_operator.sub" => Self::Sub,
            "_operator.mul" => Self::Mul,
            "_operator.floordiv" => Self::FloorDiv,
            "_operator.truediv" => Self::TrueDiv,
            "_operator.mod" => Self::Mod,
            "_operator.pow" => Self::Pow,
            "_operator.lshift" => Self::LeftShift,
            "_operator.rshift" => Self::RightShift,
            "_operator.neg" => Self::Neg,
            "_operator.pos" => Self::Pos,
            "_operator.eq" => Self::Eq,
            "_operator.ne" => Self::Ne,
            "_operator.lt" => Self::Lt,
            "_operator.le" => Self::Le,
            "_operator.gt" => Self::Gt,
            "_operator.ge" => Self::Ge,
            "_operator.and_" => Self::And,
            "_operator.or_" => Self::Or,
            "torch.sym_not" => Self::Not,
            "torch.sym_max" => Self::Max,
            "torch.sym_min" => Self::Min,
            "torch.sym_ite" => Self::Ite,
            "torch.sym_int" | "math.trunc" => Self::Int,
            "torch.sym_float" => Self::Float,
            "torch.sym_sqrt" | "torch._sym_sqrt" => Self::Sqrt,
            _ => return None,
        })
    }

    /// How many numbers it takes.
    pub fn arity(self) -> usize {
        match self {
            Self::Neg | Self::Pos | Self::Not | Self::Int | Self::Float | Self::Sqrt => 1,
            Self::Ite => 3,
            _ => 2,
        }
    }

    /// Computes it; nothing where Python has no value, where an integer leaves 64 bits, or where the
    /// number of arguments is wrong.
    pub fn evaluate(self, arguments: &[Number]) -> Option<Number> {
        if arguments.len() != self.arity() {
            return None;
        }
        let a = arguments[0];
        match self {
            Self::Neg => {
                return match a.int() {
                    Some(a) => a.checked_neg().map(Number::Int),
                    None => Some(Number::Float(-a.float())),
                };
            }
            Self::Pos => return Some(a.int().map_or(a, Number::Int)),
            Self::Not => return Some(Number::Bool(!a.truth())),
            Self::Float => return Some(Number::Float(a.float())),
            Self::Sqrt => return (a.float() >= 0.0).then(|| Number::Float(a.float().sqrt())),
            Self::Int => {
                return match a.int() {
                    Some(a) => Some(Number::Int(a)),
                    None => whole(a.float().trunc()),
                };
            }
            Self::Ite => return Some(arguments[if a.truth() { 1 } else { 2 }]),
            _ => {}
        }
        let b = arguments[1];
        match self {
            Self::Eq => Some(Number::Bool(compare(a, b)?.is_eq())),
            Self::Ne => Some(Number::Bool(compare(a, b)?.is_ne())),
            Self::Lt => Some(Number::Bool(compare(a, b)?.is_lt())),
            Self::Le => Some(Number::Bool(compare(a, b)?.is_le())),
            Self::Gt => Some(Number::Bool(compare(a, b)?.is_gt())),
            Self::Ge => Some(Number::Bool(compare(a, b)?.is_ge())),
            Self::Max => Some(if compare(b, a)?.is_gt() { b } else { a }),
            Self::Min => Some(if compare(b, a)?.is_lt() { b } else { a }),
            Self::TrueDiv => (b.float() != 0.0).then(|| Number::Float(a.float() / b.float())),
            _ => match (a.int(), b.int()) {
                (Some(x), Some(y)) => {
                    let both = matches!((a, b), (Number::Bool(_), Number::Bool(_)));
                    self.of_ints(x, y, both)
                }
                _ => self.of_floats(a.float(), b.float()),
            },
        }
    }

    fn of_ints(self, a: i64, b: i64, both_bools: bool) -> Option<Number> {
        let bits = |it: i64| match both_bools {
            true => Number::Bool(it != 0),
            false => Number::Int(it),
        };
        let int = match self {
            Self::Add => a.checked_add(b),
            Self::Sub => a.checked_sub(b),
            Self::Mul => a.checked_mul(b),
            Self::FloorDiv => {
                let quotient = a.checked_div(b)?;
                quotient.checked_sub(i64::from(a % b != 0 && (a < 0) != (b < 0)))
            }
            Self::Mod => {
                let rest = a.checked_rem(b)?;
                Some(if rest != 0 && (rest < 0) != (b < 0) {
                    rest + b
                } else {
                    rest
                })
            }
            Self::Pow if b < 0 => {
                return (a != 0).then(|| Number::Float((a as f64).powf(b as f64)));
            }
            Self::Pow => a.checked_pow(u32::try_from(b).ok()?),
            Self::LeftShift => {
                let factor = 1_i64.checked_shl(u32::try_from(b).ok()?)?;
                if factor < 0 {
                    None
                } else {
                    a.checked_mul(factor)
                }
            }
            Self::RightShift if b < 0 => None,
            Self::RightShift => Some(a >> b.min(63)),
            Self::And => return Some(bits(a & b)),
            Self::Or => return Some(bits(a | b)),
            _ => None,
        };
        int.map(Number::Int)
    }

    fn of_floats(self, a: f64, b: f64) -> Option<Number> {
        let float = match self {
            Self::Add => a + b,
            Self::Sub => a - b,
            Self::Mul => a * b,
            Self::FloorDiv if b != 0.0 => (a / b).floor(),
            Self::Mod if b != 0.0 => a - b * (a / b).floor(),
            Self::Pow => a.powf(b),
            _ => return None,
        };
        Some(Number::Float(float))
    }
}

/// Integers exactly, anything else as floats.
fn compare(a: Number, b: Number) -> Option<std::cmp::Ordering> {
    match (a.int(), b.int()) {
        (Some(a), Some(b)) => Some(a.cmp(&b)),
        _ => a.float().partial_cmp(&b.float()),
    }
}

fn whole(float: f64) -> Option<Number> {
    // The bounds are powers of two, which floats hold exactly.
    let fits = (-(2f64.powi(63))..2f64.powi(63)).contains(&float);
    fits.then_some(Number::Int(float as i64))
}

#[cfg(test)]
mod tests {
    use super::Number::{Bool, Float, Int};
    use super::*;

    #[test]
    fn numbers_are_python_s_with_its_floors_and_signs() {
        let of = |op: ScalarOp, a, b| op.evaluate(&[a, b]);
        assert_eq!(of(ScalarOp::FloorDiv, Int(-7), Int(2)), Some(Int(-4)));
        assert_eq!(of(ScalarOp::FloorDiv, Int(7), Int(-2)), Some(Int(-4)));
        assert_eq!(of(ScalarOp::Mod, Int(-7), Int(3)), Some(Int(2)));
        assert_eq!(of(ScalarOp::Mod, Int(7), Int(-3)), Some(Int(-2)));
        assert_eq!(of(ScalarOp::TrueDiv, Int(1), Int(4)), Some(Float(0.25)));
        assert_eq!(of(ScalarOp::Pow, Int(3), Int(4)), Some(Int(81)));
        assert_eq!(of(ScalarOp::Pow, Int(2), Int(-1)), Some(Float(0.5)));
        assert_eq!(of(ScalarOp::Max, Int(3), Float(4.5)), Some(Float(4.5)));
        assert_eq!(
            of(ScalarOp::And, Bool(true), Bool(false)),
            Some(Bool(false))
        );
        assert_eq!(of(ScalarOp::Ge, Int(2), Int(2)), Some(Bool(true)));
        assert_eq!(of(ScalarOp::LeftShift, Int(3), Int(2)), Some(Int(12)));
        assert_eq!(of(ScalarOp::RightShift, Int(-9), Int(100)), Some(Int(-1)));
        assert_eq!(ScalarOp::Int.evaluate(&[Float(-2.7)]), Some(Int(-2)));
        assert_eq!(ScalarOp::Not.evaluate(&[Bool(false)]), Some(Bool(true)));
        assert_eq!(
            ScalarOp::Ite.evaluate(&[Bool(false), Int(1), Int(2)]),
            Some(Int(2))
        );
    }

    #[test]
    fn what_has_no_value_is_none_and_never_a_panic() {
        let of = |op: ScalarOp, a, b| op.evaluate(&[a, b]);
        for op in [ScalarOp::FloorDiv, ScalarOp::Mod] {
            assert_eq!(of(op, Int(1), Int(0)), None);
            assert_eq!(of(op, Int(i64::MIN), Int(-1)), None);
            assert_eq!(of(op, Float(1.0), Int(0)), None);
        }
        assert_eq!(of(ScalarOp::Mul, Int(i64::MAX), Int(2)), None);
        assert_eq!(of(ScalarOp::Pow, Int(10), Int(40)), None);
        assert_eq!(of(ScalarOp::Pow, Int(0), Int(-1)), None);
        assert_eq!(of(ScalarOp::LeftShift, Int(1), Int(64)), None);
        assert_eq!(of(ScalarOp::LeftShift, Int(1), Int(63)), None);
        assert_eq!(of(ScalarOp::TrueDiv, Int(1), Int(0)), None);
        assert_eq!(of(ScalarOp::Lt, Float(f64::NAN), Int(0)), None);
        assert_eq!(ScalarOp::Neg.evaluate(&[Int(i64::MIN)]), None);
        assert_eq!(ScalarOp::Int.evaluate(&[Float(1e30)]), None);
        assert_eq!(ScalarOp::Int.evaluate(&[Float(f64::NAN)]), None);
        assert_eq!(ScalarOp::Add.evaluate(&[Int(1)]), None);
    }
}
