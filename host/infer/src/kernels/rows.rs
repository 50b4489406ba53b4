//! What is computed number by number, or over the numbers of a position.

use super::simd::Simd;

/// `out[i] = relu?(a[i] + b[i])`.
///
/// # Safety
/// As [`Simd`]; `count` rounded up to whole vectors lies in memory. So in all of this file.
#[inline(always)]
pub unsafe fn add<S: Simd>(a: *const f32, b: *const f32, out: *mut f32, count: usize, relu: bool) {
    let mut at = 0;
    while at < count {
        // SAFETY: the caller keeps the rules.
        unsafe {
            let mut sum = S::load(a.add(at)).add(S::load(b.add(at)));
            if relu {
                sum = S::splat(0.0).max(sum);
            }
            sum.store(out.add(at));
        }
        at += S::WIDTH;
    }
}

/// What is negative becomes 0.
///
/// # Safety
/// As [`add`].
#[inline(always)]
pub unsafe fn relu<S: Simd>(from: *const f32, out: *mut f32, count: usize) {
    let mut at = 0;
    while at < count {
        // SAFETY: the caller keeps the rules.
        unsafe { S::splat(0.0).max(S::load(from.add(at))).store(out.add(at)) };
        at += S::WIDTH;
    }
}

/// Each number times the share of a standard normal distribution below it.
///
/// # Safety
/// As [`add`].
#[inline(always)]
pub unsafe fn gelu<S: Simd>(from: *const f32, out: *mut f32, count: usize) {
    let mut at = 0;
    while at < count {
        // SAFETY: the caller keeps the rules.
        unsafe { super::simd::gelu(S::load(from.add(at))).store(out.add(at)) };
        at += S::WIDTH;
    }
}

/// `out[i] = relu?(from[i] * scale + shift)` of a row.
///
/// # Safety
/// As [`add`].
#[inline(always)]
pub unsafe fn scale<S: Simd>(
    from: *const f32,
    out: *mut f32,
    count: usize,
    by: [f32; 2],
    relu: bool,
) {
    let mut at = 0;
    // SAFETY: the caller keeps the rules.
    unsafe {
        let [scale, shift] = [S::splat(by[0]), S::splat(by[1])];
        while at < count {
            let mut number = S::load(from.add(at)).times(scale, shift);
            if relu {
                number = S::splat(0.0).max(number);
            }
            number.store(out.add(at));
            at += S::WIDTH;
        }
    }
}

/// A layer norm of the numbers at each position of `features` rows.
pub struct LayerNorm<'a> {
    /// Position 0 of the first row that is read.
    pub from: *const f32,
    /// The same of what is written.
    pub out: *mut f32,
    /// From a row to the next, of both.
    pub stride: usize,
    /// Positions.
    pub span: usize,
    /// One a row.
    pub weight: &'a [f32],
    /// One a row.
    pub bias: &'a [f32],
    /// Added to the variance.
    pub epsilon: f32,
}

/// Computes it.
///
/// # Safety
/// As [`add`], for each row.
#[inline(always)]
pub unsafe fn layer_norm<S: Simd>(it: &LayerNorm<'_>) {
    let mut at = 0;
    let two = 2 * S::WIDTH;
    // SAFETY: the caller keeps the rules.
    unsafe {
        while at + two <= it.span {
            layer_norm_of::<S, 2>(it, at);
            at += two;
        }
        while at < it.span {
            layer_norm_of::<S, 1>(it, at);
            at += S::WIDTH;
        }
    }
}

#[inline(always)]
unsafe fn layer_norm_of<S: Simd, const COUNT: usize>(it: &LayerNorm<'_>, first: usize) {
    // SAFETY: the caller keeps the rules.
    unsafe {
        let share = S::splat(1.0 / it.weight.len() as f32);
        let from = it.from.add(first);
        let rows = it.weight.len();
        let mut means = [S::splat(0.0); COUNT];
        for row in 0..rows {
            for (at, mean) in means.iter_mut().enumerate() {
                *mean = mean.add(S::load(from.add(row * it.stride + at * S::WIDTH)));
            }
        }
        for mean in &mut means {
            *mean = mean.mul(share);
        }
        let mut squares = [S::splat(0.0); COUNT];
        for row in 0..rows {
            for (at, square) in squares.iter_mut().enumerate() {
                let number = S::load(from.add(row * it.stride + at * S::WIDTH)).sub(means[at]);
                *square = number.times(number, *square);
            }
        }
        for square in &mut squares {
            let deviation = square.times(share, S::splat(it.epsilon)).sqrt();
            *square = S::splat(1.0).div(deviation);
        }
        for (row, (&weight, &bias)) in it.weight.iter().zip(it.bias).enumerate() {
            let [weight, bias] = [S::splat(weight), S::splat(bias)];
            for at in 0..COUNT {
                let place = row * it.stride + at * S::WIDTH;
                let number = S::load(from.add(place)).sub(means[at]).mul(squares[at]);
                number.times(weight, bias).store(it.out.add(first + place));
            }
        }
    }
}

/// The means of rows over positions, each of as many lanes.
pub struct Mean {
    /// Position 0 of the first row.
    pub from: *const f32,
    /// From a row to the next.
    pub stride: usize,
    /// Numbers of a row, pads (which are 0) too; none of them at other places that are read.
    pub span: usize,
    /// Samples side by side; of one the result is one number a row.
    pub lanes: usize,
    /// Number of rows.
    pub rows: usize,
    /// What sums are multiplied by.
    pub share: f32,
    /// The first row's mean.
    pub out: *mut f32,
    /// From a row's means to the next row's.
    pub out_stride: usize,
}

/// Computes them.
///
/// # Safety
/// As [`add`], for each row.
#[inline(always)]
pub unsafe fn mean<S: Simd>(it: &Mean) {
    for row in 0..it.rows {
        // SAFETY: the caller keeps the rules.
        unsafe {
            let (from, out) = (
                it.from.add(row * it.stride),
                it.out.add(row * it.out_stride),
            );
            if it.lanes == 1 {
                // Two sums, so that one addition does not wait for the other.
                let (mut one, mut other, mut whole) = (S::splat(0.0), S::splat(0.0), 0);
                while whole + 2 * S::WIDTH <= it.span {
                    one = one.add(S::load(from.add(whole)));
                    other = other.add(S::load(from.add(whole + S::WIDTH)));
                    whole += 2 * S::WIDTH;
                }
                let mut sum = one.add(other).sum();
                for at in whole..it.span {
                    sum += *from.add(at);
                }
                *out = sum * it.share;
                continue;
            }
            for lane in (0..it.lanes).step_by(S::WIDTH) {
                let mut sum = S::splat(0.0);
                for at in (0..it.span).step_by(it.lanes) {
                    sum = sum.add(S::load(from.add(at + lane)));
                }
                sum.mul(S::splat(it.share)).store(out.add(lane));
            }
        }
    }
}

/// The greatest numbers that positions of a row see at these offsets.
///
/// # Safety
/// As [`add`], at each offset.
#[inline(always)]
pub unsafe fn greatest<S: Simd>(from: *const f32, offsets: &[i32], out: *mut f32, span: usize) {
    let mut at = 0;
    while at < span {
        // SAFETY: the caller keeps the rules.
        unsafe {
            let mut most = S::splat(f32::NEG_INFINITY);
            for &offset in offsets {
                most = most.max(S::load(from.add(at).offset(offset as isize)));
            }
            most.store(out.add(at));
        }
        at += S::WIDTH;
    }
}
