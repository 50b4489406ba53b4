//! Products of weights with a few vectors of samples side by side, each row at survivors of its own.

use std::ops::Range;

use super::product::finish;
use super::simd::Simd;
use super::single::{GROUP, Groups};

/// A product of rows in groups with features of samples that lie side by side.
#[derive(Clone, Copy)]
pub struct Grouped<'a> {
    /// The weight.
    pub groups: &'a Groups,
    /// Number of rows.
    pub rows: usize,
    /// What an offset of 0 reads.
    pub source: *const f32,
    /// The first row that is written.
    pub out: *mut f32,
    /// From a row that is written to the next.
    pub stride: usize,
    /// Samples; up to the next multiple of the processor's vectors are written.
    pub span: usize,
    /// What is added, with the rows of what is written; null for nothing.
    pub other: *const f32,
    /// Whether what is negative becomes 0.
    pub relu: bool,
}

/// Computes some of the groups.
///
/// # Safety
/// As [`Simd`]; all that is read and written lies in memory, and nobody else writes there.
#[inline(always)]
pub unsafe fn grouped<S: Simd>(it: &Grouped<'_>, groups: Range<usize>) {
    let vectors = it.span.div_ceil(S::WIDTH);
    let mut from = 0;
    // What a strip of samples reads is near while all rows read it.
    while from < vectors {
        // Sums of a group fill half of the registers.
        let both = S::REGISTERS >= 32 && from + 2 <= vectors;
        let mut group = groups.start;
        while group < groups.end {
            // SAFETY: the caller keeps the rules.
            unsafe {
                match both {
                    true => strip::<S, 2>(it, group, from * S::WIDTH),
                    false => strip::<S, 1>(it, group, from * S::WIDTH),
                }
            }
            group += 1;
        }
        from += if both { 2 } else { 1 };
    }
}

#[inline(always)]
unsafe fn strip<S: Simd, const COUNT: usize>(it: &Grouped<'_>, group: usize, from: usize) {
    // SAFETY: entries are those of the lists, and the caller keeps the rules.
    unsafe {
        let source = it.source.add(from);
        let biases = it.groups.biases.get_unchecked(group);
        let mut sums = [[S::splat(0.0); COUNT]; GROUP];
        let mut row = 0;
        while row < GROUP {
            sums[row] = [S::splat(biases[row]); COUNT];
            row += 1;
        }
        let mut entry = *it.groups.starts.get_unchecked(group) as usize;
        let end = *it.groups.starts.get_unchecked(group + 1) as usize;
        while entry < end {
            let offsets = it.groups.offsets.get_unchecked(entry);
            let weights = it.groups.weights.get_unchecked(entry);
            let mut row = 0;
            while row < GROUP {
                let weight = S::splat(weights[row]);
                let seen = source.add(offsets[row] as usize);
                let mut at = 0;
                while at < COUNT {
                    sums[row][at] = weight.times(S::load(seen.add(at * S::WIDTH)), sums[row][at]);
                    at += 1;
                }
                row += 1;
            }
            entry += 1;
        }
        let mut place = 0;
        while place < GROUP {
            let row = *it.groups.order.get_unchecked(group * GROUP + place) as usize;
            if row < it.rows {
                let at = row * it.stride + from;
                finish(sums[place], it.out.add(at), it.other, at, it.relu);
            }
            place += 1;
        }
    }
}
