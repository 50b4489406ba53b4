//! Products of weights with one column, where the processor looks numbers up in its registers.
//!
//! Two vectors of the column are held, and each of the sixteen rows of a group takes the number that its survivor reads
//! from them: all sixteen with one instruction, where reading each from memory takes sixteen.

use std::ops::Range;

use super::simd::Simd;
use super::single::{Single, write};

/// Rows of a group, and numbers of a vector that is looked up in.
pub const LOOKED_UP: usize = 16;
/// Numbers of the column that are held.
pub const SEGMENT: usize = 2 * LOOKED_UP;

/// Rows in groups, those of like length together; for each segment of the column that a group reads, entries with one
/// survivor of each row, the shorter rows filled up with weights of 0.
#[derive(Debug, Default)]
pub struct Segments {
    /// The row of each place in the groups; for places that are left over, none of them.
    pub order: Vec<u32>,
    /// Where each group's parts start, and where the last one's end.
    pub starts: Vec<u32>,
    /// Of each part the column's first number, and how many entries follow.
    pub parts: Vec<(u32, u32)>,
    /// Where each group's entries start.
    pub entries: Vec<u32>,
    /// Which of the segment's numbers each row of an entry takes.
    pub places: Vec<[u8; LOOKED_UP]>,
    /// Its weight.
    pub weights: Vec<[f32; LOOKED_UP]>,
    /// Of each place in the groups.
    pub biases: Vec<[f32; LOOKED_UP]>,
}

/// A product with one column whose numbers lie side by side.
#[derive(Clone, Copy)]
pub struct InSegments<'a> {
    /// The weight.
    pub segments: &'a Segments,
    /// As in [`Single`].
    pub product: Single<'a>,
}

/// Computes some of the groups.
///
/// # Safety
/// As [`super::single::single`]; whole segments of the column lie in memory.
#[inline(always)]
pub unsafe fn segments<S: Simd>(it: &InSegments<'_>, groups: Range<usize>) {
    let mut group = groups.start;
    while group < groups.end {
        // SAFETY: parts and entries are those of the lists, and the caller keeps the rules.
        unsafe {
            let own = it.segments;
            let mut sum = S::load(own.biases[group].as_ptr());
            let mut entry = own.entries[group] as usize;
            let mut part = own.starts[group] as usize;
            let end = own.starts[group + 1] as usize;
            while part < end {
                let &(first, count) = own.parts.get_unchecked(part);
                let source = it.product.source.add(first as usize);
                let both = [S::load(source), S::load(source.add(LOOKED_UP))];
                let last = entry + count as usize;
                while entry < last {
                    let places = own.places.get_unchecked(entry).as_ptr();
                    let weights = S::load(own.weights.get_unchecked(entry).as_ptr());
                    sum = weights.times(S::look_up(both, places), sum);
                    entry += 1;
                }
                part += 1;
            }
            let mut sums = [0.0; LOOKED_UP];
            sum.store(sums.as_mut_ptr());
            let mut at = 0;
            while at < LOOKED_UP {
                let row = own.order[group * LOOKED_UP + at] as usize;
                if row < it.product.rows {
                    write(&it.product, row, sums[at]);
                }
                at += 1;
            }
        }
        group += 1;
    }
}
