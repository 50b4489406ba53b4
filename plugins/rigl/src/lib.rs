//! RigL: while a sparse network trains, small weights go and weights of large gradient come.
//!
//! # Source
//! Evci et al. 2020 (arXiv:1911.11134).

use plugin_api::schemars::{self, JsonSchema};
use plugin_api::{
    Among, Batches, Cadence, Counts, Distribution, Experiment, Finding, GradientRequest, Loss,
    MaskContext, MaskUpdate, Phase, Result, Step, Tensor, export_plugin,
};
use serde::Deserialize;

/// Starts the level with the survivors of highest score in each layer. Within it every exchange
/// drops the smallest weights of each layer and grows, from 0, as many where the gradient on the
/// next batch is largest.
///
/// # Source
/// Evci et al. 2020 (arXiv:1911.11134), algorithm 1.
///
/// # Departures
/// - The first exchange comes after `every` steps. Algorithm 1 and the published code make one at the
///   first step, too.
/// - An exchange comes between two optimizer steps, and the gradient that it grows by is that of the
///   batch which the next of them trains on. In algorithm 1 an exchange takes the place of that step: at the
///   same number of steps this makes as many more optimizer steps as there are exchanges.
/// - `fraction` of a layer's survivors is rounded to the nearest whole number, halves up, and is at
///   most what the layer has room for. The published code rounds down.
/// - Magnitudes are compared as they are, lower index first among equals. The published code adds normal
///   noise of deviation 1e-5 to them.
///
/// As in the published code, what was just dropped may grow back and then keeps its value, and what
/// grows starts at 0, in the optimizer's state, too.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct DropAndGrow {
    /// How the survivors are spread over layers; no exchange changes it.
    distribution: Distribution,
    /// Share of each layer's survivors that an exchange replaces at the level's start; from there it
    /// falls as half a cosine to 0 at `until`.
    #[schemars(range(min = 0.0, max = 1.0))]
    fraction: f64,
    /// Distance of two exchanges.
    every: Step,
    /// Share of the level's steps after which the mask stays.
    #[schemars(range(min = 0.0, max = 1.0))]
    until: f64,
}

impl Default for DropAndGrow {
    fn default() -> Self {
        Self {
            distribution: Distribution::Erk,
            fraction: 0.3,
            every: Step::Iterations(100),
            until: 0.75,
        }
    }
}

impl MaskUpdate for DropAndGrow {
    fn validate(&self) -> Result<()> {
        self.every.expect_some("every")
    }

    fn review(&self, experiment: &Experiment) -> Vec<Finding> {
        experiment.exchanges("every", self.every, "until", self.until)
    }

    fn cadence(&self) -> Cadence {
        Cadence::between_levels().and_every(self.every, None)
    }

    fn update(&mut self, ctx: &mut MaskContext<'_>) -> Result<Vec<Tensor>> {
        if ctx.phase() != Phase::WithinLevel {
            let counts = ctx.counts(self.distribution)?;
            let scores = ctx.scores()?;
            return ctx.select(&scores, Among::Survivors, Counts::PerLayer(counts));
        }
        let fraction = self.fraction * ctx.cosine(self.until);
        let exchanged = ctx.exchanged(fraction)?;
        if exchanged.iter().sum::<u64>() == 0 {
            return ctx.masks();
        }
        let magnitudes: Vec<Tensor> = ctx.weights()?.iter().map(Tensor::abs).collect();
        let request = GradientRequest::new(Loss::CrossEntropy, Batches::Next);
        let growth: Vec<Tensor> = ctx.gradients(&request)?.iter().map(Tensor::abs).collect();
        ctx.drop_and_grow(&magnitudes, &growth, &exchanged)
    }
}

export_plugin! {
    mask { "drop-and-grow" => DropAndGrow }
    default { score = "random-mask/random", mask = "rigl/drop-and-grow", rewind = ["imp/weights"] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_of_no_steps_is_refused() {
        let update = DropAndGrow {
            every: Step::Epochs(0),
            ..DropAndGrow::default()
        };
        let message = update.validate().unwrap_err().to_string();
        assert_eq!(message, "every is \"0ep\", expected at least one step");
    }
}
