//! Products of weights with one column of numbers: a linear layer of a single sample.

use std::ops::Range;

use super::simd::Simd;

/// Rows of a group, which are added up side by side: one addition does not wait for another.
pub const GROUP: usize = 8;

/// Rows in groups, those of like length together; entry by entry the group's rows lie side by side, the shorter ones
/// filled up with weights of 0.
#[derive(Debug, Default)]
pub struct Groups {
    /// The row of each place in the groups; for places that are left over, none of them.
    pub order: Vec<u32>,
    /// Where each group's entries start, and where the last one's end.
    pub starts: Vec<u32>,
    /// What each row of an entry reads.
    pub offsets: Vec<[u32; GROUP]>,
    /// Its weight.
    pub weights: Vec<[f32; GROUP]>,
    /// Of each place in the groups.
    pub biases: Vec<[f32; GROUP]>,
}

/// A product with one column.
#[derive(Clone, Copy)]
pub struct Single<'a> {
    /// The weight.
    pub groups: &'a Groups,
    /// Number of rows.
    pub rows: usize,
    /// What an offset of 0 reads.
    pub source: *const f32,
    /// One number a row.
    pub out: *mut f32,
    /// What is added; null for nothing.
    pub other: *const f32,
    /// Whether what is negative becomes 0.
    pub relu: bool,
}

/// Computes some of the groups.
///
/// # Safety
/// As [`Simd`]; all that is read and written lies in memory, and nobody else writes there.
#[inline(always)]
pub unsafe fn single<S: Simd>(it: &Single<'_>, groups: Range<usize>) {
    let mut group = groups.start;
    while group < groups.end {
        let (start, end) = (it.groups.starts[group], it.groups.starts[group + 1]);
        let mut sums = it.groups.biases[group];
        let mut entry = start as usize;
        while entry < end as usize {
            // SAFETY: entries are those of the lists, and the caller keeps the rules.
            unsafe {
                let offsets = it.groups.offsets.get_unchecked(entry);
                let weights = it.groups.weights.get_unchecked(entry);
                let mut at = 0;
                while at < GROUP {
                    let seen = *it.source.add(offsets[at] as usize);
                    sums[at] = S::times_one(weights[at], seen, sums[at]);
                    at += 1;
                }
            }
            entry += 1;
        }
        let mut at = 0;
        while at < GROUP {
            let row = it.groups.order[group * GROUP + at] as usize;
            if row < it.rows {
                // SAFETY: the caller keeps the rules.
                unsafe { write(it, row, sums[at]) };
            }
            at += 1;
        }
        group += 1;
    }
}

#[inline(always)]
pub(super) unsafe fn write(it: &Single<'_>, row: usize, sum: f32) {
    // SAFETY: the caller keeps the rules.
    unsafe {
        let mut sum = sum;
        if !it.other.is_null() {
            sum += *it.other.add(row);
        }
        if it.relu && sum < 0.0 {
            sum = 0.0;
        }
        *it.out.add(row) = sum;
    }
}

/// A product in full with one column whose numbers lie side by side.
#[derive(Clone, Copy)]
pub struct Full<'a> {
    /// Row by row; `length` is a multiple of 16, filled up with 0.
    pub weights: &'a [f32],
    /// Numbers of a row.
    pub length: usize,
    /// One a row, filled up to a multiple of 4.
    pub biases: &'a [f32],
    /// The column, as long.
    pub source: *const f32,
    /// As in [`Single`].
    pub product: Single<'a>,
}

/// Rows that are multiplied together.
pub const TOGETHER: usize = 4;

/// Computes some of the groups of four rows.
///
/// # Safety
/// As [`single`].
#[inline(always)]
pub unsafe fn full<S: Simd>(it: &Full<'_>, groups: Range<usize>) {
    let mut group = groups.start;
    while group < groups.end {
        // SAFETY: the caller keeps the rules.
        unsafe {
            let first = it.weights.as_ptr().add(group * TOGETHER * it.length);
            let mut sums = [S::splat(0.0); TOGETHER];
            let mut at = 0;
            while at < it.length {
                let seen = S::load(it.source.add(at));
                let mut row = 0;
                while row < TOGETHER {
                    let weights = S::load(first.add(row * it.length + at));
                    sums[row] = weights.times(seen, sums[row]);
                    row += 1;
                }
                at += S::WIDTH;
            }
            let mut place = 0;
            while place < TOGETHER {
                let row = group * TOGETHER + place;
                if row < it.product.rows {
                    write(&it.product, row, sums[place].sum() + it.biases[row]);
                }
                place += 1;
            }
        }
        group += 1;
    }
}
