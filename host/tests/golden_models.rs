//! The models compute what the same networks written in PyTorch compute; `golden/make.py` wrote the files.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use host::model::{self, Init, InputSpec, Keys, MODELS, Mode, Network, layers, prunable_count};
use host::registry::{Options, find};
use kernels_native as _;
use plugin_api::LayerKind;
use safetensors::SafeTensors;
use serde_json::Value;
use tch::{Kind, Tensor};

/// Largest difference allowed, relative to max(1, |expected|).
const TOLERANCE: f64 = 1e-5;

/// One file: the network it describes and its tensors.
struct Golden {
    network: Box<dyn Network>,
    tensors: Vec<(String, Tensor)>,
    parameters: Value,
    buffers: Value,
    /// What the host computes in.
    kind: Kind,
}

impl Golden {
    fn read(file: &str, kind: Kind) -> Self {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("tests/golden")
            .join(file)
            .with_extension("safetensors");
        let bytes = std::fs::read(&path).unwrap();
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let metadata = header.metadata().as_ref().unwrap();
        let json = |key: &str| serde_json::from_str::<Value>(&metadata[key]).unwrap();
        let options: Options = serde_json::from_value(json("options")).unwrap();
        let spec = InputSpec {
            shape: serde_json::from_value(json("shape")).unwrap(),
            classes: metadata["classes"].parse().unwrap(),
            ..InputSpec::default()
        };
        let entry = find(MODELS, &metadata["model"]).unwrap();
        Self {
            network: (entry.build)(&options, &spec).unwrap(),
            tensors: Tensor::read_safetensors(&path).unwrap(),
            parameters: json("parameters"),
            buffers: json("buffers"),
            kind,
        }
    }

    fn get(&self, name: &str) -> Tensor {
        let found = self.tensors.iter().find(|(key, _)| key == name);
        let tensor = &found.unwrap_or_else(|| panic!("no tensor `{name}`")).1;
        match tensor.kind() {
            Kind::Float => tensor.to_kind(self.kind),
            _ => tensor.shallow_clone(),
        }
    }

    fn parameter_names(&self) -> Vec<String> {
        let parameters = self.network.parameters().iter();
        parameters.map(|parameter| parameter.name.clone()).collect()
    }

    fn buffer_names(&self) -> Vec<String> {
        let buffers = self.network.buffers().iter();
        buffers.map(|buffer| buffer.name.clone()).collect()
    }

    /// Copies of `prefix.NAME`, with a lane dimension if the network has one.
    fn copies(&self, prefix: &str, names: &[String]) -> Vec<Tensor> {
        let copy = |name: &String| self.lane(&self.get(&format!("{prefix}.{name}"))).copy();
        names.iter().map(copy).collect()
    }

    /// As [`copies`](Self::copies); those of four dimensions are stored channels last if `channels_last`.
    fn stored(&self, prefix: &str, names: &[String], channels_last: bool) -> Vec<Tensor> {
        let mut copies = self.copies(prefix, names);
        for copy in &mut copies {
            if channels_last && copy.dim() == 4 {
                *copy = store_channels_last(copy);
            }
        }
        copies
    }

    /// `tensor` as the only lane, if the network has lanes.
    fn lane(&self, tensor: &Tensor) -> Tensor {
        match self.network.lanes() {
            true => tensor.unsqueeze(0),
            false => tensor.shallow_clone(),
        }
    }
}

/// The same tensor of four dimensions with its channels next to each other in memory.
fn store_channels_last(tensor: &Tensor) -> Tensor {
    let permuted = tensor.permute([0, 2, 3, 1]).contiguous();
    permuted.permute([0, 3, 1, 2])
}

#[track_caller]
fn assert_close(what: &str, got: &Tensor, expected: &Tensor) {
    assert_eq!(got.size(), expected.size(), "{what}");
    let (got, expected) = (got.to_kind(Kind::Double), expected.to_kind(Kind::Double));
    let error = ((got - &expected).abs() / expected.abs().clamp_min(1.0))
        .max()
        .double_value(&[]);
    assert!(
        error <= TOLERANCE,
        "{what} differs by {error:.1e} of max(1, |expected|)"
    );
}

