//! Computes steps on memory, parts of them side by side.
#![allow(unsafe_code)]

mod layers;
mod load;

use std::ops::Range;

use super::Program;
use super::layout::Layout;
use super::memory::Memory;
use super::step::{After, Copy, Packed, Slot, Step};
use crate::kernels::{Kernels, LayerNorm, Mean};
use crate::pool::Pool;

/// Multiply-adds below which a step is not shared out: waking others takes as long.
const WORTH_SHARING: usize = 40_000;

/// Steps of a program on its memory, which nobody else uses meanwhile.
pub struct Runner<'a> {
    program: &'a Program,
    kernels: &'a Kernels,
    pool: &'a Pool,
    /// Of each slot position 0 of its first row.
    places: Vec<Place>,
}

/// Where a value lies.
#[derive(Clone, Copy)]
struct Place(*mut f32);

// SAFETY: parts of a step that are computed side by side write to rows of their own.
unsafe impl Sync for Runner<'_> {}
// SAFETY: as above.
unsafe impl Sync for Place {}

impl<'a> Runner<'a> {
    /// For one pass.
    pub fn new(
        program: &'a Program,
        kernels: &'a Kernels,
        pool: &'a Pool,
        memory: &mut Memory,
    ) -> Self {
        let place = |(slot, layout): (usize, &Layout)| match program.plan.of_slot[slot] {
            // Nothing is written there, or read.
            usize::MAX => Place(std::ptr::null_mut()),
            room => Place(memory.room(room)[layout.before..].as_mut_ptr()),
        };
        Self {
            program,
            kernels,
            pool,
            places: program.layouts.iter().enumerate().map(place).collect(),
        }
    }

    fn at(&self, slot: Slot) -> *mut f32 {
        self.places[slot].0
    }

    fn layout(&self, slot: Slot) -> &Layout {
        &self.program.layouts[slot]
    }

    fn other(&self, after: &After) -> *const f32 {
        after
            .other
            .map_or(std::ptr::null(), |slot| self.at(slot).cast_const())
    }

    /// Parts for so many multiply-adds.
    fn parts(&self, work: usize) -> usize {
        match work < WORTH_SHARING {
            true => 1,
            false => self.pool.threads(),
        }
    }

    /// Shares out numbers below `count`, in ranges.
    fn share(&self, count: usize, work: usize, of: &(dyn Fn(Range<usize>) + Sync)) {
        let parts = self.parts(work).min(count.max(1));
        self.pool.share(parts, &|part| {
            of(count * part / parts..count * (part + 1) / parts)
        });
    }

    /// Computes a step by its first candidate.
    pub fn step(&self, step: &Step) {
        self.candidate(step, 0);
    }

