//! Movement pruning: weights that move away from zero while they are trained are kept.
//!
//! # Source
//! Sanh, Wolf & Rush, NeurIPS 2020 (arXiv:2005.07683).

use plugin_api::schemars::{self, JsonSchema};
use plugin_api::{
    Acts, Experiment, Finding, Result, ScoreContext, Scorer, StepNumber, Tensor, Update,
    UpdateContext, Updated, export_plugin,
};
use serde::Deserialize;

const STATE: &str = "movement";
const UPDATE: &str = "movement/accumulate";

/// Gathers, at each step, minus the learning rate times the gradient times the weight: S <- S - lr g w, from 0 at the
/// level's start. The weights stay the optimizer's.
///
/// # Source
/// Sanh, Wolf & Rush, NeurIPS 2020 (arXiv:2005.07683), equation 5; the weight is that of the forward pass up to the
/// optimizer's step.
///
/// # Departures
/// The paper's gradient is also that of weights that its mask left out, which may come back. Here what is pruned stays so,
/// and gathers nothing.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Accumulate {}

impl Update for Accumulate {
    fn acts(&self) -> Acts {
        // Where the weights are still those of the gradient.
        Acts::Before
    }

    fn is_pure(&self) -> bool {
        true
    }

    fn states(&self) -> Vec<&'static str> {
        vec![STATE]
    }

    fn update(&mut self, ctx: &mut UpdateContext<'_>) -> Result<Updated> {
        let (weights, gradients, lr) = (ctx.weights()?, ctx.gradients()?, ctx.lr()?);
        // From the level's start, also where the optimizer's state was kept.
        let is_later = ctx.number(StepNumber::Progress)? * ctx.steps_per_level() as f64;
        let is_later = is_later.gt_scalar(1.5);
        let so_far = ctx.state(STATE)?;
        let masks = ctx.masks()?;
        let gathered = so_far.iter().enumerate().map(|(layer, so_far)| {
            let moved = &weights[layer] * &gradients[layer] * &lr;
            (so_far * &is_later - moved) * &masks[layer]
        });
        Ok(Updated::new(gradients.clone()).with(STATE, gathered.collect()))
    }
}

/// Scores a weight by what `movement/accumulate` gathered in the level: high where it moved away from zero.
///
/// # Source
/// Sanh, Wolf & Rush, NeurIPS 2020 (arXiv:2005.07683), section 4.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Movement {}

impl Scorer for Movement {
    fn review(&self, experiment: &Experiment) -> Vec<Finding> {
        match experiment.updates.iter().any(|it| it == UPDATE) {
            true => Vec::new(),
            false => vec![
                Finding::impossible(format!(
                    "it scores what `{UPDATE}` gathers, which `strategy.update` lacks"
                ))
                .advise(format!("add update = \"{UPDATE}\"")),
            ],
        }
    }

    fn score(&mut self, ctx: &mut ScoreContext<'_>) -> Result<Vec<Tensor>> {
        ctx.update_state(UPDATE, STATE)
    }
}

export_plugin! {
    score { "movement" => Movement }
    update { "accumulate" => Accumulate }
}
