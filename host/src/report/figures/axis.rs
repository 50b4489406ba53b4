//! Test accuracy against a number of the sweep's grid: width, or the share of signs perturbed.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Figure, FigureError, Section, figure, interval_texts, point, table};
use crate::experiment::Measure;
use crate::report::Interval;
use crate::report::chart::{Axis, LineChart, Series};
use crate::report::part::{Cell, Part, label};
use crate::report::results::value;

pub fn section(part: &Part) -> Result<Section, FigureError> {
    let keys: BTreeSet<&String> = part.cells.iter().flat_map(|it| it.values.keys()).collect();
    let mut figures = Vec::new();
    for key in keys {
        if !is_numeric(part, key) {
            continue;
        }
        for rest in others(part, key) {
            for level in part.chosen_levels() {
                figures.extend(draw(part, key, &rest, level)?);
            }
        }
    }
    Ok(Section {
        title: "Accuracy along the grid",
        text: "Test accuracy against a number that the sweep varies, at three densities. Mean over \
               seeds with 95 % Student intervals.",
        figures,
    })
}

/// A value as a number; a list of equal numbers, such as the widths of hidden layers, is that number.
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Array(list) => {
            let first = list.first()?;
            (list.iter().all(|it| it == first)).then(|| number(first))?
        }
        other => other.as_f64(),
    }
}

/// Whether a key takes two or more values, all of them numbers.
fn is_numeric(part: &Part, key: &str) -> bool {
    let values = part.cells.iter().filter_map(|it| it.values.get(key));
    let Some(numbers) = values.map(number).collect::<Option<Vec<f64>>>() else {
        return false;
    };
    numbers.windows(2).any(|pair| pair[0] != pair[1])
}

/// The grid's other values, each combination once.
fn others(part: &Part, key: &str) -> Vec<BTreeMap<String, Value>> {
    let mut seen = Vec::new();
    for cell in &part.cells {
        let rest = without(cell, key);
        if !seen.contains(&rest) {
            seen.push(rest);
        }
    }
    seen
}

fn without(cell: &Cell, key: &str) -> BTreeMap<String, Value> {
    let mut rest = cell.values.clone();
    rest.remove(key);
    rest
}

fn draw(
    part: &Part,
    key: &str,
    rest: &BTreeMap<String, Value>,
    level: u64,
) -> Result<Option<Figure>, FigureError> {
    let mut rows = Vec::new();
    let mut series = Vec::new();
    let mut density = None;
    for method in part.methods() {
        let own = part.cells.iter().filter(|it| it.method == method);
        let own = own.filter(|it| it.values.contains_key(key) && without(it, key) == *rest);
        let mut points = Vec::new();
        for cell in own {
            let accuracy = |summary: &_| value(Measure::TestAccuracy, summary);
            let values: Vec<f64> = cell.results.at(level).filter_map(accuracy).collect();
            let (Some(x), Some(mean)) = (number(&cell.values[key]), Interval::of(&values)) else {
                continue;
            };
            let own_density = cell.results.density(level).unwrap_or(f64::NAN);
            density = density.or(Some(own_density));
            points.push(point(x, &mean));
            let mut row = vec![
                method.to_owned(),
                label(rest),
                x.to_string(),
                level.to_string(),
            ];
            row.extend([format!("{own_density:.6}"), values.len().to_string()]);
            row.extend(interval_texts(&mean));
            rows.push(row);
        }
        points.sort_by(|a, b| a.x.total_cmp(&b.x));
        series.push(Series {
            name: method.to_owned(),
            rank: part.rank(method),
            points,
            ..Series::default()
        });
    }
    let Some(density) = density else {
        return Ok(None);
    };
    let xs = || series.iter().flat_map(|it| &it.points).map(|it| it.x);
    let (least, most) = xs().fold((f64::INFINITY, 0.0f64), |(a, b), x| (a.min(x), b.max(x)));
    let where_ = match rest.is_empty() {
        true => format!("density {density:.3}"),
        false => format!("density {density:.3}, {}", label(rest)),
    };
    let chart = LineChart {
        title: format!("Test accuracy against {key}"),
        subtitle: where_.clone(),
        x: if least > 0.0 && most / least >= 8.0 {
            Axis::log(key)
        } else {
            Axis::linear(key)
        },
        y: Axis::linear("test accuracy, %"),
        series,
        rules: Vec::new(),
    };
    let header = [
        "method", "grid", key, "level", "density", "seeds", "mean", "low", "high",
    ];
    let kind = format!("test-accuracy along {key}");
    Ok(Some(figure(
        part,
        &kind,
        &where_,
        &chart.title,
        chart.svg()?,
        table(&header, rows)?,
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn widths_are_numbers_and_names_are_not() {
        assert_eq!(number(&json!(0.1)), Some(0.1));
        assert_eq!(number(&json!([32, 32])), Some(32.0));
        assert_eq!(number(&json!([32, 64])), None);
        assert_eq!(number(&json!("erk")), None);
        assert_eq!(number(&json!([])), None);
    }
}
