//! Units that can be removed whole: channels, hidden units, heads of attention.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Layer;

/// The units of a network that can be removed, with the parts of prunable layers that go with each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Units {
    /// Sets of units that are alike.
    pub sets: Vec<UnitSet>,
    /// Multiply-adds of one weight of each prunable layer, for one sample: 1 in a linear layer, as many as there are
    /// places in its output in a convolution.
    pub multiply_adds: Vec<u64>,
}

/// Units that are alike: each has as many rows and columns of the same layers as the others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct UnitSet {
    /// Name of the first layer that makes them.
    pub name: String,
    /// Number of units.
    pub units: u64,
    /// What goes with them.
    pub slices: Vec<UnitSlice>,
    /// Whether norms scale them, each unit by numbers of its own.
    #[serde(default)]
    pub scaled: bool,
}

/// What goes of one layer with the units of a set, along one of its dimensions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct UnitSlice {
    /// The layer's place in [`Context::layers`](crate::Context::layers).
    pub layer: u64,
    /// Its dimension.
    pub axis: u64,
    /// Whether it makes the units: rows of a weight. If not it reads them, or follows what does.
    pub makes: bool,
    /// Of each place along the dimension the unit that it belongs to; none where it is no unit of the set.
    pub units: Vec<Option<u64>>,
}

/// What is counted where masks keep whole units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// Weights that survive.
    #[default]
    Weights,
    /// Units that are kept.
    Units,
    /// Multiply-adds of the weights that survive, for one sample.
    Macs,
}

/// Which units compete with each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// All, by their scores.
    #[default]
    Global,
    /// Those of a set: every set keeps about the same share.
    Layer,
}

/// How masks of whole units come to their count.
///
/// A unit's score is the mean score of its surviving weights, those of the rows that make it. The units of a set that
/// are left are sorted by it, the highest first and the lower number first among equals, and cut into blocks of
/// `multiple`, of which the last may be shorter. A block's score is the mean of its units'. The blocks of all sets are
/// put in one order: first the first block of each set, then the others by their scores, or with [`Scope::Layer`] by
/// the share of its set's blocks that stand before it; the earlier set first among equals. The mask keeps the longest
/// beginning of that order that counts no more than the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnitRule {
    /// What is counted: the target is the level's density times all of it, rounded.
    pub measure: Measure,
    /// Which units compete.
    pub scope: Scope,
    /// Units that are kept or pruned together: a set keeps a multiple of so many, unless it keeps all.
    pub multiple: u64,
}

impl UnitSet {
    /// A set of this many units, without slices.
    pub fn new(name: impl Into<String>, units: u64, slices: Vec<UnitSlice>) -> Self {
        Self {
            name: name.into(),
            units,
            slices,
            scaled: false,
        }
    }

    /// The same set, whose units are scaled by norms or not.
    #[must_use]
    pub fn scaled(mut self, scaled: bool) -> Self {
        self.scaled = scaled;
        self
    }
}

impl UnitSlice {
    /// What goes of a layer's dimension with the units.
    pub fn new(layer: u64, axis: u64, makes: bool, units: Vec<Option<u64>>) -> Self {
        Self {
            layer,
            axis,
            makes,
            units,
        }
    }
}

impl Units {
    /// These sets, with the multiply-adds of one weight of each layer.
    pub fn new(sets: Vec<UnitSet>, multiply_adds: Vec<u64>) -> Self {
        Self {
            sets,
            multiply_adds,
        }
    }

    /// The units of layers each of which reads the one before, as far as their sizes fit: for tests.
    pub fn of_chain(layers: &[Layer]) -> Self {
        let mut sets = Vec::new();
        let pairs = layers.windows(2).enumerate();
        for (at, pair) in pairs {
            let (units, inputs) = (pair[0].shape[0], pair[1].shape.get(1).copied().unwrap_or(0));
            if units < 2 || inputs % units != 0 || inputs == 0 {
                continue;
            }
            let all = |size: i64, each: i64| (0..size).map(|it| Some((it / each) as u64)).collect();
            let makes = UnitSlice::new(at as u64, 0, true, all(units, 1));
            let reads = UnitSlice::new(at as u64 + 1, 1, false, all(inputs, inputs / units));
            let name = pair[0].name.trim_end_matches(".weight");
            sets.push(UnitSet::new(name, units as u64, vec![makes, reads]));
        }
        let places = |layer: &Layer| if layer.shape.len() > 2 { 16 } else { 1 };
        Self::new(sets, layers.iter().map(places).collect())
    }