/// Everything in a file, in each memory format that the network wants.
fn check(file: &str) {
    check_in(Kind::Float, file);
}

fn check_in(kind: Kind, file: &str) {
    let golden = Golden::read(file, kind);
    check_description(&golden);
    check_numbers(&golden, false);
    if golden.network.channels_last() {
        check_numbers(&golden, true);
    }
}

/// Names, order, shapes and initial distributions.
fn check_description(golden: &Golden) {
    let network = golden.network.as_ref();

    let expected = golden.parameters.as_array().unwrap();
    assert_eq!(network.parameters().len(), expected.len());
    for (parameter, expected) in network.parameters().iter().zip(expected) {
        assert_eq!(parameter.name, expected["name"]);
        assert_eq!(
            Value::from(parameter.shape.clone()),
            expected["shape"],
            "{}",
            parameter.name
        );
        match &parameter.init {
            Init::Uniform(bound) => {
                let listened = expected["init"]["uniform"].as_f64().unwrap();
                assert!((bound / listened - 1.0).abs() < 1e-12, "{}", parameter.name);
            }
            Init::Constant(value) => {
                assert_eq!(
                    expected["init"]["constant"],
                    f64::from(*value),
                    "{}",
                    parameter.name
                )
            }
            Init::Normal(deviation) => {
                assert_eq!(expected["init"]["normal"], *deviation, "{}", parameter.name);
            }
            other => panic!("`{}` starts as {other:?}", parameter.name),
        }
    }
    let expected = golden.buffers.as_array().unwrap();
    assert_eq!(network.buffers().len(), expected.len());
    for (buffer, expected) in network.buffers().iter().zip(expected) {
        assert_eq!(buffer.name, expected["name"]);
        assert_eq!(Value::from(vec![buffer.features]), expected["shape"]);
        assert_eq!(expected["init"]["constant"], f64::from(buffer.initial));
    }
}

/// Logits in both modes, loss, gradients, running statistics, and the parameters after a step of
/// SGD with weight decay.
fn check_numbers(golden: &Golden, channels_last: bool) {
    let network = golden.network.as_ref();
    let parameter_names = golden.parameter_names();
    let buffer_names = golden.buffer_names();
    let mut parameters = golden.stored("state", &parameter_names, channels_last);
    for parameter in &mut parameters {
        let _ = parameter.requires_grad_(true);
    }
    let buffers = golden.copies("state", &buffer_names);
    let mut input = golden.lane(&golden.get("input"));
    if channels_last {
        input = store_channels_last(&input);
    }

    let logits = tch::no_grad(|| network.forward(&parameters, &buffers, &input, Mode::Eval));
    assert_close(
        "logits.eval",
        &logits,
        &golden.lane(&golden.get("logits.eval")),
    );
    for (name, buffer) in buffer_names.iter().zip(&buffers) {
        let before = golden.lane(&golden.get(&format!("state.{name}")));
        assert_eq!(buffer, &before, "evaluation changed `{name}`");
    }

    let logits = network.forward(&parameters, &buffers, &input, Mode::Train(Keys::NONE));
    assert_close(
        "logits.train",
        &logits,
        &golden.lane(&golden.get("logits.train")),
    );
    let classes = *logits.size().last().unwrap();
    let loss = logits
        .view([-1, classes])
        .cross_entropy_for_logits(&golden.get("labels"));
    assert_close("loss", &loss, &golden.get("loss"));
    loss.backward();
    for (name, buffer) in buffer_names.iter().zip(&buffers) {
        let after = golden.lane(&golden.get(&format!("after.{name}")));
        assert_close(name, buffer, &after);
    }
    for (name, parameter) in parameter_names.iter().zip(&parameters) {
        let gradient = parameter.grad();
        let expected = golden.lane(&golden.get(&format!("grad.{name}")));
        assert_close(&format!("gradient of {name}"), &gradient, &expected);
        let weights = parameter.detach();
        let stepped: Tensor = &weights - (gradient + &weights * 5e-4) * 0.1;
        let expected = golden.lane(&golden.get(&format!("after.{name}")));
        assert_close(&format!("{name} after a step"), &stepped, &expected);
    }
}

