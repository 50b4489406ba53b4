//! HAM, Sign-In, PILoT, AWS and movement pruning, each against its formulas in double precision, and what a run says
//! of updates that it cannot use.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use end_to_end::built::{part, plain, strategy_with};
use end_to_end::program::{digests, elements, expect, only_run, run, tensors};
use host::strategy::Strategy;
use host::strategy::still::{Still, flat};
use plugin_api::Phase;
use serde_json::{Value, json};
use tch::Tensor;

const SHAPES: [&[i64]; 2] = [&[6, 4, 3, 3], &[10, 24]];

/// A strategy with one update, driven step by step as a session does.
struct Driven {
    strategy: Strategy,
    scene: Still,
    states: Vec<Vec<Tensor>>,
    steps: u64,
    lr: f64,
}

impl Driven {
    fn new(update: &str, options: Value, shapes: &[&[i64]], kept: u64) -> Self {
        let rewind = vec![plain("lrr/learning-rate")];
        let updates = vec![part(update, options)];
        let parts = (plain("imp/magnitude"), plain("imp/global"));
        let mut strategy = strategy_with(parts.0, parts.1, rewind, updates).unwrap();
        let mut scene = Still::new(shapes, 3);
        scene.prune(&mut strategy, kept).unwrap();
        scene.facts.level = 1;
        scene.facts.phase = Phase::WithinLevel;
        Self {
            strategy,
            scene,
            states: Vec::new(),
            steps: 0,
            lr: 0.05,
        }
    }

    fn step(&mut self, gradients: Vec<Tensor>) {
        self.scene.gradients = gradients;
        self.scene.facts.step = self.steps;
        self.steps += 1;
        let (update, known) = self.strategy.update_at(0);
        let form = known.form.clone();
        let mut given = self.scene.step(&form, self.steps);
        given.numbers.lr = self.lr;
        if !self.states.is_empty() {
            for ((_, own), kept) in given.states.iter_mut().zip(&self.states) {
                *own = kept.iter().map(Tensor::shallow_clone).collect();
            }
        }
        let made = update.act(&self.scene, &form, &given).unwrap();
        assert!(made.fused.is_some(), "{} is replayed", known.component);
        self.scene.weights = made.tensors;
        self.states = made.states;
    }

    fn weights(&self) -> Vec<f64> {
        doubles(&self.scene.weights)
    }

    fn masks(&self) -> Vec<f64> {
        doubles(&self.scene.masks)
    }

    fn state(&self, place: usize) -> Vec<f64> {
        doubles(&self.states[place])
    }

    /// The gradient of a bowl whose lowest point each weight has elsewhere, with 0.01 of curvature.
    fn slope(&self, of: &[f64]) -> Vec<f64> {
        let place = |(at, weight): (usize, &f64)| {
            let aim = ((at * 37 % 100) as f64 - 50.0) / 60.0;
            (0.3 + 0.01 * (at % 7) as f64) * (weight - aim)
        };
        of.iter().enumerate().map(place).collect()
    }

    fn shaped(&self, numbers: &[f64]) -> Vec<Tensor> {
        let mut rest = numbers;
        let shapes = self.scene.weights.iter().map(Tensor::size);
        let one = |shape: Vec<i64>| {
            let count = shape.iter().product::<i64>() as usize;
            let own: Vec<f32> = rest[..count].iter().map(|it| *it as f32).collect();
            rest = &rest[count..];
            Tensor::from_slice(&own).view(shape.as_slice())
        };
        shapes.map(one).collect()
    }
}

fn doubles(tensors: &[Tensor]) -> Vec<f64> {
    flat(tensors).into_iter().map(f64::from).collect()
}

fn assert_close(got: &[f64], expected: &[f64], most: f64, what: &str) {
    assert_eq!(got.len(), expected.len());
    for (at, (got, expected)) in got.iter().zip(expected).enumerate() {
        let error = (got - expected).abs() / (expected.abs() + 0.05);
        assert!(error <= most, "{what} {at}: {got}, expected {expected}");
    }
}

