//! Models with random weights, for tests.

use std::collections::BTreeMap;

use serde_json::Value;
use tch::{Device, Kind, Tensor};

use super::Model;
use crate::model::{InputSpec, MODELS, Mode, Network, Role};
use crate::registry::find;
use crate::rng::{Moment, Purpose, Stream};

/// A model of each kind, small: name, options, shape of an input, outputs.
pub const MODELS_OF_ALL_KINDS: [(&str, &str, &[i64], i64); 17] = [
    ("mlp", r#"{"hidden": [24, 18, 12]}"#, &[3, 4, 4], 10),
    (
        "mlp",
        r#"{"hidden": [24, 18], "batch_norm": false}"#,
        &[20],
        10,
    ),
    ("mlp", r#"{"hidden": []}"#, &[20], 10),
    ("lenet-300-100", "{}", &[1, 28, 28], 10),
    ("cnn1d", r#"{"width": 8}"#, &[40], 10),
    ("cnn1d", r#"{"width": 8}"#, &[13], 10),
    ("resnet-20", r#"{"width": 4}"#, &[3, 16, 16], 10),
    ("resnet-32", r#"{"width": 2}"#, &[3, 16, 16], 10),
    ("resnet-44", r#"{"width": 2}"#, &[3, 9, 13], 10),
    ("resnet-56", r#"{"width": 2}"#, &[3, 16, 16], 10),
    (
        "resnet-18",
        r#"{"width": 4, "stem": "imagenet"}"#,
        &[3, 32, 32],
        10,
    ),
    ("resnet-34", r#"{"width": 2}"#, &[3, 16, 16], 10),
    ("resnet-50", r#"{"width": 4}"#, &[3, 33, 35], 10),
    ("vgg-16", r#"{"width": 4}"#, &[3, 17, 32], 10),
    (
        "vit",
        r#"{"patch": 4, "width": 12, "depth": 2}"#,
        &[3, 8, 12],
        10,
    ),
    (
        "vit",
        r#"{"patch": 2, "width": 8, "depth": 3, "heads": 2, "mlp_ratio": 1.5, "pool": "mean"}"#,
        &[1, 6, 4],
        10,
    ),
    ("hidden-neuron", "{}", &[5], 1),
];

/// The network of this name.
pub fn network_of(name: &str, options: &Value, shape: &[i64], classes: i64) -> Box<dyn Network> {
    let spec = InputSpec {
        shape: shape.to_vec(),
        classes,
        ..InputSpec::default()
    };
    let build = find(MODELS, name).unwrap().build;
    build(options.as_object().unwrap(), &spec).unwrap()
}

/// That network with random weights, batch norms and running statistics.
pub fn model_of(name: &str, options: Value, shape: &[i64], classes: i64, seed: u64) -> Model {
    let network = network_of(name, &options, shape, classes);
    let mut tensors = BTreeMap::new();
    let mut draw = |name: &str, shape: &[i64], value: &dyn Fn(&mut Stream) -> f32| {
        let mut stream = Stream::new(seed, Purpose::Init(name), Moment::default());
        let count = shape.iter().product::<i64>();
        let values: Vec<f32> = (0..count).map(|_| value(&mut stream)).collect();
        tensors.insert(name.to_owned(), Tensor::from_slice(&values).view(shape));
    };
    let mut prunable = Vec::new();
    for parameter in network.parameters() {
        let fan_in = parameter.shape[1..].iter().product::<i64>() as f32;
        draw(
            &parameter.name,
            &parameter.shape,
            &|stream| match parameter.role {
                Role::Weight(_) | Role::FixedWeight => stream.normal() * (2.0 / fan_in).sqrt(),
                Role::NormWeight => 0.5 + stream.uniform(),
                Role::Bias | Role::NormBias => 0.3 * stream.normal(),
            },
        );
        if matches!(parameter.role, Role::Weight(_)) {
            prunable.push(parameter.name.clone());
        }
    }
    for buffer in network.buffers() {
        draw(
            &buffer.name,
            &[buffer.features],
            &|stream| match buffer.initial {
                0.0 => 0.2 * stream.normal(),
                _ => 0.5 + stream.uniform(),
            },
        );
    }
    Model {
        graph: network.graph(),
        tensors,
        held: BTreeMap::new(),
        prunable,
        input_shape: shape.to_vec(),
        outputs: classes,
        metadata: BTreeMap::from([("model".to_owned(), name.to_owned())]),
    }
}

/// Keeps each prunable weight with this probability; and none of what every fourth hidden unit reads, nor
/// of what reads every seventh.
pub fn prune(model: &mut Model, density: f32, seed: u64) {
    let last = model.prunable.len() - 1;
    for (place, name) in model.prunable.iter().enumerate() {
        let weight = &model.tensors[name];
        let mut stream = Stream::new(seed, Purpose::Strategy(name), Moment::default());
        let mut mask = |shape: &[i64], density: f32| {
            let count = shape.iter().product::<i64>();
            let mut keep = |_| f32::from(u8::from(stream.uniform() < density));
            Tensor::from_slice(&(0..count).map(&mut keep).collect::<Vec<_>>()).view(shape)
        };
        let [rows, columns] = [weight.size()[0], weight.size()[1]];
        let rest = vec![1; weight.dim() - 2];
        let rows = mask(
            &[&[rows, 1], &rest[..]].concat(),
            if place == last { 1.1 } else { 0.75 },
        );
        let columns = mask(
            &[&[1, columns], &rest[..]].concat(),
            if place == 0 { 1.1 } else { 0.86 },
        );
        // Nothing is left of a weight but +0.
        let weight = weight * mask(&weight.size(), density) * rows * columns + 0.0;
        model.tensors.insert(name.clone(), weight);
    }
}

/// Gives every tensor small whole numbers, and batch norms a scale of 1 and a variance with which they
/// divide by 1.
pub fn whole_numbers(model: &mut Model, seed: u64) {
    for (name, tensor) in &mut model.tensors {
        let norm = name.contains("bn") && name.ends_with(".weight");
        if norm || name.ends_with("running_var") {
            *tensor = tensor.full_like(if norm { 1.0 } else { 1.0 - 1e-5 });
            continue;
        }
        let mut stream = Stream::new(seed, Purpose::Init(name), Moment::default());
        let values: Vec<f32> = (0..tensor.numel())
            .map(|_| stream.below(7) as f32 - 3.0)
            .collect();
        *tensor = Tensor::from_slice(&values).view_as(tensor);
    }
}

/// Inputs of this shape, as many.
pub fn inputs(shape: &[i64], count: i64, seed: u64) -> Tensor {
    let shape = [&[count], shape].concat();
    let mut stream = Stream::new(seed, Purpose::Init("inputs"), Moment::default());
    let values: Vec<f32> = (0..shape.iter().product::<i64>())
        .map(|_| stream.normal())
        .collect();
    Tensor::from_slice(&values).view(&shape[..])
}

/// The network's own logits with a model's tensors, which may be fewer than it was built for.
pub fn forward(network: &dyn Network, model: &Model, input: &Tensor) -> Tensor {
    let lane = |tensor: &Tensor| match network.lanes() {
        true => tensor.unsqueeze(0),
        false => tensor.shallow_clone(),
    };
    let of = |name: &str| lane(&model.tensors[name]);
    let parameters: Vec<Tensor> = network.parameters().iter().map(|it| of(&it.name)).collect();
    let buffers: Vec<Tensor> = network.buffers().iter().map(|it| of(&it.name)).collect();
    assert_eq!(input.device(), Device::Cpu);
    assert_eq!(input.kind(), Kind::Float);
    let _no_grad = tch::no_grad_guard();
    let logits = network.forward(&parameters, &buffers, &lane(input), Mode::Eval);
    logits.view([input.size()[0], -1])
}
