//! Curves with intervals.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::axis::{Axis, Ruler};
use super::mark::{Placed, draw_intervals, mark, pen};
use super::palette::{self, colour};
use super::{ChartError, Drawn, anchor, heading, letters, picture, px, text_width};

/// A point of a curve.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Place on the horizontal axis.
    pub x: f64,
    /// Value.
    pub y: f64,
    /// Ends of its interval, if it has one.
    pub interval: Option<[f64; 2]>,
}

/// A curve.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// Its colour and mark, by a place in the palette.
    pub rank: usize,
    /// Its points, from left to right. One without a value interrupts the line.
    pub points: Vec<Point>,
    /// Whether its line is broken.
    pub dashed: bool,
    /// Whether its points are left without a mark.
    pub plain: bool,
}

/// Curves over common axes.
#[derive(Clone, Debug, Default)]
pub struct LineChart {
    /// Title.
    pub title: String,
    /// What tells it from its neighbours, in smaller letters.
    pub subtitle: String,
    /// Horizontal axis.
    pub x: Axis,
    /// Vertical axis.
    pub y: Axis,
    /// The curves.
    pub series: Vec<Series>,
    /// Horizontal lines to compare with.
    pub rules: Vec<f64>,
}

const WIDTH: f64 = 560.0;
const PLOT: f64 = 270.0;
const BELOW: f64 = 46.0;
const LEFT: f64 = 50.0;
const ROW: f64 = 19.0;
const LETTERS: f64 = 12.0;
const SWATCH: f64 = 30.0;
/// With more curves than this, shaded bands would hide each other.
const MOST_BANDS: usize = 3;

impl LineChart {
    /// The chart as SVG.
    ///
    /// # Errors
    /// If it cannot be drawn.
    pub fn svg(&self) -> Result<String, ChartError> {
        let legend = self.legend();
        let head = if self.subtitle.is_empty() { 32.0 } else { 48.0 };
        let rows = legend.iter().map(|it| it.1 + 1).max().unwrap_or(0);
        let top = head + ROW * rows as f64 + 20.0;
        let height = top + PLOT + BELOW;
        let name = format!("{} {}", self.title, self.subtitle);
        picture(name.trim(), (WIDTH, height), |root| {
            heading(root, WIDTH, &self.title, &self.subtitle)?;
            self.draw_legend(root, &legend, head)?;
            let label = letters(11.5, palette::SOFT, false);
            root.draw_text(&self.y.label, &label, (px(12.0), px(top - 16.0)))?;
            let (_, plot) = root.split_vertically(px(top));
            self.draw_plot(&plot)
        })
    }

    /// For each curve the left end and the row of its entry.
    fn legend(&self) -> Vec<(f64, usize)> {
        if self.series.len() < 2 && self.series.iter().all(|it| it.name.is_empty()) {
            return Vec::new();
        }
        let (mut left, mut row) = (12.0, 0);
        let mut entries = Vec::new();
        for series in &self.series {
            let width = SWATCH + text_width(&series.name, LETTERS) + 16.0;
            if left + width > WIDTH && left > 12.0 {
                (left, row) = (12.0, row + 1);
            }
            entries.push((left, row));
            left += width;
        }
        entries
    }

    fn draw_legend(&self, root: &super::Area<'_>, entries: &[(f64, usize)], head: f64) -> Drawn {
        let style = letters(LETTERS, palette::INK, false).pos(anchor(HPos::Left, VPos::Center));
        for (series, &(left, row)) in self.series.iter().zip(entries) {
            let y = head + ROW * row as f64 + 6.0;
            let ends = if series.dashed {
                vec![(0.0, 9.0), (14.0, 23.0)]
            } else {
                vec![(0.0, 23.0)]
            };
            for (from, to) in ends {
                let line = [(px(left + from), px(y)), (px(left + to), px(y))];
                root.draw(&PathElement::new(line, pen(series.rank, 2.0)))?;
            }
            if !series.plain {
                root.draw(&mark((px(left + 11.5), px(y)), series.rank))?;
            }
            root.draw_text(&series.name, &style, (px(left + SWATCH), px(y)))?;
        }
        Ok(())
    }