fn assert_zero_where_pruned(numbers: &[f64], masks: &[f64], what: &str) {
    let pruned = numbers.iter().zip(masks).filter(|(_, mask)| **mask == 0.0);
    let mut count = 0;
    for (number, _) in pruned {
        assert_eq!(
            number.to_bits() & !(1 << 63),
            0,
            "{what} of a pruned weight is {number}"
        );
        count += 1;
    }
    assert!(count > 0);
}

/// One hundred steps of `reference` in double precision beside those of the plugin, whose weights are at most 1e-6 off
/// after each step from the same start, and stay near after all.
fn follows(
    mut driven: Driven,
    mut reference: impl FnMut(&mut [f64], &[f64], &mut [Vec<f64>], &[f64], u64),
    states: usize,
    stays_within: f64,
) {
    let masks = driven.masks();
    let mut weights = driven.weights();
    let mut kept = vec![vec![0.0; weights.len()]; states];
    for step in 1..=100 {
        let before = driven.weights();
        let slope: Vec<f32> = driven.slope(&before).iter().map(|it| *it as f32).collect();
        let slope: Vec<f64> = slope.into_iter().map(f64::from).collect();
        let mut one: Vec<Vec<f64>> = (0..states)
            .map(|state| match driven.states.is_empty() {
                true => vec![0.0; before.len()],
                false => driven.state(state),
            })
            .collect();
        let mut alone = before.clone();
        reference(&mut alone, &slope, &mut one, &masks, step);
        let gradients = driven.shaped(&slope);
        driven.step(gradients);
        assert_close(&driven.weights(), &alone, 1e-6, "step");
        for (state, expected) in one.iter().enumerate() {
            assert_close(&driven.state(state), expected, 1e-6, "state");
            assert_zero_where_pruned(&driven.state(state), &masks, "a state");
        }
        assert_zero_where_pruned(&driven.weights(), &masks, "the weight");
        let own = driven.slope(&weights);
        reference(&mut weights, &own, &mut kept, &masks, step);
    }
    assert_close(&driven.weights(), &weights, stays_within, "after 100 steps");
}

#[test]
fn ham_multiplies_weights_as_its_formula_says() {
    let driven = Driven::new(
        "ham/hyperbolic",
        json!({"alpha": 3.0, "beta": 0.01}),
        &SHAPES,
        120,
    );
    let lr = driven.lr;
    let formula = |weights: &mut [f64], slope: &[f64], _: &mut [Vec<f64>], _: &[f64], _| {
        for (weight, slope) in weights.iter_mut().zip(slope) {
            let sign = if *weight == 0.0 { 0.0 } else { weight.signum() };
            let exponent = lr * (-3.0 * sign * slope - 0.01);
            *weight *= exponent.clamp(-5.0, 5.0).exp();
        }
    };
    follows(driven, formula, 0, 2e-5);
}

/// theta_{k+1} = (theta_k - lr g) exp(-lr (alpha sign g + beta)); with alpha |g| < beta it comes to rest where the flow
/// -(1 + alpha |theta|) g - beta theta does, at -g / (beta - alpha |g|).
#[test]
fn ham_behind_plain_descent_rests_where_its_flow_does() {
    let (alpha, beta, slope) = (2.0, 1.5, -0.5);
    let options = json!({"alpha": alpha, "beta": beta});
    let mut driven = Driven::new("ham/hyperbolic", options, &[&[4, 2]], 8);
    driven.lr = 0.01;
    for _ in 0..4000 {
        // What the optimizer does before it.
        let lr = driven.lr;
        for weight in &mut driven.scene.weights {
            *weight = &*weight - slope * lr;
        }
        let gradients = driven.shaped(&[slope; 8]);
        driven.step(gradients);
    }
    let rest = -slope / (beta - alpha * slope.abs());
    assert_close(&driven.weights(), &[rest; 8], 0.02, "at rest");
}

