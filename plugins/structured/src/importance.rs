//! Scores of units: distances, and how sets become comparable.

use plugin_api::rand_core::RngCore;
use plugin_api::schemars::{self, JsonSchema};
use plugin_api::{Layer, Units};
use serde::{Deserialize, Serialize};

use crate::sums::places;

/// What scores are divided by.
#[derive(Clone, Copy, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Normalise {
    /// The mean of the set's units.
    #[default]
    Mean,
    /// The largest of the set's.
    Max,
    /// Nothing.
    None,
}

/// Scores divided as they should be; a set of zeros stays one.
pub fn normalise(scores: Vec<Vec<f64>>, by: Normalise) -> Vec<Vec<f64>> {
    let one = |own: Vec<f64>| {
        let divisor = match by {
            Normalise::None => 1.0,
            Normalise::Mean => own.iter().sum::<f64>() / own.len().max(1) as f64,
            Normalise::Max => own.iter().copied().fold(0.0, f64::max),
        };
        match divisor > 0.0 && divisor.is_finite() {
            true => own.into_iter().map(|it| it / divisor).collect(),
            false => own,
        }
    };
    scores.into_iter().map(one).collect()
}

/// The weights' scores: each one that makes a unit has the unit's, the others 0.
pub fn spread(units: &Units, layers: &[Layer], scores: &[Vec<f64>]) -> Vec<Vec<f32>> {
    let mut all: Vec<Vec<f32>> = layers
        .iter()
        .map(|it| vec![0.0; it.len() as usize])
        .collect();
    for (set, scores) in units.sets.iter().zip(scores) {
        for slice in set.slices.iter().filter(|it| it.makes) {
            let layer = slice.layer as usize;
            let place = places(&layers[layer], slice.axis as usize);
            for (at, score) in all[layer].iter_mut().enumerate() {
                if let Some(unit) = slice.units[place(at)] {
                    // Scores are finite: what has no place in f32 is its largest number.
                    *score = (scores[unit as usize] as f32).clamp(f32::MIN, f32::MAX);
                }
            }
        }
    }
    all
}

/// For each unit the sum of its distances to the units of its set that are left, as vectors of their weights.
pub fn distances(
    units: &Units,
    layers: &[Layer],
    reads: bool,
    weights: &[Vec<f32>],
    masks: &[Vec<f32>],
) -> Vec<Vec<f64>> {
    let mut all = Vec::new();
    for set in &units.sets {
        let mut vectors = vec![Vec::new(); set.units as usize];
        let mut alive = vec![false; set.units as usize];
        for slice in set.slices.iter().filter(|it| it.makes || reads) {
            let layer = slice.layer as usize;
            let place = places(&layers[layer], slice.axis as usize);
            for (at, (&weight, &mask)) in weights[layer].iter().zip(&masks[layer]).enumerate() {
                if let Some(unit) = slice.units[place(at)] {
                    vectors[unit as usize].push(weight);
                    alive[unit as usize] |= mask != 0.0;
                }
            }
        }
        let distance = |one: &Vec<f32>, other: &Vec<f32>| {
            let squares = one.iter().zip(other).map(|(a, b)| f64::from(a - b).powi(2));
            squares.sum::<f64>().sqrt()
        };
        let of = |unit: &Vec<f32>| -> f64 {
            let others = vectors.iter().zip(&alive).filter(|(_, alive)| **alive);
            others.map(|(other, _)| distance(unit, other)).sum()
        };
        all.push(vectors.iter().map(of).collect());
    }
    all
}

/// A uniform number on [0, 1).
pub fn uniform(random: &mut impl RngCore) -> f64 {
    (random.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use plugin_api::LayerKind;

    #[test]
    fn sets_become_comparable_and_zeros_stay() {
        let scores = vec![vec![1.0, 3.0], vec![0.0, 0.0]];
        let by = |it| normalise(scores.clone(), it);
        assert_eq!(by(Normalise::Mean), [[0.5, 1.5], [0.0, 0.0]]);
        assert_eq!(by(Normalise::Max)[0], [1.0 / 3.0, 1.0]);
        assert_eq!(by(Normalise::None), scores);
    }

    #[test]
    fn a_unit_between_others_is_nearest_to_them_all() {
        let layers = vec![
            Layer::new("fc1.weight", LayerKind::Linear, [3, 1]),
            Layer::new("fc2.weight", LayerKind::Linear, [2, 3]),
        ];
        let units = Units::of_chain(&layers);
        let weights = [vec![1.0, 2.0, 4.0], vec![0.0; 6]];
        let masks = [vec![1.0; 3], vec![1.0; 6]];
        let got = distances(&units, &layers, false, &weights, &masks);
        assert_eq!(got, [[4.0, 3.0, 5.0]]);
    }
}
