//! The shipped plugins, loaded as an experiment loads them, against plain computations of what they promise.

use end_to_end::built::{loader, own, part, strategy};
use end_to_end::scene::{Still, flat};
use host::experiment::Part;
use host::strategy::{PlannedWeights, Strategy};
use plugin_api::{BatchNorm, DataOrder, OptimizerState, Point, Schedule, Source, Step};
use serde_json::{Value, json};
use tch::Tensor;

/// 288 + 320 + 96 weights.
const SHAPES: [&[i64]; 3] = [&[8, 4, 3, 3], &[10, 32], &[16, 2, 3]];
const ALL: u64 = 704;

fn plain(component: &str) -> Part {
    part(component, json!({}))
}

fn imp() -> Strategy {
    strategy(plain("imp/magnitude"), plain("imp/global"), vec![]).unwrap()
}

fn keep(level: u32) -> u64 {
    (0.8f64.powi(level as i32) * ALL as f64).round() as u64
}

/// The definition: survivors sorted by (|w| falling, index), the first `count` of them.
fn largest(weights: &[f32], mask: &[f32], count: u64) -> Vec<f32> {
    let mut order: Vec<usize> = (0..weights.len()).filter(|&i| mask[i] == 1.0).collect();
    order.sort_by(|&a, &b| {
        weights[b]
            .abs()
            .total_cmp(&weights[a].abs())
            .then(a.cmp(&b))
    });
    let mut kept = vec![0.0; weights.len()];
    for &i in &order[..count as usize] {
        kept[i] = 1.0;
    }
    kept
}

#[test]
fn every_shipped_plugin_describes_itself_and_names_a_trio_that_can_be_made() {
    let mut loader = loader(own());
    let names = loader.names();
    for (name, components) in [
        ("imp", vec!["magnitude", "global", "weights"]),
        ("lrr", vec!["learning-rate"]),
        ("random-mask", vec!["random", "nested"]),
        ("sign-perturbation", vec!["flip"]),
        (
            "drop-and-grow",
            vec!["magnitude-plus-noise", "update", "dlpack"],
        ),
    ] {
        assert!(names.iter().any(|known| known == name), "{names:?}");
        let plugin = loader.load(name, None).unwrap();
        assert_eq!(plugin.manifest.name, name);
        assert_eq!(plugin.api, (1, 0));
        assert!(!plugin.manifest.summary.is_empty());
        let found: Vec<&str> = plugin
            .manifest
            .components
            .iter()
            .map(|component| component.name.as_str())
            .collect();
        assert_eq!(found, components);
        for component in &plugin.manifest.components {
            let docs = component.schema["description"].as_str().unwrap();
            assert!(!docs.is_empty(), "{name}/{}", component.name);
            for (option, schema) in component.schema["properties"]
                .as_object()
                .into_iter()
                .flatten()
            {
                assert!(
                    schema.get("description").is_some(),
                    "{name}: {option} has no docs"
                );
            }
        }
        if let Some(trio) = &plugin.manifest.default {
            let rewind = trio.rewind.iter().map(|name| plain(name)).collect();
            strategy(plain(&trio.score), plain(&trio.mask), rewind).unwrap();
        }
    }
}

#[test]
fn magnitude_with_global_keeps_what_a_plain_sort_keeps() {
    for seed in 0..3 {
        let mut scene = Still::new(&SHAPES, seed);
        let mut strategy = imp();
        for level in 1..=12 {
            let expected = largest(&flat(&scene.weights), &flat(&scene.masks), keep(level));
            scene.prune(&mut strategy, keep(level)).unwrap();
            assert_eq!(flat(&scene.masks), expected, "seed {seed}, level {level}");
            scene.facts.level += 1;
        }
    }
}

#[test]
fn counts_are_exact_down_to_no_weight_at_all() {
    let mut scene = Still::new(&SHAPES, 0);
    let mut strategy = imp();
    for count in [704, 703, 500, 499, 2, 1, 0] {
        scene.prune(&mut strategy, count).unwrap();
        assert_eq!(scene.survivors().iter().sum::<u64>(), count);
    }
}

