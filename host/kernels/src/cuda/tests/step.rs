use super::super::passes::{clip_factors, clip_pieces, masked_adamw_step, masked_sgd_step};
use super::*;
use crate::shim::{self, AdamwStep, Pruning, SgdStep};

const SHAPES: [[i64; 2]; 5] = [[1, 1], [1, 257], [3, 5], [3, 1000], [3, 70_001]];
const DENSITIES: [f64; 3] = [0.0, 0.3, 1.0];

/// Weights, gradients and a mask; some gradients of pruned elements are NaN and some weights are -0.
fn case(shape: &[i64; 2], density: f64) -> [Tensor; 3] {
    let mask = mask(shape, density);
    let weights = randn(shape) * &mask;
    let lost = mask.eq(0.0).logical_and(&randn(shape).gt(0.0));
    [weights, randn(shape).masked_fill(&lost, f64::NAN), mask]
}

fn learning_rates(lanes: i64) -> Vec<f64> {
    (0..lanes).map(|lane| 0.1 / (lane + 1) as f64).collect()
}

fn floats(numbers: &[f64]) -> Tensor {
    Tensor::from_slice(numbers).to_kind(Kind::Float)
}

#[test]
fn sgd_steps_have_the_bits_of_the_shims() {
    for (shape, density) in SHAPES.iter().flat_map(|s| DENSITIES.map(|d| (s, d))) {
        for (momentum, nesterov) in [(0.0, false), (0.9, false), (0.9, true)] {
            for clips in [false, true] {
                let what = format!("{shape:?} {density} {momentum} {nesterov} {clips}");
                let [weights, gradients, mask] = case(shape, density);
                let lr = learning_rates(shape[0]);
                let step = SgdStep {
                    momentum,
                    weight_decay: 5e-4,
                    nesterov,
                };
                let factors = clips.then(|| Tensor::rand([shape[0]], kind::FLOAT_CPU));
                let (mut ours, mut theirs) = (copy(&weights), copy(&weights));
                let state = randn(shape) * &mask;
                let mut our_state = (momentum != 0.0).then(|| copy(&state));
                let mut their_state = (momentum != 0.0).then(|| copy(&state));
                for _ in 0..2 {
                    masked_sgd_step(
                        &OnCpu,
                        &mut ours,
                        &gradients,
                        our_state.as_mut(),
                        &mask,
                        &floats(&lr),
                        factors.as_ref(),
                        step,
                    )
                    .unwrap();
                    let clipped = match &factors {
                        Some(factors) => &gradients * factors.unsqueeze(1),
                        None => copy(&gradients),
                    };
                    let pruning = Pruning {
                        mask: &mask,
                        kept: None,
                    };
                    shim::masked_sgd_step(
                        &mut theirs,
                        &clipped,
                        their_state.as_mut(),
                        pruning,
                        &floats(&lr).unsqueeze(0),
                        step,
                    )
                    .unwrap();
                }
                assert_bits(&ours, &theirs, &what);
                if let (Some(ours), Some(theirs)) = (&our_state, &their_state) {
                    assert_bits(ours, theirs, &what);
                }
            }
        }
    }
}

#[test]
fn adamw_steps_have_the_bits_of_the_shims() {
    for (shape, density) in SHAPES.iter().flat_map(|s| DENSITIES.map(|d| (s, d))) {
        for clips in [false, true] {
            let what = format!("{shape:?} {density} {clips}");
            let [weights, gradients, mask] = case(shape, density);
            let lr = learning_rates(shape[0]);
            let step = AdamwStep {
                betas: (0.9, 0.999),
                eps: 1e-8,
                weight_decay: 0.01,
            };
            let factors = clips.then(|| Tensor::rand([shape[0]], kind::FLOAT_CPU));
            let averages = [randn(shape) * &mask, randn(shape).abs() * &mask];
            let mut ours = [&weights, &averages[0], &averages[1]].map(copy);
            let mut theirs = [&weights, &averages[0], &averages[1]].map(copy);
            for number in [1, 2, 1000] {
                let steps: Vec<i64> = (0..shape[0]).map(|lane| number + 7 * lane).collect();
                let rates = adamw_rates_of(&lr, &steps, step);
                let [weights, first, second] = &mut ours;
                masked_adamw_step(
                    &OnCpu,
                    weights,
                    &gradients,
                    [first, second],
                    &mask,
                    &rates,
                    factors.as_ref(),
                    step,
                )
                .unwrap();
                let clipped = match &factors {
                    Some(factors) => &gradients * factors.unsqueeze(1),
                    None => copy(&gradients),
                };
                let pruning = Pruning {
                    mask: &mask,
                    kept: None,
                };
                let [weights, first, second] = &mut theirs;
                shim::masked_adamw_step(weights, &clipped, [first, second], pruning, &rates, step)
                    .unwrap();
            }
            for (ours, theirs) in ours.iter().zip(&theirs) {
                assert_bits(ours, theirs, &what);
            }
        }
    }
}

