//! The figures of a report, each with the numbers that it is drawn from.

mod accuracy;
mod axis;
mod barriers;
mod classes;
mod crossings;
mod flips;
mod layers;
mod metrics;
mod neuron;
mod overlap;
mod paired;
mod recovery;
mod trajectory;

pub(super) use metrics::words;

use super::Interval;
use super::chart::{Axis, ChartError, LineChart, Point, Series};
use super::paired::percent;
use super::part::{Cell, Combination, Part};
use super::theory::Simulation;
use crate::records::Summary;

/// A figure.
#[derive(Clone, Debug)]
pub struct Figure {
    /// What its files are called, without ending.
    pub name: String,
    /// Title.
    pub title: String,
    /// The picture.
    pub svg: String,
    /// The numbers.
    pub csv: Vec<u8>,
}

/// Figures that belong together.
#[derive(Clone, Debug)]
pub struct Section {
    /// Title.
    pub title: &'static str,
    /// What they show and how it was calculated.
    pub text: &'static str,
    /// The figures.
    pub figures: Vec<Figure>,
}

/// Why a figure could not be made.
#[derive(Debug, thiserror::Error)]
pub enum FigureError {
    /// Its picture.
    #[error(transparent)]
    Chart(#[from] ChartError),
    /// Its numbers.
    #[error("failed to write a figure's numbers: {0}")]
    Csv(#[from] csv::Error),
}

/// All figures of a part, by section; sections without data are left out.
///
/// # Errors
/// If one cannot be drawn.
pub fn draw(part: &Part) -> Result<Vec<Section>, FigureError> {
    let mut sections = vec![
        accuracy::section(part)?,
        metrics::section(part)?,
        classes::section(part)?,
        axis::section(part)?,
        paired::section(part)?,
        recovery::section(part)?,
        flips::section(part)?,
        crossings::section(part)?,
        layers::section(part)?,
    ];
    sections.extend(overlap::sections(part)?);
    sections.push(barriers::section(part)?);
    if let Some(Simulation {
        record: Ok(record), ..
    }) = &part.neuron
    {
        sections.extend(neuron::sections(&part.name, record)?);
    }
    sections.retain(|it| !it.figures.is_empty());
    Ok(sections)
}

/// What a level came to over seeds.
pub(super) struct LevelMean {
    pub(super) level: u64,
    density: f64,
    seeds: usize,
    pub(super) value: Interval,
}

/// The mean over seeds of what `pick` finds in each level's summaries.
pub(super) fn level_means(cell: &Cell, pick: impl Fn(&Summary) -> Option<f64>) -> Vec<LevelMean> {
    let of_level = |level| {
        let values: Vec<f64> = cell.results.at(level).filter_map(&pick).collect();
        Some(LevelMean {
            level,
            density: cell.results.density(level)?,
            seeds: values.len(),
            value: Interval::of(&values)?,
        })
    };
    (0..cell.results.levels()).filter_map(of_level).collect()
}

/// Share as a point in percent, with its interval.
fn point(x: f64, value: &Interval) -> Point {
    let half = value.half_width;
    Point {
        x,
        y: 100.0 * value.mean,
        interval: half.map(|half| [-half, half].map(|it| 100.0 * (value.mean + it))),
    }
}

/// Mean, low and high in percent, as in every CSV file; low and high are empty for a single seed.
fn interval_texts(value: &Interval) -> [String; 3] {
    let bound = |sign: f64| {
        let half = value.half_width;
        half.map_or_else(String::new, |half| percent(value.mean + sign * half))
    };
    [percent(value.mean), bound(-1.0), bound(1.0)]
}

/// A chart of something in percent against density, with a curve for each method.
fn against_density(
    part: &Part,
    combination: &Combination<'_>,
    title: &str,
    kind: &str,
    pick: impl Fn(&Summary) -> Option<f64>,
) -> Result<Option<Figure>, FigureError> {
    let unit = format!("{}, %", kind.replace('-', " "));
    against_density_in(part, combination, [title, kind, &unit], 1.0, pick)
}

/// The same of something named by its title, kind and axis. What is no share and stands for itself has the factor
/// 0.01: all is shown a hundred times as large.
fn against_density_in(
    part: &Part,
    combination: &Combination<'_>,
    [title, kind, axis]: [&str; 3],
    factor: f64,
    pick: impl Fn(&Summary) -> Option<f64>,
) -> Result<Option<Figure>, FigureError> {
    let pick = |summary: &Summary| pick(summary).map(|it| it * factor);
    let mut chart = LineChart {
        title: title.to_owned(),
        subtitle: combination.label.clone(),
        x: Axis::density(),
        y: Axis::linear(axis),
        ..LineChart::default()
    };
    let mut rows = Vec::new();
    for cell in &combination.cells {
        let means = level_means(cell, pick);
        for it in &means {
            let [mean, low, high] = interval_texts(&it.value);
            let numbers = [it.level.to_string(), format!("{:.6}", it.density)];
            let mut row = vec![cell.method.clone(), combination.label.clone()];
            row.extend(numbers);
            row.extend([it.seeds.to_string(), mean, low, high]);
            rows.push(row);
        }
        let points = means.iter().map(|it| point(it.density, &it.value));
        chart.series.push(Series {
            name: cell.method.clone(),
            rank: part.rank(&cell.method),
            points: points.collect(),
            ..Series::default()
        });
    }
    if rows.is_empty() {
        return Ok(None);
    }
    let header = [
        "method", "grid", "level", "density", "seeds", "mean", "low", "high",
    ];
    Ok(Some(figure(
        part,
        kind,
        &combination.label,
        &chart.title,
        chart.svg()?,
        table(&header, rows)?,
    )))
}

/// Puts a figure together.
fn figure(part: &Part, kind: &str, which: &str, title: &str, svg: String, csv: Vec<u8>) -> Figure {
    Figure {
        name: [part.name.as_str(), kind, which].join(" "),
        title: match which {
            "" => title.to_owned(),
            which => format!("{title} ({which})"),
        },
        svg,
        csv,
    }
}

/// Rows under a header as CSV.
fn table(header: &[&str], rows: Vec<Vec<String>>) -> Result<Vec<u8>, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(header)?;
    for row in rows {
        writer.write_record(row)?;
    }
    writer
        .into_inner()
        .map_err(|error| error.into_error().into())
}
