//! Vectors of numbers, one type for each kind of processor.

/// As many numbers as the processor computes at once.
///
/// # Safety
/// Methods are called where the processor has the instructions, in functions that are compiled for them; pointers
/// lead to `WIDTH` numbers, aligned or not.
#[allow(clippy::missing_safety_doc)]
pub trait Simd: Copy {
    /// How many.
    const WIDTH: usize;
    /// Vectors that the processor holds.
    const REGISTERS: usize;

    unsafe fn splat(number: f32) -> Self;
    unsafe fn load(from: *const f32) -> Self;
    unsafe fn store(self, to: *mut f32);
    unsafe fn add(self, other: Self) -> Self;
    unsafe fn sub(self, other: Self) -> Self;
    unsafe fn mul(self, other: Self) -> Self;
    unsafe fn div(self, other: Self) -> Self;
    /// `self * other + sum`, rounded once where the processor can.
    unsafe fn times(self, other: Self, sum: Self) -> Self;
    /// The greater ones; `other` where either is no number.
    unsafe fn max(self, other: Self) -> Self;
    /// The smaller ones; `other` where either is no number.
    unsafe fn min(self, other: Self) -> Self;
    unsafe fn sqrt(self) -> Self;
    /// The nearest whole numbers.
    unsafe fn round(self) -> Self;
    /// 2 to the power of whole numbers from -126 to 127.
    unsafe fn power_of_two(self) -> Self;
    /// The sum of all, in an order of its own.
    unsafe fn sum(self) -> f32;
    /// Sixteen numbers of two vectors of sixteen, each by its place; asked for where [`WIDTH`](Self::WIDTH) is 16.
    unsafe fn look_up(both: [Self; 2], places: *const u8) -> Self;
    /// A square of as many rows as a vector has numbers, turned: what it reads and writes, and from a row to the next of
    /// both.
    #[inline(always)]
    unsafe fn turn(from: *const f32, to: *mut f32, [rows, columns]: [usize; 2]) {
        let mut row = 0;
        while row < Self::WIDTH {
            let mut column = 0;
            while column < Self::WIDTH {
                // SAFETY: the caller keeps the rules.
                unsafe { *to.add(column * columns + row) = *from.add(row * rows + column) };
                column += 1;
            }
            row += 1;
        }
    }
    /// `a * b + sum` of single numbers, as [`times`](Self::times) does it.
    unsafe fn times_one(a: f32, b: f32, sum: f32) -> f32;
}

/// e to the power of numbers that are not positive; 0 below the smallest normal number.
///
/// With n the whole number nearest to x / ln 2, it is 2^n e^r for r = x - n ln 2, of which the first eight terms of the
/// series reach every bit.
///
/// # Safety
/// As [`Simd`].
#[inline(always)]
pub unsafe fn exp<S: Simd>(x: S) -> S {
    // ln 2 in two parts, so that n times the first is exact.
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    const SERIES: [f32; 7] = [
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ];
    // SAFETY: the caller keeps the rules.
    unsafe {
        let x = S::splat(-87.0).max(x);
        let n = x.mul(S::splat(std::f32::consts::LOG2_E)).round();
        let r = n.times(S::splat(-LN_2[0]), x);
        let r = n.times(S::splat(-LN_2[1]), r);
        let mut sum = S::splat(1.0 / 5040.0);
        let mut at = 0;
        while at < SERIES.len() {
            sum = sum.times(r, S::splat(SERIES[at]));
            at += 1;
        }
        sum.mul(n.power_of_two())
    }
}

/// x times the share of a standard normal distribution that lies below it.
///
/// That share less one half is x P(x^2) / Q(x^2) up to 1e-8 for x below 5.5, from where on it is one half; the
/// coefficients were fitted to `erf(x / sqrt(2)) / 2` by reweighted least squares.
///
/// # Safety
/// As [`Simd`].
#[inline(always)]
pub unsafe fn gelu<S: Simd>(x: S) -> S {
    const P: [f32; 6] = [
        2.274_929_2e-8,
        6.352_122e-6,
        1.688_269e-4,
        4.677_268_7e-3,
        3.385_277e-2,
        0.398_942_23,
    ];
    const Q: [f32; 6] = [
        1.197_502e-6,
        7.364_787e-5,
        1.884_452e-3,
        2.864_594_4e-2,
        0.251_522_24,
        1.0,
    ];
    // SAFETY: the caller keeps the rules.
    unsafe {
        let near = S::splat(5.5).min(S::splat(-5.5).max(x));
        let square = near.mul(near);
        let (mut above, mut below) = (S::splat(P[0]), S::splat(Q[0]));
        let mut at = 1;
        while at < P.len() {
            above = above.times(square, S::splat(P[at]));
            below = below.times(square, S::splat(Q[at]));
            at += 1;
        }
        x.mul(near.mul(above).div(below).add(S::splat(0.5)))
    }
}