#[test]
fn mlp_with_batch_norm_matches_pytorch() {
    check("mlp-batch-norm");
}

#[test]
fn mlp_without_batch_norm_on_images_matches_pytorch() {
    check("mlp-on-images");
}

#[test]
fn cnn1d_matches_pytorch() {
    check("cnn1d");
}

#[test]
fn resnet_20_matches_pytorch() {
    check("resnet-20");
}

#[test]
fn resnet_18_matches_pytorch() {
    check("resnet-18");
}

#[test]
fn resnet_50_matches_pytorch() {
    // Rounding grows over its 53 batch norms: at this width PyTorch's own gradients in fp32 are off
    // by up to 6e-3.
    check_in(Kind::Double, "resnet-50");
}

#[test]
fn vgg_16_matches_pytorch() {
    check("vgg-16");
}

#[test]
fn vit_matches_pytorch() {
    check("vit");
}

#[test]
fn vit_with_the_mean_of_its_patches_matches_pytorch() {
    check("vit-mean");
}

/// The numbers that `golden/make.py` prints.
#[test]
fn models_at_their_usual_sizes_have_as_many_parameters_as_in_pytorch() {
    for (name, shape, parameters, prunable) in [
        ("mlp", vec![40], 23_562, 22_784),
        ("lenet-300-100", vec![1, 28, 28], 266_610, 266_200),
        ("cnn1d", vec![40], 3_322, 3_216),
        ("resnet-20", vec![3, 32, 32], 272_474, 270_896),
        ("resnet-32", vec![3, 32, 32], 466_906, 464_432),
        ("resnet-44", vec![3, 32, 32], 661_338, 657_968),
        ("resnet-56", vec![3, 32, 32], 855_770, 851_504),
        ("resnet-18", vec![3, 32, 32], 11_173_962, 11_164_352),
        ("vgg-16", vec![3, 32, 32], 14_724_042, 14_715_584),
        ("vit", vec![3, 32, 32], 5_489_482, 5_457_792),
    ] {
        let build = find(MODELS, name).unwrap().build;
        let spec = InputSpec {
            shape,
            classes: 10,
            ..InputSpec::default()
        };
        let network = build(&Options::new(), &spec).unwrap();
        let counts = (
            model::parameter_count(network.as_ref()),
            prunable_count(network.as_ref()),
        );
        assert_eq!(counts, (parameters, prunable), "{name}");
    }
}

/// The same numbers as torchvision's networks of these names have, and timm's `deit_tiny_patch16_224`.
#[test]
fn models_for_imagenet_have_as_many_parameters_as_in_pytorch() {
    for (name, parameters, prunable) in [
        ("resnet-18", 11_689_512, 11_678_912),
        ("resnet-34", 21_797_672, 21_779_648),
        ("resnet-50", 25_557_032, 25_502_912),
        ("vit", 5_717_416, 5_647_872),
    ] {
        let mut options = Options::new();
        if name != "vit" {
            options.insert("stem".to_owned(), "imagenet".into());
        }
        let spec = InputSpec {
            shape: vec![3, 224, 224],
            classes: 1000,
            ..InputSpec::default()
        };
        let network = (find(MODELS, name).unwrap().build)(&options, &spec).unwrap();
        let counts = (
            model::parameter_count(network.as_ref()),
            prunable_count(network.as_ref()),
        );
        assert_eq!(counts, (parameters, prunable), "{name}");
    }
}

#[test]
fn the_prunable_layers_are_the_weights_of_convolutions_and_linear_layers_in_order() {
    let golden = Golden::read("resnet-20", Kind::Float);
    let layers = layers(golden.network.as_ref());
    let expected: Vec<String> = golden
        .parameter_names()
        .into_iter()
        .filter(|name| golden.get(&format!("state.{name}")).dim() > 1)
        .collect();
    let names: Vec<&String> = layers.iter().map(|layer| &layer.name).collect();
    assert_eq!(names, expected.iter().collect::<Vec<_>>());
    for layer in &layers {
        let kind = match layer.shape.len() {
            2 => LayerKind::Linear,
            _ => LayerKind::Conv2d,
        };
        assert_eq!(layer.kind, kind, "{}", layer.name);
    }
}