/// One step of both factors with momentum 0.9, and the scale set anew where `anew` says.
fn factors(
    weights: &mut [f64],
    slope: &[f64],
    states: &mut [Vec<f64>],
    masks: &[f64],
    (lr, decay, anew): (f64, f64, bool),
) {
    for at in 0..weights.len() {
        let (mut m, mut w) = (states[0][at], states[1][at]);
        // The plugin compares what it stored, in single precision.
        let is_product =
            (m as f32 * w as f32 - weights[at] as f32).abs() <= 1e-6 * weights[at].abs() as f32;
        if anew || !is_product || (m == 0.0 && w == 0.0) {
            let root = (1.0 + 4.0 * weights[at] * weights[at]).sqrt();
            m = ((root + 1.0) / 2.0).sqrt();
            w = weights[at] / m;
        }
        let moved_m = 0.9 * states[2][at] + slope[at] * w + decay * m;
        let moved_w = 0.9 * states[3][at] + slope[at] * m + decay * w;
        let mask = masks[at];
        (states[2][at], states[3][at]) = (moved_m * mask, moved_w * mask);
        (m, w) = ((m - lr * moved_m) * mask, (w - lr * moved_w) * mask);
        (states[0][at], states[1][at]) = (m, w);
        weights[at] = m * w;
    }
}

#[test]
fn sign_in_trains_both_factors_and_sets_their_scale_anew() {
    let options = json!({"every": "7it", "weight_decay": 1e-3});
    let driven = Driven::new("sign-in/reparameterised", options, &SHAPES, 120);
    let lr = driven.lr;
    let formula =
        |weights: &mut [f64], slope: &[f64], states: &mut [Vec<f64>], masks: &[f64], step| {
            factors(weights, slope, states, masks, (lr, 1e-3, step % 7 == 0));
        };
    follows(driven, formula, 4, 2e-4);
}

/// theta_t = (scale / 2) sinh(arcsinh(2 theta_0 / scale) - 2 g t), through zero.
#[test]
fn sign_in_on_one_weight_follows_the_closed_form_of_its_flow() {
    for scale in [0.5, 1.0] {
        let options = json!({"every": "1000000it", "momentum": 0.0, "scale": scale});
        let mut driven = Driven::new("sign-in/reparameterised", options, &[&[4, 2]], 8);
        driven.lr = 1e-4;
        let start = driven.weights();
        let slope = 0.7;
        for _ in 0..8000 {
            let gradients = driven.shaped(&[slope; 8]);
            driven.step(gradients);
        }
        let time = 8000.0 * driven.lr;
        let expected: Vec<f64> = (start.iter())
            .map(|theta| scale / 2.0 * ((2.0 * theta / scale).asinh() - 2.0 * slope * time).sinh())
            .collect();
        assert!(
            start.iter().zip(&expected).any(|(a, b)| a * b < 0.0),
            "one crosses zero"
        );
        assert_close(&driven.weights(), &expected, 2e-3, "flow");
    }
}

#[test]
fn pilot_trains_both_factors_under_a_penalty_that_comes_and_goes() {
    let options = json!({"strength": 1e-2, "growth": 1.1});
    let mut driven = Driven::new("pilot/regularised", options, &SHAPES, 120);
    driven.scene.facts.steps_per_level = 100;
    driven.scene.facts.steps_per_epoch = 10;
    let lr = driven.lr;
    let formula =
        |weights: &mut [f64], slope: &[f64], states: &mut [Vec<f64>], masks: &[f64], step: u64| {
            let progress = step as f64 / 100.0;
            let risen = (10.0 * 1.1f64.ln() * progress.min(1.0 - progress)).exp();
            factors(weights, slope, states, masks, (lr, 2e-2 * risen, false));
        };
    follows(driven, formula, 4, 2e-4);
}

