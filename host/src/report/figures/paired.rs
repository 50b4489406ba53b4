//! Differences between methods, seed by seed.

use super::{Figure, FigureError, Section, figure, point, table};
use crate::experiment::Measure;
use crate::report::chart::{Axis, LineChart, Series};
use crate::report::paired::{COLUMNS, PairedLevel, measured, paired};
use crate::report::part::{Combination, Part};
use crate::report::verdict::comparable;

pub fn section(part: &Part) -> Result<Section, FigureError> {
    let mut figures = Vec::new();
    for measure in measures(part) {
        for combination in part.combinations() {
            figures.extend(draw(part, &combination, measure)?);
        }
    }
    Ok(Section {
        title: "Paired differences",
        text: "Methods share seeds, and with them initial weights, data order and the dense level, so \
               they are compared seed by seed: the mean over seeds of the difference, with its 95 % \
               Student interval. Above the broken line the first of the two is ahead. Levels at which \
               the two have other densities are not drawn. The command compare prints the same numbers, and those.",
        figures,
    })
}

/// Test accuracy, and what the claims speak of besides.
fn measures(part: &Part) -> Vec<Measure> {
    let mut measures = vec![Measure::TestAccuracy];
    for claim in &part.claims {
        if !measures.contains(&claim.measure) {
            measures.push(claim.measure);
        }
    }
    measures
}

/// Each method against the first, and the pairs that claims name.
fn pairs(part: &Part, combination: &Combination<'_>, measure: Measure) -> Vec<(String, String)> {
    let own = part.claims.iter().filter(|it| it.measure == measure);
    let mut pairs: Vec<(String, String)> = Vec::new();
    let mut add = |above: &str, below: &str| {
        let known = pairs.iter().any(|(a, b)| {
            (a.as_str(), b.as_str()) == (above, below) || (b.as_str(), a.as_str()) == (above, below)
        });
        if !known && above != below {
            pairs.push((above.to_owned(), below.to_owned()));
        }
    };
    for claim in own {
        add(&claim.above, &claim.below);
    }
    if measure == Measure::TestAccuracy
        && let Some((first, others)) = combination.cells.split_first()
    {
        for other in others {
            add(&other.method, &first.method);
        }
    }
    pairs
}

fn draw(
    part: &Part,
    combination: &Combination<'_>,
    measure: Measure,
) -> Result<Option<Figure>, FigureError> {
    let name = measured(measure);
    let mut chart = LineChart {
        title: format!("Paired difference in {name}"),
        subtitle: combination.label.clone(),
        x: Axis::density(),
        y: Axis::linear("difference, percentage points"),
        rules: vec![0.0],
        ..LineChart::default()
    };
    let mut rows = Vec::new();
    for (above, below) in pairs(part, combination, measure) {
        let (Some(first), Some(second)) = (combination.cell(&above), combination.cell(&below))
        else {
            continue;
        };
        let levels = paired(&first.results, &second.results, measure);
        for level in &levels {
            let mut row = vec![above.clone(), below.clone(), combination.label.clone()];
            row.extend(level.texts());
            rows.push(row);
        }
        // At other densities the difference would be theirs, not that of the methods.
        let of_one_density =
            |it: &&PairedLevel| comparable(&first.results, &second.results, it.level);
        let points = levels.iter().filter(of_one_density);
        let points: Vec<_> = points
            .map(|it| point(it.density[0], &it.difference))
            .collect();
        if points.is_empty() {
            continue;
        }
        chart.series.push(Series {
            name: format!("{above} \u{2212} {below}"),
            rank: chart.series.len(),
            points,
            ..Series::default()
        });
    }
    if chart.series.is_empty() {
        return Ok(None);
    }
    let header = [&["above", "below", "grid"][..], &COLUMNS].concat();
    let kind = format!("paired {name}");
    Ok(Some(figure(
        part,
        &kind,
        &combination.label,
        &chart.title,
        chart.svg()?,
        table(&header, rows)?,
    )))
}