    /// Weights of each layer that survive if of each set these units are kept.
    pub fn survivors(&self, layers: &[Layer], kept: &[Vec<bool>]) -> Vec<u64> {
        let mut counts: Vec<Vec<u64>> = layers
            .iter()
            .map(|layer| layer.shape.iter().map(|&size| size as u64).collect())
            .collect();
        for (set, kept) in self.sets.iter().zip(kept) {
            for slice in &set.slices {
                let lost = slice
                    .units
                    .iter()
                    .flatten()
                    .filter(|it| !kept[**it as usize]);
                let lost = lost.count() as u64;
                if let Some(count) = (counts.get_mut(slice.layer as usize))
                    .and_then(|it| it.get_mut(slice.axis as usize))
                {
                    *count = count.saturating_sub(lost);
                }
            }
        }
        counts.iter().map(|it| it.iter().product()).collect()
    }

    /// What these units come to.
    pub fn count(&self, measure: Measure, layers: &[Layer], kept: &[Vec<bool>]) -> u64 {
        match measure {
            Measure::Units => kept.iter().flatten().filter(|it| **it).count() as u64,
            Measure::Weights => self.survivors(layers, kept).iter().sum(),
            Measure::Macs => {
                let survivors = self.survivors(layers, kept);
                let products = survivors.iter().zip(&self.multiply_adds);
                products.map(|(count, each)| count * each).sum()
            }
        }
    }

    /// What all units come to.
    pub fn total(&self, measure: Measure, layers: &[Layer]) -> u64 {
        self.count(measure, layers, &self.kept(|set| set.units))
    }

    /// The least that a rule keeps: one block of each set.
    pub fn least(&self, rule: &UnitRule, layers: &[Layer]) -> u64 {
        let kept = self.kept(|set| set.units.min(rule.multiple));
        self.count(rule.measure, layers, &kept)
    }

    /// The first units of each set.
    fn kept(&self, count: impl Fn(&UnitSet) -> u64) -> Vec<Vec<bool>> {
        let of = |set: &UnitSet| (0..set.units).map(|unit| unit < count(set)).collect();
        self.sets.iter().map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LayerKind;

    fn layers() -> Vec<Layer> {
        vec![
            Layer::new("conv1.weight", LayerKind::Conv2d, [4, 3, 3, 3]),
            Layer::new("conv2.weight", LayerKind::Conv2d, [6, 4, 1, 1]),
            Layer::new("fc.weight", LayerKind::Linear, [10, 24]),
        ]
    }

    #[test]
    fn survivors_are_rows_times_columns() {
        let (layers, units) = (layers(), Units::of_chain(&layers()));
        assert_eq!(units.sets.len(), 2);
        let kept = vec![
            vec![true, false, true, false],
            vec![true, true, true, true, true, false],
        ];
        // A channel that the linear layer reads owns four of its columns.
        assert_eq!(units.survivors(&layers, &kept), [2 * 27, 5 * 2, 10 * 20]);
        assert_eq!(units.count(Measure::Units, &layers, &kept), 7);
        assert_eq!(
            units.count(Measure::Macs, &layers, &kept),
            16 * (54 + 10) + 200
        );
        assert_eq!(units.total(Measure::Weights, &layers), 108 + 24 + 240);
        let rule = UnitRule {
            measure: Measure::Weights,
            scope: Scope::Global,
            multiple: 2,
        };
        assert_eq!(units.least(&rule, &layers), 2 * 27 + 4 + 80);
    }
}
