//! What holds for every model.

use std::panic::{AssertUnwindSafe, catch_unwind};

use plugin_api::LayerKind;
use serde_json::{Value, json};
use tch::{Device, Kind};

use super::*;
use crate::registry::find;
use crate::rng::{Moment, Purpose, Stream};
use crate::samples::{InputType, Task};

fn build(name: &str, options: Value, shape: &[i64]) -> Result<Box<dyn Network>, ModelError> {
    let options: Options = serde_json::from_value(options).unwrap();
    let spec = InputSpec {
        shape: shape.to_vec(),
        classes: 10,
        ..InputSpec::default()
    };
    (find(MODELS, name).unwrap().build)(&options, &spec)
}

/// A network that can be built, by its options as text.
pub(super) fn built(name: &str, options: &str, shape: &[i64]) -> Box<dyn Network> {
    let options: Value = serde_json::from_str(options).unwrap();
    let spec = InputSpec {
        shape: shape.to_vec(),
        classes: if name == "hidden-neuron" { 1 } else { 10 },
        ..InputSpec::default()
    };
    (find(MODELS, name).unwrap().build)(options.as_object().unwrap(), &spec).unwrap()
}

/// The models that classify images or signals; the hidden neuron, which does not, and imported networks, which
/// are files, have their own tests.
fn classifiers() -> impl Iterator<Item = &'static Entry<Build>> {
    MODELS
        .iter()
        .filter(|entry| !["hidden-neuron", "pt2"].contains(&entry.name))
}

fn message(name: &str, options: Value, shape: &[i64]) -> String {
    build(name, options, shape).err().unwrap().to_string()
}

/// Parameters, no two of a layer alike, and buffers that are finite, of one lane if the network has lanes.
fn values(network: &dyn Network) -> (Vec<Tensor>, Vec<Tensor>) {
    let lane = |tensor: Tensor| match network.lanes() {
        true => tensor.unsqueeze(0),
        false => tensor,
    };
    let cpu = (Kind::Float, Device::Cpu);
    let parameters = network.parameters().iter();
    let buffers = network.buffers().iter();
    let positive = |shape: &[i64]| {
        let places = Tensor::arange(shape.iter().product::<i64>(), cpu);
        (places.sin() * 0.005 + 0.01).view(shape)
    };
    (
        parameters.map(|p| lane(positive(&p.shape))).collect(),
        buffers
            .map(|b| lane(Tensor::full([b.features], f64::from(b.initial), cpu)))
            .collect(),
    )
}

fn forward(network: &dyn Network, shape: &[i64], mode: Mode<'_>) -> Tensor {
    let (parameters, buffers) = values(network);
    let lanes = if network.lanes() { &[1][..] } else { &[] };
    let shape = [lanes, shape].concat();
    let input = Tensor::arange(shape.iter().product::<i64>(), (Kind::Float, Device::Cpu));
    network.forward(&parameters, &buffers, &input.sin().view(&shape[..]), mode)
}

#[test]
fn at_their_survivors_networks_compute_what_they_do_with_all_weights() {
    let mut seen = 0;
    for entry in classifiers() {
        let network = build(entry.name, json!({"width": 4}), &[3, 32, 32]);
        let Some(network) = network.ok().filter(|it| it.computes_at_survivors()) else {
            continue;
        };
        seen += 1;
        let cpu = (Kind::Float, Device::Cpu);
        tch::manual_seed(5);
        let mut parameters: Vec<Tensor> = (network.parameters().iter())
            .map(|p| Tensor::randn(&p.shape[..], cpu) * 0.3)
            .collect();
        let mut taps: Vec<Option<Taps>> = parameters.iter().map(|_| None).collect();
        let graph = network.graph();
        for (layer, stride, padding) in graph.convolutions() {
            let name = format!("{layer}.weight");
            let at = network.parameters().iter().position(|p| p.name == name);
            let weight = &mut parameters[at.unwrap()];
            let mask = Tensor::rand(weight.size(), cpu)
                .lt(0.3)
                .to_kind(Kind::Float);
            *weight *= &mask;
            taps[at.unwrap()] = Some(Taps::of(&mask, stride, padding).unwrap());
        }
        let four = network.parameters().iter().filter(|p| p.shape.len() == 4);
        assert_eq!(taps.iter().flatten().count(), four.count());
        let input = Tensor::randn([6, 3, 32, 32], cpu);
        for mode in [Mode::Train(Keys::NONE), Mode::Eval] {
            let fresh = || values(&*network).1;
            let (one, other) = (fresh(), fresh());
            let dense = network.forward(&parameters, &one, &input, mode);
            let sparse = network.forward_at_survivors(&parameters, &other, &input, mode, &taps);
            let near = |a: &Tensor, b: &Tensor| {
                let scale = a.abs().max().double_value(&[]);
                let error = (a - b).abs().max().double_value(&[]);
                assert!(
                    error < 1e-3 * (1.0 + scale),
                    "{}: {error} of {scale}",
                    entry.name
                );
            };
            near(&dense, &sparse);
            one.iter().zip(&other).for_each(|(a, b)| near(a, b));
        }
    }
    assert!(seen >= 6, "{seen} networks");
}

