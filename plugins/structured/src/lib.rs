//! Whole units: output channels, hidden units and attention heads are pruned with all that makes and reads them, so
//! that what is left is a smaller network.
//!
//! `units` scores them; `mask` keeps the best, and takes the scores of any other component, too.

mod importance;
mod sums;

use plugin_api::schemars::{self, JsonSchema};
use plugin_api::{
    Batches, Error, Experiment, Finding, GradientRequest, Loss, MaskContext, MaskUpdate, Measure,
    Result, Scope, ScoreContext, Scorer, Tensor, UnitRule, Units, export_plugin,
};
use serde::{Deserialize, Serialize};

use importance::{Normalise, distances, normalise, spread, uniform};
use sums::of_units;

/// Scores whole units: every weight that makes a unit has the unit's score.
///
/// Without `normalise` sets of many weights score higher than those of few; divided by their set's mean, units of
/// different sets can be compared.
///
/// # Source
/// L1: Li et al. 2017 (arXiv:1608.08710). Norm scale: Liu et al. 2017 (arXiv:1708.06519), without its penalty. Taylor:
/// Molchanov et al. 2019 (arXiv:1906.10771), equation 8, with the magnitude of each product. Geometric median: He et
/// al. 2019 (arXiv:1811.00250), equation 8. Norms of groups: Fang et al. 2023 (arXiv:2301.12900), section 3.3.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Score {
    /// What a unit's score is.
    score: Kind,
    /// Whose weights are counted.
    of: Part,
    /// What the score is divided by.
    normalise: Normalise,
    /// Batches of training samples that `taylor` takes its gradient over.
    batches: Count,
}

/// A number of batches.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(transparent)]
struct Count(#[schemars(range(min = 1))] u64);

impl Default for Count {
    fn default() -> Self {
        Self(4)
    }
}

/// What a unit's score is.
#[derive(Clone, Copy, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    /// Sum of the weights' magnitudes.
    L1,
    /// Root of the sum of their squares.
    #[default]
    L2,
    /// Mean magnitude of the norms' scales of the unit.
    NormScale,
    /// Sum of |w g|, g being the gradient of the loss.
    Taylor,
    /// Sum of the distances to the other units of the set, whose weights are taken as vectors.
    GeometricMedian,
    /// Uniformly random, new at each level.
    Random,
}

/// Whose weights are counted.
#[derive(Clone, Copy, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Part {
    /// Those that make the unit and those that read it.
    #[default]
    Group,
    /// Those that make it.
    Rows,
}

impl Scorer for Score {
    fn review(&self, experiment: &Experiment) -> Vec<Finding> {
        let sets = experiment.units.iter().flat_map(|it| &it.sets);
        let bare = sets
            .filter(|it| !it.scaled)
            .map(|it| it.name.as_str())
            .next();
        match bare {
            Some(name) if self.score == Kind::NormScale => {
                let message = format!("no norm scales the units of `{name}`");
                let finding = Finding::impossible(message).at_option("score");
                vec![finding.advise("choose another score, such as \"l2\"")]
            }
            _ => Vec::new(),
        }
    }

    fn score(&mut self, ctx: &mut ScoreContext<'_>) -> Result<Vec<Tensor>> {
        let units = ctx.units()?;
        let scores = self.of_units(ctx, &units)?;
        let scores = normalise(scores, self.normalise);
        let layers = ctx.layers().to_vec();
        let values = spread(&units, &layers, &scores);
        let pairs = values.iter().zip(&layers);
        pairs
            .map(|(values, layer)| ctx.tensor(values, &layer.shape))
            .collect()
    }
}

impl Score {
    /// The score of each unit of each set.
    fn of_units(&self, ctx: &mut ScoreContext<'_>, units: &Units) -> Result<Vec<Vec<f64>>> {
        let layers = ctx.layers().to_vec();
        let reads = self.of == Part::Group;
        Ok(match self.score {
            Kind::Random => {
                let mut random = ctx.random()?;
                let mut all = Vec::new();
                for set in &units.sets {
                    all.push((0..set.units).map(|_| uniform(&mut random)).collect());
                }
                all
            }
            Kind::NormScale => {
                let scales = ctx.unit_scales()?;
                let wide = |it: &Tensor| it.to_vec().into_iter().map(f64::from).collect();
                scales.iter().map(wide).collect()
            }
            Kind::L1 => {
                let weights = numbers(&ctx.weights()?);
                of_units(units, &layers, reads, |layer, at| {
                    f64::from(weights[layer][at].abs())
                })
            }
            Kind::L2 => {
                let weights = numbers(&ctx.weights()?);
                let squares = of_units(units, &layers, reads, |layer, at| {
                    f64::from(weights[layer][at]).powi(2)
                });
                let roots = |of: Vec<f64>| of.into_iter().map(f64::sqrt).collect();
                squares.into_iter().map(roots).collect()
            }
            Kind::Taylor => {
                let batches = Batches::Random(self.batches.0);
                let request = GradientRequest::new(Loss::CrossEntropy, batches);
                let slopes = numbers(&ctx.gradients(&request)?);
                let weights = numbers(&ctx.weights()?);
                of_units(units, &layers, reads, |layer, at| {
                    f64::from(weights[layer][at] * slopes[layer][at]).abs()
                })
            }
            Kind::GeometricMedian => {
                let weights = numbers(&ctx.weights()?);
                let masks = numbers(&ctx.masks()?);
                distances(units, &layers, reads, &weights, &masks)
            }
        })
    }
}

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
struct Mask {
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

fn numbers(tensors: &[Tensor]) -> Vec<Vec<f32>> {
    tensors.iter().map(Tensor::to_vec).collect()
}

export_plugin! {
    score { "units" => Score }
    mask { "mask" => Mask }
    default { score = "structured/units", mask = "structured/mask", rewind = ["lrr/learning-rate"] }
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

    #[test]
    fn norm_scales_are_wanted_of_every_set() {
        let score = Score {
            score: Kind::NormScale,
            ..Score::default()
        };
        let rule = Mask::default().rule();
        let experiment = Experiment::new(layers(), 10, 2, [0.5]);
        let mut units = Units::of_chain(&layers());
        let all = experiment.clone().with_units(units.clone(), &rule);
        assert_eq!(
            score.review(&all)[0].message,
            "no norm scales the units of `conv1`"
        );
        units.sets = units.sets.into_iter().map(|set| set.scaled(true)).collect();
        assert!(
            score
                .review(&experiment.with_units(units, &rule))
                .is_empty()
        );
    }
}
