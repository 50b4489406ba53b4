//! Identities and counts. The golden list is `tests/end-to-end/tests/identities.rs`, which has the
//! plugins.

use proptest::prelude::*;
use serde_json::json;

use super::shipped::Shipped;
use super::*;
use crate::experiment::{dense_identity, identity};

fn hash(text: &str) -> String {
    identity(&load_text(text).unwrap(), "data", None).hash
}

fn dense_hash(text: &str) -> String {
    dense_identity(&load_text(text).unwrap(), "data", None).hash
}

#[test]
fn the_canonical_form_says_what_differs_from_the_defaults() {
    let loaded = load_text(GOOD).unwrap();
    let canonical = identity(&loaded, "1234", Some(6)).canonical;
    let expected = json!({
        "schema": 1,
        "lanes": 6,
        "data": { "name": "mnist1d" },
        "data_checksum": "1234",
        "model": { "name": "mlp", "hidden": [64] },
        "train": {
            "epochs": 20,
            "batch_size": 128,
            "optimizer": { "name": "sgd" },
            "schedule": { "name": "cosine", "warmup": "1ep" },
        },
        "prune": { "levels": 14 },
        "strategy": {
            "score": { "use": "imp/magnitude" },
            "mask": { "use": "imp/global" },
            "rewind": [
                { "use": "lrr/learning-rate" },
                { "use": "sign-perturbation/flip", "fraction": 0.2 },
            ],
        },
        "plugins": { "imp": "1.2.3", "lrr": "1.2.3", "sign-perturbation": "1.2.3" },
    });
    assert_eq!(canonical, expected);
}

#[test]
fn what_changes_no_result_changes_no_identity() {
    let rewind = r#"["lrr/learning-rate", { use = "sign-perturbation/flip", fraction = 0.2 }]"#;
    for (from, to) in [
        ("name = \"lrr\"", "name = \"other\""),
        ("seeds = [0, 1]", "seeds = [5]"),
        ("lr = 0.1", "lr = 0.1, momentum = 0.9, nesterov = false"),
        ("lr = 0.1", "weight_decay = 0"),
        (
            "levels = 14",
            "rate = 0.2\nlevels = 14\nexclude = []\ncollapse = \"warn\"\nlevel_end = \"epochs\"",
        ),
        (
            "epochs = 20",
            "precision = \"fp32\"\nepochs = 20\nlabel_smoothing = 0\nloss = \"cross-entropy\"\nmetrics = []",
        ),
        (
            "hidden = [64]",
            "dropout = 0.1\nhidden = [64]\nactivation = { kind = \"relu\" }",
        ),
        ("\"imp/magnitude\"", "{ use = \"imp/magnitude\" }"),
        (
            rewind,
            r#"[{ use = "lrr/learning-rate", batch_norm_affine = "keep" }, { lasting = false, fraction = 2e-1, use = "sign-perturbation/flip" }]"#,
        ),
        (
            "[strategy]",
            "[plugins]\nunused = { path = \"x.so\" }\n[strategy]",
        ),
    ] {
        assert_eq!(hash(&changed(from, to)), hash(GOOD), "{to}");
    }
    let cifar = |dir| changed("name = \"mnist1d\"", &format!("name = \"cifar10\"{dir}"));
    assert_eq!(hash(&cifar("\ndir = \"/data\"")), hash(&cifar("")));
    let constant = "schedule = { name = \"cosine\", warmup = \"1ep\" }\n";
    let spelled = "schedule = { name = \"constant\", warmup = \"0it\" }\n";
    assert_eq!(
        hash(&changed(constant, spelled)),
        hash(&changed(constant, ""))
    );
}

