//! What is left computes the same.

use serde_json::json;
use tch::Kind;

use super::*;
use crate::export::testing::{
    MODELS_OF_ALL_KINDS, forward, inputs, model_of, network_of, prune, whole_numbers,
};
use crate::model::{Connections, Side, UnitSet};

fn effective(model: &Model, network: &dyn crate::model::Network) -> i64 {
    let parameters = network.parameters();
    let mask = |i: usize| {
        model.tensors[&parameters[i].name]
            .ne(0.0)
            .to_kind(Kind::Float)
    };
    let effective = Connections::of(&network.graph(), parameters).effective(mask);
    let own = (effective.iter()).filter(|(i, _)| model.prunable.contains(&parameters[**i].name));
    own.map(|(_, it)| it.sum(Kind::Int64).int64_value(&[]))
        .sum()
}

fn nonzeros(model: &Model) -> i64 {
    let count = |name: &String| {
        model.tensors[name]
            .ne(0.0)
            .sum(Kind::Int64)
            .int64_value(&[])
    };
    model.prunable.iter().map(count).sum()
}

#[test]
fn every_model_computes_the_same_without_its_dead_units() {
    for (name, options, shape, classes) in MODELS_OF_ALL_KINDS {
        let options: serde_json::Value = serde_json::from_str(options).unwrap();
        let network = network_of(name, &options, shape, classes);
        let (mut removed, mut varies) = (0, false);
        for seed in 0..3 {
            let mut model = model_of(name, options.clone(), shape, classes, seed);
            prune(&mut model, 0.4, seed);
            let input = inputs(shape, 16, seed);
            let expected = forward(&*network, &model, &input);
            let (on_path, before) = (effective(&model, &*network), nonzeros(&model));
            let compacted = compact(&mut model, 1).unwrap();
            removed += compacted.iter().map(|it| it.units - it.kept).sum::<i64>();
            let got = forward(&*network, &model, &input);
            let spread = &expected - expected.narrow(0, 0, 1);
            varies |= spread.abs().max().double_value(&[]) > 0.0;
            let scale = expected.abs().max().double_value(&[]);
            let error = (&got - &expected).abs().max().double_value(&[]);
            assert!(error <= 1e-5 * scale, "{name}: {error} of {scale}");
            assert!(
                got.argmax(-1, false).equal(&expected.argmax(-1, false)),
                "{name}"
            );
            let after = nonzeros(&model);
            assert!(on_path <= after && after <= before, "{name}");
            if name.starts_with("mlp") || name.starts_with("lenet") {
                // Biases take any constant, so that nothing but paths is left.
                assert_eq!(after, on_path, "{name}");
            }
        }
        let has_none = name == "hidden-neuron" || links(&network.graph()).is_empty();
        assert!(removed > 0 || has_none, "{name}");
        assert!(varies, "{name}: no path is left");
    }
}

#[test]
fn dead_units_fill_up_a_multiple_without_weights() {
    for (name, options, shape, classes) in MODELS_OF_ALL_KINDS {
        let options: serde_json::Value = serde_json::from_str(options).unwrap();
        let network = network_of(name, &options, shape, classes);
        let pruned = || {
            let mut model = model_of(name, options.clone(), shape, classes, 2);
            prune(&mut model, 0.2, 2);
            model
        };
        let (mut least, mut filled) = (pruned(), pruned());
        let input = inputs(shape, 16, 2);
        let expected = forward(&*network, &least, &input);
        let alone = compact(&mut least, 1).unwrap();
        let by_four = match compact(&mut filled, 4) {
            Ok(compacted) => compacted,
            Err(error) => {
                // A multiple that no layer has.
                assert!(alone.iter().all(|it| it.units < 4), "{name}: {error}");
                assert!(error.to_string().contains("the widest has"), "{error}");
                continue;
            }
        };
        for (one, other) in alone.iter().zip(&by_four) {
            assert_eq!((&one.layer, one.units), (&other.layer, other.units));
            let all = one.units.min((one.kept + 3) / 4 * 4);
            assert_eq!(other.kept, all, "{name}: {one:?}");
        }
        // What fills up has no weight: the same are left.
        assert_eq!(nonzeros(&least), nonzeros(&filled), "{name}");
        let got = forward(&*network, &filled, &input);
        let scale = expected.abs().max().double_value(&[]);
        let error = (&got - &expected).abs().max().double_value(&[]);
        assert!(error <= 1e-5 * scale, "{name}: {error} of {scale}");
        let said = filled.metadata.get("multiple").map(String::as_str);
        assert_eq!((said, least.metadata.get("multiple")), (Some("4"), None));
    }
}

