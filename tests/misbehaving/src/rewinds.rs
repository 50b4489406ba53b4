//! Rewind policies that break a rule.

use plugin_api::schemars::{self, JsonSchema};
use plugin_api::{
    Experiment, Finding, Point, Result, Rewind, RewindContext, RewindPlan, Step, Tensor, Weights,
};
use serde::Deserialize;

use crate::{with_element, with_first};

/// One rewind policy for each name: what `rewind` does.
macro_rules! rewinds {
    ($($(#[$doc:meta])* $name:ident = |$ctx:ident| $rewind:expr;)*) => { $(
        $(#[$doc])*
        #[derive(Default, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name {}

        impl Rewind for $name {
            fn rewind(&mut self, $ctx: &mut RewindContext<'_>) -> Result<RewindPlan> {
                $rewind
            }
        }
    )* };
}

rewinds! {
    /// Panics in `rewind`.
    Panics = |_ctx| panic!("no plan today");

    /// Gives one tensor too few.
    WrongCount = |ctx| {
        let mut weights = ctx.weights()?;
        weights.pop();
        Ok(plan(weights))
    };

    /// Flattens the first tensor.
    WrongShape = |ctx| Ok(plan(with_first(ctx.weights()?, Tensor::flatten)));

    /// Gives a NaN.
    NanWeights = |ctx| {
        let weights = ctx.weights()?;
        Ok(plan(with_element(ctx, weights, f32::NAN)?))
    };

    /// Asks for the weights at a point that it did not name in `points`.
    ReadsUnknownPoint = |ctx| Ok(plan(ctx.weights_at(&undeclared())?));

    /// Wants to go to a point that it did not name in `points`.
    UnknownPoint = |_ctx| Ok(RewindPlan::to_point(undeclared()));
}

/// Panics when it is asked about an experiment.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PanicsInReview {}

impl Rewind for PanicsInReview {
    fn review(&self, _: &Experiment) -> Vec<Finding> {
        panic!("no opinion today")
    }

    fn rewind(&mut self, _: &mut RewindContext<'_>) -> Result<RewindPlan> {
        Ok(RewindPlan::default())
    }
}

/// Finds something at an option that it does not have, in a text that a terminal would obey.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FindsAtNoOption {}

impl Rewind for FindsAtNoOption {
    fn review(&self, _: &Experiment) -> Vec<Finding> {
        vec![Finding::impossible("\u{1b}[2Jgone").at_option("no.such.option")]
    }

    fn rewind(&mut self, _: &mut RewindContext<'_>) -> Result<RewindPlan> {
        Ok(RewindPlan::default())
    }
}

fn undeclared() -> Point {
    Point::Step(Step::Iterations(7))
}

fn plan(weights: Vec<Tensor>) -> RewindPlan {
    RewindPlan {
        weights: Weights::Tensors(weights),
        ..RewindPlan::default()
    }
}
