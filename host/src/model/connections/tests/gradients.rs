//! Against gradients of every built-in network.

use tch::{Device, Kind, Tensor};

use crate::model::tests::built;
use crate::model::{Buffer, Connections, Keys, MODELS, Mode, Network, Parameter, Role, StepKey};
use crate::rng::{Moment, Purpose, Stream};

/// A network of each model, with every operation; images as small as still let every weight of a kernel
/// see a pixel. The densities leave some weights on paths and some not.
const NETWORKS: [(&str, &str, &[i64], f64); 20] = [
    ("mlp", r#"{"hidden": [12, 9, 7]}"#, &[3, 4, 4], 0.08),
    (
        "mlp",
        r#"{"hidden": [12, 9], "batch_norm": false, "dropout": 0.3}"#,
        &[20],
        0.1,
    ),
    ("mlp", r#"{"hidden": []}"#, &[6], 0.3),
    ("lenet-300-100", "{}", &[28], 0.005),
    ("lenet-300-100", r#"{"dropout": 0.5}"#, &[28], 0.005),
    ("cnn1d", r#"{"width": 6}"#, &[40], 0.15),
    ("cnn1d", r#"{"width": 6, "dropout": 0.4}"#, &[13], 0.2),
    ("resnet-20", r#"{"width": 3}"#, &[3, 8, 8], 0.2),
    ("resnet-32", r#"{"width": 2}"#, &[3, 8, 8], 0.3),
    ("resnet-44", r#"{"width": 2}"#, &[3, 8, 8], 0.3),
    ("resnet-56", r#"{"width": 2}"#, &[3, 8, 8], 0.3),
    ("resnet-18", r#"{"width": 3}"#, &[3, 16, 16], 0.15),
    (
        "resnet-18",
        r#"{"width": 3, "stem": "imagenet", "dropout": 0.2}"#,
        &[3, 64, 64],
        0.15,
    ),
    ("resnet-34", r#"{"width": 2}"#, &[3, 16, 16], 0.3),
    ("resnet-50", r#"{"width": 2}"#, &[3, 64, 64], 0.3),
    (
        "resnet-50",
        r#"{"width": 2, "stem": "cifar"}"#,
        &[3, 16, 16],
        0.3,
    ),
    ("vgg-16", r#"{"width": 3}"#, &[3, 32, 32], 0.3),
    ("vit", SMALL_VIT, &[3, 8, 8], 0.25),
    (
        "vit",
        r#"{"patch": 4, "width": 4, "depth": 3, "heads": 2, "mlp_ratio": 2, "pool": "mean", "dropout": 0.2, "stochastic_depth": 0.2}"#,
        &[3, 8, 12],
        0.3,
    ),
    ("hidden-neuron", "{}", &[7], 0.5),
];

const SMALL_VIT: &str = r#"{"patch": 4, "width": 6, "depth": 2, "heads": 3, "mlp_ratio": 1.5}"#;

/// Networks whose gradients depend on the input wherever there are any.
fn is_curved(network: &str) -> bool {
    network == "vit"
}

/// Numbers in [1, 2), of their own for each name.
fn positive(seed: u64, name: &str, shape: &[i64]) -> Tensor {
    let mut stream = Stream::new(seed, Purpose::Init(name), Moment::default());
    let count = shape.iter().product::<i64>();
    let values: Vec<f64> = (0..count)
        .map(|_| 1.0 + f64::from(stream.uniform()))
        .collect();
    Tensor::from_slice(&values).view(shape)
}

/// A mask that connects two units with this probability, then with the kernel's centre and some of the
/// rest: a channel that is reached at all is so at every pixel, also at the border.
fn random_mask(seed: u64, parameter: &Parameter, density: f64) -> Tensor {
    let mut stream = Stream::new(seed, Purpose::Strategy(&parameter.name), Moment::default());
    let mut draw = |probability: f64| f64::from(stream.uniform()) < probability;
    let shape = &parameter.shape[..];
    let kernel = shape[2..].iter().product::<i64>();
    let mut kept = Vec::new();
    for _ in 0..shape[0] * shape[1] {
        let linked = draw(density);
        kept.extend((0..kernel).map(|tap| linked && (tap == kernel / 2 || draw(0.3))));
    }
    Tensor::from_slice(&kept).view(shape)
}

/// Gradients of the sum of the outputs, in double precision, where everything is positive: weights that
/// survive, biases, batch norms' scales, shifts and statistics, and the inputs, of this scale.
fn gradients(
    network: &dyn Network,
    shape: &[i64],
    masks: &[Option<Tensor>],
    scale: f64,
) -> Vec<Tensor> {
    let lane = |tensor: Tensor| match network.lanes() {
        true => tensor.unsqueeze(0),
        false => tensor,
    };
    let parameter = |(parameter, mask): (&Parameter, &Option<Tensor>)| {
        let value = positive(1, &parameter.name, &parameter.shape);
        // Of networks that are curved units that nothing reaches are 0 where a weight reads them, so that it has no
        // gradient: hidden units and values. Queries and keys that nothing reaches are not.
        if parameter.name.ends_with("mlp.fc1.bias") {
            let _ = value.shallow_clone().zero_();
        }
        if parameter.name.ends_with("attn.qkv.bias") {
            let third = parameter.shape[0] / 3;
            let _ = value.narrow(0, 2 * third, third).zero_();
        }
        let value = match mask {
            // About as large as what it reads.
            Some(mask) => {
                &value * mask / mask.sum(Kind::Double).clamp_min(1.0) * parameter.shape[0]
            }
            None => value,
        };
        lane(value).set_requires_grad(true)
    };
    let parameters: Vec<Tensor> = network
        .parameters()
        .iter()
        .zip(masks)
        .map(parameter)
        .collect();
    let buffer = |buffer: &Buffer| match buffer.initial {
        0.0 => lane(-positive(1, &buffer.name, &[buffer.features])),
        _ => lane(positive(1, &buffer.name, &[buffer.features])),
    };
    let buffers: Vec<Tensor> = network.buffers().iter().map(buffer).collect();
    // Enough for every path of a network that drops to be whole in one.
    let samples = if shape.len() == 1 { 64 } else { 4 };
    let input = lane(positive(2, "input", &[&[samples], shape].concat()) * scale);
    let keys = [StepKey {
        seed: 3,
        moment: Moment::default(),
        shard: None,
    }];
    // In training a batch norm's output would depend on all of the batch, and not be positive.
    let mode = match network.drops_out() && buffers.is_empty() {
        true => Mode::Train(Keys::of(&keys)),
        false => Mode::Eval,
    };
    let output = network.forward(&parameters, &buffers, &input, mode);
    Tensor::run_backward(&[output.sum(Kind::Double)], &parameters, false, false)
}

/// Where nothing is negative every ReLU is open and nothing cancels: a weight is on a path from the input
/// to the output if and only if its gradient - the units that it reads times all that follows - is not
/// the same for another input. That of one that reads a constant is not 0, but the same.
///
/// What follows depends on the input in a network that is curved; there the constants that weights read are 0, and a
/// weight is on a path if and only if its gradient is not 0, but for rounding, and moves.
#[test]
fn effective_weights_are_those_whose_gradient_moves_with_the_input() {
    // Imported networks are files, compared in their own tests.
    for model in MODELS.iter().filter(|it| it.name != "pt2") {
        assert!(
            NETWORKS.iter().any(|it| it.0 == model.name),
            "{}",
            model.name
        );
    }
    for (name, options, shape, density) in NETWORKS {
        let network = built(name, options, shape);
        let connections = Connections::of(&network.graph(), network.parameters());
        let (mut survivors, mut effective, mut constant) = (0, 0, 0);
        for seed in 0..3 {
            let random = |parameter: &Parameter| match parameter.role {
                Role::Weight(_) => Some(random_mask(seed, parameter, density)),
                // Tokens and positions connect nothing.
                Role::FixedWeight if is_curved(name) => None,
                Role::FixedWeight => Some(Tensor::ones(
                    &parameter.shape[..],
                    (Kind::Bool, Device::Cpu),
                )),
                _ => None,
            };
            let masks: Vec<Option<Tensor>> = network.parameters().iter().map(random).collect();
            let found = connections.effective(|i| masks[i].as_ref().unwrap().shallow_clone());
            let one = gradients(&*network, shape, &masks, 1.0);
            let other = gradients(&*network, shape, &masks, 1.0 + 1e-7);
            for (i, mask) in masks.iter().enumerate() {
                let Some(mask) = mask else { continue };
                let [one, other] = [&one[i], &other[i]].map(|it| it.view_as(mask));
                let moved = (&one - other).abs().gt_tensor(&(one.abs() * 1e-12));
                let moved = match is_curved(name) {
                    true => moved.logical_and(&one.abs().gt_tensor(&(one.abs().max() * 1e-12))),
                    false => moved,
                };
                let expected = moved.logical_and(mask);
                let parameter = &network.parameters()[i].name;
                assert!(expected.equal(&found[&i]), "{name} {options}, {parameter}");
                let count = |it: &Tensor| it.sum(Kind::Int64).int64_value(&[]);
                survivors += count(mask);
                effective += count(&found[&i]);
                constant += count(&one.ne(0.0).logical_and(mask)) - count(&expected);
            }
        }
        assert!(effective > 0, "{name} {options}");
        if options != r#"{"hidden": []}"# && name != "hidden-neuron" {
            // Some weights are dead, and some of these read the constant of a unit that nothing reaches.
            let dead = survivors - effective;
            assert!(
                (constant > 0 || is_curved(name)) && constant <= dead && dead > 0,
                "{name} {options}: {constant} of {dead}"
            );
        }
    }
}
