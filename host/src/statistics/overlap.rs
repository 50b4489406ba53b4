//! How much of two masks is the same.

use std::iter::Sum;
use std::ops::Add;

use serde::Serialize;

use super::{Masks, StatisticsError};
use crate::store::{LevelDir, RunDir};

/// How much of two masks of the same weights is the same. Counts add up over layers.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Overlap {
    /// Number of weights.
    pub size: u64,
    /// Weights that each of the two keeps.
    pub survivors: [u64; 2],
    /// Weights that both keep.
    pub intersection: u64,
    /// Weights that both would keep on average if each layer's survivors were drawn at random, one
    /// mask independently of the other: the sum of `survivors[0] * survivors[1] / size` over layers.
    pub expected_intersection: f64,
}

impl Overlap {
    /// The overlap of one layer.
    pub fn new(size: u64, survivors: [u64; 2], intersection: u64) -> Self {
        let [first, second] = survivors.map(|count| count as f64);
        Self {
            size,
            survivors,
            intersection,
            expected_intersection: if size == 0 {
                0.0
            } else {
                first * second / size as f64
            },
        }
    }

    /// Weights that at least one of the two keeps.
    pub fn union(&self) -> u64 {
        self.survivors[0] + self.survivors[1] - self.intersection
    }

    /// Intersection over union, the Jaccard index; 1 for two masks that keep nothing.
    pub fn iou(&self) -> f64 {
        ratio(self.intersection as f64, self.union() as f64)
    }

    /// Share of the sparser mask's survivors that the other keeps too; 1 if one mask contains the other.
    pub fn share(&self) -> f64 {
        let least = self.survivors[0].min(self.survivors[1]);
        ratio(self.intersection as f64, least as f64)
    }

    /// Intersection over union of the expected counts, for masks with these survivors in each layer
    /// that have nothing to do with each other.
    pub fn iou_by_chance(&self) -> f64 {
        let kept = (self.survivors[0] + self.survivors[1]) as f64;
        ratio(
            self.expected_intersection,
            kept - self.expected_intersection,
        )
    }
}

fn ratio(part: f64, whole: f64) -> f64 {
    if whole == 0.0 { 1.0 } else { part / whole }
}

impl Add for Overlap {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            size: self.size + other.size,
            survivors: [
                self.survivors[0] + other.survivors[0],
                self.survivors[1] + other.survivors[1],
            ],
            intersection: self.intersection + other.intersection,
            expected_intersection: self.expected_intersection + other.expected_intersection,
        }
    }
}

impl Sum for Overlap {
    fn sum<I: Iterator<Item = Self>>(overlaps: I) -> Self {
        overlaps.fold(Self::default(), Add::add)
    }
}

/// Two masks and their overlap: a line of the CSV file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OverlapRecord {
    /// Name of the first run's folder.
    pub run_a: String,
    /// Its seed.
    pub seed_a: u64,
    /// Its level.
    pub level_a: u64,
    /// Name of the second run's folder.
    pub run_b: String,
    /// Its seed.
    pub seed_b: u64,
    /// Its level.
    pub level_b: u64,
    /// The layer; none for the whole network.
    pub layer: Option<String>,
    /// Number of weights.
    pub size: u64,
    /// Weights that the first keeps.
    pub survivors_a: u64,
    /// Weights that the second keeps.
    pub survivors_b: u64,
    /// Weights that both keep.
    pub intersection: u64,
    /// Weights that at least one keeps.
    pub union: u64,
    /// Intersection over union.
    pub iou: f64,
    /// Intersection over the survivors of the sparser one.
    pub share: f64,
    /// Intersection over union of unrelated masks with as many survivors in each layer.
    pub iou_by_chance: f64,
}

/// The masks of one level of one seed of a run.
struct Place<'a> {
    run: &'a RunDir,
    seed: u64,
    level: u64,
}

impl Place<'_> {
    fn dir(&self) -> LevelDir {
        self.run.seed(self.seed).level(self.level)
    }
}

/// Every two of these levels of a run, seed by seed.
///
/// # Errors
/// If a level is not finished or its masks cannot be read.
pub fn between_levels(
    run: &RunDir,
    seeds: &[u64],
    levels: &[u64],
) -> Result<Vec<OverlapRecord>, StatisticsError> {
    let places = |&seed: &u64| {
        let place = |&level: &u64| Place { run, seed, level };
        pairs(&levels.iter().map(place).collect::<Vec<_>>())
    };
    flat(seeds.iter().map(places))
}

