//! Mask updates that break a rule.

use plugin_api::schemars::{self, JsonSchema};
use plugin_api::{
    Among, Cadence, Counts, MaskContext, MaskUpdate, Measure, Result, Scope, Tensor, UnitRule,
};
use serde::Deserialize;

use crate::{with_element, with_first};

/// One mask update for each name: what `update` does.
macro_rules! masks {
    ($($(#[$doc:meta])* $name:ident = |$ctx:ident| $update:expr;)*) => { $(
        $(#[$doc])*
        #[derive(Default, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name {}

        impl MaskUpdate for $name {
            fn update(&mut self, $ctx: &mut MaskContext<'_>) -> Result<Vec<Tensor>> {
                $update
            }
        }
    )* };
}

masks! {
    /// Panics in `update`.
    Panics = |_ctx| panic!("no mask today");

    /// Halves every element of the first mask.
    Half = |ctx| Ok(with_first(ctx.masks()?, |mask| mask.full_like(0.5)));

    /// Revives one pruned weight, and prunes one more for it.
    Grows = |ctx| {
        let target = ctx.target();
        let pruned = ctx.layers().iter().map(|layer| layer.len()).sum::<u64>()
            - ctx.survivors()?.iter().sum::<u64>();
        if pruned == 0 {
            return kept(ctx, target);
        }
        let kept = kept(ctx, target - 1)?;
        let scores = ctx.scores()?;
        let revived = ctx.select(&scores, Among::Pruned, Counts::Total(1))?;
        Ok(kept.iter().zip(&revived).map(|(a, b)| a + b).collect())
    };

    /// Keeps one weight too many.
    OneTooMany = |ctx| {
        let target = ctx.target();
        kept(ctx, target + 1)
    };

    /// Keeps one weight too few.
    OneTooFew = |ctx| {
        let target = ctx.target();
        kept(ctx, target - 1)
    };

    /// Flattens the first mask.
    WrongShape = |ctx| Ok(with_first(ctx.masks()?, Tensor::flatten));

    /// Gives one mask too many.
    WrongCount = |ctx| {
        let mut masks = ctx.masks()?;
        masks.push(masks[0].clone());
        Ok(masks)
    };

    /// Selects by scores that are not all numbers.
    SelectsByNan = |ctx| {
        let target = ctx.target();
        let scores = ctx.masks()?;
        let scores = with_element(ctx, scores, f32::NAN)?;
        ctx.select(&scores, Among::All, Counts::Total(target))
    };

    /// Selects more weights than there are.
    SelectsTooMany = |ctx| kept(ctx, u64::MAX);
}

/// Updates properly; panics when it is asked when.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PanicsInCadence {}

impl MaskUpdate for PanicsInCadence {
    fn cadence(&self) -> Cadence {
        panic!("no time today")
    }

    fn update(&mut self, ctx: &mut MaskContext<'_>) -> Result<Vec<Tensor>> {
        let target = ctx.target();
        kept(ctx, target)
    }
}

/// Says that it keeps whole units, and keeps single weights.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PartsOfUnits {}

impl MaskUpdate for PartsOfUnits {
    fn unit_rule(&self) -> Option<UnitRule> {
        Some(UnitRule {
            measure: Measure::Weights,
            scope: Scope::Global,
            multiple: 1,
        })
    }

    fn update(&mut self, ctx: &mut MaskContext<'_>) -> Result<Vec<Tensor>> {
        let target = ctx.target();
        kept(ctx, target)
    }
}

fn kept(ctx: &mut MaskContext<'_>, count: u64) -> Result<Vec<Tensor>> {
    let scores = ctx.scores()?;
    ctx.select(&scores, Among::Survivors, Counts::Total(count))
}
