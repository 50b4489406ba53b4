//! Updates that break a rule.

use plugin_api::schemars::{self, JsonSchema};
use plugin_api::{Acts, Result, Tensor, Update, UpdateContext, Updated};
use serde::Deserialize;

use crate::{with_element, with_first};

/// One update for each name: whether it says that it is pure, its state, and what `update` does.
macro_rules! updates {
    ($($(#[$doc:meta])* $name:ident ($pure:literal, $states:expr) = |$ctx:ident| $update:expr;)*) => { $(
        $(#[$doc])*
        #[derive(Default, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name {}

        impl Update for $name {
            fn is_pure(&self) -> bool {
                $pure
            }

            fn states(&self) -> Vec<&'static str> {
                $states.to_vec()
            }

            fn update(&mut self, $ctx: &mut UpdateContext<'_>) -> Result<Updated> {
                $update
            }
        }
    )* };
}

const NONE: [&str; 0] = [];

updates! {
    /// Panics in `update`.
    Panics(false, NONE) = |_ctx| panic!("no step today");

    /// Leaves one list of tensors out.
    WrongCount(false, NONE) = |ctx| {
        let mut weights = ctx.weights()?;
        weights.pop();
        Ok(weights.into())
    };

    /// Flattens the first weights.
    WrongShape(false, NONE) = |ctx| Ok(with_first(ctx.weights()?, Tensor::flatten).into());

    /// Makes a weight NaN.
    Nan(false, NONE) = |ctx| {
        let weights = ctx.weights()?;
        Ok(with_element(ctx, weights, f32::NAN)?.into())
    };

    /// Moves every weight, pruned ones, too.
    Grows(false, NONE) = |ctx| {
        let weights = ctx.weights()?;
        Ok(weights.iter().map(|weight| weight + 0.5).collect::<Vec<_>>().into())
    };

    /// Keeps something where weights are pruned.
    LeavesState(false, ["left"]) = |ctx| {
        let weights = ctx.weights()?;
        let left = weights.iter().map(|weight| weight.full_like(1.0)).collect();
        Ok(Updated::new(weights).with("left", left))
    };

    /// Gives a state that it does not name.
    UnknownState(false, ["left"]) = |ctx| {
        let weights = ctx.weights()?;
        Ok(Updated::new(weights.clone()).with("right", weights))
    };

    /// Says that it is pure and looks at a weight.
    ReadsAndIsPure(true, NONE) = |ctx| {
        let weights = ctx.weights()?;
        let first = f64::from(weights[0].to_vec()[0]);
        Ok(weights.iter().map(|weight| weight * (1.0 - 1e-3 * first.abs())).collect::<Vec<_>>().into())
    };

    /// Says that it is pure and draws.
    DrawsAndIsPure(true, NONE) = |ctx| {
        let (weights, drawn) = (ctx.weights()?, ctx.uniform()?);
        let pairs = weights.iter().zip(&drawn);
        Ok(pairs.map(|(weight, drawn)| weight * drawn).collect::<Vec<_>>().into())
    };

    /// Says that it is pure, and what it does depends on the step.
    CountsAndIsPure(true, NONE) = |ctx| {
        let factor = 1.0 - 1e-3 * ctx.step() as f64;
        let weights = ctx.weights()?;
        Ok(weights.iter().map(|weight| weight * factor).collect::<Vec<_>>().into())
    };
}

/// Keeps a number of its own from one step to the next, which no checkpoint has.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HidesState {
    #[serde(skip)]
    calls: u32,
}

impl Update for HidesState {
    fn update(&mut self, ctx: &mut UpdateContext<'_>) -> Result<Updated> {
        self.calls += 1;
        let factor = 1.0 - 1e-3 * f64::from(self.calls);
        let weights = ctx.weights()?;
        Ok(weights
            .iter()
            .map(|weight| weight * factor)
            .collect::<Vec<_>>()
            .into())
    }
}

/// Names a state that no file can have.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BadName {}

impl Update for BadName {
    fn states(&self) -> Vec<&'static str> {
        vec!["left/right"]
    }

    fn update(&mut self, ctx: &mut UpdateContext<'_>) -> Result<Updated> {
        Ok(ctx.weights()?.into())
    }
}

/// Does nothing wrong, instead of the optimizer: for a strategy with two of the kind.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Still {}

impl Update for Still {
    fn acts(&self) -> Acts {
        Acts::Instead
    }

    fn update(&mut self, ctx: &mut UpdateContext<'_>) -> Result<Updated> {
        Ok(ctx.weights()?.into())
    }
}
