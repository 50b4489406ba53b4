//! A component that is called within levels, asks for gradients, has state and shares memory.

// Clippy knows tests, but not the functions that they share.
#![allow(clippy::unwrap_used)]

use end_to_end::built::{part, plain, strategy};
use host::strategy::still::{Still, flat};
use host::strategy::{PlannedWeights, Strategy};
use plugin_api::{Batches, Loss, Phase, Point, Step};
use serde_json::json;

const SHAPES: [&[i64]; 2] = [&[6, 4, 3, 3], &[10, 24]];

fn drop_and_grow(score: &str) -> Strategy {
    strategy(
        plain(score),
        part(
            "drop-and-grow/update",
            json!({"fraction": 0.25, "every": "20it", "until": "15ep"}),
        ),
        vec![plain("drop-and-grow/dlpack")],
    )
    .unwrap()
}

/// Level 1 with 150 of 456 weights, at its first call within.
fn within(strategy: &mut Strategy, seed: u64) -> Still {
    let mut scene = Still::new(&SHAPES, seed);
    scene.prune(strategy, 150).unwrap();
    scene.facts.level = 1;
    scene.facts.phase = Phase::WithinLevel;
    scene.facts.step = 20;
    scene
}

/// Indices of the `count` best candidates by a key, lower index first among equals.
fn best(candidates: impl Iterator<Item = usize>, key: &[f32], count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = candidates.collect();
    order.sort_by(|&a, &b| key[b].total_cmp(&key[a]).then(a.cmp(&b)));
    order.truncate(count);
    order
}

#[test]
fn its_cadence_and_points_reach_the_host() {
    let strategy = drop_and_grow("imp/magnitude");
    let cadence = strategy.cadence();
    assert!(cadence.between_levels);
    assert_eq!(cadence.rounds_before_training, 0);
    let interval = cadence.within_level.as_ref().unwrap();
    assert_eq!(interval.every, Step::Iterations(20));
    assert_eq!(interval.until, Some(Step::Epochs(15)));
    assert_eq!(interval.last_call(40, 800), Some(600));
    assert_eq!(strategy.points().unwrap(), [Point::Init]);
}

#[test]
fn it_drops_the_smallest_and_grows_where_the_gradient_is_largest() {
    let mut strategy = drop_and_grow("imp/magnitude");
    let mut scene = within(&mut strategy, 0);
    for call in 1..=4 {
        let (mask, weights) = (flat(&scene.masks), flat(&scene.weights));
        let size = |values: &[f32]| -> Vec<f32> { values.iter().map(|v| v.abs()).collect() };
        let gradients = flat(&scene.gradients);
        let survivors = (0..mask.len()).filter(|&i| mask[i] == 1.0);
        let gone = (0..mask.len()).filter(|&i| mask[i] == 0.0);
        // round(0.25 * 150) = 38 are exchanged.
        let mut expected = vec![0.0; mask.len()];
        for i in best(survivors, &size(&weights), 150 - 38) {
            expected[i] = 1.0;
        }
        let grown = best(gone, &size(&gradients), 38);
        for &i in &grown {
            expected[i] = 1.0;
        }
        scene.prune(&mut strategy, 150).unwrap();
        assert_eq!(flat(&scene.masks), expected, "call {call}");
        assert_eq!(scene.survivors().iter().sum::<u64>(), 150);
        let after = flat(&scene.masks);
        let dropped: Vec<usize> = (0..mask.len())
            .filter(|&i| mask[i] == 1.0 && after[i] == 0.0)
            .collect();
        assert_eq!(dropped.len(), 38);
        scene.facts.step += 20;
    }
    let requests = scene.requests.borrow();
    assert_eq!(requests.len(), 4);
    for request in requests.iter() {
        assert_eq!(
            (request.loss, request.batches),
            (Loss::CrossEntropy, Batches::Next)
        );
        assert!(!request.on_absolute_weights && !request.eval_mode);
    }
}

