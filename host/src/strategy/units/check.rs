//! Whether masks are those of a rule: counted from the masks, weight by weight.

use plugin_api::{Layer, Measure, UnitRule, Units};
use tch::Tensor;

use super::order::order;
use super::{alive, masks_of, measured, numbers};

/// What is wrong with masks of whole units.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A part of a unit is kept and another one is not.
    #[error(
        "the mask of `{layer}` is {got} at index {index}, expected {}: units are kept or pruned whole", other(*.got)
    )]
    Part {
        /// The layer.
        layer: String,
        /// Row-major.
        index: usize,
        /// What is there.
        got: u8,
    },
    /// More than the target.
    #[error("the masks keep {got} {}, expected {target} at most", measured(*.measure))]
    Over {
        /// What is counted.
        measure: Measure,
        /// What is kept.
        got: u64,
        /// What may be.
        target: u64,
    },
    /// Other units than the scores say, or fewer than fit.
    #[error(
        "of `{set}` the masks {} unit {unit}, which the rule {} by the scores of this round",
        if *.kept { "keep" } else { "prune" },
        if *.kept { "prunes" } else { "keeps" }
    )]
    Order {
        /// The set.
        set: String,
        /// The unit.
        unit: usize,
        /// Whether it is kept.
        kept: bool,
    },
    /// A number of units that is no multiple.
    #[error(
        "of `{set}` the masks keep {got} of {units} units, expected all or a multiple of {multiple}"
    )]
    Multiple {
        /// The set.
        set: String,
        /// How many are kept.
        got: usize,
        /// How many there are.
        units: u64,
        /// Of what.
        multiple: u64,
    },
}

fn other(got: u8) -> u8 {
    1 - got
}

/// Of each set, which units masks keep, which are of whole units.
///
/// # Errors
/// The first weight that is kept without its unit, or the other way round.
pub fn whole(units: &Units, layers: &[Layer], masks: &[Vec<f32>]) -> Result<Vec<Vec<bool>>, Fault> {
    let alive = alive(units, masks, layers);
    let expected = masks_of(units, &alive, layers);
    for ((layer, mask), expected) in layers.iter().zip(masks).zip(&expected) {
        let differs = |(one, other): (&f32, &f32)| (*one != 0.0) != (*other != 0.0);
        if let Some(index) = mask.iter().zip(expected).position(differs) {
            return Err(Fault::Part {
                layer: layer.name.clone(),
                index,
                got: u8::from(mask[index] != 0.0),
            });
        }
    }
    Ok(alive)
}

/// Masks keep whole units, multiples of them, and no more than the target; what they keep of each set, and in all.
///
/// # Errors
/// The first thing that is wrong.
pub fn counted(
    units: &Units,
    rule: &UnitRule,
    layers: &[Layer],
    masks: &[Tensor],
    target: u64,
) -> Result<(Vec<u64>, u64), Fault> {
    let masks = numbers(masks);
    let kept = whole(units, layers, &masks)?;
    let of = |masks: &Vec<f32>| masks.iter().filter(|it| **it != 0.0).count() as u64;
    let counts: Vec<usize> = (kept.iter())
        .map(|own| own.iter().filter(|it| **it).count())
        .collect();
    for (set, &got) in units.sets.iter().zip(&counts) {
        let multiple = rule.multiple.max(1);
        let fits = got > 0 && (got as u64).is_multiple_of(multiple);
        if !fits && got as u64 != set.units {
            return Err(Fault::Multiple {
                set: set.name.clone(),
                got,
                units: set.units,
                multiple,
            });
        }
    }
    let got = match rule.measure {
        Measure::Units => counts.iter().sum::<usize>() as u64,
        Measure::Weights => masks.iter().map(of).sum(),
        Measure::Macs => {
            let each = masks.iter().map(of).zip(&units.multiply_adds);
            each.map(|(count, each)| count * each).sum()
        }
    };
    if got > target {
        return Err(Fault::Over {
            measure: rule.measure,
            got,
            target,
        });
    }
    Ok((counts.iter().map(|it| *it as u64).collect(), got))
}

/// Masks are those that the rule gives for these scores of what masks kept `before`.
///
/// # Errors
/// The first thing that is wrong.
pub fn check(
    units: &Units,
    rule: &UnitRule,
    layers: &[Layer],
    (scores, before): (&[Tensor], &[Tensor]),
    masks: &[Tensor],
    target: u64,
) -> Result<(), Fault> {
    counted(units, rule, layers, masks, target)?;
    let (scores, before, masks) = (numbers(scores), numbers(before), numbers(masks));
    let were = whole(units, layers, &before)?;
    let kept = alive(units, &masks, layers);
    let (blocks, _) = order(units, rule, layers, &scores, &before, &were);
    // A beginning of the order, block by block.
    let mut beginning: Vec<Vec<bool>> = were.iter().map(|it| vec![false; it.len()]).collect();
    let mut is_over = false;
    for block in &blocks {
        for &unit in &block.units {
            beginning[block.set][unit] = true;
        }
        is_over = is_over || units.count(rule.measure, layers, &beginning) > target;
        for &unit in &block.units {
            let kept = kept[block.set][unit];
            if kept == is_over {
                return Err(Fault::Order {
                    set: units.sets[block.set].name.clone(),
                    unit,
                    kept,
                });
            }
        }
    }
    Ok(())
}
