//! What masks cost in training, and what it costs that a score is a plugin's.

use host::experiment::{Part, Strategy as Parts};
use host::registry::Options;
use host::strategy::still::Still;
use host::strategy::{Loader, Strategy, Trust, check};
use host::update::{Failed, Given, Made, Updates};
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
    let update = |name, model: &'static str| {
        let what = format!(
            "training {model} with `{UPDATE}`, without it, and with it where it is asked at each step"
        );
        let measure = move |bench: &mut Bench, _: &str| update(bench, model);
        Row::new(name, OVERHEAD, what, Unit::Images, measure).goals(&[("without", 0.971)])
    };
    vec![
        masks("masks-lenet", "lenet-300-100"),
        masks("masks-resnet20", "resnet-20"),
        update("update-lenet", "lenet-300-100"),
        update("update-resnet20", "resnet-20"),
        plugin("plugin-magnitude", "imp/magnitude", magnitude),
        plugin("plugin-lamp", "magnitude/lamp", lamp),
    ]
}

/// What a network is trained on.
fn data(bench: &mut Bench, model: &str) -> Result<Data, BenchError> {
    Ok(match model {
        "lenet-300-100" => Data::Fashion(bench.fashion()?.0),
        _ => Data::Random(12_800, [1, 28, 28]),
    })
}

fn masks(bench: &mut Bench, model: &'static str) -> Result<Measured, BenchError> {
    let trainer = Work::new(model, data(bench, model)?).trainer()?;
    let half = random_masks(trainer.layers(), 0.5)?;
    let sides: Vec<Box<dyn Side>> = vec![
        Box::new(Stepping::new("host", &trainer, &half)?),
        Box::new(Stepping::new("ones", &trainer, &trainer.dense_mask())?),
    ];
    in_turn(sides, &bench.settings)
}

/// An update of a handful of operations, among them an exponential.
const UPDATE: &str = "ham/hyperbolic";

/// It in the steps of one seed.
struct Alone {
    strategy: Strategy,
    scene: Still,
    /// Whether it is asked at each step, as if it were not pure.
    asked: bool,
}

impl Updates for Alone {
    fn act(&mut self, _: usize, update: usize, given: Given) -> Result<Made, Failed> {
        let (update, known) = self.strategy.update_at(update);
        let made = update.act(&self.scene, &known.form, &given);
        let mut made = made.map_err(|_| Failed)?;
        if self.asked {
            made.fused = None;
        }
        Ok(made)
    }
}

fn update(bench: &mut Bench, model: &'static str) -> Result<Measured, BenchError> {
    let plain = Work::new(model, data(bench, model)?).trainer()?;
    let acted = Work::new(model, data(bench, model)?).trainer()?;
    let mut own = part(UPDATE);
    // Where training runs away, numbers that are none are computed at another speed.
    own.options.insert("alpha".to_owned(), 2.into());
    let updates = || strategy(&bench.settings, "imp/magnitude", vec![own.clone()]);
    let acted = acted.updated_by(updates()?.updates());
    let half = random_masks(plain.layers(), 0.5)?;
    let alone = |asked| -> Result<Box<dyn Updates>, BenchError> {
        let mut scene = Still::new(&[], 0);
        scene.facts.layers = plain.layers().to_vec();
        Ok(Box::new(Alone {
            strategy: updates()?,
            scene,
            asked,
        }))
    };
    let sides: Vec<Box<dyn Side>> = vec![
        Box::new(Stepping::new("host", &acted, &half)?.updated_by(alone(false)?)),
        Box::new(Stepping::new("without", &plain, &half)?),
        Box::new(Stepping::new("asked", &acted, &half)?.updated_by(alone(true)?)),
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
    let mut strategy = strategy(&bench.settings, component, Vec::new())?;
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

fn part(component: &str) -> Part {
    Part {
        component: component.to_owned(),
        options: Options::new(),
    }
}

fn strategy(settings: &Settings, score: &str, update: Vec<Part>) -> Result<Strategy, BenchError> {
    let parts = Parts {
        score: part(score),
        mask: part("imp/global"),
        rewind: Vec::new(),
        update,
    };
    let folder = settings.target.join("release/plugins");
    let mut loader = Loader::new(vec![folder], Vec::new(), None, Trust::Everything);
    Strategy::new(&parts, |part| loader.load_part(part, None)).map_err(BenchError::ours)
}
