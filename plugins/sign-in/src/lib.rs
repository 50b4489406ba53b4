//! Sign-In: sparse training from scratch in which weights are products of two factors, so that their signs flip.
//!
//! # Source
//! Gadhikar, Jacobs, Zhou & Burkholz, NeurIPS 2025 (arXiv:2504.12801).

use plugin_api::schemars::{self, JsonSchema};
use plugin_api::{
    Acts, Experiment, Factors, Finding, Result, Step, StepNumber, Update, UpdateContext, Updated,
    export_plugin,
};
use serde::Deserialize;

/// Trains each weight as a product m w by SGD on both factors, instead of the optimizer. At intervals the inner scale
/// m^2 - w^2, which descent shrinks, is set anew while the products stay.
///
/// # Source
/// Gadhikar, Jacobs, Zhou & Burkholz, NeurIPS 2025 (arXiv:2504.12801). One weight follows
/// theta_t = (scale / 2) sinh(arcsinh(2 theta_0 / scale) - 2 G), with G the gradient's integral, while the scale
/// stays.
///
/// # Departures
/// - What the paper's text leaves open is an option: the interval, momentum and decay. Momenta stay when the scale is set
///   anew.
/// - Biases and norms are the optimizer's.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Reparameterised {
    /// The inner scale.
    #[schemars(range(min = 1e-6, max = 1e3))]
    scale: f64,
    /// Distance of two times at which the scale is set anew.
    every: Step,
    /// Share of its momentum that a step of a factor keeps.
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))]
    momentum: f64,
    /// Whether a step looks ahead along the momentum.
    nesterov: bool,
    /// L2 penalty on each factor, added to its gradient.
    #[schemars(range(min = 0.0, max = 1e3))]
    weight_decay: f64,
    /// What the learning rate of the factors is multiplied with.
    #[schemars(range(min = 0.0, max = 1e3))]
    lr_factor: f64,
}

impl Default for Reparameterised {
    fn default() -> Self {
        Self {
            scale: 1.0,
            every: Step::Epochs(1),
            momentum: 0.9,
            nesterov: false,
            weight_decay: 0.0,
            lr_factor: 1.0,
        }
    }
}

impl Reparameterised {
    fn factors(&self) -> Factors {
        Factors {
            scale: self.scale,
            momentum: self.momentum,
            nesterov: self.nesterov,
            lr_factor: self.lr_factor,
        }
    }
}

impl Update for Reparameterised {
    fn validate(&self) -> Result<()> {
        self.every.expect_some("every")
    }

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
        let anew = Factors::due(ctx, self.every)?;
        let decay = ctx
            .number(StepNumber::Progress)?
            .full_like(self.weight_decay);
        self.factors().step(ctx, &decay, &anew)
    }
}

export_plugin! { update { "reparameterised" => Reparameterised } }
