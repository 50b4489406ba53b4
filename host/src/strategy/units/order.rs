//! The order in which units are kept.

use std::cmp::Ordering;

use plugin_api::{Layer, Scope, UnitRule, Units};

use super::places;

/// Units of one set that are kept or pruned together.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// The set.
    pub set: usize,
    /// Its units, by their scores.
    pub units: Vec<usize>,
    /// Its place among the set's blocks, and how many the whole set has.
    place: (u64, u64),
    score: f64,
}

/// The blocks of the units that are left, in the order of the rule. All that stays in any case comes first; their number
/// is given with them.
pub fn order(
    units: &Units,
    rule: &UnitRule,
    layers: &[Layer],
    scores: &[Vec<f32>],
    masks: &[Vec<f32>],
    alive: &[Vec<bool>],
) -> (Vec<Block>, usize) {
    let mut blocks = Vec::new();
    for (at, (set, alive)) in units.sets.iter().zip(alive).enumerate() {
        let own = means(units, at, layers, scores, masks);
        let mut left: Vec<usize> = (0..set.units as usize).filter(|it| alive[*it]).collect();
        left.sort_by(|one, other| own[*other].total_cmp(&own[*one]).then(one.cmp(other)));
        let whole = set.units.div_ceil(rule.multiple.max(1));
        for (place, block) in left.chunks(rule.multiple.max(1) as usize).enumerate() {
            let sum: f64 = block.iter().map(|it| own[*it]).sum();
            blocks.push(Block {
                set: at,
                units: block.to_vec(),
                place: (place as u64, whole),
                score: sum / block.len() as f64,
            });
        }
    }
    // Stable: the earlier set stands first among equals.
    let by = |one: &Block, other: &Block| {
        let first = |it: &Block| it.place.0 != 0;
        first(one)
            .cmp(&first(other))
            .then_with(|| match rule.scope {
                _ if !first(one) => Ordering::Equal,
                Scope::Global => other.score.total_cmp(&one.score),
                Scope::Layer => {
                    let share =
                        |a: &Block, b: &Block| u128::from(a.place.0) * u128::from(b.place.1);
                    share(one, other).cmp(&share(other, one))
                }
            })
    };
    blocks.sort_by(by);
    let sure = blocks.iter().take_while(|it| it.place.0 == 0).count();
    (blocks, sure)
}

/// The mean score of the surviving weights that make each unit of a set, added up in their order.
fn means(
    units: &Units,
    set: usize,
    layers: &[Layer],
    scores: &[Vec<f32>],
    masks: &[Vec<f32>],
) -> Vec<f64> {
    let set = &units.sets[set];
    let mut sums = vec![(0.0f64, 0u64); set.units as usize];
    for slice in set.slices.iter().filter(|it| it.makes) {
        let (layer, axis) = (slice.layer as usize, slice.axis as usize);
        let place = places(&layers[layer], axis);
        for (at, (&score, &mask)) in scores[layer].iter().zip(&masks[layer]).enumerate() {
            if mask != 0.0
                && let Some(unit) = slice.units[place(at)]
            {
                let sum = &mut sums[unit as usize];
                *sum = (sum.0 + f64::from(score), sum.1 + 1);
            }
        }
    }
    // So that both zeros are one.
    let mean = |(sum, count): (f64, u64)| sum / count.max(1) as f64 + 0.0;
    sums.into_iter().map(mean).collect()
}