fn nested(distribution: &str) -> Strategy {
    strategy(
        plain("random-mask/random"),
        part(
            "random-mask/nested",
            json!({ "distribution": distribution }),
        ),
        vec![],
    )
    .unwrap()
}

#[test]
fn random_masks_have_the_layer_densities_of_their_distribution() {
    // Of 176: uniform 0.25 of each layer; balanced 58 2/3 each; ERK in proportion to the sums of
    // the dimensions, 18, 42 and 21 of 81.
    for (distribution, target, expected) in [
        ("uniform", 176, [72, 80, 24]),
        ("balanced", 176, [59, 59, 58]),
        // 39.11, 91.26, 45.63: the remainders give the last weight to the third.
        ("erk", 176, [39, 91, 46]),
        // The third layer is full with 96; the other two share the rest equally.
        ("balanced", 600, [252, 252, 96]),
    ] {
        let mut scene = Still::new(&SHAPES, 0);
        scene.prune(&mut nested(distribution), target).unwrap();
        assert_eq!(scene.survivors(), expected, "{distribution}");
    }
}

#[test]
fn random_masks_are_nested_and_exact_at_every_level() {
    for distribution in ["uniform", "balanced", "erk"] {
        let mut scene = Still::new(&SHAPES, 1);
        let mut strategy = nested(distribution);
        for level in 1..=15 {
            let before = flat(&scene.masks);
            scene.prune(&mut strategy, keep(level)).unwrap();
            let after = flat(&scene.masks);
            assert!(
                after
                    .iter()
                    .zip(&before)
                    .all(|(after, before)| after <= before)
            );
            assert_eq!(after.iter().sum::<f32>() as u64, keep(level));
            scene.facts.level += 1;
        }
    }
}

#[test]
fn random_masks_differ_between_seeds_and_levels_and_come_again() {
    let masks = |seed: u64, level: u64| {
        let mut scene = Still::new(&SHAPES, seed);
        scene.facts.level = level;
        scene.prune(&mut nested("erk"), 300).unwrap();
        flat(&scene.masks)
    };
    let first = masks(0, 0);
    assert_eq!(masks(0, 0), first);
    assert_ne!(masks(1, 0), first);
    assert_ne!(masks(0, 1), first);
    // Not nearly the same either: two random choices of 67 of 288, 155 of 320 and 78 of 96 share
    // 154 weights on average, with a standard deviation of 5.6.
    let shared: f32 = first.iter().zip(masks(1, 0)).map(|(a, b)| a * b).sum();
    assert!((126.0..182.0).contains(&shared), "{shared}");
}

fn flip(options: Value) -> Strategy {
    let rewind = vec![part("sign-perturbation/flip", options)];
    strategy(plain("imp/magnitude"), plain("imp/global"), rewind).unwrap()
}

fn planned(weights: PlannedWeights) -> Vec<Tensor> {
    match weights {
        PlannedWeights::Tensors(tensors) => tensors,
        _ => panic!("the plan brings no tensors"),
    }
}

/// A scene after level 0 with 300 survivors.
fn pruned(seed: u64) -> Still {
    let mut scene = Still::new(&SHAPES, seed);
    scene.prune(&mut imp(), 300).unwrap();
    scene
}

/// Per layer: the number of weights whose sign differs. All others must be the same bits.
fn flipped(before: &[Tensor], after: &[Tensor]) -> Vec<u64> {
    let count = |(before, after): (&Tensor, &Tensor)| {
        let pairs = flat(std::slice::from_ref(before))
            .into_iter()
            .zip(flat(std::slice::from_ref(after)));
        let mut flips = 0;
        for (before, after) in pairs {
            if after != before {
                assert_eq!(after, -before);
                flips += 1;
            }
        }
        flips
    };
    before.iter().zip(after).map(count).collect()
}

