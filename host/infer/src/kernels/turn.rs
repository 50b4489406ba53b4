//! Samples that lie one behind the other, side by side.

use super::simd::Simd;

/// `to[at * lanes + sample] = from[sample * length + at]`.
#[derive(Clone, Copy)]
pub struct Turn {
    /// The first number of the first sample.
    pub from: *const f32,
    /// From a sample to the next.
    pub length: usize,
    /// How many samples.
    pub samples: usize,
    /// Numbers of each.
    pub count: usize,
    /// Where the first one's first number goes.
    pub to: *mut f32,
    /// From a number to the next.
    pub lanes: usize,
}

/// Turns them, squares of whole vectors at a time; a line of the cache of each sample, whose numbers go side by side.
///
/// # Safety
/// As [`Simd`]; all that is read and written lies in memory, and nobody else writes there.
#[inline(always)]
pub unsafe fn turn<S: Simd>(it: &Turn) {
    const LINE: usize = 16;
    let whole = it.samples / S::WIDTH * S::WIDTH;
    let mut at = 0;
    while at < it.count {
        let end = if at + LINE < it.count {
            at + LINE
        } else {
            it.count
        };
        // SAFETY: the caller keeps the rules.
        unsafe {
            while at + S::WIDTH <= end {
                let mut sample = 0;
                while sample < whole {
                    let from = it.from.add(sample * it.length + at);
                    let to = it.to.add(at * it.lanes + sample);
                    S::turn(from, to, [it.length, it.lanes]);
                    sample += S::WIDTH;
                }
                one_by_one(it, [whole, it.samples], [at, at + S::WIDTH]);
                at += S::WIDTH;
            }
            one_by_one(it, [0, it.samples], [at, end]);
        }
        at = end;
    }
}

#[inline(always)]
unsafe fn one_by_one(it: &Turn, samples: [usize; 2], numbers: [usize; 2]) {
    let mut at = numbers[0];
    while at < numbers[1] {
        let mut sample = samples[0];
        while sample < samples[1] {
            // SAFETY: the caller keeps the rules.
            unsafe { *it.to.add(at * it.lanes + sample) = *it.from.add(sample * it.length + at) };
            sample += 1;
        }
        at += 1;
    }
}