#[test]
fn every_model_is_found_by_its_name_and_takes_images_of_28_32_and_64_pixels() {
    for entry in classifiers() {
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
                "resnet-50" => json!({"width": 2, "stem": "cifar"}),
                "vit" => json!({"patch": 4, "width": 6, "depth": 2}),
                _ => json!({"width": 2}),
            };
            let network = build(entry.name, small, &shape).unwrap();
            for mode in [Mode::Train(Keys::NONE), Mode::Eval] {
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
            let required = (entry.name, option.as_str()) == ("pt2", "file");
            assert!(
                required || !property["default"].is_null(),
                "{} {option}",
                entry.name
            );
        }
    }
    let width = |name| {
        let schema = Value::from((find(MODELS, name).unwrap().schema)());
        schema["properties"]["width"].clone()
    };
    assert_eq!(width("resnet-20")["default"], 16);
    assert_eq!(width("resnet-18")["default"], 64);
    assert_eq!(width("vgg-16")["minimum"], 1);
    let stem = |name| {
        let schema = Value::from((find(MODELS, name).unwrap().schema)());
        schema["properties"]["stem"]["default"].clone()
    };
    assert_eq!(stem("resnet-34"), "cifar");
    assert_eq!(stem("resnet-50"), "imagenet");
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
        ("resnet-34", &[40]),
        ("resnet-50", &[3, 31, 224]),
        ("vgg-16", &[3, 15, 32]),
        ("vgg-16", &[0, 32, 32]),
        ("vit", &[40]),
        ("vit", &[0, 32, 32]),
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
        ..InputSpec::default()
    };
    let one_class = (find(MODELS, "mlp").unwrap().build)(&Options::new(), &spec);
    assert!(matches!(one_class, Err(ModelError::Classes { got: 1, .. })));
    // A target that is a number takes one output.
    let number = InputSpec {
        task: Task::Numbers,
        ..spec.clone()
    };
    (find(MODELS, "mlp").unwrap().build)(&Options::new(), &number).unwrap();
    let tokens = InputSpec {
        classes: 10,
        input_type: InputType::Tokens,
        ..spec.clone()
    };
    let positions = InputSpec {
        classes: 10,
        target_shape: vec![40],
        ..spec
    };
    for name in ["mlp", "lenet-300-100", "cnn1d"] {
        let build = find(MODELS, name).unwrap().build;
        let said = build(&Options::new(), &tokens).err().unwrap().to_string();
        assert!(
            said.contains("stand for tokens") && said.contains("pt2"),
            "{said}"
        );
        let said = build(&Options::new(), &positions)
            .err()
            .unwrap()
            .to_string();
        assert!(said.contains("targets of shape [40]"), "{said}");
    }
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
fn the_last_norm_of_each_block_starts_at_zero_where_the_experiment_asks_for_it() {
    for (name, last, blocks) in [("resnet-18", "bn2", 8), ("resnet-50", "bn3", 16)] {
        let zero = json!({"width": 2, "stem": "imagenet", "zero_init_residual": true});
        let network = build(name, zero, &[3, 32, 32]).unwrap();
        let plain = json!({"width": 2, "stem": "imagenet"});
        let plain = build(name, plain, &[3, 32, 32]).unwrap();
        let mut changed = Vec::new();
        for (got, default) in network.parameters().iter().zip(plain.parameters()) {
            if got != default {
                assert_eq!(got.init, Init::Constant(0.0));
                changed.push(got.name.clone());
            }
        }
        assert_eq!(changed.len(), blocks, "{name}");
        let end = format!(".{last}.weight");
        assert!(
            changed.iter().all(|name| name.ends_with(&end)),
            "{changed:?}"
        );
    }
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
    let train = || forward(network.as_ref(), &[1, 40], Mode::Train(Keys::NONE));
    assert!(catch_unwind(AssertUnwindSafe(train)).is_err());
    assert_eq!(
        forward(network.as_ref(), &[1, 40], Mode::Eval).size(),
        [1, 1, 10]
    );
}

