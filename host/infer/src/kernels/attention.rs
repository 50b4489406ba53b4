//! Attention of one head, for some of the tokens that ask.

use super::product::multiply;
use super::simd::{Simd, exp};

/// What one head reads and writes. Rows are features, positions tokens.
#[derive(Clone, Copy)]
pub struct Attention<'a> {
    /// Token 0 of the head's first feature of the queries, keys and values.
    pub parts: [*const f32; 3],
    /// The same of what is written.
    pub out: *mut f32,
    /// From a feature to the next, of all of them.
    pub stride: usize,
    /// Tokens.
    pub tokens: usize,
    /// Features of the head.
    pub features: usize,
    /// Where each feature lies from the first one on, then where each token's weights lie in `weights`.
    pub offsets: [&'a [i32]; 2],
    /// Room for `tokens` times [`STRIP`] numbers.
    pub weights: *mut f32,
}

/// Vectors of tokens that ask together.
const TOGETHER: usize = 3;
/// Rows of a product's block.
const BLOCK: usize = 4;
/// Numbers between the weights of a token and the next one's.
pub const STRIP: usize = 64;

/// Computes what all tokens get.
///
/// # Safety
/// As [`Simd`]; all that is read and written lies in memory, and nobody else writes there.
#[inline(always)]
pub unsafe fn attention<S: Simd>(it: &Attention<'_>) {
    let vectors = it.tokens.div_ceil(S::WIDTH);
    let strips = vectors.div_ceil(TOGETHER);
    let mut from = 0;
    let mut strip = 0;
    while strip < strips {
        let count = (vectors - from).div_ceil(strips - strip);
        // SAFETY: the caller keeps the rules.
        unsafe {
            match count {
                1 => of_strip::<S, 1>(it, from * S::WIDTH),
                2 => of_strip::<S, 2>(it, from * S::WIDTH),
                _ => of_strip::<S, TOGETHER>(it, from * S::WIDTH),
            }
        }
        from += count;
        strip += 1;
    }
}

#[inline(always)]
unsafe fn of_strip<S: Simd, const COUNT: usize>(it: &Attention<'_>, first: usize) {
    // SAFETY: the caller keeps the rules. Keys of tokens beyond the last are not read: blocks at the end are of one.
    unsafe {
        let [queries, keys, values] = it.parts;
        let queries = queries.add(first);
        let mut token = 0;
        while token < it.tokens {
            let weights = it.weights.add(token * STRIP);
            let keys = keys.add(token);
            if token + BLOCK <= it.tokens {
                products::<S, BLOCK, COUNT>(it, queries, keys, weights);
                token += BLOCK;
            } else {
                products::<S, 1, COUNT>(it, queries, keys, weights);
                token += 1;
            }
        }
        let inverse = softmax::<S, COUNT>(it);
        let mut feature = 0;
        while feature < it.features {
            let out = it.out.add(feature * it.stride + first);
            let values = values.add(feature * it.stride);
            if feature + BLOCK <= it.features {
                let sums = mix::<S, BLOCK, COUNT>(it, values);
                put(&sums, &inverse, out, it.stride);
                feature += BLOCK;
            } else {
                let sums = mix::<S, 1, COUNT>(it, values);
                put(&sums, &inverse, out, it.stride);
                feature += 1;
            }
        }
    }
}

/// Sums of the values of some features by the tokens' weights.
#[inline(always)]
unsafe fn mix<S: Simd, const ROWS: usize, const COUNT: usize>(
    it: &Attention<'_>,
    values: *const f32,
) -> [[S; COUNT]; ROWS] {
    // SAFETY: the caller keeps the rules.
    unsafe {
        multiply::<S, ROWS, COUNT>(
            [[S::splat(0.0); COUNT]; ROWS],
            it.offsets[1].as_ptr(),
            it.tokens,
            it.weights,
            values,
            [1, it.stride],
        )
    }
}

/// Products of queries with the keys of some tokens.
#[inline(always)]
unsafe fn products<S: Simd, const ROWS: usize, const COUNT: usize>(
    it: &Attention<'_>,
    queries: *const f32,
    keys: *const f32,
    out: *mut f32,
) {
    // SAFETY: the caller keeps the rules.
    unsafe {
        let sums = multiply::<S, ROWS, COUNT>(
            [[S::splat(0.0); COUNT]; ROWS],
            it.offsets[0].as_ptr(),
            it.features,
            queries,
            keys,
            // A key lies beside the next token's, and from a feature to the next is a row.
            [it.stride, 1],
        );
        put(&sums, &[S::splat(1.0); COUNT], out, STRIP);
    }
}

#[inline(always)]
unsafe fn put<S: Simd, const ROWS: usize, const COUNT: usize>(
    sums: &[[S; COUNT]; ROWS],
    times: &[S; COUNT],
    out: *mut f32,
    stride: usize,
) {
    let mut row = 0;
    while row < ROWS {
        let mut at = 0;
        while at < COUNT {
            // SAFETY: the caller keeps the rules.
            unsafe {
                let out = out.add(row * stride + at * S::WIDTH);
                sums[row][at].mul(times[at]).store(out);
            }
            at += 1;
        }
        row += 1;
    }
}

/// Turns products into weights, and returns what sums of them are multiplied by.
#[inline(always)]
unsafe fn softmax<S: Simd, const COUNT: usize>(it: &Attention<'_>) -> [S; COUNT] {
    // SAFETY: the caller keeps the rules.
    unsafe {
        let scale = S::splat(1.0 / (it.features as f32).sqrt());
        let mut most = [S::splat(f32::NEG_INFINITY); COUNT];
        let mut token = 0;
        while token < it.tokens {
            let mut at = 0;
            while at < COUNT {
                let place = it.weights.add(token * STRIP + at * S::WIDTH);
                most[at] = most[at].max(S::load(place));
                at += 1;
            }
            token += 1;
        }
        let mut sums = [S::splat(0.0); COUNT];
        let mut token = 0;
        while token < it.tokens {
            let mut at = 0;
            while at < COUNT {
                let place = it.weights.add(token * STRIP + at * S::WIDTH);
                let weight = exp(S::load(place).sub(most[at]).mul(scale));
                weight.store(place);
                sums[at] = sums[at].add(weight);
                at += 1;
            }
            token += 1;
        }
        let mut at = 0;
        while at < COUNT {
            sums[at] = S::splat(1.0).div(sums[at]);
            at += 1;
        }
        sums
    }
}
