//! Products of weights with rows of numbers, at the survivors.
//!
//! ```text
//! out[r][p] = relu?( bias[r] + sum over entries e of w[e][r] * source[offset[e] + p] + other?[r][p] )
//! ```
//! Rows are taken in blocks of one, two, four or eight, whose entries are those of any of them. Whatever the block,
//! each number is added up in the order of the entries, and entries of 0 change nothing: blocks differ in time alone.

use std::ops::Range;

use super::simd::Simd;

/// The rows of a weight in blocks.
#[derive(Debug, Default)]
pub struct Rows {
    /// Rows of a block: 1, 2, 4 or 8.
    pub block: usize,
    /// Number of rows.
    pub rows: usize,
    /// Where each block's entries start, and where the last one's end.
    pub starts: Vec<u32>,
    /// Of each entry, how far from a position it reads.
    pub offsets: Vec<i32>,
    /// Of each entry, the weights of the block's rows.
    pub weights: Vec<f32>,
    /// Of each row, those of the last block filled up with 0.
    pub biases: Vec<f32>,
}

/// Places of a row that have to stay 0: where they start, and how many.
pub type Pads = [(u32, u32)];

/// A product to compute.
#[derive(Clone, Copy)]
pub struct Product<'a> {
    /// The weight.
    pub rows: &'a Rows,
    /// What position 0 reads at an offset of 0.
    pub source: *const f32,
    /// Position 0 of the first row that is written.
    pub out: *mut f32,
    /// From a row that is written to the next.
    pub stride: usize,
    /// Positions of a row; up to the next multiple of the processor's vectors are written.
    pub span: usize,
    /// What is added, with the rows of what is written; null for nothing.
    pub other: *const f32,
    /// Whether what is negative becomes 0.
    pub relu: bool,
    /// What stays 0 of each row.
    pub pads: &'a Pads,
}

/// Computes some of the blocks.
///
/// # Safety
/// As [`Simd`]; all that is read and written lies in memory, and nobody else writes there.
#[inline(always)]
pub unsafe fn product<S: Simd>(it: &Product<'_>, blocks: Range<usize>) {
    // SAFETY: the caller keeps the rules.
    unsafe {
        match it.rows.block {
            1 => tiles::<S, 1>(it, blocks),
            2 => tiles::<S, 2>(it, blocks),
            4 => tiles::<S, 4>(it, blocks),
            _ => tiles::<S, 8>(it, blocks),
        }
    }
}

/// Vectors of a row that are computed together with those of `block` rows: as many as there are registers for.
pub const fn most(block: usize, registers: usize) -> usize {
    match (block, registers) {
        (1, 16..) => 8,
        (2, 32..) => 8,
        (4, 32..) => 6,
        (8, 32..) => 3,
        (2, 16..) => 4,
        (4, 16..) => 3,
        (8, _) => 1,
        (1, _) => 4,
        (2, _) => 2,
        _ => 1,
    }
}

#[inline(always)]
unsafe fn tiles<S: Simd, const BLOCK: usize>(it: &Product<'_>, blocks: Range<usize>) {
    let vectors = it.span.div_ceil(S::WIDTH);
    let tiles = vectors.div_ceil(const { most(BLOCK, S::REGISTERS) });
    let mut from = 0;
    let mut pad = 0;
    // What a strip of positions reads is near while all rows read it.
    for tile in 0..tiles {
        let count = (vectors - from).div_ceil(tiles - tile);
        let end = (from + count) * S::WIDTH;
        let more = it.pads[pad..].iter().take_while(|it| (it.0 as usize) < end);
        let pads = &it.pads[pad..pad + more.count()];
        for block in blocks.clone() {
            // SAFETY: the caller keeps the rules.
            unsafe {
                match count {
                    1 => one::<S, BLOCK, 1>(it, block, from, pads),
                    2 => one::<S, BLOCK, 2>(it, block, from, pads),
                    3 => one::<S, BLOCK, 3>(it, block, from, pads),
                    4 => one::<S, BLOCK, 4>(it, block, from, pads),
                    5 => one::<S, BLOCK, 5>(it, block, from, pads),
                    6 => one::<S, BLOCK, 6>(it, block, from, pads),
                    7 => one::<S, BLOCK, 7>(it, block, from, pads),
                    _ => one::<S, BLOCK, 8>(it, block, from, pads),
                }
            }
        }
        pad += pads.len();
        from += count;
    }
}

