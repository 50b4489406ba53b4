//! A rewind plan from what a function gave.

use plugin_api::abi::wire::{Plan, PlanWeights};
use plugin_api::{Error, Point, Result, RewindPlan, Source, Weights};

use crate::answer::Given;

/// The plan, with its tensors in their places.
///
/// # Errors
/// What of it is no plan.
pub fn read(given: Given, layers: usize) -> Result<RewindPlan> {
    let plan: Plan = serde_json::from_value(given.plan)
        .map_err(|error| Error::new(format!("the plan cannot be read: {error}")))?;
    let mut tensors = given.tensors.into_iter();
    let source = |point: Option<Point>| point.map_or(Source::Keep, Source::From);
    let weights = match plan.weights {
        PlanWeights::Keep => Weights::Keep,
        PlanWeights::From(point) => Weights::From(point),
        PlanWeights::Mixed { magnitudes, signs } => Weights::Mixed {
            magnitudes: source(magnitudes),
            signs: source(signs),
        },
        PlanWeights::Tensors => Weights::Tensors(tensors.by_ref().take(layers).collect()),
    };
    let redefine = plan.redefine.into_iter();
    let redefine = redefine.map(|point| (point, tensors.by_ref().take(layers).collect()));
    Ok(RewindPlan {
        weights,
        redefine: redefine.collect(),
        batch_norm: plan.batch_norm,
        optimizer: plan.optimizer,
        schedule: plan.schedule,
        data_order: plan.data_order,
    })
}
