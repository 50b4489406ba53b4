//! GMP, SET, RigL, N:M, cyclic training and the variants of magnitude pruning, each against a plain
//! calculation.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;

use end_to_end::built::{part, plain, strategy};
use end_to_end::program::{elements, expect, only_run, run, tensors};
use host::strategy::still::{Still, flat};
use host::strategy::{MaskRule, Strategy};
use plugin_api::{Batches, Phase};
use serde_json::{Value, json};
use tch::Tensor;

const SHAPES: [&[i64]; 2] = [&[6, 4, 3, 3], &[10, 24]];

fn masking(score: &str, mask: &str, options: Value) -> Strategy {
    let rewind = vec![plain("lrr/learning-rate")];
    strategy(plain(score), part(mask, options), rewind).unwrap()
}

/// Each layer's numbers.
fn layers(tensors: &[Tensor]) -> Vec<Vec<f32>> {
    tensors.iter().map(elements).collect()
}

fn ones(mask: &[f32]) -> usize {
    mask.iter().filter(|&&it| it == 1.0).count()
}

/// Indices of the `count` candidates with the largest key, lower index first among equals.
fn best(candidates: impl Iterator<Item = usize>, key: &[f32], count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = candidates.collect();
    order.sort_by(|&a, &b| key[b].total_cmp(&key[a]).then(a.cmp(&b)));
    order.truncate(count);
    order
}

fn sizes(numbers: &[f32]) -> Vec<f32> {
    numbers.iter().map(|number| number.abs()).collect()
}

/// Level 1 with 120 of 456 weights, within.
fn within(strategy: &mut Strategy, seed: u64) -> Still {
    let mut scene = Still::new(&SHAPES, seed);
    scene.prune(strategy, 120).unwrap();
    scene.facts.level = 1;
    scene.facts.phase = Phase::WithinLevel;
    scene
}

/// What drop-and-grow has to give in one layer.
fn exchanged(mask: &[f32], weights: &[f32], growth: &[f32], share: f64) -> Vec<f32> {
    let survivors: Vec<usize> = (0..mask.len()).filter(|&i| mask[i] == 1.0).collect();
    let count = (share * survivors.len() as f64).round() as usize;
    let kept = best(
        survivors.iter().copied(),
        &sizes(weights),
        survivors.len() - count,
    );
    let others = (0..mask.len()).filter(|i| !kept.contains(i));
    let grown = best(others, growth, count);
    let mut expected = vec![0.0; mask.len()];
    for index in kept.into_iter().chain(grown) {
        expected[index] = 1.0;
    }
    expected
}

/// f(t) = 0.3 / 2 (1 + cos(pi t / 600)), and nothing after three quarters of a level of 800 steps.
fn exchanged_share(step: u64) -> f64 {
    let passed = (step as f64 / 600.0).min(1.0);
    0.15 * (1.0 + (std::f64::consts::PI * passed).cos())
}

#[test]
fn rigl_drops_by_magnitude_and_grows_by_gradient_layer_by_layer() {
    let options = json!({"every": "20it", "fraction": 0.3});
    let mut rigl = masking("random-mask/random", "rigl/drop-and-grow", options);
    let mut scene = within(&mut rigl, 3);
    let counts = scene.survivors();
    assert_eq!(counts.iter().sum::<u64>(), 120);
    for step in (20..800).step_by(20) {
        scene.facts.step = step;
        let share = exchanged_share(step);
        let growth: Vec<Vec<f32>> = (layers(&scene.gradients).iter().map(|it| sizes(it))).collect();
        let (masks, weights) = (layers(&scene.masks), layers(&scene.weights));
        let expected: Vec<Vec<f32>> = (0..2)
            .map(|i| exchanged(&masks[i], &weights[i], &growth[i], share))
            .collect();
        scene.requests.borrow_mut().clear();
        scene.prune(&mut rigl, 120).unwrap();
        assert_eq!(layers(&scene.masks), expected, "step {step}");
        assert_eq!(scene.survivors(), counts, "step {step}");
        let requests = scene.requests.borrow();
        assert!(requests.iter().all(|it| it.batches == Batches::Next));
        assert_eq!(requests.is_empty(), share * counts[1] as f64 <= 0.5);
    }
}