/// Gives every weight 1 where a mask survives, and everything else what makes batch norms nearly the
/// identity: then an output is the number of paths that lead to it, and a gradient the number of
/// paths through a weight.
fn count_paths(network: &dyn Network, shape: &[i64], masks: &[Tensor]) -> Vec<Tensor> {
    let lane = |tensor: Tensor| match network.lanes() {
        true => tensor.unsqueeze(0),
        false => tensor,
    };
    let cpu = (Kind::Float, Device::Cpu);
    let parameter = |(i, parameter): (usize, &Parameter)| {
        let shape = &parameter.shape[..];
        let value = match parameter.role {
            Role::Weight(_) | Role::FixedWeight => masks[i].shallow_clone(),
            Role::NormWeight => Tensor::ones(shape, cpu),
            Role::Bias | Role::NormBias => Tensor::zeros(shape, cpu),
        };
        lane(value).set_requires_grad(true)
    };
    let parameters: Vec<Tensor> = network
        .parameters()
        .iter()
        .enumerate()
        .map(parameter)
        .collect();
    let (_, buffers) = values(network);
    let lanes = if network.lanes() { &[1, 2][..] } else { &[2] };
    let input = Tensor::ones([lanes, shape].concat(), cpu);
    let output = network.forward(&parameters, &buffers, &input, Mode::Eval);
    Tensor::run_backward(&[output.sum(Kind::Float)], &parameters, false, false)
}

/// A mask that connects two units with this probability, then with the kernel's centre and some of the
/// rest. With the centre a channel that is reached at all is so at every pixel, also at the border.
fn random_links(parameter: &Parameter, seed: u64, density: f64) -> Tensor {
    let mut stream = Stream::new(seed, Purpose::Init(&parameter.name), Moment::default());
    let mut draw = |probability: f64| f64::from(stream.uniform()) < probability;
    let shape = &parameter.shape[..];
    let kernel = shape.iter().skip(2).product::<i64>();
    let links = shape.iter().take(2).product::<i64>();
    let mut values = Vec::new();
    for _ in 0..links {
        let linked = draw(density);
        values.extend((0..kernel).map(|tap| {
            let kept = linked && (tap == kernel / 2 || draw(0.3));
            f32::from(u8::from(kept))
        }));
    }
    Tensor::from_slice(&values).view(shape)
}

#[test]
fn effective_weights_are_those_with_a_gradient_where_every_surviving_weight_is_one() {
    for (name, options, shape, density) in [
        ("mlp", json!({"hidden": [12, 9, 7]}), &[3, 4, 4][..], 0.08),
        ("lenet-300-100", json!({}), &[28], 0.005),
        ("cnn1d", json!({"width": 6}), &[40], 0.15),
        ("resnet-20", json!({"width": 3}), &[3, 32, 32], 0.1),
        ("resnet-56", json!({"width": 2}), &[3, 32, 32], 0.3),
        ("resnet-18", json!({"width": 3}), &[3, 32, 32], 0.08),
        ("vgg-16", json!({"width": 3}), &[3, 64, 64], 0.3),
    ] {
        let network = build(name, options, shape).unwrap();
        let (mut survivors, mut effective) = (0, 0);
        for seed in 0..4 {
            let mask = |parameter: &Parameter| random_links(parameter, seed, density);
            let masks: Vec<Tensor> = network.parameters().iter().map(mask).collect();
            let gradients = count_paths(&*network, shape, &masks);
            let found = Connections::of(&network.graph(), network.parameters())
                .effective(|i| masks[i].shallow_clone());
            let weights = network.parameters().iter().enumerate();
            let weights = weights.filter(|(_, it)| matches!(it.role, Role::Weight(_)));
            for (i, parameter) in weights {
                let mask = masks[i].ne(0.0);
                let on_path = gradients[i].view_as(&mask).ne(0.0).logical_and(&mask);
                // Of equal maxima only the first passes its gradient on, and a kernel's weight may
                // see nothing but padding there.
                let expected = match name {
                    "vgg-16" => on_path.logical_and(&found[&i]),
                    _ => found[&i].shallow_clone(),
                };
                assert!(on_path.equal(&expected), "{name}, {}", parameter.name);
                survivors += mask.sum(Kind::Int64).int64_value(&[]);
                effective += found[&i].sum(Kind::Int64).int64_value(&[]);
            }
        }
        assert!(
            0 < effective && effective < survivors,
            "{name}: {effective} of {survivors}"
        );
    }
}

