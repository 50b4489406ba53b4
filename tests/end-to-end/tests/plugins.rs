//! The shipped plugins, loaded as an experiment loads them, against plain computations of what they promise.

// Clippy knows tests, but not the functions that they share.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use end_to_end::built::{loader, own, part, plain, strategy};
use host::strategy::Strategy;
use host::strategy::still::{Still, flat};
use plugin_api::abi::{API_MAJOR, API_MINOR};
use serde_json::json;

/// 288 + 320 + 96 weights.
const SHAPES: [&[i64]; 3] = [&[8, 4, 3, 3], &[10, 32], &[16, 2, 3]];
const ALL: u64 = 704;

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

/// The folders of the shipped plugins.
fn shipped() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins");
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn every_shipped_plugin_describes_itself_stands_in_the_guide_and_names_a_trio_that_can_be_made() {
    let guide = include_str!("../../../docs/plugins.md");
    let mut loader = loader(own());
    let names = loader.names();
    let mut rows = 0;
    for name in shipped() {
        assert!(
            names.contains(&name),
            "{name} is not in PACKAGES of built.rs"
        );
        let plugin = loader.load(&name, None).unwrap();
        assert_eq!(plugin.manifest.name, name);
        assert_eq!(plugin.api, (API_MAJOR, API_MINOR));
        assert!(!plugin.manifest.summary.is_empty());
        for component in &plugin.manifest.components {
            let row = format!("{} `{name}/{}`", component.kind.name(), component.name);
            let own = format!("`{name}/{}`", component.name);
            let line = guide.lines().find(|line| {
                line.starts_with(&format!("| {} ", component.kind.name())) && line.contains(&own)
            });
            assert!(line.is_some(), "docs/plugins.md lacks {row}");
            rows += 1;
        }
        if let Some(trio) = &plugin.manifest.default {
            let rewind = trio.rewind.iter().map(|name| plain(name)).collect();
            strategy(plain(&trio.score), plain(&trio.mask), rewind).unwrap();
        }
    }
    assert!(rows > 20);
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
    let rewind = vec![plain("sign-perturbation/flip")];
    let mut strategy = strategy(plain("imp/magnitude"), plain("imp/global"), rewind).unwrap();
    strategy.plan(0, &Still::new(&[&[3, 10]], 0)).unwrap();
    let lines = LINES.0.lock().unwrap();
    let line = "INFO sign-perturbation/flip: flips the signs of 6 weights at the start of level 1";
    assert!(lines.iter().any(|own| own == line), "{lines:?}");
}
