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
    let (mut from, mut pad, mut tile) = (0, 0, 0);
    // What a strip of positions reads is near while all rows read it.
    while tile < tiles {
        let count = (vectors - from).div_ceil(tiles - tile);
        let end = ((from + count) * S::WIDTH) as u32;
        let first = pad;
        while pad < it.pads.len() && it.pads[pad].0 < end {
            pad += 1;
        }
        let pads = &it.pads[first..pad];
        let mut block = blocks.start;
        while block < blocks.end {
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
            block += 1;
        }
        from += count;
        tile += 1;
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
        let mut row = 0;
        while row < BLOCK {
            sums[row] = [S::splat(*it.rows.biases.get_unchecked(first + row)); COUNT];
            row += 1;
        }
        let sums = multiply::<S, BLOCK, COUNT>(
            sums,
            it.rows.offsets.as_ptr().add(start),
            end - start,
            it.source.add(from * S::WIDTH),
            it.rows.weights.as_ptr().add(start * BLOCK),
            [BLOCK, 1],
        );
        let mut row = 0;
        while row < BLOCK {
            if row < live {
                let place = (first + row) * it.stride;
                let at = place + from * S::WIDTH;
                finish(sums[row], it.out.add(at), it.other, at, it.relu);
                clear(it.out.add(place), pads);
            }
            row += 1;
        }
    }
}

/// Writes a row's sums to `out`, with what lies at the place `at` of `other`, if there is one, and the ReLU.
///
/// # Safety
/// As [`Simd`]; whole vectors lie in memory.
#[inline(always)]
pub unsafe fn finish<S: Simd, const COUNT: usize>(
    sums: [S; COUNT],
    out: *mut f32,
    other: *const f32,
    at: usize,
    relu: bool,
) {
    // SAFETY: the caller keeps the rules.
    unsafe {
        let zero = S::splat(0.0);
        let mut vector = 0;
        while vector < COUNT {
            let mut sum = sums[vector];
            if !other.is_null() {
                sum = sum.add(S::load(other.add(at + vector * S::WIDTH)));
            }
            if relu {
                sum = zero.max(sum);
            }
            sum.store(out.add(vector * S::WIDTH));
            vector += 1;
        }
    }
}

/// Makes the places of a row 0 that have to stay so.
///
/// # Safety
/// They lie within the row.
#[inline(always)]
pub unsafe fn clear(row: *mut f32, pads: &Pads) {
    let mut pad = 0;
    while pad < pads.len() {
        // SAFETY: the caller keeps the rules.
        unsafe {
            let &(start, count) = pads.get_unchecked(pad);
            let start = row.add(start as usize);
            match count {
                1 => *start = 0.0,
                8 => start.cast::<[f32; 8]>().write_unaligned([0.0; 8]),
                // Of a loop the compiler makes a call, which takes longer than what it does.
                _ => (0..count as usize).for_each(|at| start.add(at).write_volatile(0.0)),
            }
        }
        pad += 1;
    }
}

/// The sums of a block of rows, vector by vector, and what entries read times their weights; these lie `steps`
/// apart from an entry to the next, and from a row to the next.
///
/// Loops count by themselves: what the compiler makes of iterators is not compiled for the processor at hand.
///
/// # Safety
/// As [`Simd`]; as many offsets and weights lie in memory as are said, and what they read.
#[inline(always)]
pub unsafe fn multiply<S: Simd, const BLOCK: usize, const COUNT: usize>(
    mut sums: [[S; COUNT]; BLOCK],
    offsets: *const i32,
    count: usize,
    source: *const f32,
    mut weights: *const f32,
    steps: [usize; 2],
) -> [[S; COUNT]; BLOCK] {
    let mut entry = 0;
    while entry < count {
        // SAFETY: the caller keeps the rules.
        unsafe {
            let read = source.offset(*offsets.add(entry) as isize);
            let mut seen = [S::splat(0.0); COUNT];
            let mut at = 0;
            while at < COUNT {
                seen[at] = S::load(read.add(at * S::WIDTH));
                at += 1;
            }
            let mut row = 0;
            while row < BLOCK {
                let weight = S::splat(*weights.add(row * steps[1]));
                let mut at = 0;
                while at < COUNT {
                    sums[row][at] = weight.times(seen[at], sums[row][at]);
                    at += 1;
                }
                row += 1;
            }
            weights = weights.add(steps[0]);
        }
        entry += 1;
    }
    sums
}
