//! What stands for a series: its line, its marks and its intervals.

use plotters::prelude::*;

use super::line::Series;
use super::palette;
use super::{Drawn, SCALE, px};

/// A point in the places of its axes.
pub(super) struct Placed {
    pub x: f64,
    pub y: f64,
    pub ends: Option<[f64; 2]>,
}

type Plot<'a, 'b, X, Y> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<X, Y>>;

/// Draws the intervals of a series, as a band or as bars moved aside.
pub(super) fn draw_intervals<X, Y>(
    chart: &mut Plot<'_, '_, X, Y>,
    series: &Series,
    points: &[Placed],
    band: bool,
    aside: f64,
) -> Drawn
where
    X: Ranged<ValueType = f64>,
    Y: Ranged<ValueType = f64>,
{
    if band {
        let upper = points.iter().filter_map(|it| Some((it.x, it.ends?[1])));
        let lower = points
            .iter()
            .rev()
            .filter_map(|it| Some((it.x, it.ends?[0])));
        let outline: Vec<(f64, f64)> = upper.chain(lower).collect();
        if outline.len() > 2 {
            let style = palette::series(series.rank).mix(0.16).filled();
            chart.draw_series([Polygon::new(outline, style)])?;
            return Ok(());
        }
    }
    let bars = points.iter().filter_map(|it| {
        let ends = it.ends?.map(|end| (it.x + aside, end));
        // What has no length cannot be drawn, and is warned of where pixels are made.
        let [low, high] = [&ends[0], &ends[1]].map(|end| chart.backend_coord(end));
        let style = palette::series(series.rank)
            .mix(0.6)
            .stroke_width(px(1.3) as u32);
        (low != high).then(|| PathElement::new(ends, style))
    });
    let bars: Vec<_> = bars.collect();
    chart.draw_series(bars)?;
    Ok(())
}

/// The line of a series.
pub(super) fn pen(rank: usize, width: f64) -> ShapeStyle {
    palette::series(rank).stroke_width((width * SCALE) as u32)
}

/// The mark of a series: its form differs from its neighbours' as its colour does.
pub(super) fn mark(at: (i32, i32), rank: usize) -> Polygon<(i32, i32)> {
    use std::f64::consts::TAU;
    let (corners, radius, turn) = match rank % 5 {
        0 => (24, 3.4, 0.0),
        1 => (4, 4.2, TAU / 8.0),
        2 => (3, 4.6, -TAU / 4.0),
        3 => (4, 4.6, 0.0),
        _ => (3, 4.6, TAU / 4.0),
    };
    let corner = |it: usize| {
        let angle = turn + TAU * it as f64 / f64::from(corners as u32);
        (
            at.0 + px(radius * angle.cos()),
            at.1 + px(radius * angle.sin()),
        )
    };
    let corners: Vec<(i32, i32)> = (0..corners).map(corner).collect();
    Polygon::new(corners, palette::series(rank).filled())
}
