//! Two methods compared seed by seed.
//!
//! Seeds share initial weights, data order and level 0, so their differences vary less than their
//! values.

use super::Interval;
use super::results::{Results, value};
use crate::experiment::Measure;

/// Two methods at one level.
#[derive(Clone, Debug, PartialEq)]
pub struct PairedLevel {
    /// Level.
    pub level: u64,
    /// Density of the first and of the second method there.
    pub density: [f64; 2],
    /// Seeds that both finished.
    pub seeds: Vec<u64>,
    /// Mean of each method over these seeds.
    pub means: [f64; 2],
    /// First minus second, seed by seed.
    pub difference: Interval,
}

/// Columns of [`PairedLevel::texts`]. Densities are shares; the rest are percent and percentage points.
pub const COLUMNS: [&str; 9] = [
    "level",
    "density_above",
    "density_below",
    "seeds",
    "mean_above",
    "mean_below",
    "difference",
    "low",
    "high",
];

impl PairedLevel {
    /// The one form in which paired differences are written, in the terminal, as JSON and as CSV. The
    /// interval is empty where there is but one seed.
    pub fn texts(&self) -> [String; 9] {
        let bound = |sign: f64| {
            let half = self.difference.half_width;
            half.map_or_else(String::new, |half| {
                percent(self.difference.mean + sign * half)
            })
        };
        [
            self.level.to_string(),
            format!("{:.6}", self.density[0]),
            format!("{:.6}", self.density[1]),
            self.seeds.len().to_string(),
            percent(self.means[0]),
            percent(self.means[1]),
            percent(self.difference.mean),
            bound(-1.0),
            bound(1.0),
        ]
    }
}

/// A share as percent, with four decimals and without a negative zero.
pub fn percent(share: f64) -> String {
    let text = format!("{:.4}", 100.0 * share);
    match text.as_str() {
        "-0.0000" => "0.0000".to_owned(),
        _ => text,
    }
}

/// First minus second at every level that at least one seed finished in both.
pub fn paired(first: &Results, second: &Results, measure: Measure) -> Vec<PairedLevel> {
    let levels = first.levels().min(second.levels());
    (0..levels)
        .filter_map(|level| paired_level(first, second, measure, level))
        .collect()
}

fn paired_level(
    first: &Results,
    second: &Results,
    measure: Measure,
    level: u64,
) -> Option<PairedLevel> {
    let values = in_common(first, second, measure, level);
    let mean = |pick: fn(&(u64, f64, f64)) -> f64| {
        Interval::of(&values.iter().map(pick).collect::<Vec<_>>())
    };
    Some(PairedLevel {
        level,
        density: [first.density(level)?, second.density(level)?],
        seeds: values.iter().map(|it| it.0).collect(),
        means: [mean(|it| it.1)?.mean, mean(|it| it.2)?.mean],
        difference: mean(|it| it.1 - it.2)?,
    })
}

/// Seed, value of the first, value of the second, for each seed that both finished.
fn in_common(
    first: &Results,
    second: &Results,
    measure: Measure,
    level: u64,
) -> Vec<(u64, f64, f64)> {
    let both = first.seeds.iter().filter_map(|seed| {
        let of = |results: &Results| value(measure, &results.level(seed.seed, level)?.summary);
        Some((seed.seed, of(first)?, of(second)?))
    });
    both.collect()
}

/// A seed's mean difference over some levels; none if one of them is missing.
pub fn seed_difference(
    first: &Results,
    second: &Results,
    measure: Measure,
    seed: u64,
    levels: &[u64],
) -> Option<f64> {
    let mut sum = 0.0;
    for &level in levels {
        let of = |results: &Results| value(measure, &results.level(seed, level)?.summary);
        sum += of(first)? - of(second)?;
    }
    (!levels.is_empty()).then_some(sum / levels.len() as f64)
}

/// What the numbers of a measure are.
pub fn measured(measure: Measure) -> &'static str {
    match measure {
        Measure::TestAccuracy => "test accuracy",
        Measure::ValidationAccuracy => "validation accuracy",
        Measure::FlipsInit => "flips against init",
        Measure::FlipsStart => "flips against level start",
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{ACCURACIES, Desk};
    use super::*;

    #[test]
    fn differences_are_taken_seed_by_seed() {
        let desk = Desk::new();
        let (lrr, imp) = (desk.results("lrr"), desk.results("imp"));
        let rows = paired(&lrr, &imp, Measure::TestAccuracy);
        assert_eq!(rows.len(), ACCURACIES[0].1[0].len());
        // At level 1: 0.70 - 0.66, 0.72 - 0.70, 0.74 - 0.68. Mean 0.04, s = 0.02; t(0.975, 2) =
        // 4.302653, so the half-width is 4.302653 * 0.02 / sqrt(3) = 0.0496828.
        let row = &rows[1];
        assert_eq!(row.seeds, [0, 1, 2]);
        let texts = row.texts();
        assert_eq!(
            texts.each_ref().map(String::as_str),
            [
                "1", "0.800000", "0.800000", "3", "72.0000", "68.0000", "4.0000", "-0.9683",
                "8.9683"
            ]
        );
    }

    #[test]
    fn a_difference_that_rounds_to_nothing_has_no_sign() {
        assert_eq!(percent(-1e-9), "0.0000");
        assert_eq!(percent(-0.015), "-1.5000");
    }
}
