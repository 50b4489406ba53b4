//! The units that a rule keeps.

use plugin_api::{Layer, Measure, UnitRule, Units};
use tch::Tensor;

use super::check::whole;
use super::order::{Block, order};
use super::{UnitError, masks_of, numbers};

/// Masks of whole units: the longest beginning of the rule's order that counts no more than `target`.
///
/// # Errors
/// If the lists do not fit, the masks are not of whole units, or no whole units come to so little.
pub fn select(
    units: &Units,
    rule: &UnitRule,
    layers: &[Layer],
    scores: &[Tensor],
    masks: &[Tensor],
    target: u64,
) -> Result<Vec<Tensor>, UnitError> {
    if rule.multiple == 0 {
        return Err(UnitError::Multiple);
    }
    let fits = |(score, layer): &(&Tensor, &Layer)| score.size() == layer.shape;
    let got = scores.iter().zip(layers).filter(fits).count();
    if got != layers.len() || scores.len() != layers.len() {
        let expected = layers.len();
        return Err(UnitError::Form { got, expected });
    }
    let (scores, before) = (numbers(scores), numbers(masks));
    let alive = whole(units, layers, &before)?;
    let (blocks, sure) = order(units, rule, layers, &scores, &before, &alive);
    let mut count = Count::new(units, layers, &alive);
    let mut kept = blocks.len();
    while kept > sure && count.of(rule.measure, units) > target {
        kept -= 1;
        count.lose(units, &blocks[kept]);
    }
    let least = count.of(rule.measure, units);
    if least > target {
        let next = blocks.get(kept).map(|block| {
            count.gain(units, block);
            count.of(rule.measure, units)
        });
        return Err(UnitError::Unreachable {
            measure: rule.measure,
            target,
            least,
            next,
        });
    }
    let mut left: Vec<Vec<bool>> = alive.iter().map(|it| vec![false; it.len()]).collect();
    for block in &blocks[..kept] {
        for &unit in &block.units {
            left[block.set][unit] = true;
        }
    }
    let device = masks.first().map_or(tch::Device::Cpu, Tensor::device);
    let made = masks_of(units, &left, layers);
    let tensors = made.iter().zip(layers);
    Ok(tensors
        .map(|(mask, layer)| {
            let tensor = Tensor::from_slice(mask).view(&layer.shape[..]);
            tensor.to_device(device)
        })
        .collect())
}

/// How many places of each layer's dimensions are kept, block by block.
struct Count {
    places: Vec<Vec<u64>>,
    units: u64,
}

impl Count {
    fn new(units: &Units, layers: &[Layer], alive: &[Vec<bool>]) -> Self {
        let sizes = |layer: &Layer| layer.shape.iter().map(|&size| size as u64).collect();
        let mut count = Self {
            places: layers.iter().map(sizes).collect(),
            units: alive.iter().flatten().filter(|it| **it).count() as u64,
        };
        for (set, alive) in units.sets.iter().zip(alive) {
            for slice in &set.slices {
                let gone = slice
                    .units
                    .iter()
                    .flatten()
                    .filter(|it| !alive[**it as usize]);
                count.places[slice.layer as usize][slice.axis as usize] -= gone.count() as u64;
            }
        }
        count
    }

    fn lose(&mut self, units: &Units, block: &Block) {
        self.units -= block.units.len() as u64;
        self.change(units, block, |places, own| *places -= own);
    }

    fn gain(&mut self, units: &Units, block: &Block) {
        self.units += block.units.len() as u64;
        self.change(units, block, |places, own| *places += own);
    }

    fn change(&mut self, units: &Units, block: &Block, by: impl Fn(&mut u64, u64)) {
        let set = &units.sets[block.set];
        for slice in &set.slices {
            // Units of a set are alike.
            let all = slice.units.iter().flatten().count() as u64;
            let own = all / set.units * block.units.len() as u64;
            by(
                &mut self.places[slice.layer as usize][slice.axis as usize],
                own,
            );
        }
    }

    fn of(&self, measure: Measure, units: &Units) -> u64 {
        let survivors = self.places.iter().map(|it| it.iter().product::<u64>());
        match measure {
            Measure::Units => self.units,
            Measure::Weights => survivors.sum(),
            Measure::Macs => survivors
                .zip(&units.multiply_adds)
                .map(|(a, b)| a * b)
                .sum(),
        }
    }
}
