//! Operations one by one.

use super::kernels::{BLOCK, Block, Width};
use super::{Binary, Unary};
use std::array::from_fn;

/// What an operation is done on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Operand<'a> {
    /// As many numbers as there are results.
    Array(&'a [f32]),
    /// One for all.
    Number(f32),
}

/// `operation` of each element.
///
/// # Panics
/// If `a` is of another length than `to`.
pub fn unary(operation: Unary, a: Operand<'_>, to: &mut [f32]) {
    Width::chosen().whole_unary(operation, a, to);
}

/// `operation` of each pair.
///
/// # Panics
/// If an operand is of another length than `to`.
pub fn binary(operation: Binary, a: Operand<'_>, b: Operand<'_>, to: &mut [f32]) {
    Width::chosen().whole_binary(operation, a, b, to);
}

/// Each element or, if it is less than `low` or more than `high`, that. NaN passes.
///
/// # Panics
/// If `a` is of another length than `to`.
pub fn clamp(a: Operand<'_>, low: f32, high: f32, to: &mut [f32]) {
    Width::chosen().whole_clamp(a, low, high, to);
}

/// `a` where `condition` is not 0, else `b`.
///
/// # Panics
/// If an operand is of another length than `to`.
pub fn select(condition: Operand<'_>, a: Operand<'_>, b: Operand<'_>, to: &mut [f32]) {
    Width::chosen().whole_select([condition, a, b], to);
}

impl Width {
    pub(super) fn whole_unary(self, operation: Unary, a: Operand<'_>, to: &mut [f32]) {
        by_blocks([a], to, |[a], to| self.unary(operation, a, to));
    }

    pub(super) fn whole_binary(
        self,
        operation: Binary,
        a: Operand<'_>,
        b: Operand<'_>,
        to: &mut [f32],
    ) {
        by_blocks([a, b], to, |[a, b], to| self.binary(operation, a, b, to));
    }

    pub(super) fn whole_clamp(self, a: Operand<'_>, low: f32, high: f32, to: &mut [f32]) {
        by_blocks([a], to, |[a], to| self.clamp(a, low, high, to));
    }

    pub(super) fn whole_select(self, operands: [Operand<'_>; 3], to: &mut [f32]) {
        by_blocks(operands, to, |[condition, a, b], to| {
            self.select(condition, a, b, to)
        });
    }
}

/// Fills `to` block by block.
fn by_blocks<const N: usize>(
    operands: [Operand<'_>; N],
    to: &mut [f32],
    kernel: impl Fn([&Block; N], &mut Block),
) {
    for operand in operands {
        if let Operand::Array(array) = operand {
            assert_eq!(array.len(), to.len(), "an operand's length");
        }
    }
    let (blocks, rest) = to.as_chunks_mut();
    let whole = operands.map(|operand| match operand {
        Operand::Array(array) => array.as_chunks::<BLOCK>(),
        Operand::Number(_) => (&[][..], &[][..]),
    });
    // A number as a block, or what follows an array's last whole one.
    let last: [Block; N] = from_fn(|k| match operands[k] {
        Operand::Array(_) => padded(whole[k].1),
        Operand::Number(number) => [number; BLOCK],
    });
    for (nth, block) in blocks.iter_mut().enumerate() {
        kernel(from_fn(|k| whole[k].0.get(nth).unwrap_or(&last[k])), block);
    }
    if !rest.is_empty() {
        let mut block = [0.0; BLOCK];
        kernel(last.each_ref(), &mut block);
        rest.copy_from_slice(&block[..rest.len()]);
    }
}

/// Numbers, fewer than a block's, followed by zeros.
pub(super) fn padded(numbers: &[f32]) -> Block {
    let mut block = [0.0; BLOCK];
    block[..numbers.len()].copy_from_slice(numbers);
    block
}
