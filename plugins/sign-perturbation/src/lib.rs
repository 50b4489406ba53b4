//! Sign perturbation: flips the signs of some surviving weights at the start of a level, to see
//! which way of training recovers (Gadhikar & Burkholz 2024, arXiv:2402.19262, section 3.2).

use plugin_api::schemars::{self, JsonSchema};
use plugin_api::{
    Among, Counts, Error, Result, Rewind, RewindContext, RewindPlan, Tensor, Weights, export_plugin,
};
use serde::Deserialize;

/// Flips the signs of a random fraction of each layer's survivors: exactly round(fraction * n) of n.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Flip {
    /// Share of each layer's survivors that is flipped.
    #[schemars(range(min = 0.0, max = 1.0))]
    fraction: f64,
    /// Levels at whose start signs are flipped; every level from 1 on if not given.
    levels: Option<Vec<u64>>,
    /// Whether the flips last: the stored points that other policies rewind to are flipped as well,
    /// so that later rewinds go to the flipped weights.
    lasting: bool,
}

impl Default for Flip {
    fn default() -> Self {
        Self {
            fraction: 0.2,
            levels: None,
            lasting: false,
        }
    }
}

impl Rewind for Flip {
    fn validate(&self) -> Result<()> {
        if self
            .levels
            .as_ref()
            .is_some_and(|levels| levels.contains(&0))
        {
            return Err(Error::new(
                "levels start at 1: there is nothing to rewind before level 0",
            ));
        }
        Ok(())
    }

    fn rewind(&mut self, ctx: &mut RewindContext<'_>) -> Result<RewindPlan> {
        let level = ctx.next_level();
        if self
            .levels
            .as_ref()
            .is_some_and(|levels| !levels.contains(&level))
        {
            return Ok(RewindPlan::default());
        }
        let counts: Vec<u64> = ctx
            .survivors()?
            .into_iter()
            .map(|survivors| (self.fraction * survivors as f64).round() as u64)
            .collect();
        ctx.info(format!(
            "flips the signs of {} weights at the start of level {level}",
            counts.iter().sum::<u64>()
        ));
        let scores = ctx.uniform()?;
        let chosen = ctx.select(&scores, Among::Survivors, Counts::PerLayer(counts))?;
        let factors: Vec<Tensor> = chosen.iter().map(|chosen| chosen * -2.0 + 1.0).collect();
        let mut plan = RewindPlan {
            weights: Weights::Tensors(flip(&ctx.weights()?, &factors)),
            ..RewindPlan::default()
        };
        if self.lasting {
            for point in ctx.stored_points()? {
                let flipped = flip(&ctx.weights_at(&point)?, &factors);
                plan.redefine.push((point, flipped));
            }
        }
        Ok(plan)
    }
}

/// Each layer's weights times its factors of 1 and -1.
fn flip(weights: &[Tensor], factors: &[Tensor]) -> Vec<Tensor> {
    weights
        .iter()
        .zip(factors)
        .map(|(weights, factors)| weights * factors)
        .collect()
}

export_plugin! {
    rewind { "flip" => Flip }
}
