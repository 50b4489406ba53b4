//! When signs flip: weights that cross zero, epoch by epoch, within levels.

use super::{Figure, FigureError, Section, figure, interval_texts, point, table};
use crate::records::SignRecord;
use crate::report::Interval;
use crate::report::chart::{Axis, LineChart, Series};
use crate::report::part::{Cell, Part};

/// A share of a record, with the title and kind of its figure.
type Shown = (&'static str, &'static str, fn(&SignRecord) -> Option<f64>);

const SHOWN: [Shown; 2] = [
    (
        "Signs that flip in an epoch",
        "flips-by-epoch",
        SignRecord::share_epoch,
    ),
    (
        "Signs that differ from the level's start",
        "flips-within-level",
        SignRecord::share_start,
    ),
];

pub fn section(part: &Part) -> Result<Section, FigureError> {
    let mut figures = Vec::new();
    for cell in &part.cells {
        for shown in SHOWN {
            figures.extend(draw(part, cell, shown)?);
        }
    }
    Ok(Section {
        title: "Sign flips within a level",
        text: "Share of the weights surviving at an epoch's end that crossed zero, over that epoch and since the \
               level's start, at the dense level, half of the way and at the last level that is there. A weight that \
               is 0 at either end, as one that just grew, has no sign. Mean over seeds with 95 % Student intervals.",
        figures,
    })
}

/// The first level, one in the middle and the last one.
fn levels(cell: &Cell) -> Vec<u64> {
    let Some(last) = cell.results.levels().checked_sub(1) else {
        return Vec::new();
    };
    let mut chosen = vec![0, last.div_ceil(2), last];
    chosen.dedup();
    chosen
}

fn draw(
    part: &Part,
    cell: &Cell,
    (title, kind, share): Shown,
) -> Result<Option<Figure>, FigureError> {
    let mut chart = LineChart {
        title: title.to_owned(),
        subtitle: cell.name.clone(),
        x: Axis::linear("epochs of the level"),
        y: Axis::linear("share of the survivors, %"),
        ..LineChart::default()
    };
    let mut rows = Vec::new();
    for (rank, level) in levels(cell).into_iter().enumerate() {
        let seeds: Vec<&[SignRecord]> = (cell.results.seeds.iter())
            .filter_map(|seed| Some(seed.levels.get(level as usize)?.signs.as_slice()))
            .collect();
        let epochs = seeds.iter().map(|it| it.len()).max().unwrap_or(0);
        let mut series = Series {
            name: format!("level {level}"),
            rank,
            ..Series::default()
        };
        for epoch in 0..epochs {
            let values: Vec<f64> = (seeds.iter())
                .filter_map(|it| share(it.get(epoch)?))
                .collect();
            let Some(mean) = Interval::of(&values) else {
                continue;
            };
            let done = epoch + 1;
            series.points.push(point(done as f64, &mean));
            let mut row = vec![cell.name.clone(), level.to_string(), done.to_string()];
            row.push(values.len().to_string());
            row.extend(interval_texts(&mean));
            rows.push(row);
        }
        if !series.points.is_empty() {
            chart.series.push(series);
        }
    }
    // One point a level says nothing of the way there.
    if chart.series.iter().all(|it| it.points.len() < 2) {
        return Ok(None);
    }
    let header = ["run", "level", "epoch", "seeds", "mean", "low", "high"];
    Ok(Some(figure(
        part,
        kind,
        &cell.name,
        &chart.title,
        chart.svg()?,
        table(&header, rows)?,
    )))
}
