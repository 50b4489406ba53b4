//! SNIP, GraSP and SynFlow: their scores against finite differences and closed forms, and what they
//! leave of a network's layers.

#![allow(clippy::unwrap_used)]

use end_to_end::built::{part, plain, strategy};
use end_to_end::live::{Live, live};
use end_to_end::program::{elements, expect, only_run, run, tensors};
use host::strategy::still::flat;
use host::strategy::{MaskRule, Strategy};
use plugin_api::Phase;
use serde_json::json;
use tch::{Kind, Tensor};

/// The whole training set: 3 batches of 16.
fn scorer(component: &str, options: serde_json::Value) -> Strategy {
    strategy(
        part(component, options),
        plain("snip/global"),
        vec![plain("imp/weights")],
    )
    .unwrap()
}

fn mlp(seed: u64) -> Live {
    live(6, json!({"hidden": [5, 4], "batch_norm": false}), seed)
}

/// Derivatives of `function` in each weight, by central differences in f64.
fn differences(live: &Live, step: f64, function: impl Fn(&[Tensor]) -> f64) -> Vec<f64> {
    let weights = live.doubles();
    let mut slopes = Vec::new();
    for layer in 0..weights.len() {
        for index in 0..weights[layer].numel() as i64 {
            let at = |by: f64| {
                let moved: Vec<Tensor> = weights.iter().map(Tensor::copy).collect();
                let mut element = moved[layer].view([-1]).narrow(0, index, 1);
                element += by;
                function(&moved)
            };
            slopes.push((at(step) - at(-step)) / (2.0 * step));
        }
    }
    slopes
}

fn numbers(tensors: &[Tensor]) -> Vec<f64> {
    flat(tensors).into_iter().map(f64::from).collect()
}

fn largest(numbers: &[f64]) -> f64 {
    numbers
        .iter()
        .fold(0.0, |max, number| max.max(number.abs()))
}

fn assert_close(got: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(got.len(), expected.len());
    let scale = largest(expected);
    assert!(scale > 0.0);
    for (index, (got, expected)) in got.iter().zip(expected).enumerate() {
        assert!(
            (got - expected).abs() <= tolerance * scale,
            "weight {index}: {got}, expected {expected}"
        );
    }
}

#[test]
fn snip_scores_are_weight_times_finite_difference() {
    for seed in 0..3 {
        let live = mlp(seed);
        let loss = |weights: &[Tensor]| live.loss(weights, 1.0).double_value(&[]);
        let slopes = differences(&live, 1e-5, loss);
        let weights = numbers(&live.still.weights);
        let expected: Vec<f64> = (weights.iter().zip(&slopes))
            .map(|(weight, slope)| (weight * slope).abs())
            .collect();
        let mut snip = scorer("snip/sensitivity", json!({"batches": 3}));
        let got = numbers(&snip.score(&live).unwrap());
        assert_close(&got, &expected, 1e-3);
        // Of one batch only, the scores are others.
        let mut one = scorer("snip/sensitivity", json!({}));
        let one = numbers(&one.score(&live).unwrap());
        assert!((one[0] - expected[0]).abs() > 1e-3 * largest(&expected));
    }
}

#[test]
fn grasp_scores_are_weight_times_the_hessian_gradient_product_with_its_sign() {
    let live = mlp(1);
    for temperature in [1.0, 200.0] {
        let gradients = |weights: &[Tensor]| -> Vec<Tensor> {
            let leaves: Vec<Tensor> = weights
                .iter()
                .map(|weight| weight.detach().set_requires_grad(true))
                .collect();
            let loss = live.loss(&leaves, temperature);
            Tensor::run_backward(&[loss], &leaves, false, false)
        };
        // H g is half the slope of |g|^2.
        let squared = |weights: &[Tensor]| -> f64 {
            let squares = gradients(weights).into_iter();
            squares
                .map(|slope| slope.square().sum(Kind::Double).double_value(&[]))
                .sum()
        };
        let products = differences(&live, 1e-5, squared);
        let weights = numbers(&live.still.weights);
        let mut expected: Vec<f64> = (weights.iter().zip(&products))
            .map(|(weight, product)| weight * product / 2.0)
            .collect();
        let scale = largest(&expected);
        expected.iter_mut().for_each(|it| *it /= scale);
        let options = json!({"batches": 3, "temperature": temperature});
        let mut grasp = scorer("grasp/gradient-flow", options);
        let got = numbers(&grasp.score(&live).unwrap());
        assert!(expected.iter().any(|it| *it < -0.01) && expected.iter().any(|it| *it > 0.01));
        assert_close(&got, &expected, 1e-4);
    }
}

#[test]
fn synflow_scores_are_the_flow_through_each_weight_and_no_layer_or_unit_loses_any() {
    let live = mlp(2).without_biases();
    let mut synflow = scorer("synflow/flow", json!({}));
    let got = synflow.score(&live).unwrap();
    // R = 1^T |W3| |W2| |W1| 1: what reaches a weight's input times what leaves its output.
    let sizes: Vec<Tensor> = live.doubles().iter().map(Tensor::abs).collect();
    let mut reaches = vec![Tensor::ones([6], (Kind::Double, tch::Device::Cpu))];
    for weight in &sizes {
        let next = weight.mv(&reaches[reaches.len() - 1]);
        reaches.push(next);
    }
    let mut leaves = vec![Tensor::ones([3], (Kind::Double, tch::Device::Cpu))];
    for weight in sizes.iter().rev() {
        let before = weight.tr().mv(&leaves[leaves.len() - 1]);
        leaves.push(before);
    }
    leaves.reverse();
    let flows: Vec<Tensor> = (0..sizes.len())
        .map(|layer| &sizes[layer] * leaves[layer + 1].outer(&reaches[layer]))
        .collect();
    let mut expected = numbers(&flows);
    let scale = largest(&expected);
    expected.iter_mut().for_each(|it| *it /= scale);
    assert_close(&numbers(&got), &expected, 1e-6);
    // Theorem 1: what flows into a hidden unit flows out, and every layer has the same sum.
    let total = |tensor: &Tensor| tensor.sum(Kind::Double).double_value(&[]);
    let sums: Vec<f64> = got.iter().map(total).collect();
    assert_close(&sums, &[sums[0]; 3], 1e-6);
    let double = Some(Kind::Double);
    let into = got[0].sum_dim_intlist(1i64, false, double);
    let out = got[1].sum_dim_intlist(0i64, false, double);
    assert_close(&numbers(&[into]), &numbers(&[out]), 1e-6);
}

