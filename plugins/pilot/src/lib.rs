//! PILoT: continuous sparsification, by weights that are products of two factors under a penalty that comes and goes.
//!
//! # Source
//! Jacobs & Burkholz, ICLR 2025 (arXiv:2408.09966).

use plugin_api::schemars::{self, JsonSchema};
use plugin_api::{
    Acts, Experiment, Factors, Finding, Result, StepNumber, Update, UpdateContext, Updated,
    export_plugin,
};
use serde::Deserialize;

/// Trains each weight as a product m w by SGD on both factors, instead of the optimizer, with the penalty
/// strength (|m|^2 + |w|^2), whose strength rises in the first half of a level and falls in the second. The penalty
/// moves the implicit bias from L2 to L1, and stays there when it is gone; what a mask then removes is small.
///
/// # Source
/// Jacobs & Burkholz, ICLR 2025 (arXiv:2408.09966), algorithm 1; the factors start at an inner scale m^2 - w^2 of 1. Of a
/// constant strength a weight under the linear loss g theta follows
/// theta_t = (1/2) sinh(arcsinh(2 theta_0) - 2 g t) exp(-4 strength t).
///
/// # Departures
/// - In the paper the strength is multiplied with a factor after each epoch in which training accuracy did not fall and the
///   weights' L1 norm is large enough, and divided by it else, always in the second half of training. An update sees no
///   accuracy: here it is the factor to the power of the epochs done in the first half, and to that of the epochs
///   left in the second.
/// - Exact counts come from the strategy's mask.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Regularised {
    /// Strength of the penalty at a level's start and end.
    #[schemars(range(min = 0.0, max = 1.0))]
    strength: f64,
    /// Factor by which an epoch raises the strength, and lowers it.
    #[schemars(range(min = 1.0, max = 10.0))]
    growth: f64,
    /// The inner scale at the start.
    #[schemars(range(min = 1e-6, max = 1e3))]
    scale: f64,
    /// Share of its momentum that a step of a factor keeps.
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))]
    momentum: f64,
    /// Whether a step looks ahead along the momentum.
    nesterov: bool,
    /// What the learning rate of the factors is multiplied with.
    #[schemars(range(min = 0.0, max = 1e3))]
    lr_factor: f64,
}

impl Default for Regularised {
    fn default() -> Self {
        Self {
            strength: 1e-4,
            growth: 1.02,
            scale: 1.0,
            momentum: 0.9,
            nesterov: false,
            lr_factor: 1.0,
        }
    }
}

impl Regularised {
    fn factors(&self) -> Factors {
        Factors {
            scale: self.scale,
            momentum: self.momentum,
            nesterov: self.nesterov,
            lr_factor: self.lr_factor,
        }
    }
}

impl Update for Regularised {
    fn review(&self, experiment: &Experiment) -> Vec<Finding> {
        self.factors().review("momentum", "nesterov", experiment)
    }

    fn acts(&self) -> Acts {
        Acts::Instead
    }

    fn is_pure(&self) -> bool {
        true
    }

    fn states(&self) -> Vec<&'static str> {
        self.factors().states()
    }

    fn update(&mut self, ctx: &mut UpdateContext<'_>) -> Result<Updated> {
        let progress = ctx.number(StepNumber::Progress)?;
        let epochs = ctx.steps_per_level() as f64 / ctx.steps_per_epoch().max(1) as f64;
        let rest = &progress * -1.0 + 1.0;
        let risen = progress.minimum(&rest) * (epochs * self.growth.ln());
        // The penalty's gradient is twice the strength times the factor.
        let decay = risen.exp() * (2.0 * self.strength);
        let never = progress.full_like(0.0);
        self.factors().step(ctx, &decay, &never)
    }
}

export_plugin! { update { "regularised" => Regularised } }
