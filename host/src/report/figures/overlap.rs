//! How much masks share: between levels, methods and seeds.

use super::{Figure, FigureError, Section, figure, point, table};
use crate::report::Interval;
use crate::report::chart::{Axis, Grid, LineChart, Point, Series, Shade};
use crate::report::paired::percent;
use crate::report::part::{Cell, Combination, Part};
use crate::statistics::{Masks, Overlap};

pub fn sections(part: &Part) -> Result<Vec<Section>, FigureError> {
    let mut seeds = Vec::new();
    let mut methods = Vec::new();
    for combination in part.combinations() {
        seeds.extend(between_seeds(part, &combination)?);
        for level in part.chosen_levels() {
            methods.extend(between_methods(part, &combination, level)?);
        }
    }
    let mut levels = Vec::new();
    for cell in &part.cells {
        levels.extend(between_levels(part, cell)?);
    }
    Ok(vec![
        Section {
            title: "Mask overlap between methods",
            text: "Intersection over union of two methods' masks of the same seed, mean over seeds.",
            figures: methods,
        },
        Section {
            title: "Mask overlap between seeds",
            text: "Intersection over union of the masks of two seeds of a method, mean over all pairs \
                   of seeds. The broken line is what two masks drawn at random over the whole network \
                   would share on average: at density d, d / (2 - d).",
            figures: seeds,
        },
        Section {
            title: "Mask overlap between levels",
            text: "Intersection over union of the masks of two levels of a run, mean over seeds. Masks \
                   that only shrink are nested: their overlap is the ratio of the densities.",
            figures: levels,
        },
    ])
}

fn read(cell: &Cell, seed: u64, level: u64) -> Option<Masks> {
    cell.results.level(seed, level)?;
    let masks = Masks::read(&cell.results.run.seed(seed).level(level));
    // A damaged level is noted at the chapter's top.
    masks.ok()
}

/// Overlap of two whole masks; none for other layers, as between networks of other shapes.
fn iou(first: &Masks, second: &Masks) -> Option<f64> {
    let layers = first.overlap(second).ok()?;
    Some(layers.into_iter().sum::<Overlap>().iou())
}

fn seeds(cell: &Cell) -> impl Iterator<Item = u64> {
    cell.results.seeds.iter().map(|it| it.seed)
}

/// Means of what is added at a row and a column.
struct Means {
    sums: Vec<Vec<(f64, u64)>>,
}

impl Means {
    fn new(size: usize) -> Self {
        Self {
            sums: vec![vec![(0.0, 0); size]; size],
        }
    }

    /// Adds the overlap of every two of these masks, some of which may be missing.
    fn add(&mut self, masks: &[Option<Masks>]) {
        for (row, first) in masks.iter().enumerate() {
            for (column, second) in masks.iter().enumerate() {
                let (Some(first), Some(second)) = (first, second) else {
                    continue;
                };
                if let Some(overlap) = iou(first, second) {
                    let sum = &mut self.sums[row][column];
                    *sum = (sum.0 + overlap, sum.1 + 1);
                }
            }
        }
    }

    fn values(&self) -> Vec<Vec<Option<f64>>> {
        let mean = |&(sum, count): &(f64, u64)| (count > 0).then(|| sum / count as f64);
        let rows = self.sums.iter();
        rows.map(|row| row.iter().map(mean).collect()).collect()
    }
}

fn matrix(
    part: &Part,
    kind: &str,
    which: &str,
    names: Vec<String>,
    means: &Means,
) -> Result<Option<Figure>, FigureError> {
    let values = means.values();
    // The diagonal alone says nothing.
    let off = |row: usize, column: usize| row != column && values[row][column].is_some();
    if !(0..names.len()).any(|row| (0..names.len()).any(|column| off(row, column))) {
        return Ok(None);
    }
    let mut rows = Vec::new();
    for (row, first) in names.iter().enumerate() {
        for (column, second) in names.iter().enumerate() {
            let Some(value) = values[row][column] else {
                continue;
            };
            let seeds = means.sums[row][column].1.to_string();
            rows.push(vec![
                which.to_owned(),
                first.clone(),
                second.clone(),
                seeds,
                format!("{value:.6}"),
            ]);
        }
    }
    let grid = Grid {
        title: format!("Mask overlap between {kind}s"),
        subtitle: which.to_owned(),
        row_label: kind.to_owned(),
        column_label: kind.to_owned(),
        rows: names.clone(),
        columns: names,
        values,
        shade: Shade {
            label: "IoU".to_owned(),
            low: 0.0,
            high: 1.0,
            log: false,
        },
    };
    let csv = table(&["where", "first", "second", "seeds", "overlap"], rows)?;
    let name = format!("overlap between {kind}s");
    Ok(Some(figure(
        part,
        &name,
        which,
        &grid.title,
        grid.svg()?,
        csv,
    )))
}