#[test]
fn synflow_keeps_its_order_where_single_precision_overflows() {
    // 40 layers whose flow grows by a factor of about 60 each: 1e71 in all.
    let mut live =
        live(6, json!({"hidden": vec![16; 40], "batch_norm": false}), 3).without_biases();
    for weight in &mut live.still.weights {
        *weight = &*weight * 12.0;
    }
    let mut synflow = scorer("synflow/flow", json!({}));
    let scores = synflow.score(&live).unwrap();
    let total = |tensor: &Tensor| tensor.sum(Kind::Double).double_value(&[]);
    let sums: Vec<f64> = scores.iter().map(total).collect();
    assert!(sums[0] > 0.0);
    assert_close(&sums, &vec![sums[0]; 41], 1e-5);
}

#[test]
fn a_round_scores_the_network_that_the_round_before_left() {
    let mut live = mlp(4);
    let mut synflow = strategy(
        plain("synflow/flow"),
        part("synflow/exponential", json!({"rounds": 4})),
        vec![plain("imp/weights")],
    )
    .unwrap();
    assert_eq!(synflow.cadence().rounds_before_training, 4);
    let size = live.still.len();
    for (round, target) in [50, 38, 24, 12].into_iter().enumerate() {
        let round = round as u64;
        live.still.facts.phase = Phase::BeforeTraining { round, rounds: 4 };
        live.still.facts.target = target;
        let scores = synflow.score(&live).unwrap();
        let before = numbers(&live.still.masks);
        for (score, mask) in numbers(&scores).iter().zip(&before) {
            assert!(
                *mask == 1.0 || *score == 0.0,
                "nothing flows through what is pruned"
            );
        }
        let masks = synflow.update(&live, &scores, MaskRule::nested(target));
        live.still.masks = masks.unwrap();
        let kept = |(weight, mask): (&Tensor, &Tensor)| weight * mask;
        let pairs = live.still.weights.iter().zip(&live.still.masks);
        live.still.weights = pairs.map(kept).collect();
        assert_eq!(live.still.survivors().iter().sum::<u64>(), target);
    }
    assert!(size > 50);
    assert!(live.still.survivors().iter().all(|&ones| ones > 0));
}

/// Survivors per layer of a run's level 1.
fn survivors(name: &str, more: &[&str]) -> Vec<Vec<u64>> {
    let runs = tempfile::tempdir().unwrap();
    let name_of = format!("name={name}");
    let wide = [
        "--set",
        "model.hidden=[1024, 1024]",
        "--set",
        "prune.densities=[0.01]",
        "--set",
        "train.epochs=1",
        "--set",
        &name_of,
        "--seeds",
        "0..2",
    ];
    let file = [&wide[..], more].concat();
    expect(&mut run("synflow.toml", runs.path(), &file), 0);
    let folder = only_run(runs.path(), name);
    (0..2)
        .map(|seed| {
            let masks = tensors(&folder.join(format!("seed-{seed}/level-01/mask.safetensors")));
            let ones = |mask: &Tensor| elements(mask).iter().filter(|&&it| it == 1.0).count();
            masks.values().map(|mask| ones(mask) as u64).collect()
        })
        .collect()
}

#[test]
fn at_density_0_01_synflow_empties_no_layer_where_magnitude_at_initialisation_does() {
    let magnitude = survivors("by-magnitude", &["--set", "strategy.score=imp/magnitude"]);
    let synflow = survivors("by-flow", &[]);
    for (magnitude, synflow) in magnitude.iter().zip(&synflow) {
        assert_eq!(magnitude.iter().sum::<u64>(), synflow.iter().sum::<u64>());
        assert!(magnitude.contains(&0), "{magnitude:?}");
        assert!(!synflow.contains(&0), "{synflow:?}");
    }
}

#[test]
fn all_three_prune_to_the_weight_and_repeat_bit_for_bit() {
    for (file, score) in [
        ("snip.toml", "snip/sensitivity"),
        ("grasp.toml", "grasp/gradient-flow"),
        ("synflow.toml", "synflow/flow"),
    ] {
        let masks: Vec<Vec<f32>> = (0..2)
            .map(|_| {
                let runs = tempfile::tempdir().unwrap();
                let more = ["--set", "train.epochs=1", "--seeds", "0..1"];
                expect(&mut run(file, runs.path(), &more), 0);
                let folder = only_run(runs.path(), file.trim_end_matches(".toml"));
                let masks = tensors(&folder.join("seed-0/level-01/mask.safetensors"));
                masks.values().flat_map(elements).collect()
            })
            .collect();
        assert!(masks[0] == masks[1], "{score}");
        assert_eq!(masks[0].iter().filter(|&&it| it == 1.0).count(), 2278);
    }
}
