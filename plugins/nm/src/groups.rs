//! Groups of consecutive inputs.

use plugin_api::{DType, MaskContext, Result, Tensor};

/// 1 at the `n` highest scores among the survivors of every group of `m` inputs, lower index first
/// among equals.
pub fn best_of_groups(
    ctx: &mut MaskContext<'_>,
    score: &Tensor,
    mask: &Tensor,
    n: u64,
    m: u64,
) -> Result<Tensor> {
    let candidates = mask.choose(score, &score.full_like(f64::NEG_INFINITY));
    let rows = Rows::of(score, m);
    let grouped = rows.group(ctx, &candidates)?;
    // The rank of each within its group, from 0.
    let ranks = grouped.argsort(1, true).argsort(1, false);
    let best = ranks.to_dtype(DType::F32).lt_scalar(n as f64);
    Ok(rows.ungroup(ctx, &best)? * mask)
}

/// 1 at the weights whose group has all `m` inputs.
pub fn whole_groups(ctx: &mut MaskContext<'_>, like: &Tensor, m: u64) -> Result<Tensor> {
    let inputs = like.shape()[1];
    let whole = inputs - inputs % m as i64;
    let elements: Vec<f32> = (0..inputs)
        .map(|i| f32::from(u8::from(i < whole)))
        .collect();
    let mut shape = vec![1; like.shape().len()];
    shape[1] = inputs;
    let row = ctx.tensor(&elements, &shape)?;
    Ok(like.full_like(1.0) * row)
}

/// How a layer's weights are laid out in groups.
struct Rows {
    /// Dimensions with the inputs last, and the way back.
    last: Vec<i64>,
    back: Vec<i64>,
    /// Shape with the inputs last, before they are filled up to whole groups.
    shape: Vec<i64>,
    inputs: i64,
    m: i64,
}

impl Rows {
    fn of(tensor: &Tensor, m: u64) -> Self {
        let shape = tensor.shape();
        let rank = shape.len() as i64;
        let last: Vec<i64> = [0].into_iter().chain(2..rank).chain([1]).collect();
        let back: Vec<i64> = [0, rank - 1].into_iter().chain(1..rank - 1).collect();
        Self {
            shape: last.iter().map(|&d| shape[d as usize]).collect(),
            inputs: shape[1],
            m: m as i64,
            last,
            back,
        }
    }

    /// Inputs, filled up to whole groups.
    fn width(&self) -> i64 {
        (self.inputs + self.m - 1) / self.m * self.m
    }

    /// One row for each group; short groups are filled up with what is never chosen before a weight.
    fn group(&self, ctx: &mut MaskContext<'_>, tensor: &Tensor) -> Result<Tensor> {
        let rows = tensor.permute(&self.last).reshape(&[-1, self.inputs]);
        let width = self.width();
        let index: Vec<f32> = (0..width).map(|i| i.min(self.inputs - 1) as f32).collect();
        let is_there: Vec<f32> = (0..width)
            .map(|i| f32::from(u8::from(i < self.inputs)))
            .collect();
        let index = ctx.tensor(&index, &[width])?.to_dtype(DType::I64);
        let filled = rows.index_select(1, &index);
        let is_there = ctx.tensor(&is_there, &[1, width])? * filled.full_like(1.0);
        let filled = is_there.choose(&filled, &filled.full_like(f64::NEG_INFINITY));
        Ok(filled.reshape(&[-1, self.m]))
    }

    /// The layer's shape again.
    fn ungroup(&self, ctx: &mut MaskContext<'_>, grouped: &Tensor) -> Result<Tensor> {
        let width = self.width();
        let index: Vec<f32> = (0..self.inputs).map(|i| i as f32).collect();
        let index = ctx.tensor(&index, &[self.inputs])?.to_dtype(DType::I64);
        let rows = grouped.reshape(&[-1, width]).index_select(1, &index);
        Ok(rows.reshape(&self.shape).permute(&self.back))
    }
}
