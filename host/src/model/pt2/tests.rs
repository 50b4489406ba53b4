//! The shipped archives, compared with what PyTorch computes of them (`experiments/networks/make.py`).

use std::collections::BTreeMap;
use std::path::PathBuf;

use plugin_api::LayerKind;
use serde_json::json;

use super::*;
use crate::model::{Connections, Init, Keys, Operation, Role, StepKey, layers};
use crate::rng::Moment;
use crate::rng::Stream;
use crate::store::read_tensors;

const NETWORKS: [&str; 4] = ["mlp", "narrow-resnet", "mobilenet", "vit"];

fn file(name: &str) -> PathBuf {
    let top = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    PathBuf::from(format!("{top}/experiments/networks/{name}.pt2"))
}

fn shape(name: &str) -> Vec<i64> {
    match name {
        "mlp" => vec![40],
        _ => vec![1, 28, 28],
    }
}

fn build_with(name: &str, options: serde_json::Value) -> Result<Box<dyn Network>, ModelError> {
    let mut options = options.as_object().unwrap().clone();
    options.insert("file".to_owned(), json!(file(name)));
    let spec = InputSpec {
        shape: shape(name),
        classes: 10,
        ..InputSpec::default()
    };
    build(&options, &spec)
}

fn network(name: &str) -> Box<dyn Network> {
    build_with(name, json!({})).unwrap()
}

fn golden(name: &str) -> BTreeMap<String, Tensor> {
    let top = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let path = PathBuf::from(format!("{top}/tests/models/golden/{name}.safetensors"));
    read_tensors(&path).unwrap().into_iter().collect()
}

/// The values that the network starts with, as the trainer has them.
fn start(network: &dyn Network, kind: Kind) -> (Vec<Tensor>, Vec<Tensor>) {
    let mut stream = Stream::new(0, Purpose::Init("w"), Moment::default());
    let parameters = network.parameters().iter().map(|it| {
        let count = it.shape.iter().product::<i64>() as usize;
        let values = Tensor::from_slice(&it.init.draw(count, &mut stream));
        let mut tensor = values.view(&it.shape[..]).to_kind(kind);
        if network.channels_last() && tensor.dim() == 4 {
            let last = tensor.permute([0, 2, 3, 1]).contiguous();
            tensor = last.permute([0, 3, 1, 2]);
        }
        tensor.set_requires_grad(true)
    });
    let buffers = network.buffers().iter().map(|it| {
        let values = it.values.as_ref().unwrap();
        Tensor::from_slice(values).to_kind(kind)
    });
    (parameters.collect(), buffers.collect())
}

fn key(step: u64) -> StepKey {
    StepKey {
        seed: 3,
        moment: Moment {
            level: 1,
            epoch: 0,
            step,
        },
        shard: None,
    }
}

/// The largest difference as a share of the largest value.
fn error(got: &Tensor, expected: &Tensor) -> f64 {
    let most = |it: Tensor| it.abs().max().to_kind(Kind::Double).double_value(&[]);
    most(got.to_kind(Kind::Double) - expected) / most(expected.shallow_clone()).max(1e-6)
}

#[test]
fn logits_gradients_and_running_statistics_are_pytorchs() {
    for name in NETWORKS {
        let (network, golden) = (network(name), golden(name));
        for (kind, near) in [(Kind::Float, 1e-5), (Kind::Double, 1e-6)] {
            let (parameters, buffers) = start(&*network, kind);
            let input = golden["input"].to_kind(kind);
            let eval = network.forward(&parameters, &buffers, &input, Mode::Eval);
            let off = error(&eval, &golden["logits.eval"]);
            assert!(off < near, "{name} in evaluation, {kind:?}: {off}");
            let logits = network.forward(&parameters, &buffers, &input, Mode::Train(Keys::NONE));
            let off = error(&logits, &golden["logits.train"]);
            assert!(off < 2.0 * near, "{name} in training, {kind:?}: {off}");
            let loss = logits.square().mean(kind);
            let slopes = Tensor::run_backward(&[loss], &parameters, false, false);
            for (parameter, slope) in network.parameters().iter().zip(slopes) {
                let expected = &golden[&format!("grad.{}", parameter.name)];
                // Biases before a batch norm have none but for rounding.
                let most = expected.abs().max().double_value(&[]);
                let off = (slope - expected).abs().max().double_value(&[]);
                assert!(
                    off <= 1e-4 * most + 1e-6,
                    "{name} {}: {off} of {most}",
                    parameter.name
                );
            }
            for (buffer, tensor) in network.buffers().iter().zip(&buffers) {
                let off = error(tensor, &golden[&format!("after.{}", buffer.name)]);
                assert!(off < 1e-5, "{name} {}: {off}", buffer.name);
            }
        }
    }
}