/// theta_t = (1 / 2) sinh(arcsinh(2 theta_0) - 2 g t) exp(-4 strength t) of a constant strength.
#[test]
fn pilot_on_one_weight_follows_the_closed_form_of_its_flow() {
    let options = json!({"strength": 0.13, "growth": 1.0, "momentum": 0.0});
    let mut driven = Driven::new("pilot/regularised", options, &[&[4, 2]], 8);
    driven.lr = 1e-4;
    let (start, slope) = (driven.weights(), 0.7);
    for _ in 0..8000 {
        let gradients = driven.shaped(&[slope; 8]);
        driven.step(gradients);
    }
    let time = 8000.0 * driven.lr;
    let expected: Vec<f64> = (start.iter())
        .map(|theta| {
            let moved = (2.0 * theta).asinh() - 2.0 * slope * time;
            0.5 * moved.sinh() * (-4.0 * 0.13 * time).exp()
        })
        .collect();
    assert_close(&driven.weights(), &expected, 2e-3, "flow");
}

#[test]
fn movement_gathers_and_its_score_is_what_was_gathered() {
    let mut driven = Driven::new("movement/accumulate", json!({}), &SHAPES, 120);
    let masks = driven.masks();
    let weights = driven.weights();
    let mut gathered = vec![0.0; weights.len()];
    for _ in 0..100 {
        let slope = driven.slope(&weights);
        let gradients = driven.shaped(&slope);
        driven.step(gradients);
        // It gives the gradients back as they were.
        driven.scene.weights = driven.shaped(&weights);
        for at in 0..weights.len() {
            gathered[at] -= driven.lr * weights[at] * slope[at] * masks[at];
        }
        assert_zero_where_pruned(&driven.state(0), &masks, "movement");
    }
    assert_close(&driven.state(0), &gathered, 1e-5, "movement");

    let runs = tempfile::tempdir().unwrap();
    let set = [
        "--set",
        "prune.levels=2",
        "--set",
        "train.epochs=2",
        "--seeds",
        "0",
    ];
    let movement = [
        "--set",
        "strategy.update=\"movement/accumulate\"",
        "--set",
        "strategy.score=\"movement/movement\"",
    ];
    expect(
        &mut run("lrr.toml", runs.path(), &[&set[..], &movement].concat()),
        0,
    );
    let level = |level: u64| only_run(runs.path(), "lrr").join(format!("seed-0/level-{level:02}"));
    for next in 1..=2 {
        let left = tensors(&level(next - 1).join("optimizer.safetensors"));
        let before = tensors(&level(next - 1).join("mask.safetensors"));
        let kept = tensors(&level(next).join("mask.safetensors"));
        let mut all: Vec<(f32, f32)> = Vec::new();
        for (name, mask) in &kept {
            let gathered = &left[&format!("movement/accumulate/movement.{name}")];
            let pairs = elements(gathered).into_iter().zip(elements(mask));
            let alive = pairs
                .zip(elements(&before[name]))
                .filter(|(_, alive)| *alive == 1.0);
            all.extend(alive.map(|(pair, _)| pair));
        }
        let least = all
            .iter()
            .filter(|it| it.1 == 1.0)
            .map(|it| it.0)
            .fold(f32::INFINITY, f32::min);
        let above = all.iter().filter(|it| it.0 > least).count();
        let ones = all.iter().filter(|it| it.1 == 1.0).count();
        assert!(
            above < ones,
            "the highest are kept: {above} above {least}, {ones} kept"
        );
    }
}

