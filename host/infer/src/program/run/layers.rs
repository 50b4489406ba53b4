//! The steps that take the time: products, windows, attention.

use std::cell::RefCell;

use super::Runner;
use crate::kernels::{
    Attention, Full, GROUP, Grouped, Groups, InSegments, LOOKED_UP, Product, Rows, STRIP,
    Single as OneColumn, TOGETHER, clear,
};
use crate::program::step::{After, Single, Slot};

thread_local! {
    /// Weights of tokens, of whoever computes attention.
    static WEIGHTS: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

impl Runner<'_> {
    pub(super) unsafe fn product(&self, from: Slot, to: Slot, rows: &Rows, after: &After) {
        let layout = self.layout(to);
        let pads = &self.program.pads[to];
        let product = Product {
            rows,
            source: self.at(from),
            out: self.at(to),
            stride: layout.stride,
            span: layout.span(),
            other: self.other(after),
            relu: after.relu,
            pads,
        };
        let product = Shared(product);
        let blocks = rows.starts.len() - 1;
        let entries = rows.offsets.len();
        let parts = self
            .parts(entries * rows.block * layout.span())
            .min(blocks.max(1));
        // Each part has as many entries as the others, or nearly so.
        let start = |part: usize| match part {
            0 => 0,
            part if part == parts => blocks,
            part => {
                let entry = (entries * part / parts) as u32;
                rows.starts[1..]
                    .partition_point(|it| *it <= entry)
                    .min(blocks)
            }
        };
        self.pool.share(parts, &|part| {
            let product = &product;
            // SAFETY: parts write rows of their own.
            unsafe { (self.kernels.product)(&product.0, start(part)..start(part + 1)) };
        });
    }

    pub(super) unsafe fn grouped(
        &self,
        from: Slot,
        to: Slot,
        rows: usize,
        groups: &Groups,
        after: &After,
    ) {
        let layout = self.layout(to);
        let grouped = Shared(Grouped {
            groups,
            rows,
            source: self.at(from),
            out: self.at(to),
            stride: layout.stride,
            span: layout.span(),
            other: self.other(after),
            relu: after.relu,
        });
        let work = groups.weights.len() * GROUP * layout.span();
        self.share(groups.starts.len() - 1, work, &|range| {
            let grouped = &grouped;
            // SAFETY: parts write rows of their own.
            unsafe { (self.kernels.grouped)(&grouped.0, range) };
        });
    }

    pub(super) unsafe fn single(
        &self,
        from: Slot,
        to: Slot,
        rows: usize,
        by: &Single,
        after: &After,
    ) {
        let none = Groups::default();
        let one = |groups| OneColumn {
            groups,
            rows,
            source: self.at(from),
            out: self.at(to),
            other: self.other(after),
            relu: after.relu,
        };
        match by {
            Single::Sparse(groups) => {
                let single = Shared(one(groups));
                let count = groups.starts.len() - 1;
                let work = groups.weights.len() * GROUP;
                self.share(count, work, &|range| {
                    let single = &single;
                    // SAFETY: parts write rows of their own.
                    unsafe { (self.kernels.single)(&single.0, range) };
                });
            }
            Single::Segments(segments) => {
                let single = Shared(InSegments {
                    segments,
                    product: one(&none),
                });
                // Only kernels that look up are given such weights.
                let Some(kernel) = self.kernels.segments else {
                    return;
                };
                let count = segments.entries.len();
                let work = segments.weights.len() * LOOKED_UP;
                self.share(count, work, &|range| {
                    let single = &single;
                    // SAFETY: parts write rows of their own; room behind the column lies in memory.
                    unsafe { kernel(&single.0, range) };
                });
            }
            Single::Full(weights, length, biases) => {
                let full = Shared(Full {
                    weights,
                    length: *length,
                    biases,
                    source: self.at(from),
                    product: one(&none),
                });
                self.share(biases.len() / TOGETHER, weights.len(), &|range| {
                    let full = &full;
                    // SAFETY: parts write rows of their own.
                    unsafe { (self.kernels.full)(&full.0, range) };
                });
            }
        }
    }

    pub(super) unsafe fn greatest(&self, from: Slot, stride: usize, to: Slot, offsets: &[i32]) {
        let layout = self.layout(to);
        let pads = &self.program.pads[to];
        let work = layout.rows * layout.span() * offsets.len();
        let [from, to] = [from, to].map(|slot| self.places[slot]);
        self.share(layout.rows, work, &|range| {
            let [from, to] = [&from, &to];
            for row in range {
                // SAFETY: parts write rows of their own.
                unsafe {
                    let out = to.0.add(row * layout.stride);
                    let from = from.0.add(row * stride);
                    (self.kernels.greatest)(from, offsets, out, layout.span());
                    clear(out, pads);
                }
            }
        });
    }

    pub(super) unsafe fn scale(&self, from: Slot, to: Slot, scales: &[[f32; 2]], relu: bool) {
        let layout = self.layout(to);
        let pads = &self.program.pads[to];
        let (from, to) = (self.at(from), self.at(to));
        for (row, &by) in scales.iter().enumerate() {
            // SAFETY: the caller keeps the rules.
            unsafe {
                let (from, out) = (from.add(row * layout.stride), to.add(row * layout.stride));
                if layout.is_single() {
                    let number = *from * by[0] + by[1];
                    *out = if relu && number < 0.0 { 0.0 } else { number };
                    continue;
                }
                (self.kernels.scale)(from, out, layout.span(), by, relu);
                clear(out, pads);
            }
        }
    }

    pub(super) unsafe fn attention(&self, from: Slot, to: Slot, heads: usize) {
        let (layout, own) = (self.layout(from), self.layout(to));
        let (stride, tokens) = (layout.stride, layout.size[1]);
        let features = own.rows / heads.max(1);
        let by_feature: Vec<i32> = (0..features).map(|it| (it * stride) as i32).collect();
        let by_token: Vec<i32> = (0..tokens).map(|it| (it * STRIP) as i32).collect();
        let [from, to] = [from, to].map(|slot| self.places[slot]);
        let work = 2 * own.rows * tokens * tokens;
        self.share(heads, work, &|range| {
            let [from, to] = [&from, &to];
            WEIGHTS.with_borrow_mut(|weights| {
                weights.resize(weights.len().max(tokens * STRIP), 0.0);
                for head in range {
                    let first = head * features;
                    // SAFETY: heads write rows of their own; queries, keys and values are thirds of the rows.
                    unsafe {
                        (self.kernels.attention)(&Attention {
                            parts: [0, 1, 2].map(|part| {
                                from.0.add((part * own.rows + first) * stride).cast_const()
                            }),
                            out: to.0.add(first * stride),
                            stride,
                            tokens,
                            features,
                            offsets: [&by_feature, &by_token],
                            weights: weights.as_mut_ptr(),
                        });
                    }
                }
            });
        });
    }
}

/// What several threads compute parts of.
struct Shared<T>(T);

// SAFETY: pointers of a product lead to memory that its parts read together, and write rows of their own in.
unsafe impl<T> Sync for Shared<T> {}

/// A layer norm of numbers that lie side by side.
pub(super) unsafe fn layer_norm_of_one(
    from: *const f32,
    out: *mut f32,
    weight: &[f32],
    bias: &[f32],
    epsilon: f32,
) {
    let count = weight.len();
    // SAFETY: the value has one number for each weight.
    let numbers = unsafe { std::slice::from_raw_parts(from, count) };
    let mean = numbers.iter().sum::<f32>() / count as f32;
    let square = |number: f32| (number - mean) * (number - mean);
    let variance = numbers.iter().map(|&it| square(it)).sum::<f32>() / count as f32;
    let scale = 1.0 / (variance + epsilon).sqrt();
    for at in 0..count {
        // SAFETY: as above; a number is read before it is written over.
        unsafe { *out.add(at) = (*from.add(at) - mean) * scale * weight[at] + bias[at] };
    }
}