#[test]
fn a_pass_follows_from_its_key_and_leaves_nothing_behind() {
    let vit = network("vit");
    assert!(vit.drops_out() && !network("mlp").drops_out());
    let (parameters, buffers) = start(&*vit, Kind::Float);
    let input = golden("vit")["input"].shallow_clone();
    let logits = |mode: Mode<'_>| vit.forward(&parameters, &buffers, &input, mode);
    // Other tests may draw from libtorch's generator at the same time, which a program never does.
    let is_same = (0..20).any(|_| {
        let first = logits(Mode::Train(Keys::of(&[key(1)])));
        let _ = logits(Mode::Train(Keys::of(&[key(2)])));
        first == logits(Mode::Train(Keys::of(&[key(1)])))
    });
    assert!(is_same);
    let first = logits(Mode::Train(Keys::of(&[key(1)])));
    assert_ne!(first, logits(Mode::Train(Keys::of(&[key(2)]))));
    assert_ne!(first, logits(Mode::Train(Keys::NONE)));
    assert_eq!(
        logits(Mode::Train(Keys::NONE)),
        logits(Mode::Train(Keys::NONE))
    );
    assert_eq!(logits(Mode::Eval), logits(Mode::Eval));
}

#[test]
fn evaluation_changes_no_running_statistic_and_neither_its_input() {
    for name in NETWORKS {
        let network = network(name);
        let (parameters, buffers) = start(&*network, Kind::Float);
        let before: Vec<Tensor> = buffers.iter().map(Tensor::copy).collect();
        let input = golden(name)["input"].copy();
        let _ = network.forward(&parameters, &buffers, &input, Mode::Eval);
        assert_eq!(buffers, before, "{name}");
        let _ = network.forward(
            &parameters,
            &buffers,
            &input,
            Mode::Train(Keys::of(&[key(1)])),
        );
        assert!(input.equal(&golden(name)["input"]), "{name}");
    }
}

#[test]
fn weights_of_layers_are_prunable_and_nothing_else_is() {
    let prunable = |name: &str| -> Vec<(String, LayerKind)> {
        let layers = layers(&*network(name)).into_iter();
        layers.map(|it| (it.name, it.kind)).collect()
    };
    for name in NETWORKS {
        let network = network(name);
        for parameter in network.parameters() {
            let is_layer = parameter.name.ends_with("weight") && parameter.shape.len() >= 2;
            let is_prunable = matches!(parameter.role, Role::Weight(_));
            assert_eq!(is_prunable, is_layer, "{name} {}", parameter.name);
            let is_norm = matches!(parameter.role, Role::NormWeight | Role::NormBias);
            let names_norm = ["norm", "bn"].iter().any(|it| parameter.name.contains(it));
            assert!(is_norm || !names_norm, "{name} {}", parameter.name);
        }
    }
    let mlp = prunable("mlp");
    let linear = |name: &str| (format!("{name}.weight"), LayerKind::Linear);
    assert_eq!(mlp, [linear("0"), linear("3"), linear("6")]);
    let role = |name: &str| {
        let vit = network("vit");
        let found = vit.parameters().iter().find(|it| it.name == name);
        found.unwrap().role
    };
    assert_eq!(role("class_token"), Role::FixedWeight);
    assert_eq!(role("positions"), Role::FixedWeight);
    assert_eq!(role("patches.weight"), Role::Weight(LayerKind::Conv2d));
    assert_eq!(role("patches.bias"), Role::Bias);
    assert_eq!(role("norm.weight"), Role::NormWeight);
}