#[test]
fn aws_trains_norms_on_the_segment_to_their_start() {
    let mut driven = Driven::new("aws/interpolated-norms", json!({}), &SHAPES, 120);
    let pair = |at: f32| {
        (
            Tensor::from_slice(&[at, -at, 3.0 * at]),
            Tensor::from_slice(&[1f32, 1.0, 1.0]),
        )
    };
    driven.scene.norms = [("norm.weight", 0.5), ("norm.bias", 2.0)]
        .map(|(name, at)| (name.to_owned(), pair(at).0, pair(at).1))
        .into();
    driven.scene.norm_gradients = [(); 2]
        .map(|()| Tensor::from_slice(&[1f32, 2.0, 4.0]))
        .into();
    let mut shares = Vec::new();
    for step in 1..=20 {
        driven.scene.facts.step = step - 1;
        let (update, known) = driven.strategy.update_at(0);
        let form = known.form.clone();
        let given = driven.scene.step(&form, step);
        let replaced = update.replace(&driven.scene, &form, &given).unwrap();
        let back = update.give_back(&driven.scene, &form, &given).unwrap();
        assert!(replaced.weights.is_empty() && back.weights.is_empty());
        let gradients = doubles(&back.norms);
        // The gradient's scale says what was drawn, the same for all.
        let share = 1.0 - gradients[0];
        assert!((0.0..1.0).contains(&share));
        assert_close(
            &gradients,
            &[1.0, 2.0, 4.0, 1.0, 2.0, 4.0].map(|it| it * (1.0 - share)),
            1e-6,
            "gradient",
        );
        let expected: Vec<f64> = (driven.scene.norms.iter())
            .flat_map(|(_, present, first)| {
                let both = [
                    doubles(&[present.shallow_clone()]),
                    doubles(&[first.shallow_clone()]),
                ];
                (0..3)
                    .map(move |at| share * both[1][at] + (1.0 - share) * both[0][at])
                    .collect::<Vec<_>>()
            })
            .collect();
        assert_close(&doubles(&replaced.norms), &expected, 1e-5, "norm");
        shares.push(share);
    }
    shares.sort_by(f64::total_cmp);
    shares.dedup();
    assert_eq!(shares.len(), 20, "another share at each step");
    assert!(shares[0] < 0.3 && shares[19] > 0.7, "{shares:?}");
}

const SMALL: [&str; 6] = [
    "--set",
    "prune.levels=1",
    "--set",
    "train.epochs=1",
    "--seeds",
    "0",
];