#[test]
fn what_changes_a_result_changes_the_identity() {
    for (from, to) in [
        ("epochs = 20", "epochs = 21"),
        ("lr = 0.1", "lr = 0.2"),
        ("hidden = [64]", "hidden = [64, 64]"),
        ("hidden = [64]", "hidden = [64]\ndropout = 0.2"),
        ("levels = 14", "levels = 13"),
        ("\"lrr/learning-rate\", ", ""),
        ("fraction = 0.2", "fraction = 0.3"),
    ] {
        assert_ne!(hash(&changed(from, to)), hash(GOOD), "{to}");
    }
    let loaded = load_text(GOOD).unwrap();
    assert_ne!(identity(&loaded, "other data", None).hash, hash(GOOD));
    assert_ne!(identity(&loaded, "data", Some(2)).hash, hash(GOOD));
    let mut newer = loaded.clone();
    newer.plugins.get_mut("lrr").unwrap().version = "1.3.0".to_owned();
    assert_ne!(identity(&newer, "data", None).hash, hash(GOOD));
}

#[test]
fn experiments_that_train_the_same_dense_network_share_it() {
    for (from, to) in [
        ("levels = 14", "levels = 3"),
        ("\"lrr/learning-rate\", ", ""),
        ("seeds = [0, 1]", "seeds = [2]"),
    ] {
        assert_eq!(dense_hash(&changed(from, to)), dense_hash(GOOD), "{to}");
    }
    for (from, to) in [
        ("epochs = 20", "epochs = 21"),
        ("hidden = [64]", "hidden = [65]"),
        // The masks of level 0 list the other weights only.
        ("levels = 14", "levels = 14\nexclude = [\"fc1.weight\"]"),
    ] {
        assert_ne!(dense_hash(&changed(from, to)), dense_hash(GOOD), "{to}");
    }
}

#[test]
fn counts_follow_the_rate_or_the_listed_densities() {
    let experiment = load_text(GOOD).unwrap().experiment;
    assert_eq!(experiment.densities().len(), 15);
    // round(0.8^l * 22784) in exact rational arithmetic.
    let kept: Vec<u64> = (0..=14)
        .map(|level| experiment.keep(level, 22_784))
        .collect();
    assert_eq!(
        kept,
        [
            22784, 18227, 14582, 11665, 9332, 7466, 5973, 4778, 3823, 3058, 2446, 1957, 1566, 1253,
            1002
        ]
    );
    let listed = changed("levels = 14", "densities = [0.5, 0.01]");
    let experiment = load_text(&listed).unwrap().experiment;
    assert_eq!(experiment.densities(), [1.0, 0.5, 0.01]);
    assert_eq!(
        (0..3).map(|l| experiment.keep(l, 5)).collect::<Vec<_>>(),
        [5, 3, 0]
    );
}

proptest! {
    #[test]
    fn counts_are_those_of_exact_fractions(level in 0u64..=14, total in 0u64..1_000_000) {
        let experiment = load_text(GOOD).unwrap().experiment;
        let (four, five) = (4u128.pow(level as u32), 5u128.pow(level as u32));
        let rounded = (2 * four * u128::from(total) + five) / (2 * five);
        prop_assert_eq!(u128::from(experiment.keep(level, total)), rounded);
    }

    #[test]
    fn no_level_keeps_more_than_the_one_before(rate in 0.001..0.999f64, total in 0u64..1 << 40) {
        let mut experiment = load_text(GOOD).unwrap().experiment;
        experiment.prune.rate = rate;
        let kept: Vec<u64> = (0..=14).map(|level| experiment.keep(level, total)).collect();
        prop_assert_eq!(kept[0], total);
        prop_assert!(kept.is_sorted_by(|before, after| after <= before));
    }
}

#[test]
fn an_empty_list_of_excluded_weights_changes_no_identity() {
    let empty = changed("levels = 14", "levels = 14\nexclude = []");
    assert_eq!(dense_hash(&empty), dense_hash(GOOD));
    assert_eq!(hash(&empty), hash(GOOD));
}

#[test]
fn where_the_data_lie_is_no_part_of_the_identity() {
    let whole = |set: &[String]| {
        let path = format!(
            "{}/../experiments/fashion-mnist/lrr.toml",
            env!("CARGO_MANIFEST_DIR")
        );
        identity(
            &load(Path::new(&path), set, &Shipped).unwrap(),
            "data",
            None,
        )
        .hash
    };
    assert_eq!(whole(&[]), whole(&["data.dir=/elsewhere".to_owned()]));
}