#[test]
fn a_start_by_seed_has_the_bounds_of_each_layers_inputs() {
    let vit = build_with("vit", json!({"init": "pytorch"})).unwrap();
    let init = |network: &dyn Network, name: &str| {
        let found = network.parameters().iter().find(|it| it.name == name);
        found.unwrap().init.clone()
    };
    let bound = |fan_in: f64| Init::Uniform(1.0 / fan_in.sqrt());
    assert_eq!(init(&*vit, "patches.weight"), bound(49.0));
    assert_eq!(init(&*vit, "patches.bias"), bound(49.0));
    assert_eq!(init(&*vit, "blocks.0.attention.qkv.weight"), bound(32.0));
    assert_eq!(init(&*vit, "norm.weight"), Init::Constant(1.0));
    assert_eq!(init(&*vit, "norm.bias"), Init::Constant(0.0));
    assert!(matches!(init(&*vit, "class_token"), Init::Values(_)));
    let mobile = build_with("mobilenet", json!({"init": "kaiming-normal"})).unwrap();
    for parameter in mobile.parameters() {
        if matches!(parameter.role, Role::Weight(_)) {
            // Of grouped convolutions, the inputs of one group.
            let fan_in = parameter.shape[1..].iter().product::<i64>() as f64;
            assert_eq!(parameter.init, Init::Normal((2.0 / fan_in).sqrt()));
        }
    }
    for buffer in mobile.buffers() {
        assert_eq!(buffer.values, None, "{}", buffer.name);
        let is_mean = buffer.name.ends_with("mean");
        assert_eq!(buffer.initial, if is_mean { 0.0 } else { 1.0 });
    }
}

#[test]
fn what_is_understood_of_a_graph_computes_the_same() {
    for name in ["mlp", "narrow-resnet"] {
        let network = network(name);
        assert!(network.graph().opaque().is_empty(), "{name}");
        let (parameters, buffers) = start(&*network, Kind::Float);
        let names = network.parameters().iter().map(|it| &it.name);
        let names = names.chain(network.buffers().iter().map(|it| &it.name));
        let tensors = parameters.iter().chain(&buffers).map(Tensor::detach);
        let model = crate::export::Model {
            graph: network.graph(),
            tensors: names.cloned().zip(tensors).collect(),
            held: BTreeMap::new(),
            prunable: Vec::new(),
            input_shape: shape(name),
            outputs: 10,
            metadata: BTreeMap::new(),
        };
        let golden = golden(name);
        let got = crate::export::testing_forward(&model, &golden["input"]);
        let off = error(&got, &golden["logits.eval"]);
        assert!(off < 1e-5, "{name}: {off}");
    }
}

#[test]
fn before_what_is_not_understood_every_survivor_counts() {
    let vit = network("vit");
    let graph = vit.graph();
    assert!(
        graph.opaque().contains(&"aten.layer_norm"),
        "{:?}",
        graph.opaque()
    );
    let layers = graph
        .operations()
        .filter(|(_, it)| matches!(it, Operation::Linear { .. }));
    // The head stands behind walls, and nothing stands between it and the output.
    let pruned = |parameters: &[Parameter], at: usize| {
        let shape = &parameters[at].shape[..];
        Tensor::zeros(shape, (Kind::Float, Device::Cpu)).bernoulli_float_(0.3)
    };
    let masks: Vec<Tensor> = (0..vit.parameters().len())
        .map(|at| pruned(vit.parameters(), at))
        .collect();
    let connections = Connections::of(&graph, vit.parameters());
    let effective = connections.effective(|at| masks[at].shallow_clone());
    assert_eq!(effective.len(), layers.count() + 1);
    for (at, on_path) in effective {
        assert!(
            on_path.equal(&masks[at].ne(0.0)),
            "{}",
            vit.parameters()[at].name
        );
    }
}