fn with_update(update: &str, runs: &Path, more: &[&str], code: i32) -> String {
    let update = format!("strategy.update={update}");
    let all = [&SMALL[..], &["--set", &update], more].concat();
    let output = expect(&mut run("lrr.toml", runs, &all), code);
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn what_an_update_does_wrong_is_named_with_its_plugin_and_ends_the_run_with_3() {
    for (component, says) in [
        (
            "grows",
            "update[0] component `grows` of plugin `misbehaving` gave a weight for layer `fc",
        ),
        (
            "grows",
            "although the weight is pruned; expected 0: multiply by the mask",
        ),
        ("leaves-state", "gave a state for layer `fc"),
        ("nan", "whose element 1 is NaN; expected finite numbers"),
        ("wrong-shape", "gave a wrong weight for layer `fc"),
        (
            "counts-and-is-pure",
            "says that it is pure and does other operations at one step than at another",
        ),
        (
            "draws-and-is-pure",
            "says that it is pure and draws random numbers",
        ),
    ] {
        let runs = tempfile::tempdir().unwrap();
        let said = with_update(&format!("\"misbehaving/{component}\""), runs.path(), &[], 3);
        assert!(said.contains(says), "{component}: {said}");
    }
}

#[test]
fn updates_that_do_not_go_together_are_refused_before_anything_trains() {
    let runs = tempfile::tempdir().unwrap();
    let both = "[\"sign-in/reparameterised\", \"pilot/regularised\"]";
    let said = with_update(both, runs.path(), &[], 3);
    let expected = "update[1] component `regularised` of plugin `pilot` failed: it takes the optimizer's place, as \
                    `sign-in/reparameterised` does: only one update can";
    assert!(said.contains(expected), "{said}");
    let twice = "[\"movement/accumulate\", \"movement/accumulate\"]";
    let said = with_update(twice, runs.path(), &[], 3);
    assert!(
        said.contains("it has states and stands there twice"),
        "{said}"
    );
    let adamw = ["--set", "train.optimizer={ name = \"adamw\", lr = 1e-3 }"];
    let said = with_update("\"sign-in/reparameterised\"", runs.path(), &adamw, 2);
    assert!(
        said.contains("factors are trained by SGD, and train.optimizer is `adamw`"),
        "{said}"
    );
    let said = with_update("\"ham/hyperbolc\"", runs.path(), &[], 2);
    assert!(
        said.contains("has no update `hyperbolc`") && said.contains("ham/hyperbolic"),
        "{said}"
    );
    let said = with_update("\"imp/magnitude\"", runs.path(), &[], 2);
    assert!(
        said.contains("`imp/magnitude` is a score, not a update")
            || said.contains("is a score, not an update"),
        "{said}"
    );
    let said = with_update(
        "{ use = \"ham/hyperbolic\", alpha = -1 }",
        runs.path(),
        &[],
        2,
    );
    assert!(said.contains("alpha"), "{said}");
    let ranks = ["--ranks", "2", "--set", "train.shards=2"];
    let said = with_update("\"ham/hyperbolic\"", runs.path(), &ranks, 2);
    assert!(
        said.contains("`strategy.update` acts in one process alone"),
        "{said}"
    );
    assert!(!runs.path().join("lrr").exists());
}

#[test]
fn an_update_that_only_looks_changes_no_weight_and_a_score_without_it_says_what_is_missing() {
    let runs = tempfile::tempdir().unwrap();
    with_update(
        "\"movement/accumulate\"",
        runs.path(),
        &["--set", "name=looks"],
        0,
    );
    let all = [&SMALL[..], &["--set", "name=plain"]].concat();
    expect(&mut run("lrr.toml", runs.path(), &all), 0);
    for level in ["level-00", "level-01"] {
        let file = |name: &str| {
            only_run(runs.path(), name).join(format!("seed-0/{level}/end.safetensors"))
        };
        assert_eq!(
            digests(file("looks").parent().unwrap())[Path::new("end.safetensors")],
            digests(file("plain").parent().unwrap())[Path::new("end.safetensors")]
        );
    }
    let alone = [
        "--set",
        "strategy.score=\"movement/movement\"",
        "--set",
        "name=alone",
    ];
    let all = [&SMALL[..], &alone].concat();
    let output = expect(&mut run("lrr.toml", runs.path(), &all), 2);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains(
            "it scores what `movement/accumulate` gathers, which `strategy.update` lacks"
        ),
        "{said}"
    );
}

/// The folders of dense levels in a folder of runs.
fn dense_levels(runs: &Path) -> usize {
    let names = std::fs::read_dir(runs).unwrap().flatten();
    names
        .filter(|it| it.file_name().to_string_lossy().starts_with("dense-"))
        .count()
}

#[test]
fn dense_levels_are_shared_by_the_experiments_whose_updates_are_the_same() {
    let runs = tempfile::tempdir().unwrap();
    let ham = |alpha: u64| format!("{{ use = \"ham/hyperbolic\", alpha = {alpha} }}");
    with_update(&ham(2), runs.path(), &["--set", "name=one"], 0);
    let one = dense_levels(runs.path());
    with_update(
        &ham(2),
        runs.path(),
        &[
            "--set",
            "name=other",
            "--set",
            "strategy.rewind=\"imp/weights\"",
        ],
        0,
    );
    assert_eq!((one, dense_levels(runs.path())), (1, 1));
    with_update(&ham(3), runs.path(), &["--set", "name=third"], 0);
    assert_eq!(dense_levels(runs.path()), 2);
    let all = [&SMALL[..], &["--set", "name=plain"]].concat();
    expect(&mut run("lrr.toml", runs.path(), &all), 0);
    assert_eq!(dense_levels(runs.path()), 3);
    let end = |name: &str| {
        let end = only_run(runs.path(), name).join("seed-0/level-00");
        digests(&end)[Path::new("end.safetensors")].clone()
    };
    assert_eq!(end("one"), end("other"));
    assert!(end("one") != end("third") && end("one") != end("plain"));
}
