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
        let zero = S::splat(0.0);
        let (mut means, mut scales) = ([zero; COUNT], [zero; COUNT]);
        let mut row = 0;
        while row < rows {
            let mut at = 0;
            while at < COUNT {
                means[at] = means[at].add(S::load(from.add(row * it.stride + at * S::WIDTH)));
                at += 1;
            }
            row += 1;
        }
        let mut at = 0;
        while at < COUNT {
            means[at] = means[at].mul(share);
            at += 1;
        }
        let mut row = 0;
        while row < rows {
            let mut at = 0;
            while at < COUNT {
                let number = S::load(from.add(row * it.stride + at * S::WIDTH)).sub(means[at]);
                scales[at] = number.times(number, scales[at]);
                at += 1;
            }
            row += 1;
        }
        let mut at = 0;
        while at < COUNT {
            let deviation = scales[at].times(share, S::splat(it.epsilon)).sqrt();
            scales[at] = S::splat(1.0).div(deviation);
            at += 1;
        }
        let mut row = 0;
        while row < rows {
            let weight = S::splat(*it.weight.get_unchecked(row));
            let bias = S::splat(*it.bias.get_unchecked(row));
            let mut at = 0;
            while at < COUNT {
                let place = row * it.stride + at * S::WIDTH;
                let number = S::load(from.add(place)).sub(means[at]).mul(scales[at]);
                number.times(weight, bias).store(it.out.add(first + place));
                at += 1;
            }
            row += 1;
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
    let mut row = 0;
    while row < it.rows {
        // SAFETY: the caller keeps the rules.
        unsafe {
            let from = it.from.add(row * it.stride);
            let out = it.out.add(row * it.out_stride);
            match it.lanes {
                1 => *out = sum_of::<S>(from, it.span) * it.share,
                _ => sums_of_lanes::<S>(it, from, out),
            }
        }
        row += 1;
    }
}

/// The sum of numbers that lie side by side.
#[inline(always)]
unsafe fn sum_of<S: Simd>(from: *const f32, count: usize) -> f32 {
    // SAFETY: the caller keeps the rules.
    unsafe {
        // Two sums, so that one addition does not wait for the other.
        let (mut one, mut other, mut at) = (S::splat(0.0), S::splat(0.0), 0);
        while at + 2 * S::WIDTH <= count {
            one = one.add(S::load(from.add(at)));
            other = other.add(S::load(from.add(at + S::WIDTH)));
            at += 2 * S::WIDTH;
        }
        let mut sum = one.add(other).sum();
        while at < count {
            sum += *from.add(at);
            at += 1;
        }
        sum
    }
}

/// The means of each lane.
#[inline(always)]
unsafe fn sums_of_lanes<S: Simd>(it: &Mean, from: *const f32, out: *mut f32) {
    let mut lane = 0;
    while lane < it.lanes {
        // SAFETY: the caller keeps the rules.
        unsafe {
            let (mut sum, mut at) = (S::splat(0.0), lane);
            while at < it.span {
                sum = sum.add(S::load(from.add(at)));
                at += it.lanes;
            }
            sum.mul(S::splat(it.share)).store(out.add(lane));
        }
        lane += S::WIDTH;
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
            let mut place = 0;
            while place < offsets.len() {
                let offset = *offsets.get_unchecked(place) as isize;
                most = most.max(S::load(from.add(at).offset(offset)));
                place += 1;
            }
            most.store(out.add(at));
        }
        at += S::WIDTH;
    }
}
