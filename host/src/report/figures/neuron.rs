//! The hidden neuron's figures.

use std::collections::BTreeSet;

use super::trajectory::trajectories;
use super::{Figure, FigureError, Section, table};
use crate::neuron::{Fraction, Method, NeuronRecord};
use crate::report::chart::{Axis, Grid, LineChart, Point, Series, Shade};
use crate::report::paired::percent;
use crate::report::theory::share;

pub fn sections(part: &str, record: &NeuronRecord) -> Result<Vec<Section>, FigureError> {
    let name = |kind: &str| format!("{part} {kind}");
    let mut how_often: Vec<Figure> = fractions(name("success"), record)?.into_iter().collect();
    for method in [Method::Imp, Method::Lrr] {
        let kind = format!("quadrants {}", word(method));
        how_often.extend(quadrants(name(&kind), record, method)?);
    }
    let mut check: Vec<Figure> = closed_form(name("closed form"), record)?
        .into_iter()
        .collect();
    check.extend(step_errors(name("step error"), record)?);
    let mut paths = Vec::new();
    let inits: BTreeSet<(u64, u64)> = (record.trajectories.iter())
        .map(|it| (it.dimension, it.init))
        .collect();
    for (dimension, init) in inits {
        let name = name(&format!("trajectory d {dimension} init {init}"));
        paths.extend(trajectories(name, record, dimension, init)?);
    }
    let mut sections = vec![
        Section {
            title: "How often the neuron learns",
            text: "Share of random inits from which the pruned neuron learns the target, with 95 % \
                   binomial intervals; the broken lines are 1/4 and 1/2. The tables divide the inits by \
                   the signs of the output weight a and of the first input weight w\u{2081} at init.",
            figures: how_often,
        },
        Section {
            title: "On the way",
            text: "Output weight a and first input weight w\u{2081} of single inits: first the dense \
                   training, then that of the neuron pruned to one input. IMP begins the second from \
                   init, LRR goes on.",
            figures: paths,
        },
        Section {
            title: "Against the closed form",
            text: "In one dimension the product a w follows a logistic curve. The distance of the \
                   simulation from it falls with the length of the Euler step.",
            figures: check,
        },
    ];
    if !record.update.is_gradient() {
        // Gradient descent alone has a closed form.
        sections.pop();
    }
    Ok(sections)
}

pub(super) fn word(method: Method) -> &'static str {
    match method {
        Method::Imp => "IMP",
        Method::Lrr => "LRR",
    }
}

fn fractions(name: String, record: &NeuronRecord) -> Result<Option<Figure>, FigureError> {
    let mut rows = Vec::new();
    let mut series = Vec::new();
    for (rank, method) in [Method::Imp, Method::Lrr].into_iter().enumerate() {
        let own = record.fractions.iter().filter(|it| it.method == method);
        let mut points = Vec::new();
        for it in own {
            rows.push(vec![
                it.dimension.to_string(),
                word(method).to_owned(),
                it.inits.to_string(),
                it.successes.to_string(),
                percent(share(it)),
                percent(it.low),
                percent(it.high),
            ]);
            points.push(Point {
                x: it.dimension as f64,
                y: 100.0 * share(it),
                interval: Some([100.0 * it.low, 100.0 * it.high]),
            });
        }
        series.push(Series {
            name: word(method).to_owned(),
            rank,
            points,
            ..Series::default()
        });
    }
    let chart = LineChart {
        title: "Success by dimension".to_owned(),
        x: Axis::log("dimension of the input"),
        y: Axis::linear("inits that learn the target, %").holding(0.0),
        series,
        rules: vec![25.0, 50.0],
        ..LineChart::default()
    };
    let header = [
        "dimension",
        "method",
        "inits",
        "successes",
        "share",
        "low",
        "high",
    ];
    finish(name, &chart, &header, rows)
}

