//! SNIP: prune before training what changes the loss least.
//!
//! # Source
//! Lee et al. 2019 (arXiv:1810.02340). With `rounds` above 1 the mask is found step by step, as in
//! Verdenius et al. 2020 (arXiv:2006.00896) and de Jorge et al. 2021 (arXiv:2006.09081).

use plugin_api::schemars::{self, JsonSchema};
use plugin_api::{
    Among, Batches, Cadence, Counts, GradientRequest, Loss, MaskContext, MaskUpdate, Result,
    ScoreContext, Scorer, Tensor, export_plugin,
};
use serde::Deserialize;

/// Scores a weight w by its connection sensitivity |w dL/dw|, the gradient taken over all of the
/// batches before its absolute value.
///
/// # Source
/// Lee et al. 2019 (arXiv:1810.02340), equation 5, without the common factor that makes the sum 1.
///
/// # Departures
/// Batch norm normalises by the batch, as while the network trains. The published code has it in evaluation
/// mode, where a new network's running mean 0 and variance 1 change nothing: set `evaluation_mode` for that.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Sensitivity {
    /// Batches of training samples that the gradient is taken over; the paper uses 1.
    #[schemars(range(min = 1))]
    batches: u64,
    /// Whether batch norm is in evaluation mode, as in the published code, instead of training mode.
    evaluation_mode: bool,
}

impl Default for Sensitivity {
    fn default() -> Self {
        Self {
            batches: 1,
            evaluation_mode: false,
        }
    }
}

impl Scorer for Sensitivity {
    fn score(&mut self, ctx: &mut ScoreContext<'_>) -> Result<Vec<Tensor>> {
        let mut request = GradientRequest::new(Loss::CrossEntropy, Batches::Random(self.batches));
        request.eval_mode = self.evaluation_mode;
        let gradients = ctx.gradients(&request)?;
        let weights = ctx.weights()?;
        Ok(weights
            .iter()
            .zip(&gradients)
            .map(|(weight, gradient)| (weight * gradient).abs())
            .collect())
    }
}

/// Keeps the survivors of highest score over all layers together, before the level's training starts.
///
/// # Source
/// Lee et al. 2019 (arXiv:1810.02340), algorithm 1. With `rounds` above 1 as in Verdenius et al. 2020
/// (arXiv:2006.00896) and de Jorge et al. 2021 (arXiv:2006.09081).
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Global {
    /// In how many steps, each with new scores.
    #[schemars(range(min = 1))]
    rounds: u64,
}

impl Default for Global {
    fn default() -> Self {
        Self { rounds: 1 }
    }
}

impl MaskUpdate for Global {
    fn cadence(&self) -> Cadence {
        Cadence::before_training(self.rounds)
    }

    fn update(&mut self, ctx: &mut MaskContext<'_>) -> Result<Vec<Tensor>> {
        let scores = ctx.scores()?;
        let target = ctx.target();
        ctx.select(&scores, Among::Survivors, Counts::Total(target))
    }
}

export_plugin! {
    score { "sensitivity" => Sensitivity }
    mask { "global" => Global }
    default { score = "snip/sensitivity", mask = "snip/global", rewind = ["imp/weights"] }
}