    fn draw_plot(&self, plot: &super::Area<'_>) -> Drawn {
        let points = || self.series.iter().flat_map(|it| &it.points);
        let (x, y) = (self.x.range(points().map(|it| it.x)), self.y_range());
        let (x_ticks, y_ticks) = (self.x.ticks(x, 8), self.y.ticks(y, 7));
        let ruler = |range, ticks: &[(f64, String)]| Ruler {
            range,
            ticks: ticks.iter().map(|it| it.0).collect(),
        };
        let label = |ticks: &[(f64, String)], at: f64| {
            let near = ticks
                .iter()
                .find(|it| (it.0 - at).abs() < 1e-9 * (1.0 + at.abs()));
            near.map_or_else(String::new, |it| it.1.clone())
        };
        let mut chart = ChartBuilder::on(plot)
            .margin_right(px(16.0))
            .margin_top(px(4.0))
            .x_label_area_size(px(BELOW - 4.0))
            .y_label_area_size(px(LEFT))
            .build_cartesian_2d(ruler(x, &x_ticks), ruler(y, &y_ticks))?;
        let hairline = |shade: &str| ShapeStyle::from(colour(shade)).stroke_width(px(1.0) as u32);
        chart
            .configure_mesh()
            .bold_line_style(hairline(palette::GRID))
            .light_line_style(TRANSPARENT)
            .axis_style(hairline(palette::SOFT))
            .set_all_tick_mark_size(px(4.0))
            .label_style(letters(11.0, palette::SOFT, false))
            .axis_desc_style(letters(11.5, palette::SOFT, false))
            .x_desc(&self.x.label)
            .x_label_formatter(&|at| label(&x_ticks, *at))
            .y_label_formatter(&|at| label(&y_ticks, *at))
            .draw()?;
        for place in self.rules.iter().filter_map(|it| self.y.place(*it)) {
            let style = ShapeStyle::from(colour(palette::SOFT)).stroke_width(px(1.2) as u32);
            let line = [(x.0, place), (x.1, place)];
            let (dash, gap) = (px(5.0), px(4.0));
            chart.draw_series(DashedLineSeries::new(line, dash, gap, style))?;
        }
        let bands = self.series.len() <= MOST_BANDS;
        let middle = (self.series.len() as f64 - 1.0) / 2.0;
        for (at, series) in self.series.iter().enumerate() {
            // Bars at the same place are moved apart by a few pixels.
            let width = (x.1 - x.0) / (WIDTH - LEFT - 16.0);
            let aside = if bands {
                0.0
            } else {
                2.5 * width * (at as f64 - middle)
            };
            let placed: Vec<Placed> = (series.points.iter())
                .filter_map(|it| self.place(it, y))
                .collect();
            draw_intervals(&mut chart, series, &placed, bands, aside)?;
        }
        for series in &self.series {
            let places: Vec<Option<(f64, f64)>> = (series.points.iter())
                .map(|it| self.place(it, y).map(|it| (it.x, it.y)))
                .collect();
            for line in places.split(Option::is_none) {
                let line: Vec<(f64, f64)> = line.iter().copied().flatten().collect();
                let style = pen(series.rank, 2.0);
                if series.dashed {
                    chart.draw_series(DashedLineSeries::new(line, px(9.0), px(5.0), style))?;
                } else if line.len() > 1 {
                    chart.draw_series([PathElement::new(line, style)])?;
                }
            }
            for at in places.iter().flatten().filter(|_| !series.plain) {
                let at = chart.backend_coord(at);
                let (left, top) = plot.get_base_pixel();
                plot.draw(&mark((at.0 - left, at.1 - top), series.rank))?;
            }
        }
        Ok(())
    }