#[test]
fn every_weight_of_an_unpruned_network_is_effective() {
    for entry in classifiers() {
        let shape: &[i64] = if entry.name == "cnn1d" {
            &[40]
        } else {
            &[3, 32, 32]
        };
        let network = build(entry.name, json!({}), shape).unwrap();
        let parameters = network.parameters();
        let ones = |i: usize| Tensor::ones(&parameters[i].shape[..], (Kind::Float, Device::Cpu));
        let effective = Connections::of(&network.graph(), parameters).effective(ones);
        let layers = layers(&*network);
        assert_eq!(effective.len(), layers.len(), "{}", entry.name);
        for on_path in effective.values() {
            assert!(on_path.all().int64_value(&[]) == 1, "{}", entry.name);
        }
    }
}

/// A training step's logits; keys are of one lane.
fn step(network: &dyn Network, shape: &[i64], keys: &[StepKey]) -> Tensor {
    forward(
        network,
        &[&[6], shape].concat(),
        Mode::Train(Keys::of(keys)),
    )
}

#[test]
fn every_classifier_drops_out_in_training_alone_and_not_unless_it_is_asked_to() {
    let key = StepKey {
        seed: 1,
        moment: Moment::default(),
        shard: None,
    };
    for entry in classifiers() {
        let shape: &[i64] = match entry.name {
            "cnn1d" => &[40],
            _ => &[3, 32, 32],
        };
        let plain = build(entry.name, json!({}), shape).unwrap();
        let dropping = build(entry.name, json!({"dropout": 0.5}), shape).unwrap();
        let eval = |network: &dyn Network| forward(network, &[&[6], shape].concat(), Mode::Eval);
        let name = entry.name;
        assert_eq!(plain.parameters(), dropping.parameters(), "{name}");
        assert_eq!(eval(&*plain), eval(&*dropping), "{name}");
        let without = step(&*plain, shape, &[]);
        assert_eq!(step(&*plain, shape, &[key]), without, "{name}");
        assert_eq!(step(&*dropping, shape, &[]), without, "{name}");
        let with = step(&*dropping, shape, &[key]);
        assert_ne!(with, without, "{name}");
        assert_eq!(step(&*dropping, shape, &[key]), with, "{name}");
    }
}

#[test]
fn an_mlp_drops_the_activations_of_each_hidden_layer_before_the_next_reads_them() {
    let options = json!({"hidden": [9, 8], "batch_norm": false, "dropout": 0.25});
    let network = build("mlp", options, &[5]).unwrap();
    let key = StepKey {
        seed: 7,
        moment: Moment {
            level: 1,
            epoch: 2,
            step: 30,
        },
        shard: None,
    };
    let draw = |parameter: &Parameter| {
        let mut stream = Stream::new(0, Purpose::Init(&parameter.name), Moment::default());
        let count = parameter.shape.iter().product::<i64>() as usize;
        let values = parameter.init.draw(count, &mut stream);
        Tensor::from_slice(&values).view(&parameter.shape[..])
    };
    let weights: Vec<Tensor> = network.parameters().iter().map(draw).collect();
    let lanes: Vec<Tensor> = weights.iter().map(|it| it.unsqueeze(0)).collect();
    let input = Tensor::arange(30, (Kind::Float, Device::Cpu))
        .sin()
        .view([1, 6, 5]);
    let got = network.forward(&lanes, &[], &input, Mode::Train(Keys::of(&[key])));
    let mut x = input.squeeze_dim(0);
    for (layer, reads) in [(0, "fc2"), (1, "fc3")] {
        x = x
            .linear(&weights[2 * layer], Some(&weights[2 * layer + 1]))
            .relu();
        // Unit by unit, then sample by sample.
        let mut kept = vec![0.0; x.numel()];
        Stream::new(7, Purpose::Dropout(reads), key.moment).coins(0.75, &mut kept);
        assert!(kept.contains(&0.0));
        let kept = Tensor::from_slice(&kept).view([x.size()[1], 6]);
        x = x * kept.tr() / 0.75;
    }
    let expected = x.linear(&weights[4], Some(&weights[5])).unsqueeze(0);
    assert!((got - expected).abs().max().double_value(&[]) < 1e-6);
}