#[inline(always)]
unsafe fn one<S: Simd, const BLOCK: usize, const COUNT: usize>(
    it: &Product<'_>,
    block: usize,
    from: usize,
    pads: &Pads,
) {
    if COUNT > const { most(BLOCK, S::REGISTERS) } {
        return; // Never asked for, and not compiled.
    }
    let first = block * BLOCK;
    let live = (it.rows.rows - first).min(BLOCK);
    // SAFETY: the caller keeps the rules; blocks are those of the rows, whose lists are as long as their starts say.
    unsafe {
        let start = *it.rows.starts.get_unchecked(block) as usize;
        let end = *it.rows.starts.get_unchecked(block + 1) as usize;
        let mut sums = [[S::splat(0.0); COUNT]; BLOCK];
        for (row, sums) in sums.iter_mut().enumerate() {
            *sums = [S::splat(*it.rows.biases.get_unchecked(first + row)); COUNT];
        }
        let weights = it.rows.weights.as_ptr();
        let source = it.source.add(from * S::WIDTH);
        multiply::<S, BLOCK, COUNT>(
            &mut sums,
            it.rows.offsets.get_unchecked(start..end),
            source,
            weights.add(start * BLOCK),
            [BLOCK, 1],
        );
        let zero = S::splat(0.0);
        for (row, sums) in sums.iter().enumerate() {
            if row >= live {
                break;
            }
            let place = (first + row) * it.stride;
            let out = it.out.add(place + from * S::WIDTH);
            for (at, &sum) in sums.iter().enumerate() {
                let mut sum = sum;
                if !it.other.is_null() {
                    let other = it.other.add(place + (from + at) * S::WIDTH);
                    sum = sum.add(S::load(other));
                }
                if it.relu {
                    sum = zero.max(sum);
                }
                sum.store(out.add(at * S::WIDTH));
            }
            for &(start, count) in pads {
                let start = it.out.add(place + start as usize);
                for at in 0..count as usize {
                    *start.add(at) = 0.0;
                }
            }
        }
    }
}

/// Adds to the sums of a block of rows, vector by vector, what entries read times their weights; these lie
/// `steps` apart from an entry to the next, and from a row to the next.
#[inline(always)]
pub unsafe fn multiply<S: Simd, const BLOCK: usize, const COUNT: usize>(
    sums: &mut [[S; COUNT]; BLOCK],
    offsets: &[i32],
    source: *const f32,
    weights: *const f32,
    steps: [usize; 2],
) {
    let mut all = *sums;
    let mut weights = weights;
    for &offset in offsets {
        // SAFETY: the caller keeps the rules.
        unsafe {
            let read = source.offset(offset as isize);
            let seen: [S; COUNT] = load_all(read);
            for (row, sums) in all.iter_mut().enumerate() {
                let weight = S::splat(*weights.add(row * steps[1]));
                for (sum, &seen) in sums.iter_mut().zip(&seen) {
                    *sum = weight.times(seen, *sum);
                }
            }
            weights = weights.add(steps[0]);
        }
    }
    *sums = all;
}

#[inline(always)]
unsafe fn load_all<S: Simd, const COUNT: usize>(from: *const f32) -> [S; COUNT] {
    // SAFETY: the caller keeps the rules.
    unsafe {
        let mut all = [S::splat(0.0); COUNT];
        for (at, it) in all.iter_mut().enumerate() {
            *it = S::load(from.add(at * S::WIDTH));
        }
        all
    }
}
