//! `exp`, `log` and `tanh`, at most 2 units in the last place off, the same bits on every processor.
//!
//! Nothing but sums, products, fused ones, divisions, selections and tricks with bits, each rounded in one
//! way only: a compiler may do as many at once as it likes. What the system's library returns differs with
//! its version.
//!
//! # Source
//! The reductions are those of Cephes (S. Moshier, `expf.c`, `logf.c`, `tanhf.c`). The coefficients are our
//! own: the least greatest relative error of the whole function over the interval, found by Remez' exchange
//! in 40 digits and rounded to f32. Each polynomial says its interval and that error before the rounding.

/// Added and taken away, it rounds what is far smaller than 2^22 to a whole number, to even at a half.
const ROUNDS: f32 = 12_582_912.0;
/// ln 2 in two parts, of which the first times a whole number below 2^15 is exact.
const LN2_HIGH: f32 = 0.693_359_4;
const LN2_LOW: f32 = -2.121_944_4e-4;

/// e^x: 0 far below, infinite far above, denormal numbers between.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    // Beyond these the result is 0 or infinite, too. NaN passes.
    let x = if x < -104.0 { -104.0 } else { x };
    let x = if x > 89.0 { 89.0 } else { x };
    let (part, power) = reduced_exp(x);
    // In two factors: 2^-150 and 2^128 are no numbers of this kind. Only the second product can round.
    let half = power >> 1;
    part * two_to(half) * two_to(power.wrapping_sub(half))
}

/// `(p, n)` with e^x = p 2^n and p within a factor of 1.42 of 1.
#[inline(always)]
fn reduced_exp(x: f32) -> (f32, i32) {
    let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUNDS);
    let power = (shifted.to_bits() as i32).wrapping_sub(ROUNDS.to_bits() as i32);
    let whole = shifted - ROUNDS;
    let r = whole.mul_add(-LN2_LOW, whole.mul_add(-LN2_HIGH, x));
    // (e^r - 1 - r) / r^2 for |r| < 0.3471: 3.1e-9 of e^r.
    let p = 1.381_439_9e-3_f32;
    let p = p.mul_add(r, 8.368_812e-3);
    let p = p.mul_add(r, 4.166_839_6e-2);
    let p = p.mul_add(r, 1.666_652e-1);
    let p = p.mul_add(r, 4.999_999_4e-1);
    (p.mul_add(r * r, r) + 1.0, power)
}

/// 2^n for -126 <= n <= 127.
#[inline(always)]
fn two_to(n: i32) -> f32 {
    f32::from_bits((n.wrapping_add(127) << 23) as u32)
}

/// The natural logarithm: of 0 it is -infinity, of less NaN.
#[inline(always)]
pub(super) fn log(x: f32) -> f32 {
    /// The root of 1/2.
    const LEAST: u32 = 0x3f35_04f3;
    let is_denormal = x < f32::MIN_POSITIVE;
    let scaled = if is_denormal { x * 8_388_608.0 } else { x };
    let correction = if is_denormal { -23.0 } else { 0.0 };
    // x = m 2^n with m from the root of 1/2 to that of 2.
    let bits = scaled.to_bits().wrapping_add(1.0_f32.to_bits() - LEAST);
    let n = ((bits >> 23) as i32 - 127) as f32 + correction;
    let f = f32::from_bits((bits & 0x007f_ffff) + LEAST) - 1.0;
    // (log(1 + f) - f + f^2 / 2) / f^3: 5.9e-9 of log(1 + f).
    let p = -7.634_495e-2_f32;
    let p = p.mul_add(f, 1.276_157_5e-1);
    let p = p.mul_add(f, -1.316_018_3e-1);
    let p = p.mul_add(f, 1.420_175_9e-1);
    let p = p.mul_add(f, -1.662_335_7e-1);
    let p = p.mul_add(f, 2.000_122_7e-1);
    let p = p.mul_add(f, -2.500_082e-1);
    let p = p.mul_add(f, 3.333_333e-1);
    let square = f * f;
    let small = n.mul_add(LN2_LOW, square.mul_add(-0.5, square * f * p));
    let value = n.mul_add(LN2_HIGH, small + f);
    // One comparison of bits: positive, finite and not 0. A chain of them is slow to compute on vectors.
    let bits = x.to_bits();
    let special = if x < 0.0 { f32::NAN } else { x };
    let special = if bits & 0x7fff_ffff == 0 {
        f32::NEG_INFINITY
    } else {
        special
    };
    if bits.wrapping_sub(1) < f32::INFINITY.to_bits() - 1 {
        value
    } else {
        special
    }
}

/// The hyperbolic tangent.
#[inline(always)]
pub(super) fn tanh(x: f32) -> f32 {
    let size = x.abs();
    // From 9.02 on it rounds to 1. NaN passes.
    let far = if size > 10.0 { 10.0 } else { size };
    let (part, power) = reduced_exp(far + far);
    let far = 1.0 - 2.0 / part.mul_add(two_to(power), 1.0);
    // (tanh(x) - x) / x^3 in x^2, for |x| < 0.625: 4.4e-9 of tanh(x).
    let square = x * x;
    let p = -5.704_988e-3_f32;
    let p = p.mul_add(square, 2.063_908_8e-2);
    let p = p.mul_add(square, -5.373_971_5e-2);
    let p = p.mul_add(square, 1.333_144_2e-1);
    let p = p.mul_add(square, -3.333_328e-1);
    let near = (p * square).mul_add(size, size);
    let value = if size < 0.625 { near } else { far };
    value.copysign(x)
}
