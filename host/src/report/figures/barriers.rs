//! Linear mode connectivity: error barriers between stored points.

use std::collections::BTreeMap;

use super::{Figure, FigureError, Section, figure, interval_texts, point, table};
use crate::report::Interval;
use crate::report::chart::{Axis, LineChart, Series};
use crate::report::paired::percent;
use crate::report::part::Part;
use crate::statistics::{Barrier, End, Settings, recorded};

/// The level at whose end a point lies.
fn level(end: &End) -> Option<u64> {
    let level = end.point.strip_prefix("level-")?.strip_suffix("-end")?;
    level.parse().ok()
}

/// How the lines of a figure were evaluated; nothing if it is the usual way.
fn describe(settings: Settings) -> String {
    let usual = serde_json::to_value(Settings::default()).unwrap_or_default();
    let own = serde_json::to_value(settings).unwrap_or_default();
    let own = own.as_object().into_iter().flatten();
    let unusual = own.filter(|(key, value)| usual[key.as_str()] != **value);
    let unusual = unusual.map(|(key, value)| (key.clone(), value.clone()));
    crate::report::part::label(&unusual.collect())
}

pub fn section(part: &Part) -> Result<Section, FigureError> {
    let lines = read(part);
    let mut settings: Vec<Settings> = Vec::new();
    for line in &lines {
        if !settings.contains(&line.settings) {
            settings.push(line.settings);
        }
    }
    let mut figures = Vec::new();
    for settings in settings {
        let own: Vec<&Barrier> = lines.iter().filter(|it| it.settings == settings).collect();
        let label = describe(settings);
        figures.extend(barriers(part, &own, &label)?);
        figures.extend(along(part, &own, &label)?);
    }
    Ok(Section {
        title: "Linear mode connectivity",
        text: "Test or training error along the straight line between two networks. The barrier is the \
               greatest error on the line less the mean of its ends' errors; where it is 0, the two lie \
               in one basin. Mean over seeds with 95 % Student intervals.",
        figures,
    })
}

fn read(part: &Part) -> Vec<Barrier> {
    let mut lines = Vec::new();
    let mut seen = Vec::new();
    for cell in &part.cells {
        let run = &cell.results.run;
        if seen.contains(&run.path()) {
            continue;
        }
        seen.push(run.path());
        match recorded(run) {
            Ok(read) => lines.extend(read),
            Err(error) => log::warn!("barriers are left out: {error}"),
        }
    }
    lines
}

/// A run's method, or its folder's name if it is none of the part's.
fn method<'a>(part: &'a Part, run: &'a str) -> &'a str {
    let of = |cell: &&super::Cell| {
        cell.results
            .run
            .path()
            .file_name()
            .is_some_and(|it| it == run)
    };
    part.cells
        .iter()
        .find(of)
        .map_or(run, |cell| cell.name.as_str())
}

/// What a line connects, if it is one of a series over levels: consecutive levels of a run, or two runs
/// at a level.
fn series_of(part: &Part, line: &Barrier) -> Option<String> {
    let (a, b) = (level(&line.a)?, level(&line.b)?);
    let (first, second) = (method(part, &line.a.run), method(part, &line.b.run));
    if line.a.run == line.b.run {
        return (b == a + 1).then(|| format!("{first}: level to next"));
    }
    (a == b).then(|| format!("{first} to {second}"))
}

fn barriers(part: &Part, lines: &[&Barrier], label: &str) -> Result<Option<Figure>, FigureError> {
    // By series and level: density, and one barrier a seed.
    type Levels = BTreeMap<u64, (f64, Vec<f64>)>;
    let mut all: Vec<(String, Levels)> = Vec::new();
    for line in lines {
        let (Some(name), Some(level)) = (series_of(part, line), level(&line.b)) else {
            continue;
        };
        let at = all.iter().position(|it| it.0 == name).unwrap_or_else(|| {
            all.push((name, Levels::new()));
            all.len() - 1
        });
        let level = all[at]
            .1
            .entry(level)
            .or_insert((line.density_b, Vec::new()));
        level.1.push(line.error_barrier);
    }
    let mut chart = LineChart {
        title: "Error barrier".to_owned(),
        subtitle: label.to_owned(),
        x: Axis::density(),
        y: Axis::linear("error barrier, percentage points").holding(0.0),
        rules: vec![0.0],
        ..LineChart::default()
    };
    let mut rows = Vec::new();
    for (rank, (name, levels)) in all.into_iter().enumerate() {
        let mut points = Vec::new();
        for (level, (density, values)) in levels {
            let Some(mean) = Interval::of(&values) else {
                continue;
            };
            points.push(point(density, &mean));
            let mut row = vec![name.clone(), label.to_owned(), level.to_string()];
            row.extend([format!("{density:.6}"), values.len().to_string()]);
            row.extend(interval_texts(&mean));
            rows.push(row);
        }
        chart.series.push(Series {
            name,
            rank,
            points,
            ..Series::default()
        });
    }
    if rows.is_empty() {
        return Ok(None);
    }
    let header = [
        "line", "settings", "level", "density", "seeds", "mean", "low", "high",
    ];
    Ok(Some(figure(
        part,
        "barriers",
        label,
        &chart.title,
        chart.svg()?,
        table(&header, rows)?,
    )))
}

/// Error along the lines that belong to no series, or to the last level of one.
fn along(part: &Part, lines: &[&Barrier], label: &str) -> Result<Option<Figure>, FigureError> {
    let last = lines.iter().filter_map(|it| level(&it.b)).max();
    let own = lines
        .iter()
        .filter(|it| series_of(part, it).is_none() || level(&it.b) == last);
    // By ends, and by place on the line.
    let mut all: BTreeMap<String, Vec<(f64, Vec<f64>)>> = BTreeMap::new();
    let mut rows = Vec::new();
    for line in own {
        let end = |end: &End| format!("{} {}", method(part, &end.run), end.point);
        let name = format!("{} to {}", end(&line.a), end(&line.b));
        let curve = all.entry(name.clone()).or_default();
        for (&alpha, &error) in line.alphas.iter().zip(&line.errors) {
            rows.push(vec![
                name.clone(),
                label.to_owned(),
                line.seed.to_string(),
                alpha.to_string(),
                percent(error),
            ]);
            match curve.iter_mut().find(|it| it.0 == alpha) {
                Some(known) => known.1.push(error),
                None => curve.push((alpha, vec![error])),
            }
        }
    }
    if rows.is_empty() {
        return Ok(None);
    }
    let series = all.into_iter().enumerate().map(|(rank, (name, curve))| {
        let points = curve
            .iter()
            .filter_map(|(x, values)| Some(point(*x, &Interval::of(values)?)));
        Series {
            name,
            rank,
            points: points.collect(),
            ..Series::default()
        }
    });
    let chart = LineChart {
        title: "Error along the line".to_owned(),
        subtitle: label.to_owned(),
        x: Axis::linear("place on the line"),
        y: Axis::linear("error, %"),
        series: series.collect(),
        rules: Vec::new(),
    };
    let header = ["line", "settings", "seed", "alpha", "error"];
    Ok(Some(figure(
        part,
        "errors along lines",
        label,
        &chart.title,
        chart.svg()?,
        table(&header, rows)?,
    )))
}