    /// Computes a step by one of its candidates.
    pub fn candidate(&self, step: &Step, candidate: usize) {
        // SAFETY: rooms are as long as their layouts say, with room for a vector more; steps were made for these
        // layouts, and each writes to a room that it does not read, or to the number that it has just read.
        unsafe {
            match step {
                Step::Copy(copy) => self.copy(copy),
                Step::Put(to, numbers) => {
                    let to = self.at(*to);
                    for &(place, number) in numbers {
                        *to.add(place as usize) = number;
                    }
                }
                Step::Product {
                    from,
                    to,
                    rows,
                    candidates,
                    after,
                } => match &candidates[candidate] {
                    Packed::Blocks(rows) => self.product(*from, *to, rows, after),
                    Packed::Groups(groups) => self.grouped(*from, *to, *rows, groups, after),
                },
                Step::Single {
                    from,
                    to,
                    rows,
                    by,
                    after,
                } => self.single(*from, *to, *rows, by, after),
                Step::Greatest {
                    from,
                    stride,
                    to,
                    offsets,
                } => self.greatest(*from, *stride, *to, offsets),
                Step::Mean(from, to) => {
                    let (layout, into) = (self.layout(*from), self.layout(*to));
                    (self.kernels.mean)(&Mean {
                        from: self.at(*from),
                        stride: layout.stride,
                        span: layout.span(),
                        lanes: layout.lanes,
                        rows: layout.rows,
                        share: 1.0 / (layout.size[0] * layout.size[1]) as f32,
                        out: self.at(*to),
                        out_stride: into.stride,
                    });
                }
                Step::Add(from, to, relu) => self.flat(*to, |at, count| {
                    let [one, other] = from.map(|slot| self.at(slot).add(at));
                    (self.kernels.add)(one, other, self.at(*to).add(at), count, *relu);
                }),
                Step::Shift(from, to, numbers) => self.flat(*to, |at, count| {
                    let numbers = numbers[at..].as_ptr();
                    let (from, to) = (self.at(*from).add(at), self.at(*to).add(at));
                    (self.kernels.add)(from, numbers, to, count, false);
                }),
                Step::Relu(from, to) => self.flat(*to, |at, count| {
                    (self.kernels.relu)(self.at(*from).add(at), self.at(*to).add(at), count);
                }),
                Step::Gelu(from, to) => self.flat(*to, |at, count| {
                    (self.kernels.gelu)(self.at(*from).add(at), self.at(*to).add(at), count);
                }),
                Step::Scale(from, to, scales, relu) => self.scale(*from, *to, scales, *relu),
                Step::LayerNorm {
                    from,
                    to,
                    weight,
                    bias,
                    epsilon,
                } => {
                    let layout = self.layout(*from);
                    let (from, out) = (self.at(*from), self.at(*to));
                    if layout.is_single() {
                        layers::layer_norm_of_one(from, out, weight, bias, *epsilon);
                        return;
                    }
                    (self.kernels.layer_norm)(&LayerNorm {
                        from,
                        out,
                        stride: layout.stride,
                        span: layout.span(),
                        weight,
                        bias,
                        epsilon: *epsilon,
                    });
                }
                Step::Attention(from, to, heads) => self.attention(*from, *to, *heads),
            }
        }
    }

    /// Calls with pieces of all rows of a value, whole vectors each.
    unsafe fn flat(&self, slot: Slot, of: impl Fn(usize, usize) + Sync) {
        let layout = self.layout(slot);
        let count = layout.rows * layout.stride;
        let vectors = count.div_ceil(LONGEST_VECTOR);
        self.share(vectors, 4 * count, &|range| {
            let start = range.start * LONGEST_VECTOR;
            let end = (range.end * LONGEST_VECTOR).min(count);
            of(start, end.saturating_sub(start));
        });
    }

    unsafe fn copy(&self, copy: &Copy) {
        let lanes = self.layout(copy.from).lanes;
        let [from, to] = [copy.from, copy.to].map(|slot| self.places[slot]);
        let total: usize = copy.runs.iter().map(|it| it.count as usize).sum();
        self.share(copy.runs.len(), 2 * total * lanes, &|range| {
            let ([from, to], runs) = ([&from, &to], &copy.runs[range]);
            for run in runs {
                // SAFETY: runs lie within the layouts that they were made from.
                unsafe {
                    let from = from.0.add(run.from as usize);
                    let to = to.0.add(run.to as usize);
                    let (count, step) = (run.count as usize, run.step as usize);
                    match (step, lanes) {
                        (1, _) => std::ptr::copy_nonoverlapping(from, to, count * lanes),
                        (_, 1) => (0..count).for_each(|at| *to.add(at) = *from.add(at * step)),
                        _ => (0..count).for_each(|at| {
                            let from = from.add(at * step * lanes);
                            std::ptr::copy_nonoverlapping(from, to.add(at * lanes), lanes);
                        }),
                    }
                }
            }
        });
    }
}

/// Numbers that pieces of a value are multiples of.
const LONGEST_VECTOR: usize = crate::kernels::LONGEST;
