//! Masks of whole units.

use plugin_api::schemars::{self, JsonSchema};
use plugin_api::{
    Error, Experiment, Finding, MaskContext, MaskUpdate, Measure, Result, Scope, Tensor, UnitRule,
    Units,
};
use serde::Deserialize;

/// Keeps the units of highest score; what goes with a pruned one - rows that make it, columns that read it - is pruned,
/// too.
///
/// A level keeps the largest set of whole units in the order of their scores that comes to no more than its density:
/// of all weights, units or multiply-adds, as `target` says. What it keeps is recorded to the weight. Every set of
/// units keeps one at least.
///
/// A unit's score is the mean of its surviving weights' scores, over those that make it. So `imp/magnitude` prunes by
/// the mean magnitude of rows, and `structured/units` by what it says.
///
/// Biases and norms of a pruned unit stay as they are: nothing reads the unit any more. `prune.include` prunes them, too.
///
/// # Source
/// Magnitude pruning of channels as in Li et al. 2017 (arXiv:1608.08710); groups as in Fang et al. 2023
/// (arXiv:2301.12900).
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Mask {
    /// What a level's density is of.
    target: Measure,
    /// Which units compete: all by their scores, or those of a set, so that every set keeps about the same share.
    scope: Scope,
    /// Units that are kept or pruned together: a set keeps a multiple of so many, or all. Runtimes compute in blocks:
    /// 16 is that of processors with AVX-512.
    #[schemars(range(min = 1, max = 1024))]
    multiple: u64,
}

impl Default for Mask {
    fn default() -> Self {
        Self {
            target: Measure::default(),
            scope: Scope::default(),
            multiple: 1,
        }
    }
}

impl Mask {
    fn rule(&self) -> UnitRule {
        UnitRule {
            measure: self.target,
            scope: self.scope,
            multiple: self.multiple,
        }
    }

    fn measured(&self) -> &'static str {
        match self.target {
            Measure::Weights => "weights",
            Measure::Units => "units",
            Measure::Macs => "multiply-adds",
        }
    }
}

impl MaskUpdate for Mask {
    fn unit_rule(&self) -> Option<UnitRule> {
        Some(self.rule())
    }

    fn review(&self, experiment: &Experiment) -> Vec<Finding> {
        let Some(units) = &experiment.units else {
            return Vec::new();
        };
        if units.sets.is_empty() {
            let message = "no units of this network can be removed whole";
            return vec![Finding::impossible(message).advise("`groups FILE` says why")];
        }
        let rule = self.rule();
        let layers = &experiment.layers;
        let (total, least) = (
            units.total(rule.measure, layers),
            units.least(&rule, layers),
        );
        let what = self.measured();
        let short = |(level, target): (u64, &u64)| {
            (*target < least).then(|| {
                let density = |count: u64| count as f64 / total as f64;
                let next = next(units, &rule, experiment);
                let next = next.map_or_else(String::new, |next| {
                    format!(", to {next} ({:.6}) next", density(next))
                });
                let message = format!(
                    "level {level} is to keep {target} {what} of {total} at most, and whole units come to {least} \
                     ({:.6}) at least{next}",
                    density(least)
                );
                let advice = "expected a higher density, or a smaller `multiple`";
                Finding::impossible(message).at_density(level).advise(advice)
            })
        };
        (0..).zip(&experiment.targets).filter_map(short).collect()
    }

    fn update(&mut self, ctx: &mut MaskContext<'_>) -> Result<Vec<Tensor>> {
        if ctx.units()?.sets.is_empty() {
            return Err(Error::new("no units of this network can be removed whole"));
        }
        let scores = ctx.scores()?;
        ctx.select_units(&scores, &self.rule())
    }
}

/// The least that is kept beyond one block of each set: with one more of some set.
fn next(units: &Units, rule: &UnitRule, experiment: &Experiment) -> Option<u64> {
    let blocks = |set: &plugin_api::UnitSet, more: u64| {
        let count = (rule.multiple * (1 + more)).min(set.units);
        (0..set.units).map(|unit| unit < count).collect()
    };
    let with = |larger: usize| {
        let sets = units.sets.iter().enumerate();
        let kept: Vec<Vec<bool>> = sets
            .map(|(at, set)| blocks(set, u64::from(at == larger)))
            .collect();
        units.count(rule.measure, &experiment.layers, &kept)
    };
    let least = units.least(rule, &experiment.layers);
    (0..units.sets.len())
        .map(with)
        .filter(|it| *it > least)
        .min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use plugin_api::{Layer, LayerKind};

    fn layers() -> Vec<Layer> {
        vec![
            Layer::new("conv1.weight", LayerKind::Conv2d, [6, 1, 3, 3]),
            Layer::new("conv2.weight", LayerKind::Conv2d, [4, 6, 1, 1]),
            Layer::new("fc.weight", LayerKind::Linear, [3, 4]),
        ]
    }

    #[test]
    fn targets_that_no_whole_units_reach_are_found_before_training_with_the_nearest_two() {
        let mask = Mask {
            multiple: 2,
            ..Mask::default()
        };
        let experiment = Experiment::new(layers(), 10, 2, [0.5, 0.1]);
        let experiment = experiment.with_units(Units::of_chain(&layers()), &mask.rule());
        let found = mask.review(&experiment);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].setting.as_deref(), Some("prune.densities.1"));
        // 90 weights. Two of each set: 18 + 4 + 6; with two more of the second one 18 + 8 + 12.
        assert_eq!(
            found[0].message,
            "level 2 is to keep 9 weights of 90 at most, and whole units come to 28 (0.311111) at least, to 38 \
             (0.422222) next"
        );
    }
}