fn quadrants(
    name: String,
    record: &NeuronRecord,
    method: Method,
) -> Result<Option<Figure>, FigureError> {
    let own: Vec<&Fraction> = record
        .fractions
        .iter()
        .filter(|it| it.method == method)
        .collect();
    let signs = [(true, true), (true, false), (false, true), (false, false)];
    let sign = |positive| if positive { "> 0" } else { "< 0" };
    let names = signs.map(|(a, w1)| format!("a {}, w\u{2081} {}", sign(a), sign(w1)));
    let (mut rows, mut values) = (Vec::new(), Vec::new());
    for ((a, w1), name) in signs.into_iter().zip(&names) {
        let of = |fraction: &&Fraction| {
            let mut all = fraction.quadrants.iter();
            let it = all.find(|it| (it.a_positive, it.w1_positive) == (a, w1))?;
            rows.push(vec![
                word(method).to_owned(),
                name.clone(),
                fraction.dimension.to_string(),
                it.inits.to_string(),
                it.successes.to_string(),
            ]);
            (it.inits > 0).then(|| it.successes as f64 / it.inits as f64)
        };
        values.push(own.iter().map(of).collect());
    }
    if rows.is_empty() {
        return Ok(None);
    }
    let grid = Grid {
        title: format!("{}: success by signs at init", word(method)),
        subtitle: String::new(),
        row_label: "signs at init".to_owned(),
        column_label: "dimension of the input".to_owned(),
        rows: names.to_vec(),
        columns: own.iter().map(|it| it.dimension.to_string()).collect(),
        values,
        shade: Shade {
            label: "share".to_owned(),
            low: 0.0,
            high: 1.0,
            log: false,
        },
    };
    Ok(Some(Figure {
        name,
        svg: grid.svg()?,
        csv: table(
            &["method", "signs", "dimension", "inits", "successes"],
            rows,
        )?,
        title: grid.title,
    }))
}

fn closed_form(name: String, record: &NeuronRecord) -> Result<Option<Figure>, FigureError> {
    let curve = |name: &str, rank, dashed, pick: fn(&crate::neuron::ClosedForm) -> f64| Series {
        name: name.to_owned(),
        rank,
        points: (record.closed_form.iter())
            .map(|it| Point {
                x: it.time,
                y: pick(it),
                interval: None,
            })
            .collect(),
        dashed,
        plain: true,
    };
    let chart = LineChart {
        title: "One dimension: simulation and closed form".to_owned(),
        x: Axis::linear("time"),
        y: Axis::linear("a w"),
        series: vec![
            curve("simulated", 4, false, |it| it.simulated),
            curve("closed form", 1, true, |it| it.exact),
        ],
        ..LineChart::default()
    };
    let rows = record.closed_form.iter();
    let rows = rows.map(|it| {
        [it.time, it.simulated, it.exact]
            .map(|it| it.to_string())
            .into()
    });
    finish(
        name,
        &chart,
        &["time", "simulated", "exact"],
        rows.collect(),
    )
}

fn step_errors(name: String, record: &NeuronRecord) -> Result<Option<Figure>, FigureError> {
    let point = |x, y| Point {
        x,
        y,
        interval: None,
    };
    let points: Vec<Point> = record
        .step_errors
        .iter()
        .map(|it| point(it.step, it.error))
        .collect();
    let mut series = vec![Series {
        name: "largest distance".to_owned(),
        points: points.clone(),
        ..Series::default()
    }];
    if let Some(least) = points
        .iter()
        .copied()
        .reduce(|a, b| if a.x < b.x { a } else { b })
    {
        let line = points
            .iter()
            .map(|it| point(it.x, least.y * it.x / least.x));
        series.push(Series {
            name: "proportional to the step".to_owned(),
            rank: 6,
            points: line.collect(),
            dashed: true,
            plain: true,
        });
    }
    let chart = LineChart {
        title: "Distance from the closed form".to_owned(),
        x: Axis::log("length of an Euler step"),
        y: Axis::log("largest distance of a w"),
        series,
        ..LineChart::default()
    };
    let rows = record.step_errors.iter();
    let rows = rows
        .map(|it| vec![it.step.to_string(), it.error.to_string()])
        .collect();
    finish(name, &chart, &["step", "error"], rows)
}

pub(super) fn finish(
    name: String,
    chart: &LineChart,
    header: &[&str],
    rows: Vec<Vec<String>>,
) -> Result<Option<Figure>, FigureError> {
    if rows.is_empty() {
        return Ok(None);
    }
    Ok(Some(Figure {
        name,
        title: match chart.subtitle.as_str() {
            "" => chart.title.clone(),
            subtitle => format!("{} ({subtitle})", chart.title),
        },
        svg: chart.svg()?,
        csv: table(header, rows)?,
    }))
}
