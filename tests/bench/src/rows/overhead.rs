//! What masks cost in training, and what it costs that a score is a plugin's.

use host::experiment::{Part, Strategy as Parts};
use host::registry::Options;
use host::strategy::still::Still;
use host::strategy::{Loader, Strategy, Trust, check};
use tch::{Kind, Tensor};

use super::selection::shapes;
use super::{OVERHEAD, Row};
use crate::bench::Bench;
use crate::error::BenchError;
use crate::measure::{Call, Measured, Side, in_turn};
use crate::ours::{Data, Stepping, Work, random_masks};
use crate::results::Unit;
use crate::settings::Settings;

/// Two networks, and two scores.
pub(super) fn rows() -> Vec<Row> {
    let masks = |name, model: &'static str| {
        let what = format!("training {model} with masks of density 0.5 and with masks of ones");
        let measure = move |bench: &mut Bench, _: &str| masks(bench, model);
        Row::new(name, OVERHEAD, what, Unit::Images, measure).goals(&[("ones", 0.98)])
    };
    let plugin = |name, component: &'static str, operations: fn(&Tensor) -> Tensor| {
        let what = format!("`{component}` on 11 M weights, and the same operations in the host");
        let measure = move |bench: &mut Bench, _: &str| plugin(bench, component, operations);
        Row::new(name, OVERHEAD, what, Unit::Weights, measure).goals(&[("in the host", 0.95)])
    };
    vec![
        masks("masks-lenet", "lenet-300-100"),
        masks("masks-resnet20", "resnet-20"),
        plugin("plugin-magnitude", "imp/magnitude", magnitude),
        plugin("plugin-lamp", "magnitude/lamp", lamp),
    ]
}

fn masks(bench: &mut Bench, model: &'static str) -> Result<Measured, BenchError> {
    let data = match model {
        "lenet-300-100" => Data::Fashion(bench.fashion()?.0),
        _ => Data::Random(12_800, [1, 28, 28]),
    };
    let trainer = Work::new(model, data).trainer()?;
    let half = random_masks(trainer.layers(), 0.5)?;
    let sides: Vec<Box<dyn Side>> = vec![
        Box::new(Stepping::new("host", &trainer, &half)?),
        Box::new(Stepping::new("ones", &trainer, &trainer.dense_mask())?),
    ];
    in_turn(sides, &bench.settings)
}

fn magnitude(weight: &Tensor) -> Tensor {
    weight.abs()
}

/// The operations of `magnitude/lamp`.
fn lamp(weight: &Tensor) -> Tensor {
    let squares = weight.flatten(0, -1).to_kind(Kind::Double).square();
    let order = squares.argsort_stable(true, 0, true);
    let sorted = squares.gather(0, &order, false);
    let sums = sorted.cumsum(0, Kind::Double);
    let shares = (&sorted / &sums).where_self(&sums.gt(0.0), &sorted);
    let places = order.argsort_stable(true, 0, false);
    let shares = shares.gather(0, &places, false).to_kind(Kind::Float);
    shares.reshape(weight.size())
}

fn plugin(
    bench: &mut Bench,
    component: &str,
    operations: fn(&Tensor) -> Tensor,
) -> Result<Measured, BenchError> {
    let shapes = shapes(64);
    let shapes: Vec<&[i64]> = shapes.iter().map(Vec::as_slice).collect();
    let scene = Still::new(&shapes, 0);
    let mut strategy = strategy(&bench.settings, component)?;
    let weights = scene.len() as f64;
    let through = || strategy.score(&scene).map(|_| ()).map_err(BenchError::ours);
    // The host looks at what a plugin returns, and would look at its own scores alike.
    let within = || {
        let scores: Vec<Tensor> = scene.weights.iter().map(operations).collect();
        check::finite("score", &scores, &scene.facts.layers)
            .map_err(|violation| BenchError::Ours(format!("{violation:?}")))
    };
    let sides: Vec<Box<dyn Side>> = vec![
        Box::new(Call::new("host", weights, through)),
        Box::new(Call::new("in the host", weights, within)),
    ];
    in_turn(sides, &bench.settings)
}

fn strategy(settings: &Settings, score: &str) -> Result<Strategy, BenchError> {
    let part = |component: &str| Part {
        component: component.to_owned(),
        options: Options::new(),
    };
    let parts = Parts {
        score: part(score),
        mask: part("imp/global"),
        rewind: Vec::new(),
        update: Vec::new(),
    };
    let folder = settings.target.join("release/plugins");
    let mut loader = Loader::new(vec![folder], Vec::new(), None, Trust::Everything);
    Strategy::new(&parts, |part| loader.load_part(part, None)).map_err(BenchError::ours)
}
