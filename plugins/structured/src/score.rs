//! Scores of whole units.

use plugin_api::schemars::{self, JsonSchema};
use plugin_api::{
    Batches, Experiment, Finding, GradientRequest, Loss, Result, ScoreContext, Scorer, Tensor,
    Units,
};
use serde::{Deserialize, Serialize};

use crate::importance::{Normalise, distances, normalise, spread, uniform};
use crate::sums::of_units;

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
pub struct Score {
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

fn numbers(tensors: &[Tensor]) -> Vec<Vec<f32>> {
    tensors.iter().map(Tensor::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use plugin_api::{Layer, LayerKind, Measure, Scope, UnitRule};

    #[test]
    fn norm_scales_are_wanted_of_every_set() {
        let score = Score {
            score: Kind::NormScale,
            ..Score::default()
        };
        let rule = UnitRule {
            measure: Measure::Weights,
            scope: Scope::Global,
            multiple: 1,
        };
        let layers = vec![
            Layer::new("conv1.weight", LayerKind::Conv2d, [6, 1, 3, 3]),
            Layer::new("conv2.weight", LayerKind::Conv2d, [4, 6, 1, 1]),
        ];
        let mut units = Units::of_chain(&layers);
        let experiment = Experiment::new(layers, 10, 2, [0.5]);
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
