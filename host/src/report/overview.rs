//! What the runs of a part came to, in one table.

use serde_json::{Value, json};

use super::interval::Interval;
use super::part::{Cell, Part};
use super::results::value;
use super::table::columns;
use crate::experiment::Measure;

/// The test accuracy of each run at the dense level and at those that figures look at closely.
#[derive(Debug)]
pub struct Overview<'a> {
    part: &'a Part,
    levels: Vec<u64>,
}

impl<'a> Overview<'a> {
    /// Of a part, as far as its runs got; none if no level is finished.
    pub fn of(part: &'a Part) -> Option<Self> {
        part.last_level()?;
        let levels = std::iter::once(0).chain(part.chosen_levels());
        Some(Self {
            part,
            levels: levels.collect(),
        })
    }

    /// The density that all runs have at a level; none if they differ.
    fn density(&self, level: u64) -> Option<f64> {
        let densities = self
            .part
            .cells
            .iter()
            .filter_map(|it| it.results.density(level));
        let mut shown = densities.map(|it| format!("{it:.4}"));
        let first = shown.next()?;
        let density = shown.all(|it| it == first).then(|| first.parse().ok());
        density.flatten()
    }

    /// For people: accuracies in percent with their intervals.
    pub fn text(&self) -> String {
        let heads = self.levels.iter().map(|&level| match self.density(level) {
            Some(density) => format!("{density:.3}"),
            None => format!("level {level}"),
        });
        let header = ["test accuracy % at density".to_owned()]
            .into_iter()
            .chain(heads);
        let rows = self.part.cells.iter().map(|cell| {
            let values = self
                .levels
                .iter()
                .map(|&level| match accuracy(cell, level) {
                    (
                        Some(Interval {
                            mean,
                            half_width: Some(half),
                        }),
                        _,
                    ) => {
                        format!("{:.2} ± {:.2}", 100.0 * mean, 100.0 * half)
                    }
                    (Some(Interval { mean, .. }), _) => format!("{:.2}", 100.0 * mean),
                    (None, _) => "-".to_owned(),
                });
            std::iter::once(cell.name.clone()).chain(values).collect()
        });
        let numbers: Vec<usize> = (1..=self.levels.len()).collect();
        let table = columns(header.collect(), rows, &numbers);
        match self.part.stops() {
            stops if stops.is_empty() => table,
            stops => format!("{table}\n\n{}", stops.join("\n")),
        }
    }

    /// The same for programs: accuracies as shares.
    pub fn json(&self) -> Value {
        let cells = self.part.cells.iter().map(|cell| {
            let levels = self.levels.iter().map(|&level| {
                let (interval, seeds) = accuracy(cell, level);
                json!({
                    "level": level, "density": cell.results.density(level), "seeds": seeds,
                    "mean": interval.map(|it| it.mean), "half_width": interval.and_then(|it| it.half_width),
                })
            });
            let mut own = json!({
                "cell": cell.name, "run": cell.results.run.path(), "test_accuracy": levels.collect::<Vec<_>>(),
            });
            if let Some(stopped) = &cell.stopped {
                own["stopped"] = json!(stopped);
            }
            own
        });
        json!({ "part": self.part.name, "title": self.part.title, "cells": cells.collect::<Vec<_>>() })
    }
}

/// Over the seeds that finished a level, and how many did.
fn accuracy(cell: &Cell, level: u64) -> (Option<Interval>, usize) {
    let values = cell.results.at(level);
    let values: Vec<f64> = values
        .filter_map(|it| value(Measure::TestAccuracy, it))
        .collect();
    (Interval::of(&values), values.len())
}

#[cfg(test)]
mod tests {
    use super::super::testing::Desk;
    use super::*;

    #[test]
    fn every_run_stands_with_its_intervals_as_far_as_it_got() {
        let desk = Desk::new();
        let part = desk.part();
        let overview = Overview::of(&part).unwrap();
        let text = overview.text();
        let lines: Vec<Vec<&str>> = text
            .lines()
            .map(|it| it.split_whitespace().collect())
            .collect();
        assert!(
            text.trim_start().starts_with("test accuracy % at density"),
            "{text}"
        );
        // t(0.975, 2) = 4.302653 times 0.02 / sqrt(3).
        assert_eq!(
            lines[1],
            [
                "lrr", "60.00", "±", "0.00", "72.00", "±", "4.97", "67.00", "±", "4.97"
            ]
        );
        // One seed alone got further.
        assert_eq!(lines[3], ["half", "60.00", "±", "0.00", "61.00", "62.00"]);
        let json = overview.json();
        let last = &json["cells"][2]["test_accuracy"][2];
        assert_eq!((&last["level"], &last["seeds"]), (&json!(2), &json!(1)));
        assert!((last["mean"].as_f64().unwrap() - 0.62).abs() < 1e-12);
        assert_eq!(last["half_width"], Value::Null);
    }
}