#[test]
fn a_head_counts_as_its_features() {
    let (options, shape) = (
        json!({"patch": 4, "width": 48, "depth": 1, "heads": 6}),
        [3, 8, 8],
    );
    for (multiple, left) in [(1, 1), (8, 1), (16, 2), (12, 3), (64, 6)] {
        let mut model = model_of("vit", options.clone(), &shape, 10, 1);
        let network = network_of("vit", &options, &shape, 10);
        let input = inputs(&shape, 4, 1);
        // All heads but the last, of 8 features each.
        let qkv = Tensor::from_slice(&(0..144).filter(|it| it % 48 < 40).collect::<Vec<i64>>());
        for (tensor, axis, places) in [
            ("qkv", 0, qkv),
            (
                "proj",
                1,
                Tensor::arange(40, (Kind::Int64, tch::Device::Cpu)),
            ),
        ] {
            let layer = model
                .tensors
                .keys()
                .find(|it| it.ends_with(&format!("{tensor}.weight")));
            let layer = layer.unwrap().clone();
            let weight = model.tensors[&layer].index_fill(axis, &places, 0.0);
            model.tensors.insert(layer, weight);
        }
        let expected = forward(&*network, &model, &input);
        let compacted = compact(&mut model, multiple).unwrap();
        let qkv = compacted.iter().find(|it| it.layer.ends_with("qkv"));
        // What loses nothing is not listed.
        let kept = qkv.map_or(144, |it| it.kept);
        assert_eq!(kept, 24 * left, "{multiple}");
        let got = crate::export::testing_forward(&model, &input);
        let error = (got - expected).abs().max().double_value(&[]);
        assert!(error < 1e-4, "{multiple}: {error}");
    }
}

#[test]
fn units_that_were_pruned_whole_go_with_all_that_ties_them() {
    for (name, options, shape, classes) in MODELS_OF_ALL_KINDS {
        let options: serde_json::Value = serde_json::from_str(options).unwrap();
        let network = network_of(name, &options, shape, classes);
        let units = network.units(shape);
        let mut model = model_of(name, options, shape, classes, 1);
        // Every third unit of each set, and of two the first.
        let goes = |set: &UnitSet, unit: usize| unit % 3 == usize::from(set.units > 2);
        let mut expected = BTreeMap::new();
        for set in &units.sets {
            let gone = (0..set.units).filter(|unit| goes(set, *unit)).count();
            for slice in set.slices.iter().filter(|it| it.side != Side::Follows) {
                let places = (0i64..).zip(&slice.units);
                let places = places.filter(|(_, unit)| unit.is_some_and(|it| goes(set, it)));
                let places: Vec<i64> = places.map(|(place, _)| place).collect();
                let tensor = &model.tensors[&slice.tensor];
                let index = Tensor::from_slice(&places);
                let tensor = tensor.index_fill(slice.axis as i64, &index, 0.0);
                model.tensors.insert(slice.tensor.clone(), tensor);
                if slice.side == Side::Makes {
                    let each = slice.units.iter().filter(|it| **it == Some(0)).count();
                    let left = slice.units.len() - gone * each;
                    expected.insert(slice.tensor.clone(), left as i64);
                }
            }
        }
        let input = inputs(shape, 8, 1);
        let before = forward(&*network, &model, &input);
        compact(&mut model, 1).unwrap();
        for (tensor, left) in expected {
            assert_eq!(model.tensors[&tensor].size()[0], left, "{name}: {tensor}");
        }
        for after in [
            forward(&*network, &model, &input),
            crate::export::testing_forward(&model, &input),
        ] {
            let scale = before.abs().max().double_value(&[]);
            let error = (&after - &before).abs().max().double_value(&[]);
            assert!(error <= 1e-5 * scale, "{name}: {error} of {scale}");
        }
    }
}