#[test]
fn flip_turns_exactly_the_rounded_fraction_of_each_layers_survivors() {
    let scene = pruned(0);
    for fraction in [0.0, 0.01, 0.2, 0.5, 0.77, 1.0] {
        let plan = flip(json!({ "fraction": fraction }))
            .plan(0, &scene)
            .unwrap();
        let expected: Vec<u64> = scene
            .survivors()
            .iter()
            .map(|&survivors| (fraction * survivors as f64).round() as u64)
            .collect();
        // Pruned weights are 0 and would not show as flipped: that none of the flips was spent on
        // one follows from the count.
        let after = planned(plan.weights);
        assert_eq!(flipped(&scene.weights, &after), expected, "{fraction}");
        assert!(plan.redefine.is_empty());
        assert_eq!(plan.optimizer, OptimizerState::Keep);
        assert_eq!(plan.schedule, Schedule::Keep);
    }
}

#[test]
fn flip_works_at_the_levels_that_are_given_only() {
    let mut scene = pruned(0);
    let mut strategy = flip(json!({ "levels": [2] }));
    assert!(matches!(
        strategy.plan(0, &scene).unwrap().weights,
        PlannedWeights::Keep
    ));
    scene.facts.level = 1;
    assert!(matches!(
        strategy.plan(0, &scene).unwrap().weights,
        PlannedWeights::Tensors(_)
    ));
}

#[test]
fn lasting_flips_redefine_every_stored_point_at_the_same_weights() {
    let mut scene = pruned(2);
    let early = Point::Step(Step::Epochs(4));
    scene.points.push((
        early.clone(),
        scene.gradients.iter().map(|g| g * 3.0).collect(),
    ));
    let plan = flip(json!({ "lasting": true, "fraction": 0.3 }))
        .plan(0, &scene)
        .unwrap();
    let signs = |before: &[Tensor], after: &[Tensor]| -> Vec<bool> {
        let masks = flat(&scene.masks);
        let pairs = flat(before).into_iter().zip(flat(after)).zip(masks);
        pairs
            .map(|((before, after), mask)| {
                assert_eq!(before.abs(), after.abs());
                if mask == 0.0 {
                    assert_eq!(before, after, "a pruned weight was flipped");
                }
                before != after
            })
            .collect()
    };
    let now = signs(&scene.weights, &planned(plan.weights));
    let points: Vec<Point> = plan
        .redefine
        .iter()
        .map(|(point, _)| point.clone())
        .collect();
    assert_eq!(points, [Point::Init, early]);
    for ((_, stored), (_, redefined)) in scene.points.iter().zip(&plan.redefine) {
        assert_eq!(signs(stored, redefined), now);
    }
    assert_eq!(now.iter().filter(|&&flipped| flipped).count(), {
        let rounded = |&n: &u64| (0.3 * n as f64).round() as usize;
        scene.survivors().iter().map(rounded).sum::<usize>()
    });
}

#[test]
fn flips_differ_between_places_of_the_same_policy() {
    let twice = vec![
        plain("sign-perturbation/flip"),
        plain("sign-perturbation/flip"),
    ];
    let mut strategy = strategy(plain("imp/magnitude"), plain("imp/global"), twice).unwrap();
    let scene = pruned(0);
    let first = planned(strategy.plan(0, &scene).unwrap().weights);
    let second = planned(strategy.plan(1, &scene).unwrap().weights);
    assert_ne!(flat(&first), flat(&second));
    let again = planned(strategy.plan(0, &scene).unwrap().weights);
    assert_eq!(flat(&again), flat(&first));
}

/// The plan of a policy without tensors, as (weights' point, batch norm, optimizer, schedule).
fn plan(component: &str, options: Value) -> (Option<Point>, BatchNorm, OptimizerState, Schedule) {
    let rewind = vec![part(component, options)];
    let mut strategy = strategy(plain("imp/magnitude"), plain("imp/global"), rewind).unwrap();
    let plan = strategy.plan(0, &pruned(0)).unwrap();
    assert_eq!(plan.data_order, DataOrder::Keep);
    assert!(plan.redefine.is_empty());
    let point = match plan.weights {
        PlannedWeights::Keep => None,
        PlannedWeights::From(point) => Some(point),
        _ => panic!("the plan mixes weights or brings tensors"),
    };
    (point, plan.batch_norm, plan.optimizer, plan.schedule)
}

fn both(source: Source) -> BatchNorm {
    BatchNorm {
        affine: source.clone(),
        statistics: source,
    }
}

