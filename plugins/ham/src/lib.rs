//! HAM: after each step of an optimizer, a step that multiplies weights.
//!
//! # Source
//! Jacobs, Gadhikar, Rubio-Madrigal & Burkholz, ICLR 2026 (arXiv:2506.02630).

use plugin_api::schemars::{self, JsonSchema};
use plugin_api::{Result, Update, UpdateContext, Updated, export_plugin};
use serde::Deserialize;

/// The exponent of a step lies between minus this and this, as in the published code.
const LARGEST_EXPONENT: f64 = 5.0;

/// Multiplies each weight w, after the optimizer's step, by exp(lr (-alpha sign(w) g - beta)): g is the gradient that
/// the optimizer took, without momentum. Weights then move in proportion to 1 + alpha |w|, those near zero slowly
/// and through it, large ones fast: between an L2 and an L1 bias.
///
/// # Source
/// Jacobs, Gadhikar, Rubio-Madrigal & Burkholz, ICLR 2026 (arXiv:2506.02630), algorithm 1: sign(w) is that of the
/// weight after the optimizer's step.
///
/// # Departures
/// - It acts on the prunable weights, where the published code takes every tensor of two dimensions or more.
/// - The published code caps the norm of each tensor at 1000; this does not.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Hyperbolic {
    /// Strength of the multiplying step; with 0 it is a decay.
    #[schemars(range(min = 0.0, max = 1e6))]
    alpha: f64,
    /// Rate at which weights decay, times the learning rate.
    #[schemars(range(min = 0.0, max = 1e3))]
    beta: f64,
}

impl Default for Hyperbolic {
    fn default() -> Self {
        Self {
            alpha: 200.0,
            beta: 1e-3,
        }
    }
}

impl Update for Hyperbolic {
    fn is_pure(&self) -> bool {
        true
    }

    fn update(&mut self, ctx: &mut UpdateContext<'_>) -> Result<Updated> {
        let lr = ctx.lr()?;
        let (weights, gradients) = (ctx.weights()?, ctx.gradients()?);
        let pairs = weights.iter().zip(&gradients);
        let moved = pairs.map(|(weight, gradient)| {
            let slope = weight.sign() * gradient;
            let exponent = (slope * -self.alpha - self.beta) * &lr;
            weight * exponent.clamp(-LARGEST_EXPONENT, LARGEST_EXPONENT).exp()
        });
        Ok(Updated::new(moved.collect()))
    }
}

export_plugin! { update { "hyperbolic" => Hyperbolic } }
