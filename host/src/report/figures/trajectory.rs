//! Single inits of the hidden neuron on their way.

use super::neuron::{finish, word};
use super::{Figure, FigureError};
use crate::neuron::{Method, NeuronRecord, Trajectory};
use crate::report::chart::{Axis, LineChart, Point, Series};

/// With more points than this, a curve only takes more room.
const MOST_POINTS: usize = 300;

/// Weights of one init under each method.
pub fn trajectories(
    name: String,
    record: &NeuronRecord,
    dimension: u64,
    init: u64,
) -> Result<Option<Figure>, FigureError> {
    let own = |it: &&Trajectory| it.dimension == dimension && it.init == init;
    let (mut rows, mut series, mut ends) = (Vec::new(), Vec::new(), Vec::new());
    let mut pruned_at = None;
    for it in record.trajectories.iter().filter(own) {
        let method = word(it.method);
        let verdict = if it.success { "learns" } else { "fails" };
        ends.push(format!("{method} {verdict}"));
        let first = it.pruned.iter().position(|pruned| *pruned);
        pruned_at = pruned_at.or(first.and_then(|at| it.time.get(at)));
        let every = it.time.len().div_ceil(MOST_POINTS).max(1);
        for (of, values, dashed) in [("a", &it.a, false), ("w\u{2081}", &it.w1, true)] {
            let at = |place: usize| Point {
                x: it.time[place],
                y: values.get(place).copied().unwrap_or(f64::NAN),
                interval: None,
            };
            let mut points = Vec::new();
            for place in (0..it.time.len()).step_by(every) {
                if first.is_some_and(|first| (first..first + every).contains(&place)) {
                    // Between the two trainings the weights jump.
                    points.push(Point {
                        y: f64::NAN,
                        ..at(place)
                    });
                }
                points.push(at(place));
            }
            series.push(Series {
                name: format!("{method} {of}"),
                rank: usize::from(it.method == Method::Lrr),
                points,
                dashed,
                plain: true,
            });
        }
        for (at, time) in it.time.iter().enumerate() {
            let value = |values: &[f64]| values.get(at).map_or_else(String::new, f64::to_string);
            let pruned = it.pruned.get(at).is_some_and(|it| *it);
            rows.push(vec![
                method.to_owned(),
                time.to_string(),
                pruned.to_string(),
                value(&it.a),
                value(&it.w1),
                value(&it.loss),
            ]);
        }
    }
    let chart = LineChart {
        title: format!(
            "Init {init} in {dimension} dimension{}",
            if dimension == 1 { "" } else { "s" }
        ),
        subtitle: ends.join(", "),
        x: Axis::linear(pruned_at.map_or("time".to_owned(), |at| format!("time; pruned at {at}"))),
        y: Axis::linear("weight"),
        series,
        rules: vec![0.0],
    };
    finish(
        name,
        &chart,
        &["method", "time", "pruned", "a", "w1", "loss"],
        rows,
    )
}