#[test]
fn srigl_keeps_one_fan_in_in_each_layer_and_grows_by_gradient_unit_by_unit() {
    // Without ablation, and with as many weights in every unit as a layer has: what each unit does follows from itself.
    let options = json!({"every": "20it", "fraction": 0.3, "salient": 0.0});
    let mut srigl = masking("random-mask/random", "srigl/constant-fan-in", options);
    let mut scene = within(&mut srigl, 3);
    let counts = scene.survivors();
    assert_eq!(counts.iter().sum::<u64>(), 120);
    for step in (20..800).step_by(20) {
        scene.facts.step = step;
        let share = exchanged_share(step);
        let (masks, weights) = (layers(&scene.masks), layers(&scene.weights));
        let growth = layers(&scene.gradients);
        scene.prune(&mut srigl, 120).unwrap();
        let next = layers(&scene.masks);
        assert_eq!(scene.survivors(), counts, "step {step}");
        for (layer, units) in [6, 10].into_iter().enumerate() {
            let inputs = next[layer].len() / units;
            let fan_in: Vec<usize> = next[layer].chunks(inputs).map(ones).collect();
            let (least, most) = (fan_in.iter().min().unwrap(), fan_in.iter().max().unwrap());
            assert!(most - least <= 1, "step {step}: {fan_in:?}");
            let survivors = (0..next[layer].len()).filter(|&i| masks[layer][i] == 1.0);
            let exchanged = (share * counts[layer] as f64).round() as usize;
            let kept = best(
                survivors,
                &sizes(&weights[layer]),
                counts[layer] as usize - exchanged,
            );
            for (unit, &fan_in) in fan_in.iter().enumerate() {
                let row = unit * inputs..(unit + 1) * inputs;
                let own = kept.iter().copied().filter(|at| row.contains(at));
                let own = best(own, &sizes(&weights[layer]), fan_in);
                let others = row.clone().filter(|at| !kept.contains(at));
                let grown = best(others, &sizes(&growth[layer]), fan_in - own.len());
                for at in row {
                    let expected = own.contains(&at) || grown.contains(&at);
                    assert_eq!(next[layer][at] == 1.0, expected, "step {step}: {at}");
                }
            }
        }
    }
}

#[test]
fn set_drops_by_magnitude_and_grows_anywhere_at_random() {
    let options = json!({"every": "20it", "fraction": 0.25, "decay": "constant"});
    let (mut grown, mut back) = (BTreeMap::new(), 0);
    for seed in 0..60 {
        let mut set = masking("random-mask/random", "set/drop-and-grow", options.clone());
        let mut scene = within(&mut set, seed);
        scene.facts.step = 200;
        let (before, weights) = (layers(&scene.masks), layers(&scene.weights));
        let counts = scene.survivors();
        scene.prune(&mut set, 120).unwrap();
        assert_eq!(scene.survivors(), counts);
        for (layer, after) in layers(&scene.masks).iter().enumerate() {
            let survivors = (0..after.len()).filter(|&i| before[layer][i] == 1.0);
            let count = counts[layer] as usize;
            let dropped = (0.25 * count as f64).round() as usize;
            let kept = best(survivors, &sizes(&weights[layer]), count - dropped);
            assert!(kept.iter().all(|&index| after[index] == 1.0));
            for index in (0..after.len()).filter(|i| !kept.contains(i) && after[*i] == 1.0) {
                *grown.entry((layer, index)).or_insert(0) += 1;
                back += usize::from(before[layer][index] == 1.0);
            }
        }
    }
    // About 30 of 366 candidates in each of 60 seeds: nearly all of 456 weights have grown somewhere.
    assert!(grown.len() > 430, "{}", grown.len());
    assert!(grown.values().all(|&times| times < 25));
    assert!(back > 0, "what was just dropped may come back");
}

#[test]
fn set_stops_where_it_should() {
    let options = json!({"every": "20it", "fraction": 0.25, "decay": "constant", "until": 0.5});
    let mut set = masking("random-mask/random", "set/drop-and-grow", options);
    let mut scene = within(&mut set, 1);
    for (step, changes) in [(380, true), (400, false), (780, false)] {
        scene.facts.step = step;
        let before = layers(&scene.masks);
        scene.prune(&mut set, 120).unwrap();
        assert_eq!(layers(&scene.masks) != before, changes, "step {step}");
    }
}

