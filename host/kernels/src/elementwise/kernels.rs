//! Single operations on a block, for each width of vectors that a processor may have.

use super::{Binary, Unary, math};
use std::sync::OnceLock;

/// How many numbers an operation treats at once: a few such blocks stay in the nearest cache.
pub(super) const BLOCK: usize = 512;
/// Always whole, the last of an array being padded: no number is treated by other code than its neighbour.
pub(super) type Block = [f32; BLOCK];

/// Vectors that this processor has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Width(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Plain,
}

impl Width {
    /// All that this processor has, with their names, the widest first.
    pub(super) fn all() -> Vec<(&'static str, Self)> {
        let mut all = Vec::new();
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            if is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
            {
                all.push(("avx512", Self(Kind::Avx512)));
            }
            all.push(("avx2", Self(Kind::Avx2)));
        }
        all.push(("plain", Self(Kind::Plain)));
        all
    }

    /// The widest, or a lesser one: `REWIND_KERNELS` names the widest that may be taken.
    pub(super) fn chosen() -> Self {
        static CHOSEN: OnceLock<Width> = OnceLock::new();
        *CHOSEN.get_or_init(|| Self::at_most(&std::env::var("REWIND_KERNELS").unwrap_or_default()))
    }

    /// The widest that is no wider than the one of this name; without a name the widest.
    pub(super) fn at_most(name: &str) -> Self {
        let all = Self::all();
        let is_allowed = |kind: &str| match name {
            "" | "avx512" => true,
            "avx2" => kind != "avx512",
            _ => kind == "plain",
        };
        let widest = all.iter().find(|(kind, _)| is_allowed(kind));
        widest.map_or(Self(Kind::Plain), |(_, width)| *width)
    }
}

/// An operation done at once with the one before it, on whose value `x` and on whose other operand `z` it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// x + z
    Add,
    /// x - z
    Sub,
    /// z - x
    From,
    /// x z
    Mul,
}

macro_rules! compiled {
    ($($name:ident($($argument:ident: $type:ty),*);)*) => {
        #[cfg(target_arch = "x86_64")]
        compiled!(@width avx512, "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma"; $($name($($argument: $type),*);)*);
        #[cfg(target_arch = "x86_64")]
        compiled!(@width avx2, "avx2,fma"; $($name($($argument: $type),*);)*);

        #[allow(unsafe_code)]
        impl Width {
            $(
                pub(super) fn $name(self, $($argument: $type),*) {
                    match self.0 {
                        // SAFETY: `all` alone makes one, of a processor that has all that it is compiled for.
                        #[cfg(target_arch = "x86_64")]
                        Kind::Avx512 => unsafe { avx512::$name($($argument),*) },
                        // SAFETY: as above.
                        #[cfg(target_arch = "x86_64")]
                        Kind::Avx2 => unsafe { avx2::$name($($argument),*) },
                        Kind::Plain => $name($($argument),*),
                    }
                }
            )*
        }
    };
    (@width $module:ident, $features:literal; $($name:ident($($argument:ident: $type:ty),*);)*) => {
        mod $module {
            use super::{Binary, Block, Then, Unary};
            $(
                #[target_feature(enable = $features)]
                pub(super) fn $name($($argument: $type),*) {
                    super::$name($($argument),*);
                }
            )*
        }
    };
}

compiled! {
    unary(operation: Unary, a: &Block, to: &mut Block);
    binary(operation: Binary, a: &Block, b: &Block, to: &mut Block);
    chain(first: Binary, then: Then, operands: [&Block; 3], to: &mut Block);
    clamp(a: &Block, low: f32, high: f32, to: &mut Block);
    select(condition: &Block, a: &Block, b: &Block, to: &mut Block);
    keep(a: &Block, mask: &Block, to: &mut Block);
}

#[inline(always)]
fn unary(operation: Unary, a: &Block, to: &mut Block) {
    match operation {
        Unary::Neg => each(a, to, |x| -x),
        Unary::Abs => each(a, to, f32::abs),
        Unary::Sign => each(a, to, |x| truth(x > 0.0) - truth(x < 0.0)),
        Unary::Sqrt => each(a, to, f32::sqrt),
        Unary::Square => each(a, to, |x| x * x),
        Unary::Exp => each(a, to, math::exp),
        Unary::Log => each(a, to, math::log),
        Unary::Reciprocal => each(a, to, |x| 1.0 / x),
        Unary::Tanh => each(a, to, math::tanh),
        Unary::IsFinite => each(a, to, |x| truth(x.abs() < f32::INFINITY)),
    }
}

