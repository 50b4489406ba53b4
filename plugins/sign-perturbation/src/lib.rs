//! Sign perturbation: flips the signs of some surviving weights at the start of a level, to see
//! which way of training recovers (Gadhikar & Burkholz 2024, arXiv:2402.19262, section 3.2).

use plugin_api::schemars::{self, JsonSchema};
use plugin_api::{
    Among, Counts, Error, Experiment, Finding, Result, Rewind, RewindContext, RewindPlan, Tensor,
    Weights, export_plugin,
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

    fn review(&self, experiment: &Experiment) -> Vec<Finding> {
        let last = experiment.last_level();
        let levels = self.levels.iter().flatten().enumerate();
        levels
            .filter(|(_, level)| **level > last)
            .map(|(place, level)| {
                Finding::pointless(format!(
                    "no sign is flipped at level {level}: the last one is {last}"
                ))
                .at_option(format!("levels.{place}"))
                .advise("leave it out, or prune further")
            })
            .collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use plugin_api::{Layer, LayerKind};

    #[test]
    fn levels_that_never_come_are_found_before_training() {
        let layer = Layer::new("fc.weight", LayerKind::Linear, [10, 10]);
        let experiment = Experiment::new(vec![layer], 10, 2, [0.5, 0.2]);
        let flip = |levels: Option<Vec<u64>>| Flip {
            levels,
            ..Flip::default()
        };
        let review = |levels| {
            let found = flip(levels).review(&experiment);
            found.into_iter().map(|it| it.option).collect::<Vec<_>>()
        };
        assert_eq!(review(None), [""; 0]);
        assert_eq!(review(Some(vec![1, 2])), [""; 0]);
        assert_eq!(review(Some(vec![3, 2, 14])), ["levels.0", "levels.2"]);
    }
}
