//! Plugins and host need not be built with the same profile.

// Clippy knows tests, but not the functions that they share.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use end_to_end::built::{Profile, folder, loader, own, part, plain};
use host::experiment;
use host::strategy::still::{Still, flat};
use host::strategy::{PlannedWeights, Strategy};
use serde_json::json;

/// Those that are built once more for this, with what they depend on.
const USED: [&str; 5] = [
    "drop-and-grow",
    "imp",
    "misbehaving",
    "random-mask",
    "sign-perturbation",
];

fn other() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| folder(&Profile::other_than_this_test(), &USED))
}

/// Three levels of random masks and flips, and the bits that come of it.
fn run(folder: &Path) -> Vec<u32> {
    let mut loader = loader(folder);
    let config = experiment::Strategy {
        score: plain("drop-and-grow/magnitude-plus-noise"),
        mask: part("random-mask/nested", json!({"distribution": "balanced"})),
        rewind: vec![part("sign-perturbation/flip", json!({"fraction": 0.4}))],
        update: vec![],
    };
    let mut strategy = Strategy::new(&config, |part| {
        let plugin = loader.load_part(part, None)?;
        assert_eq!(
            plugin.path.parent(),
            Some(folder.canonicalize().unwrap().as_path())
        );
        Ok(plugin)
    })
    .unwrap();
    let mut scene = Still::new(&[&[8, 4, 3, 3], &[10, 32]], 3);
    let mut bits = Vec::new();
    for target in [400, 300, 200] {
        scene.prune(&mut strategy, target).unwrap();
        let PlannedWeights::Tensors(weights) = strategy.plan(0, &scene).unwrap().weights else {
            panic!("the plan brings no tensors");
        };
        scene.weights = weights;
        bits.extend(flat(&scene.weights).iter().map(|weight| weight.to_bits()));
        scene.facts.level += 1;
    }
    bits
}

#[test]
fn plugins_of_the_other_profile_load_in_this_host_and_do_the_same() {
    assert_ne!(other(), own());
    assert_eq!(run(other()), run(own()));
}

#[test]
fn a_panic_in_a_plugin_of_the_other_profile_is_an_error_too() {
    let mut loader = loader(other());
    let config = experiment::Strategy {
        score: plain("misbehaving/panics"),
        mask: plain("imp/global"),
        rewind: vec![],
        update: vec![],
    };
    let mut strategy = Strategy::new(&config, |part| loader.load_part(part, None)).unwrap();
    let message = strategy
        .score(&Still::new(&[&[2, 2]], 0))
        .unwrap_err()
        .to_string();
    assert!(
        message.starts_with(
            "score component `panics` of plugin `misbehaving` panicked: no score today at "
        ),
        "{message}"
    );
}
