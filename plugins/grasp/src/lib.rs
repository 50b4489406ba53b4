//! GraSP: prune before training what gradient flow does not need.
//!
//! # Source
//! Wang et al. 2020 (arXiv:2002.07376).

use plugin_api::schemars::{self, JsonSchema};
use plugin_api::{
    Batches, GradientRequest, Loss, Result, ScoreContext, Scorer, Tensor, export_plugin,
};
use serde::Deserialize;

/// Scores a weight w by w (H g), g and H being gradient and Hessian of the loss: how much smaller
/// the squared norm of the gradient becomes without it.
///
/// The paper's score has the opposite sign and removes the highest; its sign matters, its absolute
/// value means nothing.
///
/// # Source
/// Wang et al. 2020 (arXiv:2002.07376), equation 8 and algorithm 2.
///
/// # Departures
/// - The network is scored as it will train. The published code draws new weights (Xavier) for linear layers
///   and scores those.
/// - Batches are drawn from all training samples. The published code takes as many samples of each
///   class, in two halves.
/// - As many weights go as the level says, lower index kept among equals. The published code removes what
///   lies above a threshold, rounded down.
///
/// As in the published code, batch norm normalises by the batch (training mode).
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct GradientFlow {
    /// Batches of training samples that both are taken over.
    #[schemars(range(min = 1))]
    batches: u64,
    /// What the outputs are divided by before the cross-entropy; the paper's code uses 200.
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    temperature: f64,
}

impl Default for GradientFlow {
    fn default() -> Self {
        Self {
            batches: 1,
            temperature: 200.0,
        }
    }
}

impl Scorer for GradientFlow {
    fn score(&mut self, ctx: &mut ScoreContext<'_>) -> Result<Vec<Tensor>> {
        // In f64: at a high temperature the products are tiny.
        let over = |batches| {
            GradientRequest::new(Loss::CrossEntropy, batches)
                .at_temperature(self.temperature)
                .in_double_precision()
        };
        let gradients = ctx.gradients(&over(Batches::Random(self.batches)))?;
        let products = ctx.hessian_vector(&gradients, &over(Batches::Same))?;
        let weights = ctx.weights()?;
        let flows: Vec<Tensor> = weights
            .iter()
            .zip(&products)
            .map(|(weight, product)| weight * product)
            .collect();
        let largest = flows.iter().map(|flow| flow.abs().max().item());
        let largest = largest.fold(f64::MIN_POSITIVE, f64::max);
        let f32 = plugin_api::DType::F32;
        Ok(flows
            .iter()
            .map(|flow| (flow / largest).to_dtype(f32))
            .collect())
    }
}

export_plugin! {
    score { "gradient-flow" => GradientFlow }
    default { score = "grasp/gradient-flow", mask = "snip/global", rewind = ["imp/weights"] }
}
