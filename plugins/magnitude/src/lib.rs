//! Variants of magnitude pruning: with layer-adaptive scores, layer by layer, with ties broken at
//! random.

use plugin_api::schemars::{self, JsonSchema};
use plugin_api::{
    Among, Counts, DType, Distribution, MaskContext, MaskUpdate, Result, ScoreContext, Scorer,
    Tensor, export_plugin,
};
use serde::Deserialize;

/// Scores a weight w by w^2 over the sum of v^2 of its layer's weights v with |v| at least |w|; of
/// equal weights the lower index counts as the larger. The largest of every layer has score 1.
///
/// # Source
/// Lee et al. 2021 (arXiv:2010.07611), equation 3.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Lamp {}

impl Scorer for Lamp {
    fn score(&mut self, ctx: &mut ScoreContext<'_>) -> Result<Vec<Tensor>> {
        Ok(ctx.weights()?.iter().map(lamp).collect())
    }
}

/// The scores of one layer.
fn lamp(weight: &Tensor) -> Tensor {
    // The square of an f32 neither overflows nor underflows in f64. Summed up from the largest down,
    // no sum is a difference of large numbers.
    let squares = weight.flatten().to_dtype(DType::F64).square();
    let order = squares.argsort(0, true);
    let sorted = squares.gather(0, &order);
    let sums = sorted.cumsum(0);
    // A layer of zeros has no sum to divide by.
    let shares = sums.gt_scalar(0.0).choose(&(&sorted / &sums), &sorted);
    let places = order.argsort(0, false);
    let shares = shares.gather(0, &places).to_dtype(DType::F32);
    shares.reshape(&weight.shape())
}

/// Keeps the survivors of highest score in each layer, every layer with the same density.
///
/// # Source
/// Han et al. 2015 (arXiv:1506.02626), with one rate for all layers.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Layerwise {}

impl MaskUpdate for Layerwise {
    fn update(&mut self, ctx: &mut MaskContext<'_>) -> Result<Vec<Tensor>> {
        let counts = ctx.counts(Distribution::Uniform)?;
        let scores = ctx.scores()?;
        ctx.select(&scores, Among::Survivors, Counts::PerLayer(counts))
    }
}

/// Keeps the survivors of highest score over all layers together. Which of the equal scores at the
/// threshold stay is drawn at random; otherwise the first in the order of layers do.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct RandomTie {}

impl MaskUpdate for RandomTie {
    fn update(&mut self, ctx: &mut MaskContext<'_>) -> Result<Vec<Tensor>> {
        let target = ctx.target();
        let scores = ctx.scores()?;
        let first = ctx.select(&scores, Among::Survivors, Counts::Total(target))?;
        let lowest = scores
            .iter()
            .zip(&first)
            .map(|(score, kept)| {
                kept.choose(score, &score.full_like(f64::INFINITY))
                    .min()
                    .item()
            })
            .fold(f64::INFINITY, f64::min);
        // Above the threshold is kept, at it goes by the draw, below it cannot be chosen.
        let draws = ctx.uniform()?;
        let ranks: Vec<Tensor> = scores
            .iter()
            .zip(&draws)
            .map(|(score, draw)| {
                score.gt_scalar(lowest) * 2.0 + score.eq_scalar(lowest) * (draw + 0.5)
            })
            .collect();
        ctx.select(&ranks, Among::Survivors, Counts::Total(target))
    }
}

export_plugin! {
    score { "lamp" => Lamp }
    mask {
        "layerwise" => Layerwise,
        "random-tie" => RandomTie,
    }
    default { score = "magnitude/lamp", mask = "imp/global", rewind = ["lrr/learning-rate"] }
}
