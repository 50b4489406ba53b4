//! Samples into the lanes of the first value.

use super::{Place, Runner};
use crate::kernels::Turn;

/// Samples that are moved together by one thread: as many as the longest vector has numbers.
const TOGETHER: usize = 16;

impl Runner<'_> {
    /// Puts samples side by side; lanes without one keep what they had.
    pub fn load(&self, input: &[f32], samples: usize) {
        let to: Place = self.places[self.program.input];
        if self.program.lanes == 1 {
            // SAFETY: as below.
            unsafe { self.load_some(input, input.len(), 1, to.0) };
            return;
        }
        let length = input.len() / samples.max(1);
        self.share(samples.div_ceil(TOGETHER), input.len(), &|range| {
            let to = &to;
            let first = range.start * TOGETHER;
            let own = (range.end * TOGETHER).min(samples).saturating_sub(first);
            // SAFETY: the value has a lane for each sample; parts write lanes of their own.
            unsafe { self.load_some(&input[first * length..], length, own, to.0.add(first)) };
        });
    }

    /// Puts samples of this length into the lanes from `to` on.
    unsafe fn load_some(&self, input: &[f32], length: usize, samples: usize, to: *mut f32) {
        for run in &self.program.loads {
            let (from, count) = (run.from as usize, run.count as usize);
            let own = &input[from..];
            // SAFETY: runs lie within a sample and within the layout that they were made for, and the caller keeps
            // the rules.
            unsafe {
                let to = to.add(run.to as usize);
                if self.program.lanes == 1 {
                    std::ptr::copy_nonoverlapping(own[..count].as_ptr(), to, count);
                    continue;
                }
                (self.kernels.turn)(&Turn {
                    from: own.as_ptr(),
                    length,
                    samples,
                    count,
                    to,
                    lanes: self.program.lanes,
                });
            }
        }
    }
}