#[inline(always)]
fn binary(operation: Binary, a: &Block, b: &Block, to: &mut Block) {
    match operation {
        Binary::Add => pairs(a, b, to, |x, y| x + y),
        Binary::Sub => pairs(a, b, to, |x, y| x - y),
        Binary::Mul => pairs(a, b, to, |x, y| x * y),
        Binary::Div => pairs(a, b, to, |x, y| x / y),
        // Of two zeros the second, as libtorch's vectors do.
        Binary::Maximum => pairs(a, b, to, |x, y| or_nan(x, y, if x > y { x } else { y })),
        Binary::Minimum => pairs(a, b, to, |x, y| or_nan(x, y, if x < y { x } else { y })),
        Binary::Gt => pairs(a, b, to, |x, y| truth(x > y)),
        Binary::Ge => pairs(a, b, to, |x, y| truth(x >= y)),
        Binary::Lt => pairs(a, b, to, |x, y| truth(x < y)),
        Binary::Le => pairs(a, b, to, |x, y| truth(x <= y)),
        Binary::Eq => pairs(a, b, to, |x, y| truth(x == y)),
    }
}

/// Two sums, differences or products: they take little longer than one, most of which is to load and store.
#[inline(always)]
fn chain(first: Binary, then: Then, operands: [&Block; 3], to: &mut Block) {
    match first {
        Binary::Add => follow(then, operands, to, |x, y| x + y),
        Binary::Sub => follow(then, operands, to, |x, y| x - y),
        Binary::Mul => follow(then, operands, to, |x, y| x * y),
        _ => unreachable!("no chain of {first:?}"),
    }
}

#[inline(always)]
fn follow(then: Then, [a, b, c]: [&Block; 3], to: &mut Block, f: impl Fn(f32, f32) -> f32) {
    match then {
        Then::Add => triples(a, b, c, to, |x, y, z| f(x, y) + z),
        Then::Sub => triples(a, b, c, to, |x, y, z| f(x, y) - z),
        Then::From => triples(a, b, c, to, |x, y, z| z - f(x, y)),
        Then::Mul => triples(a, b, c, to, |x, y, z| f(x, y) * z),
    }
}

/// NaN and zeros of either sign pass where the bounds allow them.
#[inline(always)]
fn clamp(a: &Block, low: f32, high: f32, to: &mut Block) {
    each(a, to, |x| {
        let x = if low > x { low } else { x };
        if high < x { high } else { x }
    });
}

#[inline(always)]
fn select(condition: &Block, a: &Block, b: &Block, to: &mut Block) {
    triples(
        condition,
        a,
        b,
        to,
        |condition, x, y| if condition != 0.0 { x } else { y },
    );
}

/// `a` where `mask` is not 0, else +0.
#[inline(always)]
fn keep(a: &Block, mask: &Block, to: &mut Block) {
    pairs(a, mask, to, |x, kept| if kept != 0.0 { x } else { 0.0 });
}

#[inline(always)]
fn truth(is: bool) -> f32 {
    if is { 1.0 } else { 0.0 }
}

#[inline(always)]
fn or_nan(x: f32, y: f32, value: f32) -> f32 {
    if x.is_nan() | y.is_nan() {
        f32::NAN
    } else {
        value
    }
}

#[inline(always)]
fn each(a: &Block, to: &mut Block, f: impl Fn(f32) -> f32) {
    for i in 0..BLOCK {
        to[i] = f(a[i]);
    }
}

#[inline(always)]
fn pairs(a: &Block, b: &Block, to: &mut Block, f: impl Fn(f32, f32) -> f32) {
    for i in 0..BLOCK {
        to[i] = f(a[i], b[i]);
    }
}

#[inline(always)]
fn triples(a: &Block, b: &Block, c: &Block, to: &mut Block, f: impl Fn(f32, f32, f32) -> f32) {
    for i in 0..BLOCK {
        to[i] = f(a[i], b[i], c[i]);
    }
}