#[test]
fn gmp_follows_the_cubic_schedule_to_the_weight() {
    let options = json!({"every": "50it", "from": "100it", "until": "600it"});
    let mut gmp = masking("imp/magnitude", "gmp/gradual", options);
    let mut scene = Still::new(&SHAPES, 5);
    scene.facts.level = 1;
    scene.facts.phase = Phase::WithinLevel;
    (scene.facts.target, scene.facts.density) = (46, 46.0 / 456.0);
    for step in (100..=600).step_by(50) {
        scene.facts.step = step;
        let left = 1.0 - (step - 100) as f64 / 500.0;
        let expected = 46 + (410.0 * left.powi(3)).round() as usize;
        let (before, weights) = (flat(&scene.masks), flat(&scene.weights));
        let survivors = (0..before.len()).filter(|&i| before[i] == 1.0);
        let kept = best(survivors, &sizes(&weights), expected);
        let scores = gmp.score(&scene).unwrap();
        let rule = MaskRule {
            may_grow: true,
            least: 46,
            most: 456,
        };
        scene.masks = gmp.update(&scene, &scores, rule).unwrap();
        let after = flat(&scene.masks);
        assert_eq!(ones(&after), expected, "step {step}");
        assert!(kept.into_iter().all(|index| after[index] == 1.0));
        let pairs = scene.weights.iter().zip(&scene.masks);
        scene.weights = pairs.map(|(weight, mask)| weight * mask).collect();
    }
    assert_eq!(ones(&flat(&scene.masks)), 46);
}

/// The masks of an N:M update on these shapes, from dense, with the scene before it.
fn grouped(shapes: &[&[i64]], options: Value, target: u64) -> Result<(Still, Still), String> {
    let mut nm = masking("imp/magnitude", "nm/groups", options);
    let (before, mut after) = (Still::new(shapes, 7), Still::new(shapes, 7));
    match after.prune(&mut nm, target) {
        Ok(()) => Ok((before, after)),
        Err(error) => Err(error.to_string()),
    }
}

/// Every run of at most `m` inputs of a layer: indices of its weights.
fn groups(shape: &[i64], m: usize) -> Vec<Vec<usize>> {
    let inputs = shape[1] as usize;
    let inner: usize = shape[2..].iter().map(|&it| it as usize).product();
    let mut all = Vec::new();
    for output in 0..shape[0] as usize {
        for place in 0..inner {
            let row: Vec<usize> = (0..inputs)
                .map(|input| (output * inputs + input) * inner + place)
                .collect();
            all.extend(row.chunks(m).map(<[usize]>::to_vec));
        }
    }
    all
}

#[test]
fn nm_keeps_the_best_n_of_every_m_inputs() {
    let shapes: [&[i64]; 3] = [&[5, 12], &[4, 8, 3, 3], &[3, 4, 5]];
    let size: u64 = 60 + 288 + 60;
    for (n, m) in [(2, 4), (1, 4), (3, 4), (1, 2), (4, 4)] {
        let options = json!({"m": m});
        let (before, after) = grouped(&shapes, options, size * n / m).unwrap();
        for (layer, shape) in shapes.iter().enumerate() {
            let (mask, weights) = (
                elements(&after.masks[layer]),
                elements(&before.weights[layer]),
            );
            for group in groups(shape, m as usize) {
                let kept = best(group.iter().copied(), &sizes(&weights), n as usize);
                for index in group {
                    let expected = f32::from(u8::from(kept.contains(&index)));
                    assert_eq!(mask[index], expected, "{n}:{m}, layer {layer}, {index}");
                }
            }
        }
    }
}

#[test]
fn nm_spends_what_is_left_on_the_best_of_the_shorter_groups() {
    // 10 inputs: two groups of 4 and one of 2 in each of 6 rows. 2:4 of 60 are 30, of which whole
    // groups keep 24 and the short ones, of up to 2 each, 6 of 12.
    let shape: &[i64] = &[6, 10];
    let (before, after) = grouped(&[shape], json!({"n": 2, "m": 4}), 30).unwrap();
    let (mask, weights) = (elements(&after.masks[0]), elements(&before.weights[0]));
    assert_eq!(ones(&mask), 30);
    let short = groups(shape, 4).into_iter().filter(|it| it.len() == 2);
    let kept = best(short.flatten(), &sizes(&weights), 6);
    assert!(kept.into_iter().all(|index| mask[index] == 1.0));
    let most = groups(shape, 4).into_iter().map(|group| {
        let own: Vec<f32> = group.into_iter().map(|index| mask[index]).collect();
        ones(&own)
    });
    assert!(most.max() <= Some(2));
}

#[test]
fn nm_says_which_density_it_needs() {
    let error = grouped(&[&[6, 8]], json!({"n": 2, "m": 4}), 20)
        .err()
        .unwrap();
    assert!(
        error.contains(
            "2:4 keeps 24 weights of these layers, but the level's count is 20: set the density of \
             level 1 in prune.densities to 0.5"
        ),
        "{error}"
    );
    let error = grouped(&[&[6, 8]], json!({}), 20).err().unwrap();
    assert!(
        error.contains("is no whole number of every 4 weights"),
        "{error}"
    );
}