fn between_levels(part: &Part, cell: &Cell) -> Result<Option<Figure>, FigureError> {
    let levels = cell.results.levels();
    let mut means = Means::new(levels as usize);
    for seed in seeds(cell) {
        let masks: Vec<_> = (0..levels).map(|level| read(cell, seed, level)).collect();
        means.add(&masks);
    }
    let names = (0..levels).map(|it| it.to_string()).collect();
    matrix(part, "level", &cell.name, names, &means)
}

fn between_methods(
    part: &Part,
    combination: &Combination<'_>,
    level: u64,
) -> Result<Option<Figure>, FigureError> {
    let cells = &combination.cells;
    let mut all: Vec<u64> = cells.iter().flat_map(|it| seeds(it)).collect();
    all.sort_unstable();
    all.dedup();
    let mut means = Means::new(cells.len());
    for seed in all {
        let masks: Vec<_> = cells.iter().map(|it| read(it, seed, level)).collect();
        means.add(&masks);
    }
    let density = cells.iter().find_map(|it| it.results.density(level));
    let density = density.unwrap_or(f64::NAN);
    let mut which = format!("level {level}, density {density:.3}");
    if !combination.label.is_empty() {
        which = format!("{which}, {}", combination.label);
    }
    let names = cells.iter().map(|it| it.method.clone()).collect();
    matrix(part, "method", &which, names, &means)
}

fn between_seeds(
    part: &Part,
    combination: &Combination<'_>,
) -> Result<Option<Figure>, FigureError> {
    let mut rows = Vec::new();
    let mut series = Vec::new();
    for cell in &combination.cells {
        let mut points = Vec::new();
        for level in 1..cell.results.levels() {
            let masks: Vec<Masks> = seeds(cell).filter_map(|it| read(cell, it, level)).collect();
            let pairs = (0..masks.len()).flat_map(|a| (0..a).map(move |b| (a, b)));
            let overlaps: Vec<f64> = pairs
                .filter_map(|(a, b)| iou(&masks[a], &masks[b]))
                .collect();
            let (Some(mean), Some(density)) =
                (Interval::of(&overlaps), cell.results.density(level))
            else {
                continue;
            };
            // Pairs share seeds, so they are not independent: an interval over them would be too narrow.
            let mean = Interval {
                mean: mean.mean,
                half_width: None,
            };
            points.push(point(density, &mean));
            rows.push(vec![
                cell.method.clone(),
                combination.label.clone(),
                level.to_string(),
                format!("{density:.6}"),
                overlaps.len().to_string(),
                percent(mean.mean),
                percent(density / (2.0 - density)),
            ]);
        }
        series.push(Series {
            name: cell.method.clone(),
            rank: part.rank(&cell.method),
            points,
            ..Series::default()
        });
    }
    if rows.is_empty() {
        return Ok(None);
    }
    series.push(chance(&series));
    let chart = LineChart {
        title: "Mask overlap between seeds".to_owned(),
        subtitle: combination.label.clone(),
        x: Axis::density(),
        y: Axis::linear("intersection over union, %").holding(0.0),
        series,
        rules: Vec::new(),
    };
    let header = [
        "method",
        "grid",
        "level",
        "density",
        "pairs",
        "overlap",
        "by_chance",
    ];
    let kind = "overlap between seeds";
    Ok(Some(figure(
        part,
        kind,
        &combination.label,
        &chart.title,
        chart.svg()?,
        table(&header, rows)?,
    )))
}

/// What random masks of these densities share.
fn chance(series: &[Series]) -> Series {
    let mut densities: Vec<f64> = series
        .iter()
        .flat_map(|it| &it.points)
        .map(|it| it.x)
        .collect();
    densities.sort_by(|a, b| b.total_cmp(a));
    densities.dedup();
    let share = |x: f64| Point {
        x,
        y: 100.0 * x / (2.0 - x),
        interval: None,
    };
    Series {
        name: "by chance".to_owned(),
        rank: 6,
        points: densities.into_iter().map(share).collect(),
        dashed: true,
        plain: true,
    }
}