/// Every two of these runs at a level, seed by seed.
///
/// # Errors
/// If a run lacks the level, or has other layers or shapes.
pub fn between_runs(
    runs: &[RunDir],
    seeds: &[u64],
    level: u64,
) -> Result<Vec<OverlapRecord>, StatisticsError> {
    let places = |&seed: &u64| {
        let place = |run| Place { run, seed, level };
        pairs(&runs.iter().map(place).collect::<Vec<_>>())
    };
    flat(seeds.iter().map(places))
}

/// Every two of these seeds of a run at a level.
///
/// # Errors
/// If a level is not finished or its masks cannot be read.
pub fn between_seeds(
    run: &RunDir,
    seeds: &[u64],
    level: u64,
) -> Result<Vec<OverlapRecord>, StatisticsError> {
    let place = |&seed: &u64| Place { run, seed, level };
    pairs(&seeds.iter().map(place).collect::<Vec<_>>())
}

type Records = Result<Vec<OverlapRecord>, StatisticsError>;

fn flat(records: impl Iterator<Item = Records>) -> Records {
    Ok(records.collect::<Result<Vec<_>, _>>()?.concat())
}

/// Every two places, the first before the second: a record for the network, then one a layer.
fn pairs(places: &[Place<'_>]) -> Records {
    let masks: Result<Vec<Masks>, _> = (places.iter())
        .map(|place| Masks::read(&place.dir()))
        .collect();
    let masks = masks?;
    let mut records = Vec::new();
    for (second, (b, of_b)) in places.iter().zip(&masks).enumerate() {
        for (a, of_a) in places.iter().zip(&masks).take(second) {
            let layers = of_a.overlap(of_b)?;
            records.push(record(a, b, None, layers.iter().copied().sum()));
            let names = of_a.layers().map(|name| Some(name.to_owned()));
            let of_layer = |(name, overlap)| record(a, b, name, overlap);
            records.extend(names.zip(layers).map(of_layer));
        }
    }
    Ok(records)
}

fn record(a: &Place<'_>, b: &Place<'_>, layer: Option<String>, overlap: Overlap) -> OverlapRecord {
    OverlapRecord {
        run_a: a.run.name(),
        seed_a: a.seed,
        level_a: a.level,
        run_b: b.run.name(),
        seed_b: b.seed,
        level_b: b.level,
        layer,
        size: overlap.size,
        survivors_a: overlap.survivors[0],
        survivors_b: overlap.survivors[1],
        intersection: overlap.intersection,
        union: overlap.union(),
        iou: overlap.iou(),
        share: overlap.share(),
        iou_by_chance: overlap.iou_by_chance(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_those_of_the_counts_over_all_layers() {
        // Layer 1 keeps {0, 1, 2} and {2, 3} of 8, layer 2 keeps {0} and {0, 1} of 2.
        let whole = Overlap::new(8, [3, 2], 1) + Overlap::new(2, [1, 2], 1);
        assert_eq!((whole.intersection, whole.union()), (2, 6));
        assert_eq!(whole.iou(), 2.0 / 6.0);
        assert_eq!(whole.share(), 2.0 / 4.0);
        let expected = 3.0 * 2.0 / 8.0 + 1.0 * 2.0 / 2.0;
        assert_eq!(whole.iou_by_chance(), expected / (8.0 - expected));
    }

    #[test]
    fn masks_that_keep_nothing_are_the_same() {
        let empty = Overlap::new(5, [0, 0], 0);
        assert_eq!(
            (empty.iou(), empty.share(), empty.iou_by_chance()),
            (1.0, 1.0, 1.0)
        );
    }

    #[test]
    fn the_expected_overlap_is_the_mean_over_all_masks() {
        // Every mask of 6 weights with 2 survivors against every one with 3.
        let masks = |kept: u32| (0u32..64).filter(move |mask| mask.count_ones() == kept);
        let both: Vec<u32> = masks(2)
            .flat_map(|a| masks(3).map(move |b| (a & b).count_ones()))
            .collect();
        let mean = f64::from(both.iter().sum::<u32>()) / both.len() as f64;
        let expected = Overlap::new(6, [2, 3], 0).expected_intersection;
        assert!((mean - expected).abs() < 1e-12, "{mean} {expected}");
    }
}