#[test]
fn weight_rewinding_takes_weights_and_batch_norm_back_to_its_point() {
    let early = Point::Step(Step::Epochs(4));
    assert_eq!(
        plan("imp/weights", json!({})),
        (
            Some(Point::Init),
            both(Source::From(Point::Init)),
            OptimizerState::Clear,
            Schedule::Restart
        )
    );
    assert_eq!(
        plan("imp/weights", json!({"to": "4ep"})),
        (
            Some(early.clone()),
            both(Source::From(early.clone())),
            OptimizerState::Clear,
            Schedule::Restart
        )
    );
    assert_eq!(
        plan(
            "imp/weights",
            json!({"to": "4ep", "optimizer_state": true, "schedule_from_point": true})
        ),
        (
            Some(early.clone()),
            both(Source::From(early.clone())),
            OptimizerState::From(early),
            Schedule::From(Step::Epochs(4))
        )
    );
}

#[test]
fn learning_rate_rewinding_keeps_weights_and_restarts_the_schedule() {
    assert_eq!(
        plan("lrr/learning-rate", json!({})),
        (
            None,
            BatchNorm::default(),
            OptimizerState::Clear,
            Schedule::Restart
        )
    );
    let rewound = json!({
        "batch_norm_affine": "init", "batch_norm_statistics": "4ep", "keep_optimizer_state": true,
    });
    let batch_norm = BatchNorm {
        affine: Source::From(Point::Init),
        statistics: Source::From(Point::Step(Step::Epochs(4))),
    };
    assert_eq!(
        plan("lrr/learning-rate", rewound),
        (None, batch_norm, OptimizerState::Keep, Schedule::Restart)
    );
}

#[test]
fn the_points_that_options_name_are_declared_once_and_init_first() {
    let rewind = vec![
        part("imp/weights", json!({"to": "4ep"})),
        part(
            "lrr/learning-rate",
            json!({"batch_norm_affine": "4ep", "batch_norm_statistics": "500it"}),
        ),
    ];
    let strategy = strategy(plain("imp/magnitude"), plain("imp/global"), rewind).unwrap();
    let points = [
        Point::Init,
        Point::Step(Step::Epochs(4)),
        Point::Step(Step::Iterations(500)),
    ];
    assert_eq!(strategy.points().unwrap(), points);
}

#[test]
fn options_that_contradict_each_other_are_refused() {
    for (component, options, fragment) in [
        (
            "imp/weights",
            json!({"schedule_from_point": true}),
            "wants a time of level 0 in `to`",
        ),
        (
            "imp/weights",
            json!({"to": "later"}),
            "`later` is not a point of training",
        ),
        (
            "sign-perturbation/flip",
            json!({"levels": [0, 1]}),
            "levels start at 1",
        ),
    ] {
        let rewind = vec![part(component, options)];
        let made = strategy(plain("imp/magnitude"), plain("imp/global"), rewind);
        let message = made.map(|_| ()).unwrap_err().to_string();
        assert!(message.contains("refused its options"), "{message}");
        assert!(message.contains(fragment), "{message}");
    }
}

#[test]
fn components_speak_through_the_hosts_log() {
    use std::sync::Mutex;
    struct Lines(Mutex<Vec<String>>);
    impl log::Log for Lines {
        fn enabled(&self, _: &log::Metadata<'_>) -> bool {
            true
        }
        fn log(&self, record: &log::Record<'_>) {
            let line = format!("{} {}", record.level(), record.args());
            self.0.lock().unwrap().push(line);
        }
        fn flush(&self) {}
    }
    static LINES: Lines = Lines(Mutex::new(Vec::new()));
    log::set_logger(&LINES).unwrap();
    log::set_max_level(log::LevelFilter::Info);
    flip(json!({"fraction": 1.0})).plan(0, &pruned(0)).unwrap();
    let lines = LINES.0.lock().unwrap();
    let line =
        "INFO sign-perturbation/flip: flips the signs of 300 weights at the start of level 1";
    assert!(lines.iter().any(|own| own == line), "{lines:?}");
}
