//! SynFlow: prune before training, step by step and without data, what carries the least flow.
//!
//! # Source
//! Tanaka et al. 2020 (arXiv:2006.05467).

use plugin_api::schemars::{self, JsonSchema};
use plugin_api::{
    Among, Batches, Cadence, Counts, DType, GradientRequest, Loss, MaskContext, MaskUpdate, Result,
    ScoreContext, Scorer, Tensor, export_plugin,
};
use serde::Deserialize;

/// Scores a weight w by |w| dR/d|w|, R being the sum of outputs for an input of ones when every
/// parameter is replaced by its absolute value and batch norm is in evaluation mode.
///
/// Scores are given as shares of the largest. Without biases and batch norm those of each layer,
/// and those into and out of each hidden unit, have the same sum: no layer can be emptied before
/// the others.
///
/// # Source
/// Tanaka et al. 2020 (arXiv:2006.05467), section 5, equation 2 and theorem 1.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Flow {}

impl Scorer for Flow {
    fn score(&mut self, ctx: &mut ScoreContext<'_>) -> Result<Vec<Tensor>> {
        // In f64: the flow through many layers leaves f32's range.
        let request = GradientRequest::new(Loss::SumOfOutputs, Batches::Ones)
            .on_absolute_weights()
            .in_eval_mode()
            .in_double_precision();
        let gradients = ctx.gradients(&request)?;
        let weights = ctx.weights()?;
        let flows: Vec<Tensor> = weights
            .iter()
            .zip(&gradients)
            .map(|(weight, gradient)| (weight * gradient).abs())
            .collect();
        let largest = flows.iter().map(|flow| flow.max().item());
        let largest = largest.fold(f64::MIN_POSITIVE, f64::max);
        Ok(flows
            .iter()
            .map(|flow| (flow / largest).to_dtype(DType::F32))
            .collect())
    }
}

/// Keeps the survivors of highest score over all layers together, in rounds before the level's
/// training starts; the number kept falls exponentially.
///
/// # Source
/// Tanaka et al. 2020 (arXiv:2006.05467), algorithm 1.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Exponential {
    /// In how many steps, each with new scores.
    #[schemars(range(min = 1))]
    rounds: u64,
}

impl Default for Exponential {
    fn default() -> Self {
        Self { rounds: 100 }
    }
}

impl MaskUpdate for Exponential {
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
    score { "flow" => Flow }
    mask { "exponential" => Exponential }
    default { score = "synflow/flow", mask = "synflow/exponential", rewind = ["imp/weights"] }
}
