//! What holds for every model.

use std::panic::{AssertUnwindSafe, catch_unwind};

use plugin_api::LayerKind;
use serde_json::{Value, json};
use tch::{Device, Kind};

use super::*;
use crate::registry::find;

fn build(name: &str, options: Value, shape: &[i64]) -> Result<Box<dyn Network>, ModelError> {
    let options: Options = serde_json::from_value(options).unwrap();
    let spec = InputSpec {
        shape: shape.to_vec(),
        classes: 10,
    };
    (find(MODELS, name).unwrap().build)(&options, &spec)
}

fn message(name: &str, options: Value, shape: &[i64]) -> String {
    build(name, options, shape).err().unwrap().to_string()
}

/// Parameters and buffers that are finite, of one lane if the network has lanes.
fn values(network: &dyn Network) -> (Vec<Tensor>, Vec<Tensor>) {
    let lane = |tensor: Tensor| match network.lanes() {
        true => tensor.unsqueeze(0),
        false => tensor,
    };
    let cpu = (Kind::Float, Device::Cpu);
    let parameters = network.parameters().iter();
    let buffers = network.buffers().iter();
    (
        parameters
            .map(|p| lane(Tensor::full(&p.shape[..], 0.01, cpu)))
            .collect(),
        buffers
            .map(|b| lane(Tensor::full([b.features], f64::from(b.initial), cpu)))
            .collect(),
    )
}

fn forward(network: &dyn Network, shape: &[i64], mode: Mode) -> Tensor {
    let (parameters, buffers) = values(network);
    let lanes = if network.lanes() { &[1][..] } else { &[] };
    let shape = [lanes, shape].concat();
    let input = Tensor::arange(shape.iter().product::<i64>(), (Kind::Float, Device::Cpu));
    network.forward(&parameters, &buffers, &input.sin().view(&shape[..]), mode)
}

#[test]
fn every_model_is_found_by_its_name_and_takes_images_of_28_32_and_64_pixels() {
    for entry in MODELS {
        assert!(std::ptr::eq(find(MODELS, entry.name).unwrap(), entry));
        if entry.name == "hidden-neuron" {
            continue; // It has no classes; its own file tests it.
        }
        for shape in [[1, 28, 28], [3, 32, 32], [3, 64, 64]] {
            let shape = if entry.name == "cnn1d" {
                vec![40]
            } else {
                shape.to_vec()
            };
            let small = match entry.name {
                "mlp" => json!({"hidden": [4]}),
                "lenet-300-100" => json!({}),
                _ => json!({"width": 2}),
            };
            let network = build(entry.name, small, &shape).unwrap();
            for mode in [Mode::Train, Mode::Eval] {
                let logits = forward(network.as_ref(), &[&[3], &shape[..]].concat(), mode);
                let lanes = if network.lanes() { &[1][..] } else { &[] };
                assert_eq!(logits.size(), [lanes, &[3, 10]].concat(), "{}", entry.name);
                assert!(
                    bool::try_from(logits.isfinite().all()).unwrap(),
                    "{}",
                    entry.name
                );
            }
        }
    }
}

#[test]
fn the_schema_documents_every_option_and_its_default() {
    for entry in MODELS {
        let schema = Value::from((entry.schema)());
        assert_eq!(schema["additionalProperties"], false, "{}", entry.name);
        for (option, property) in schema["properties"].as_object().unwrap() {
            assert!(
                property["description"].is_string(),
                "{} {option}",
                entry.name
            );
            assert!(!property["default"].is_null(), "{} {option}", entry.name);
        }
    }
    let width = |name| {
        let schema = Value::from((find(MODELS, name).unwrap().schema)());
        schema["properties"]["width"].clone()
    };
    assert_eq!(width("resnet-20")["default"], 16);
    assert_eq!(width("resnet-18")["default"], 64);
    assert_eq!(width("vgg-16")["minimum"], 1);
}

#[test]
fn an_input_of_the_wrong_rank_or_size_is_refused_with_what_fits() {
    assert_eq!(
        message("resnet-20", json!({}), &[40]),
        "model `resnet-20` cannot take samples of shape [40]: expected [channels, height, width] with a height and a width of at least 4; choose another model or dataset"
    );
    for (name, shape) in [
        ("cnn1d", &[1, 28, 28][..]),
        ("cnn1d", &[]),
        ("resnet-18", &[3, 32, 7]),
        ("vgg-16", &[3, 15, 32]),
        ("vgg-16", &[0, 32, 32]),
        ("mlp", &[]),
        ("lenet-300-100", &[1, 0, 28]),
    ] {
        assert!(
            matches!(build(name, json!({}), shape), Err(ModelError::Input { model, .. }) if model == name),
            "{name} took {shape:?}"
        );
    }
    let spec = InputSpec {
        shape: vec![40],
        classes: 1,
    };
    let one_class = (find(MODELS, "mlp").unwrap().build)(&Options::new(), &spec);
    assert!(matches!(one_class, Err(ModelError::Classes { got: 1, .. })));
}

#[test]
fn options_out_of_range_or_unknown_are_refused_with_the_name_of_the_model() {
    for (name, options) in [
        ("resnet-56", json!({"width": 0})),
        ("mlp", json!({"hidden": [128, 0]})),
        ("vgg-16", json!({"depth": 16})),
        ("lenet-300-100", json!({"init": "zeros"})),
    ] {
        let shape = [3, 32, 32];
        let message = message(name, options, &shape);
        assert!(
            message.starts_with(&format!("options of model `{name}`: ")),
            "{message}"
        );
    }
}

#[test]
fn kaiming_normal_starts_weights_at_the_variance_two_over_fan_in_and_nothing_else() {
    let pytorch = build("resnet-20", json!({}), &[3, 32, 32]).unwrap();
    let kaiming = build("resnet-20", json!({"init": "kaiming-normal"}), &[3, 32, 32]).unwrap();
    let parameters = kaiming.parameters();
    for (got, default) in parameters.iter().zip(pytorch.parameters()) {
        match got.role {
            Role::Weight(_) => assert!(matches!(got.init, Init::Normal(_)), "{}", got.name),
            _ => assert_eq!(got, default),
        }
    }
    // 3 channels by 3x3 pixels, and 64 features.
    assert_eq!(parameters[0].init, Init::Normal((2.0f64 / 27.0).sqrt()));
    let last = parameters.iter().find(|p| p.name == "fc.weight").unwrap();
    assert_eq!(last.init, Init::Normal((2.0f64 / 64.0).sqrt()));
}

#[test]
fn logistic_regression_is_an_mlp_without_hidden_layers() {
    let network = build("mlp", json!({"hidden": []}), &[40]).unwrap();
    let expected = Layer::new("fc1.weight", LayerKind::Linear, [10, 40]);
    assert_eq!(layers(network.as_ref()), [expected]);
    assert_eq!(parameter_count(network.as_ref()), 410);
}

#[test]
fn training_a_batch_norm_on_a_single_sample_fails_instead_of_making_nan() {
    let network = build("mlp", json!({}), &[40]).unwrap();
    let train = || forward(network.as_ref(), &[1, 40], Mode::Train);
    assert!(catch_unwind(AssertUnwindSafe(train)).is_err());
    assert_eq!(
        forward(network.as_ref(), &[1, 40], Mode::Eval).size(),
        [1, 1, 10]
    );
}