#[test]
fn networks_of_tokens_take_whole_numbers_and_give_pytorchs_logits() {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/arrays"));
    let golden = read_tensors(&folder.join("logits.safetensors")).unwrap();
    let golden: BTreeMap<String, Tensor> = golden.into_iter().collect();
    for (name, classes, target_shape) in [("tokens", 3, vec![]), ("positions", 11, vec![5])] {
        let options = json!({"file": folder.join(format!("{name}.pt2"))});
        let options = options.as_object().unwrap();
        let tokens = InputSpec {
            shape: vec![5],
            classes,
            input_type: InputType::Tokens,
            target_shape,
            ..InputSpec::default()
        };
        let network = build(options, &tokens).unwrap();
        for kind in [Kind::Float, Kind::Double] {
            let (parameters, buffers) = start(&*network, kind);
            let got = network.forward(&parameters, &buffers, &golden["input"], Mode::Eval);
            assert_eq!((got.kind(), got.size()), (kind, golden[name].size()));
            let error = (got - &golden[name]).abs().max().double_value(&[]);
            assert!(error < 1e-6, "{name} {kind:?}: {error}");
        }
        let numbers = InputSpec {
            input_type: InputType::Numbers,
            ..tokens.clone()
        };
        let said = build(options, &numbers).err().unwrap().to_string();
        assert!(
            said.contains("its input is int64, expected float32"),
            "{said}"
        );
        let other = InputSpec {
            target_shape: vec![7],
            ..tokens
        };
        let said = build(options, &other).err().unwrap().to_string();
        assert!(
            said.contains(&format!("expected [{classes}, 7], a number")),
            "{said}"
        );
    }
    let mut options = json!({}).as_object().unwrap().clone();
    options.insert("file".to_owned(), json!(file("mlp")));
    let spec = InputSpec {
        shape: vec![40],
        classes: 10,
        input_type: InputType::Tokens,
        ..InputSpec::default()
    };
    let said = build(&options, &spec).err().unwrap().to_string();
    assert!(
        said.contains("its input is float32, expected int64"),
        "{said}"
    );
}

#[test]
fn what_does_not_fit_is_refused_with_what_would() {
    let message = |name: &str, shape: &[i64], classes, options: serde_json::Value| {
        let mut options = options.as_object().unwrap().clone();
        options.insert("file".to_owned(), json!(file(name)));
        let shape = shape.to_vec();
        let refused = build(
            &options,
            &InputSpec {
                shape,
                classes,
                ..InputSpec::default()
            },
        );
        refused.err().unwrap().to_string()
    };
    let got = message("mlp", &[41], 10, json!({}));
    assert!(got.contains("shape [41]: expected [40]"), "{got}");
    let got = message("mlp", &[40], 7, json!({}));
    assert!(
        got.contains("has 10 outputs, the dataset has 7 classes"),
        "{got}"
    );
    let got = message("mlp", &[40], 10, json!({"blake3": "12ab"}));
    assert!(
        got.contains("its BLAKE3 is") && got.contains("12ab"),
        "{got}"
    );
    let got = message("nowhere", &[40], 10, json!({}));
    assert!(got.contains("nowhere.pt2: failed to read it"), "{got}");
}