#[test]
fn nm_masks_of_falling_density_are_nested() {
    let mut nm = masking("imp/magnitude", "nm/groups", json!({"m": 4}));
    let mut scene = Still::new(&[&[8, 16], &[4, 8, 3, 3]], 2);
    let size = scene.len();
    for n in [3, 2, 1] {
        scene.prune(&mut nm, size * n / 4).unwrap();
        assert_eq!(scene.survivors().iter().sum::<u64>(), size * n / 4);
    }
}

#[test]
fn lamp_is_a_square_over_the_squares_of_all_that_are_as_large() {
    let mut lamp = masking("magnitude/lamp", "imp/global", json!({}));
    let mut scene = Still::new(&SHAPES, 6);
    scene.prune(&mut lamp, 300).unwrap();
    let scores = layers(&lamp.score(&scene).unwrap());
    for (weights, scores) in layers(&scene.weights).iter().zip(&scores) {
        let square = |index: usize| f64::from(weights[index]).powi(2);
        for (index, &score) in scores.iter().enumerate() {
            // Equals before it count as larger.
            let as_large = (0..weights.len()).filter(|&other| {
                square(other) > square(index) || (square(other) == square(index) && other <= index)
            });
            let sum: f64 = as_large.map(square).sum();
            let expected = if square(index) == 0.0 {
                0.0
            } else {
                square(index) / sum
            };
            assert!(
                (f64::from(score) - expected).abs() <= 1e-6 * expected,
                "{index}: {score}, expected {expected}"
            );
        }
        let largest = scores.iter().fold(0.0f32, |max, &score| max.max(score));
        assert_eq!(largest, 1.0);
    }
}

#[test]
fn lamp_of_a_layer_of_zeros_is_zero() {
    let mut lamp = masking("magnitude/lamp", "imp/global", json!({}));
    let mut scene = Still::new(&SHAPES, 6);
    scene.weights[0] = scene.weights[0].zeros_like();
    let scores = layers(&lamp.score(&scene).unwrap());
    assert!(scores[0].iter().all(|&score| score == 0.0));
}

#[test]
fn layerwise_keeps_the_largest_of_each_layer_at_one_density() {
    let mut layerwise = masking("imp/magnitude", "magnitude/layerwise", json!({}));
    let mut scene = Still::new(&SHAPES, 4);
    let weights = layers(&scene.weights);
    scene.prune(&mut layerwise, 114).unwrap();
    // A quarter of 216 and of 240.
    assert_eq!(scene.survivors(), [54, 60]);
    for (mask, weights) in layers(&scene.masks).iter().zip(&weights) {
        let kept = best(0..mask.len(), &sizes(weights), ones(mask));
        assert!(kept.into_iter().all(|index| mask[index] == 1.0));
    }
}

#[test]
fn random_ties_are_all_equally_likely_and_nothing_else_is_random() {
    let numbers: Vec<f32> = (0..24).map(|i| [3.0, 1.0, 2.0][i % 3]).collect();
    let mut chosen = [0; 24];
    for seed in 0..400 {
        let mut ties = masking("imp/magnitude", "magnitude/random-tie", json!({}));
        let mut scene = Still::new(&[&[4, 6]], seed);
        scene.weights = vec![Tensor::from_slice(&numbers).view([4, 6])];
        scene.prune(&mut ties, 12).unwrap();
        for (index, mask) in flat(&scene.masks).into_iter().enumerate() {
            chosen[index] += mask as u32;
        }
    }
    for (index, &times) in chosen.iter().enumerate() {
        match numbers[index] {
            3.0 => assert_eq!(times, 400),
            1.0 => assert_eq!(times, 0),
            // Half of them in 400 draws: 200, give or take five standard deviations.
            _ => assert!((150..=250).contains(&times), "{index}: {times}"),
        }
    }
}

fn finished(file: &str, runs: &Path, more: &[&str]) -> std::path::PathBuf {
    let small = ["--set", "train.epochs=2", "--seeds", "0..2"];
    expect(&mut run(file, runs, &[&small[..], more].concat()), 0);
    only_run(runs, file.trim_end_matches(".toml"))
}

/// A file of tensors of a level.
fn stored(run: &Path, seed: u64, level: u64, name: &str) -> BTreeMap<String, Tensor> {
    tensors(&run.join(format!("seed-{seed}/level-0{level}/{name}.safetensors")))
}