/// The sum of squares in the order that `clip.cu` documents.
fn sum_of_squares(gradients: &[f32], mask: &[f32]) -> f64 {
    let mut total = 0.0;
    for (gradients, mask) in gradients.chunks(4096).zip(mask.chunks(4096)) {
        let mut folded = [0f64; 256];
        for (i, (&g, &kept)) in gradients.iter().zip(mask).enumerate() {
            let g = if kept != 0.0 { f64::from(g) } else { 0.0 };
            folded[i % 256] += g * g;
        }
        for half in [128, 64, 32, 16, 8, 4, 2, 1] {
            for i in 0..half {
                folded[i] += folded[i + half];
            }
        }
        total += folded[0];
    }
    total
}

#[test]
fn clip_factors_are_those_of_the_documented_order_and_near_libtorchs() {
    for (shape, density) in SHAPES.iter().flat_map(|s| DENSITIES.map(|d| (s, d))) {
        let [_, gradients, mask] = case(shape, density);
        let [lanes, width] = *shape;
        for largest in [0.5, 1e6] {
            let sums = Tensor::zeros([lanes, clip_pieces(width)], kind::DOUBLE_CPU);
            let factors = Tensor::zeros([lanes], kind::FLOAT_CPU);
            clip_factors(&OnCpu, &gradients, &mask, largest, &sums, &factors).unwrap();
            let numbers = |tensor: &Tensor| Vec::<f32>::try_from(tensor.view([-1])).unwrap();
            let (all, kept) = (numbers(&gradients), numbers(&mask));
            let of_lane = all.chunks(width as usize).zip(kept.chunks(width as usize));
            let expected: Vec<f32> = of_lane
                .map(|(gradients, mask)| {
                    let norm = sum_of_squares(gradients, mask).sqrt();
                    (largest / (norm + 1e-6)).min(1.0) as f32
                })
                .collect();
            let what = format!("{shape:?} {density} {largest}");
            assert_bits(&factors, &Tensor::from_slice(&expected), &what);
            let clean = gradients.masked_fill(&mask.eq(0.0), 0.0);
            let norm = clean.norm_scalaropt_dim(2.0, [1i64].as_slice(), false);
            let libtorchs = (largest / (norm + 1e-6)).clamp_max(1.0);
            let apart = (&factors - libtorchs).abs().max().double_value(&[]);
            assert!(apart < 1e-5, "{what}: {apart}");
        }
    }
}

#[test]
fn a_lane_with_a_gradient_of_nan_has_the_factor_nan_and_others_have_theirs() {
    let gradients = Tensor::from_slice2(&[[f32::NAN, 1.0], [3.0, 4.0]]);
    let sums = Tensor::zeros([2, 1], kind::DOUBLE_CPU);
    let factors = Tensor::zeros([2], kind::FLOAT_CPU);
    let mask = gradients.ones_like();
    clip_factors(&OnCpu, &gradients, &mask, 2.5, &sums, &factors).unwrap();
    let factors = Vec::<f32>::try_from(factors).unwrap();
    assert!(factors[0].is_nan());
    assert!((factors[1] - 0.5).abs() < 1e-6);
}
