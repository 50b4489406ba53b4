//! Test accuracy within levels: how fast a network recovers from what was done to it.

use std::collections::BTreeMap;

use super::{Figure, FigureError, Section, figure, interval_texts, point, table};
use crate::report::Interval;
use crate::report::chart::{Axis, LineChart, Series};
use crate::report::part::{Cell, Combination, Part};

pub fn section(part: &Part) -> Result<Section, FigureError> {
    let mut figures = Vec::new();
    for combination in part.combinations() {
        for level in part.chosen_levels() {
            figures.extend(draw(part, &combination, level)?);
        }
    }
    Ok(Section {
        title: "Recovery within levels",
        text: "Test accuracy within three levels, where train.evaluate_every recorded it: how fast a \
               network recovers from pruning, rewinding and perturbed signs. Mean over seeds with 95 % \
               Student intervals.",
        figures,
    })
}

/// Test accuracy by epoch, over seeds.
fn curve(cell: &Cell, level: u64) -> Vec<(u64, Vec<f64>)> {
    let mut epochs: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    for seed in &cell.results.seeds {
        let own = seed.levels.get(level as usize);
        for &(epoch, accuracy) in own.into_iter().flat_map(|it| &it.curve) {
            if accuracy.is_finite() {
                epochs.entry(epoch).or_default().push(accuracy);
            }
        }
    }
    epochs.into_iter().collect()
}

fn draw(
    part: &Part,
    combination: &Combination<'_>,
    level: u64,
) -> Result<Option<Figure>, FigureError> {
    let density = combination
        .cells
        .iter()
        .find_map(|it| it.results.density(level));
    let where_ = format!("level {level}, density {:.3}", density.unwrap_or(f64::NAN));
    let mut chart = LineChart {
        title: "Test accuracy within a level".to_owned(),
        subtitle: match combination.label.as_str() {
            "" => where_,
            label => format!("{where_}, {label}"),
        },
        x: Axis::linear("epochs of the level"),
        y: Axis::linear("test accuracy, %"),
        ..LineChart::default()
    };
    let mut rows = Vec::new();
    for cell in &combination.cells {
        let mut series = Series {
            name: cell.method.clone(),
            rank: part.rank(&cell.method),
            ..Series::default()
        };
        for (epoch, values) in curve(cell, level) {
            let Some(mean) = Interval::of(&values) else {
                continue;
            };
            series.points.push(point(epoch as f64, &mean));
            let mut row = vec![
                cell.method.clone(),
                combination.label.clone(),
                level.to_string(),
            ];
            row.extend([epoch.to_string(), values.len().to_string()]);
            row.extend(interval_texts(&mean));
            rows.push(row);
        }
        chart.series.push(series);
    }
    // One point a level says nothing of the way there.
    if chart.series.iter().all(|it| it.points.len() < 2) {
        return Ok(None);
    }
    let header = [
        "method", "grid", "level", "epoch", "seeds", "mean", "low", "high",
    ];
    Ok(Some(figure(
        part,
        "recovery",
        &chart.subtitle,
        &chart.title,
        chart.svg()?,
        table(&header, rows)?,
    )))
}