#[test]
fn cyclic_training_keeps_one_mask_and_trains_on() {
    let runs = tempfile::tempdir().unwrap();
    let folder = finished("cyclic.toml", runs.path(), &[]);
    for seed in 0..2 {
        let file = |level, name| stored(&folder, seed, level, name);
        let mask = file(1, "mask");
        let init = file(0, "start");
        for level in 1..=4 {
            let start = file(level, "start");
            let before = file(level - 1, "end");
            for (name, mask) in &mask {
                assert!(file(level, "mask")[name] == *mask);
                let from = if level == 1 { &init } else { &before };
                assert!(
                    elements(&start[name]) == elements(&(&from[name] * mask)),
                    "{name}"
                );
            }
        }
        let kept: usize = mask.values().map(|mask| ones(&elements(mask))).sum();
        assert_eq!(kept, 2278);
    }
}

#[test]
fn cyclic_training_refuses_another_density() {
    let runs = tempfile::tempdir().unwrap();
    let more = [
        "--set",
        "prune.densities=[0.2, 0.1]",
        "--set",
        "train.epochs=1",
    ];
    let output = expect(&mut run("cyclic.toml", runs.path(), &more), 2);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("set all of prune.densities to the same number"),
        "{said}"
    );
}

#[test]
fn sculpting_keeps_a_mask_through_cycles_and_prunes_it_once_by_magnitude() {
    let runs = tempfile::tempdir().unwrap();
    let folder = finished("sculpt.toml", runs.path(), &[]);
    for seed in 0..2 {
        let file = |level, name| stored(&folder, seed, level, name);
        // All layers as one list.
        let all = |tensors: &BTreeMap<String, Tensor>, masks: &BTreeMap<String, Tensor>| {
            (masks.keys())
                .flat_map(|name| elements(&tensors[name]))
                .collect::<Vec<f32>>()
        };
        let masks = [1, 2, 3, 4].map(|level| file(level, "mask"));
        let [first, second, third, last] = [0, 1, 2, 3].map(|it| all(&masks[it], &masks[it]));
        assert_eq!(ones(&first), 6835);
        assert!(first == second && first == third);
        let weights = all(&file(3, "end"), &masks[0]);
        let survivors = (0..first.len()).filter(|&i| first[i] == 1.0);
        let mut expected = vec![0.0; first.len()];
        for place in best(survivors, &sizes(&weights), 2278) {
            expected[place] = 1.0;
        }
        assert!(last == expected);
        // It trains on from what it had.
        let start = all(&file(4, "start"), &masks[3]);
        let kept: Vec<f32> = (weights.iter().zip(&last)).map(|(w, m)| w * m).collect();
        assert!(start == kept);
    }
}

#[test]
fn every_method_runs_to_its_exact_count_with_pruned_weights_and_momentum_at_zero() {
    for (file, level, count) in [
        ("gmp.toml", 1, 2278),
        ("set.toml", 1, 2278),
        ("rigl.toml", 1, 2278),
        ("srigl.toml", 1, 2278),
        ("nm.toml", 3, 5696),
        ("sculpt.toml", 4, 2278),
        ("lamp.toml", 2, 14582),
        ("layerwise.toml", 2, 14582),
        ("random-tie.toml", 2, 14582),
    ] {
        let runs = tempfile::tempdir().unwrap();
        let two = ["--set", "prune.levels=2"];
        let more: &[&str] = if level == 2 { &two } else { &[] };
        let schedule = [
            "--set",
            "strategy.mask.from=0it",
            "--set",
            "strategy.mask.until=2ep",
        ];
        let more = if file == "gmp.toml" { &schedule } else { more };
        let folder = finished(file, runs.path(), more);
        for seed in 0..2 {
            let of = |name| stored(&folder, seed, level, name);
            let (masks, weights, state) = (of("mask"), of("end"), of("optimizer"));
            let kept: usize = masks.values().map(|mask| ones(&elements(mask))).sum();
            assert_eq!(kept, count, "{file}");
            for (name, mask) in &masks {
                let momentum = &state[&format!("momentum.{name}")];
                for tensor in [&weights[name], momentum] {
                    let pairs = elements(tensor).into_iter().zip(elements(mask));
                    let revived = pairs.filter(|(value, mask)| *mask == 0.0 && *value != 0.0);
                    assert_eq!(revived.count(), 0, "{file}: {name}");
                }
            }
        }
    }
}