#[test]
fn an_output_layer_is_drawn_anew_for_as_many_classes_as_there_are() {
    for (name, head) in [
        ("mlp", ["6.weight", "6.bias"]),
        ("vit", ["head.weight", "head.bias"]),
        ("mobilenet", ["classifier.1.weight", "classifier.1.bias"]),
        ("narrow-resnet", ["fc.weight", "fc.bias"]),
    ] {
        for classes in [7, 10] {
            let mut options = json!({"replace_head": true}).as_object().unwrap().clone();
            options.insert("file".to_owned(), json!(file(name)));
            let spec = InputSpec {
                shape: shape(name),
                classes,
                ..InputSpec::default()
            };
            let network = build(&options, &spec).unwrap();
            let own = network.head();
            let names: Vec<&str> = (own.iter())
                .map(|&at| network.parameters()[at].name.as_str())
                .collect();
            assert_eq!(names, head);
            for (at, parameter) in network.parameters().iter().enumerate() {
                let is_drawn = !matches!(parameter.init, Init::Values(_));
                assert_eq!(is_drawn, own.contains(&at), "{name} {}", parameter.name);
                if is_drawn {
                    let weight = &network.parameters()[own[0]];
                    assert_eq!(parameter.shape[0], classes);
                    let bound = 1.0 / (weight.shape[1] as f64).sqrt();
                    assert_eq!(parameter.init, Init::Uniform(bound));
                }
            }
            let (parameters, buffers) = start(&*network, Kind::Float);
            let input = golden(name)["input"].shallow_clone();
            for mode in [Mode::Eval, Mode::Train(Keys::of(&[key(1)]))] {
                let logits = network.forward(&parameters, &buffers, &input, mode);
                assert_eq!(logits.size(), [3, classes], "{name}");
                let slopes =
                    Tensor::run_backward(&[logits.sum(Kind::Float)], &parameters, false, false);
                assert_eq!(slopes[own[0]].size()[0], classes);
            }
        }
    }
}

#[test]
fn what_is_named_is_drawn_anew_if_there_is_a_rule_for_it() {
    let named =
        |name: &str, names: serde_json::Value| build_with(name, json!({"replace_head": names}));
    let vit = named("vit", json!(["head", "blocks.1.mlp.*"])).unwrap();
    for parameter in vit.parameters() {
        let is_drawn = !matches!(parameter.init, Init::Values(_));
        let is_named = ["head.", "blocks.1.mlp."]
            .iter()
            .any(|it| parameter.name.starts_with(it));
        assert_eq!(is_drawn, is_named, "{}", parameter.name);
    }
    let fails = |name: &str, names| named(name, names).err().unwrap().to_string();
    let got = fails("vit", json!(["class_token"]));
    assert!(got.contains("`class_token` is to be drawn anew"), "{got}");
    let got = fails("vit", json!(["haed"]));
    assert!(
        got.contains("`haed`") && got.contains("head.weight"),
        "{got}"
    );
    // Running statistics start as those of a new layer.
    let resnet = named("narrow-resnet", json!(["bn1"])).unwrap();
    for buffer in resnet.buffers() {
        assert_eq!(
            buffer.values.is_none(),
            buffer.name.starts_with("bn1."),
            "{}",
            buffer.name
        );
    }
}

#[test]
fn products_are_those_of_the_layers_and_of_attention() {
    let all = |name: &str| -> BTreeMap<Option<String>, u64> {
        let mut all = BTreeMap::new();
        for (held, count) in network(name).multiply_adds(&shape(name)) {
            *all.entry(held).or_insert(0) += count;
        }
        all
    };
    let of = |all: &BTreeMap<Option<String>, u64>, name: &str| all[&Some(format!("{name}.weight"))];
    let mlp = all("mlp");
    assert_eq!(
        (of(&mlp, "0"), of(&mlp, "3"), of(&mlp, "6")),
        (4000, 10_000, 1000)
    );
    assert_eq!(mlp.len(), 3);
    // Sixteen patches of 7x7, and a class token: 17 places of width 32, two heads of 16.
    let vit = all("vit");
    assert_eq!(of(&vit, "patches"), 16 * 49 * 32);
    assert_eq!(of(&vit, "blocks.0.attention.qkv"), 17 * 32 * 96);
    assert_eq!(of(&vit, "blocks.1.mlp.2"), 17 * 64 * 32);
    assert_eq!(of(&vit, "head"), 32 * 10);
    assert_eq!(vit[&None], 2 * 2 * (17 * 17 * 16) * 2);
    // A convolution of each channel by itself has the inputs of one.
    let mobile = all("mobilenet");
    assert_eq!(of(&mobile, "stem.0"), 14 * 14 * 9 * 8);
    assert_eq!(of(&mobile, "blocks.0.0"), 14 * 14 * 9 * 8);
    assert_eq!(of(&mobile, "blocks.0.3"), 14 * 14 * 8 * 16);
}