/// Sums of small whole numbers are exact in any order.
#[test]
fn outputs_are_the_same_bits_where_arithmetic_is_exact() {
    for (name, options, shape, classes) in MODELS_OF_ALL_KINDS {
        // Means over images and batch norms of many layers leave the numbers that are exact.
        if !["mlp", "lenet-300-100", "cnn1d"].contains(&name) {
            continue;
        }
        let options: serde_json::Value = serde_json::from_str(options).unwrap();
        let network = network_of(name, &options, shape, classes);
        for seed in 0..5 {
            let mut model = model_of(name, options.clone(), shape, classes, seed);
            whole_numbers(&mut model, seed);
            prune(&mut model, 0.4, seed);
            let input = (inputs(shape, 16, seed) * 2.0).round();
            let expected = forward(&*network, &model, &input);
            assert!(expected.equal(&expected.round()), "{name}");
            let compacted = compact(&mut model, 1).unwrap();
            let smaller = compacted.iter().any(|it| it.kept < it.units);
            assert!(smaller || compacted.is_empty(), "{name}");
            assert!(
                forward(&*network, &model, &input).equal(&expected),
                "{name}"
            );
        }
    }
}

#[test]
fn a_channel_that_is_constant_stays_before_a_padded_convolution_and_goes_before_another() {
    for (layer, next, goes) in [("conv1", "conv2", false), ("conv2", "conv3", true)] {
        let options = json!({"width": 4, "stem": "cifar"});
        let mut model = model_of("resnet-50", options, &[3, 32, 32], 10, 1);
        let set = |model: &mut Model, name: &str, value: f64| {
            let tensor = &model.tensors[name];
            let rest = tensor.narrow(0, 1, tensor.size()[0] - 1);
            let first = tensor.narrow(0, 0, 1).full_like(value);
            model
                .tensors
                .insert(name.to_owned(), Tensor::cat(&[first, rest], 0));
        };
        set(&mut model, &format!("layer1.0.{layer}.weight"), 0.0);
        let norm = format!("layer1.0.{}", layer.replace("conv", "bn"));
        set(&mut model, &format!("{norm}.bias"), 100.0);
        let find = |all: &[Compacted]| -> i64 {
            let own = all
                .iter()
                .find(|it| it.layer == format!("layer1.0.{layer}"))
                .unwrap();
            own.units - own.kept
        };
        assert_eq!(
            find(&compact(&mut model, 1).unwrap()),
            i64::from(goes),
            "{layer}"
        );
        // With a value of 0 it goes either way.
        set(&mut model, &format!("layer1.0.{layer}.weight"), 0.0);
        set(&mut model, &format!("{norm}.bias"), -100.0);
        assert_eq!(
            find(&compact(&mut model, 1).unwrap()),
            1,
            "{layer} before {next}"
        );
    }
}

#[test]
fn channels_that_shortcuts_add_up_are_left_alone() {
    let model = model_of("resnet-20", json!({"width": 2}), &[3, 32, 32], 10, 0);
    let links = links(&model.graph);
    assert_eq!(links.len(), 9);
    assert!(
        links.iter().all(|it| it.layer.ends_with(".conv1")),
        "{links:?}"
    );
}

#[test]
fn a_layer_without_a_live_unit_keeps_one() {
    let mut model = model_of("mlp", json!({"hidden": [5, 4]}), &[6], 3, 0);
    let network = network_of("mlp", &json!({"hidden": [5, 4]}), &[6], 3);
    let none = model.tensors["fc2.weight"].zeros_like();
    model.tensors.insert("fc2.weight".to_owned(), none);
    let input = inputs(&[6], 4, 0);
    let expected = forward(&*network, &model, &input);
    let kept: Vec<i64> = compact(&mut model, 1)
        .unwrap()
        .iter()
        .map(|it| it.kept)
        .collect();
    assert_eq!(kept, [1, 1]);
    let error = forward(&*network, &model, &input) - expected;
    assert!(error.abs().max().double_value(&[]) < 1e-6);
}