    /// Room for all values. Intervals may be cut off where they are far wider than the values'
    /// spread, as with two seeds: else nothing but them could be seen.
    fn y_range(&self) -> (f64, f64) {
        let points = || self.series.iter().flat_map(|it| &it.points);
        let values = points().map(|it| it.y).chain(self.rules.iter().copied());
        let (low, high) = self.y.range(values.clone());
        let room = 1.2 * (high - low);
        let ends = points().flat_map(|it| it.interval.into_iter().flatten());
        let inside = ends.filter(|it| {
            (self.y.place(*it)).is_some_and(|it| low - room <= it && it <= high + room)
        });
        let inside: Vec<f64> = inside.collect();
        self.y.range(values.chain(inside))
    }

    fn place(&self, point: &Point, (low, high): (f64, f64)) -> Option<Placed> {
        let inside = |value: f64| self.y.place(value).map(|it| it.clamp(low, high));
        // What has no place on a logarithmic axis lies below it.
        let ends = point
            .interval
            .map(|ends| ends.map(|it| inside(it).unwrap_or(low)));
        Some(Placed {
            x: self.x.place(point.x)?,
            y: inside(point.y)?,
            ends,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(interval: Option<[f64; 2]>) -> LineChart {
        let point = |x, y| Point { x, y, interval };
        let series = |name: &str, rank| Series {
            name: name.to_owned(),
            rank,
            points: vec![point(1.0, 60.0), point(0.5, 61.0)],
            ..Series::default()
        };
        LineChart {
            title: "<b>".to_owned(),
            x: Axis::density(),
            y: Axis::linear("accuracy, %"),
            series: vec![series("lrr & co", 0), series("imp", 1)],
            ..LineChart::default()
        }
    }

    #[test]
    fn a_chart_holds_its_names_escaped_and_a_line_for_each_series() {
        let svg = chart(None).svg().unwrap();
        assert!(svg.contains("&lt;b&gt;") && !svg.contains("<b>"));
        assert!(svg.contains("lrr &amp; co") && svg.contains("accuracy, %"));
        for colour in &palette::SERIES[..2] {
            assert_eq!(
                svg.matches(&format!("stroke=\"{colour}\"")).count(),
                2,
                "line and legend"
            );
        }
    }

    #[test]
    fn an_interval_far_wider_than_the_values_is_cut_off() {
        let (low, high) = chart(Some([-900.0, 900.0])).y_range();
        assert!(low > 55.0 && high < 65.0, "{low} {high}");
        let (low, high) = chart(Some([59.5, 61.5])).y_range();
        assert!(low < 59.5 && high > 61.5);
    }

    #[test]
    fn a_point_without_a_value_interrupts_the_line() {
        let mut chart = chart(None);
        chart.series.truncate(1);
        let lines = |chart: &LineChart| chart.svg().unwrap().matches("<polyline").count();
        let point = |x, y| Point {
            x,
            y,
            interval: None,
        };
        let more = [point(0.3, 60.0), point(0.2, 61.0)];
        chart.series[0].points.extend(more);
        let whole = lines(&chart);
        chart.series[0].points.insert(2, point(0.4, f64::NAN));
        assert_eq!(lines(&chart), whole + 1);
    }

    #[test]
    fn an_interval_without_length_is_not_drawn() {
        let bars = |interval| {
            let mut chart = chart(interval);
            chart.series.iter_mut().for_each(|it| it.points.truncate(1));
            chart.svg().unwrap().matches("opacity=\"0.6\"").count()
        };
        assert_eq!(bars(Some([59.0, 61.0])), 2);
        assert_eq!(bars(Some([60.0, 60.0])), 0);
    }

    #[test]
    fn a_chart_without_points_or_with_one_can_be_drawn() {
        assert!(LineChart::default().svg().is_ok());
        let mut one = chart(None);
        one.series.truncate(1);
        one.series[0].points.truncate(1);
        assert!(one.svg().is_ok());
    }
}
