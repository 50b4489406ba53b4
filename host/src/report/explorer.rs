//! The numbers that a reader of the page may choose from: the page's script draws them.

use serde::Serialize;

use super::Interval;
use super::figures::level_means;
use super::part::Part;
use crate::records::{METRICS, Summary};

/// A number of a summary.
type Pick = fn(&Summary) -> Option<f64>;

/// Titles of what each summary has, and whether it is a share.
const NUMBERS: [(&str, bool, Pick); 9] = [
    ("Test accuracy", true, |it| Some(it.test_accuracy)),
    ("Validation accuracy", true, |it| it.validation_accuracy),
    ("Test loss", false, |it| Some(it.test_loss)),
    ("Training loss", false, |it| Some(it.train_loss)),
    ("Validation loss", false, |it| it.validation_loss),
    ("Signs that differ from init", true, |it| {
        Some(it.flips_init)
    }),
    ("Signs that differ from the level's start", true, |it| {
        Some(it.flips_start)
    }),
    (
        "Signs that differ from the previous level's end",
        true,
        |it| it.flips_previous,
    ),
    ("Effective density", true, |it| it.effective_density),
];

/// What can be chosen of a part.
#[derive(Debug, Serialize)]
pub struct Explorer {
    metrics: Vec<Metric>,
    /// One for each combination of the grid's values.
    grids: Vec<Grid>,
}

#[derive(Debug, Serialize)]
struct Metric {
    title: String,
    /// Whether its values are in percent.
    percent: bool,
}

#[derive(Debug, Serialize)]
struct Grid {
    label: String,
    curves: Vec<Curve>,
}

#[derive(Debug, Serialize)]
struct Curve {
    method: String,
    /// Its colour.
    rank: usize,
    levels: Vec<Level>,
}

#[derive(Debug, Serialize)]
struct Level {
    level: u64,
    density: f64,
    /// Mean, low and high of each metric, with the digits of the CSV files; the ends are null for a single seed.
    values: Vec<Option<[Option<f64>; 3]>>,
}

impl Explorer {
    /// That of a part; none if no level of it is finished.
    pub fn of(part: &Part, colours: usize) -> Option<Self> {
        let own = NUMBERS.map(|(title, percent, pick)| (title.to_owned(), percent, pick));
        let asked = METRICS.map(|(name, pick)| {
            let (title, axis) = super::figures::words(name);
            (title.to_owned(), axis.is_none(), pick)
        });
        let all: Vec<(String, bool, Pick)> = own.into_iter().chain(asked).collect();
        let summaries = || part.cells.iter().flat_map(|it| it.results.summaries());
        let is_there = |pick: Pick| summaries().any(|it| pick(it).is_some_and(f64::is_finite));
        let there: Vec<_> = all.into_iter().filter(|it| is_there(it.2)).collect();
        let grids = part.combinations().into_iter().map(|combination| Grid {
            curves: (combination.cells.iter())
                .map(|cell| Curve {
                    method: cell.method.clone(),
                    rank: part.rank(&cell.method) % colours,
                    levels: levels(cell, &there),
                })
                .collect(),
            label: combination.label,
        });
        let grids: Vec<Grid> = grids.collect();
        let metrics = there
            .into_iter()
            .map(|(title, percent, _)| Metric { title, percent });
        let explorer = Self {
            metrics: metrics.collect(),
            grids,
        };
        (!explorer.metrics.is_empty()).then_some(explorer)
    }

    /// As JSON that ends no element of the page.
    pub fn json(&self) -> String {
        let json = serde_json::to_string(self).unwrap_or_default();
        json.replace('<', "\\u003c")
    }
}

fn levels(cell: &super::part::Cell, metrics: &[(String, bool, Pick)]) -> Vec<Level> {
    let means: Vec<Vec<_>> = (metrics.iter())
        .map(|(_, _, pick)| level_means(cell, |it| pick(it).filter(|it| it.is_finite())))
        .collect();
    let level = |level: u64| {
        let values = means.iter().zip(metrics).map(|(means, (_, percent, _))| {
            let mean = means.iter().find(|it| it.level == level)?;
            Some(three(&mean.value, if *percent { 100.0 } else { 1.0 }))
        });
        Some(Level {
            level,
            density: cell.results.density(level)?,
            values: values.collect(),
        })
    };
    (0..cell.results.levels()).filter_map(level).collect()
}

fn three(value: &Interval, factor: f64) -> [Option<f64>; 3] {
    let rounded = |it: f64| (it * factor * 1e6).round() / 1e6;
    let bound = |sign: f64| {
        value
            .half_width
            .map(|half| rounded(value.mean + sign * half))
    };
    [Some(rounded(value.mean)), bound(-1.0), bound(1.0)]
}

#[cfg(test)]
mod tests {
    use super::super::testing::Desk;
    use super::*;

    #[test]
    fn what_can_be_chosen_has_the_numbers_of_the_figures() {
        let desk = Desk::new();
        let part = desk.part();
        let explorer = Explorer::of(&part, 7).unwrap();
        let accuracy = explorer
            .metrics
            .iter()
            .position(|it| it.title == "Test accuracy")
            .unwrap();
        assert!(explorer.metrics[accuracy].percent);
        let grid = &explorer.grids[0];
        for (curve, cell) in grid.curves.iter().zip(&part.cells) {
            assert_eq!(
                (&curve.method, curve.levels.len() as u64),
                (&cell.method, cell.results.levels())
            );
            for level in &curve.levels {
                let values: Vec<f64> = cell
                    .results
                    .at(level.level)
                    .map(|it| it.test_accuracy)
                    .collect();
                let mean = 100.0 * values.iter().sum::<f64>() / values.len() as f64;
                let [got, low, high] = level.values[accuracy].unwrap();
                assert!((got.unwrap() - mean).abs() < 1e-5);
                assert_eq!(low.is_some() && high.is_some(), values.len() > 1);
            }
        }
        // Nobody held samples out.
        assert!(
            explorer
                .metrics
                .iter()
                .all(|it| !it.title.starts_with("Validation"))
        );
    }

    #[test]
    fn a_name_with_markup_ends_no_element() {
        let desk = Desk::new();
        let mut part = desk.part();
        part.cells[0].method = "</script><b>".to_owned();
        let json = Explorer::of(&part, 7).unwrap().json();
        assert!(!json.contains('<') && json.contains("\\u003c/script>\\u003cb>"));
    }
}