#[test]
fn a_component_with_a_restored_state_goes_on_as_if_it_had_never_stopped() {
    let mut whole = drop_and_grow("drop-and-grow/magnitude-plus-noise");
    let mut scene = within(&mut whole, 1);
    scene.prune(&mut whole, 150).unwrap();
    let states = whole.save_state().unwrap();
    let mut resumed = drop_and_grow("drop-and-grow/magnitude-plus-noise");
    assert_ne!(resumed.save_state().unwrap(), states);
    resumed.load_state(&states).unwrap();
    assert_eq!(resumed.save_state().unwrap(), states);

    let mut other = within(&mut drop_and_grow("drop-and-grow/magnitude-plus-noise"), 1);
    other.masks = scene.masks.iter().map(|mask| mask.copy()).collect();
    other.weights = scene.weights.iter().map(|weight| weight.copy()).collect();
    for (strategy, scene) in [(&mut whole, &mut scene), (&mut resumed, &mut other)] {
        scene.facts.step = 40;
        scene.prune(strategy, 150).unwrap();
    }
    assert_eq!(flat(&other.masks), flat(&scene.masks));
    let last = whole.save_state().unwrap();
    assert_eq!(resumed.save_state().unwrap(), last);
    assert_ne!(last, states);
    // The mask update's state counts two calls and lists the 38 weights that the last one grew:
    // magic, version, calls, layers, two counts and 38 indices.
    let (place, mask) = &last[1];
    assert_eq!(place, "mask");
    assert_eq!(mask.len(), 8 + 4 + 8 + 4 + 2 * 8 + 38 * 8);
    assert_eq!(mask[12..20], 2u64.to_le_bytes());
}

#[test]
fn a_damaged_state_is_refused() {
    let mut strategy = drop_and_grow("imp/magnitude");
    let states = vec![("mask".to_owned(), b"DROPGRO".to_vec())];
    assert_eq!(
        strategy.load_state(&states).unwrap_err().to_string(),
        "mask component `update` of plugin `drop-and-grow` failed: the stored state is cut short"
    );
}

#[test]
fn its_own_generator_draws_the_same_again_and_other_numbers_at_another_time() {
    let scores = |seed: u64, step: u64| {
        let mut strategy = drop_and_grow("drop-and-grow/magnitude-plus-noise");
        let mut scene = Still::new(&SHAPES, seed);
        scene.facts.step = step;
        let scores = flat(&strategy.score(&scene).unwrap());
        let weights = flat(&scene.weights);
        let noise = scores
            .iter()
            .zip(&weights)
            .map(|(score, weight)| score - weight.abs());
        noise.collect::<Vec<f32>>()
    };
    let first = scores(0, 800);
    assert!(first.iter().all(|noise| (-1e-6..=0.01).contains(noise)));
    let mean = first.iter().sum::<f32>() / first.len() as f32;
    // Uniform on [0, 0.01): five standard errors.
    assert!(
        (mean - 0.005).abs() < 5.0 * 0.0029 / (first.len() as f32).sqrt(),
        "{mean}"
    );
    assert_eq!(scores(0, 800), first);
    assert_ne!(scores(0, 801), first);
}

#[test]
fn a_tensor_goes_through_dlpack_and_back_unchanged_and_shared() {
    let mut strategy = drop_and_grow("imp/magnitude");
    let scene = within(&mut strategy, 0);
    let plan = strategy.plan(0, &scene).unwrap();
    let PlannedWeights::Tensors(adopted) = plan.weights else {
        panic!("the plan brings no tensors");
    };
    assert_eq!(flat(&adopted), flat(&scene.weights));
    for (adopted, weight) in adopted.iter().zip(&scene.weights) {
        assert_eq!(adopted.size(), weight.size());
        assert_eq!(adopted.data_ptr(), weight.data_ptr());
    }
    drop(strategy);
    // The memory outlives the first owner.
    let elements = flat(&scene.weights);
    drop(scene);
    assert_eq!(flat(&adopted), elements);
}
