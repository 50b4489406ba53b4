//! Against plain calculations; `host/tests/golden_models.rs` compares with PyTorch.

use serde_json::{Value, json};
use tch::Device;

use super::*;
use crate::model::{Connections, Init, Keys, Role, StepKey, layers};
use crate::rng::{Moment, Purpose, Stream};

fn network(options: Value, shape: &[i64]) -> Result<Box<dyn Network>, ModelError> {
    let spec = InputSpec {
        shape: shape.to_vec(),
        classes: 10,
        ..InputSpec::default()
    };
    build(options.as_object().unwrap(), &spec)
}

fn small(more: Value) -> Box<dyn Network> {
    let mut options = json!({"patch": 4, "width": 6, "depth": 2, "mlp_ratio": 2});
    for (key, value) in more.as_object().unwrap() {
        options[key] = value.clone();
    }
    network(options, &[3, 8, 8]).unwrap()
}

/// Values of their own for each parameter, by its name.
fn drawn(network: &dyn Network) -> Vec<Tensor> {
    let draw = |parameter: &Parameter| {
        let mut stream = Stream::new(1, Purpose::Init(&parameter.name), Moment::default());
        let count = parameter.shape.iter().product::<i64>() as usize;
        let values = Init::Normal(0.5).draw(count, &mut stream);
        Tensor::from_slice(&values).view(&parameter.shape[..])
    };
    network.parameters().iter().map(draw).collect()
}

fn images(samples: i64) -> Tensor {
    let count = samples * 3 * 8 * 8;
    let places = Tensor::arange(count, (Kind::Float, Device::Cpu));
    (places * 0.7).sin().view([samples, 3, 8, 8])
}

fn apart(one: &Tensor, other: &Tensor) -> f64 {
    assert_eq!(one.size(), other.size());
    (one - other).abs().max().double_value(&[])
}

#[test]
fn parameters_have_timms_names_in_its_order_and_weights_alone_are_prunable() {
    let names = |network: &dyn Network| -> Vec<String> {
        let all = network.parameters().iter();
        all.map(|it| it.name.clone()).collect()
    };
    let own = names(&*small(json!({"depth": 1})));
    let expected = [
        "cls_token",
        "pos_embed",
        "patch_embed.proj.weight",
        "patch_embed.proj.bias",
        "blocks.0.norm1.weight",
        "blocks.0.norm1.bias",
        "blocks.0.attn.qkv.weight",
        "blocks.0.attn.qkv.bias",
        "blocks.0.attn.proj.weight",
        "blocks.0.attn.proj.bias",
        "blocks.0.norm2.weight",
        "blocks.0.norm2.bias",
        "blocks.0.mlp.fc1.weight",
        "blocks.0.mlp.fc1.bias",
        "blocks.0.mlp.fc2.weight",
        "blocks.0.mlp.fc2.bias",
        "norm.weight",
        "norm.bias",
        "head.weight",
        "head.bias",
    ];
    assert_eq!(own, expected);
    let mean = names(&*small(json!({"depth": 1, "pool": "mean"})));
    let renamed = |it: &&str| it.replace("norm.", "fc_norm.").replace("fc_norm1", "norm1");
    let without: Vec<String> = (expected[1..].iter())
        .map(|it| {
            if it.starts_with("norm") {
                renamed(it)
            } else {
                (*it).to_owned()
            }
        })
        .collect();
    assert_eq!(mean, without);
    let prunable: Vec<String> = (layers(&*small(json!({"depth": 1}))).into_iter())
        .map(|it| it.name)
        .collect();
    let weights = |it: &&&str| it.ends_with("weight") && !it.contains("norm");
    assert_eq!(
        prunable,
        expected.iter().filter(weights).copied().collect::<Vec<_>>()
    );
}

#[test]
fn sizes_that_do_not_go_together_are_refused_with_those_that_do() {
    for (options, shape, expected) in [
        (
            json!({}),
            [1, 28, 28],
            "model `vit`: patch = 16 does not divide images of 28 x 28 pixels: expected one of 1, 2, 4, 7, 14, 28",
        ),
        (
            json!({"patch": 4}),
            [1, 12, 18],
            "model `vit`: patch = 4 does not divide images of 12 x 18 pixels: expected one of 1, 2, 3, 6",
        ),
        (
            json!({"patch": 4, "width": 64}),
            [1, 28, 28],
            "model `vit`: heads = 3 does not divide the 64 features of a token (`width`): expected one of 1, 2, 4, 8, 16, 32, 64",
        ),
        (
            json!({"patch": 8, "pool": "mean"}),
            [1, 8, 8],
            "model `vit`: patch = 8 makes one token of an image of 8 x 8 pixels, which has no other to attend to: \
             expected a smaller patch, or pool = \"class-token\"",
        ),
        (
            json!({"patch": 4, "width": 1, "heads": 1}),
            [1, 8, 8],
            "model `vit`: width = 1 leaves the same of every token after its layer norm: expected 2 or more",
        ),
        (
            json!({"patch": 4, "width": 6, "mlp_ratio": 0.1}),
            [1, 8, 8],
            "model `vit`: mlp_ratio = 0.1 leaves a block no hidden unit: expected 1/6 or more, at a `width` of 6",
        ),
    ] {
        let error = network(options, &shape).err().unwrap();
        assert_eq!(error.to_string(), expected);
    }
    assert!(network(json!({"patch": 8}), &[1, 8, 8]).is_ok());
}

/// The second and third term of softmax(q k^T / sqrt(d)) v, head by head and token by token.
#[test]
fn attention_weighs_values_by_the_likeness_of_queries_and_keys() {
    let (tokens, heads, of_head) = (3, 2, 2);
    let numbers: Vec<f32> = (0..tokens * 3 * heads * of_head)
        .map(|i| (i as f32 * 1.7).sin())
        .collect();
    let at = |token: usize, part: usize, head: usize, feature: usize| {
        f64::from(numbers[((token * 3 + part) * heads + head) * of_head + feature])
    };
    let mut expected = Vec::new();
    for token in 0..tokens {
        for head in 0..heads {
            let likeness = |other: usize| {
                let dot: f64 = (0..of_head)
                    .map(|i| at(token, 0, head, i) * at(other, 1, head, i))
                    .sum();
                (dot / (of_head as f64).sqrt()).exp()
            };
            let sum: f64 = (0..tokens).map(likeness).sum();
            for feature in 0..of_head {
                let read = |other: usize| likeness(other) / sum * at(other, 2, head, feature);
                expected.push((0..tokens).map(read).sum::<f64>());
            }
        }
    }
    let qkv = Tensor::from_slice(&numbers).view([1, 3, 12]);
    let got = super::attention::attend(&qkv, heads as i64);
    let expected = Tensor::from_slice(&expected).to_kind(Kind::Float);
    assert!(apart(&got, &expected.view([1, 3, 4])) < 1e-6);
}

#[test]
fn stochastic_depth_grows_linearly_from_none_in_the_first_block() {
    let options = |depth: u16| VitOptions {
        depth: depth.try_into().unwrap(),
        stochastic_depth: 0.3,
        ..VitOptions::default()
    };
    let rates: Vec<f64> = (0..4)
        .map(|place| options(4).stochastic_depth_of(place))
        .collect();
    for (rate, expected) in rates.iter().zip([0.0, 0.1, 0.2, 0.3]) {
        assert!((rate - expected).abs() < 1e-12, "{rates:?}");
    }
    assert_eq!(options(1).stochastic_depth_of(0), 0.0);
    assert!(!small(json!({"depth": 1, "stochastic_depth": 0.3})).drops_out());
    assert!(small(json!({"stochastic_depth": 0.3})).drops_out());
    assert!(!small(json!({})).drops_out());
}

/// What is left without the second block is a network of one; what keeps both branches has them scaled.
#[test]
fn a_sample_that_passes_by_both_branches_of_the_last_block_does_as_if_it_were_not_there() {
    let deep = small(json!({"stochastic_depth": 0.5}));
    let shallow = small(json!({"depth": 1}));
    let key = StepKey {
        seed: 5,
        moment: Moment {
            level: 1,
            epoch: 2,
            step: 30,
        },
        shard: None,
    };
    let parameters = drawn(&*deep);
    let input = images(64);
    let got = deep.forward(&parameters, &[], &input, Mode::Train(Keys::of(&[key])));
    let own = drawn(&*shallow);
    let without = shallow.forward(&own, &[], &input, Mode::Eval);
    let coins = |branch: &str| {
        let mut coins = vec![0.0; 64];
        let purpose = Purpose::DropPath(branch);
        Stream::new(5, purpose, key.moment).coins(0.5, &mut coins);
        coins
    };
    let both = coins("blocks.1.drop_path1")
        .into_iter()
        .zip(coins("blocks.1.drop_path2"));
    let (mut dropped, mut kept) = (0, 0);
    for (sample, coins) in (0..).zip(both) {
        let error = apart(&got.get(sample), &without.get(sample));
        if coins == (0.0, 0.0) {
            assert!(error < 1e-5, "{sample}: {error}");
            dropped += 1;
        } else {
            assert!(error > 1e-3, "{sample}: {error}");
            kept += 1;
        }
    }
    assert!(dropped > 5 && kept > 5, "{dropped}, {kept}");
}

/// Strategies ask for products with the Hessian.
#[test]
fn a_second_derivative_is_that_of_the_first() {
    for pool in ["class-token", "mean"] {
        let network = small(json!({"pool": pool}));
        let values: Vec<Tensor> = (drawn(&*network).iter())
            .map(|it| it.to_kind(Kind::Double))
            .collect();
        let input = images(3).to_kind(Kind::Double);
        // The change of all gradients along a direction.
        let slopes = |values: &[Tensor], twice: bool| {
            let leaves: Vec<Tensor> = (values.iter())
                .map(|it| it.detach().set_requires_grad(true))
                .collect();
            let output = network.forward(&leaves, &[], &input, Mode::Train(Keys::NONE));
            let loss = output.sin().sum(Kind::Double);
            let first = Tensor::run_backward(&[loss], &leaves, twice, twice);
            (leaves, first)
        };
        let (leaves, first) = slopes(&values, true);
        let direction: Vec<Tensor> = values.iter().map(Tensor::cos).collect();
        let dot = (first.iter().zip(&direction))
            .map(|(slope, along)| (slope * along).sum(Kind::Double))
            .reduce(|sum, next| sum + next)
            .unwrap();
        let second = Tensor::run_backward(&[dot], &leaves, false, false);
        let step = 1e-5;
        let moved = |by: f64| -> Vec<Tensor> {
            let moved = values.iter().zip(&direction);
            let moved: Vec<Tensor> = moved.map(|(value, along)| value + along * by).collect();
            slopes(&moved, false).1
        };
        let (ahead, behind) = (moved(step), moved(-step));
        for (i, parameter) in network.parameters().iter().enumerate() {
            let expected = (&ahead[i] - &behind[i]) / (2.0 * step);
            let scale = 1.0 + expected.abs().max().double_value(&[]);
            let error = apart(&second[i], &expected);
            assert!(
                error < 1e-6 * scale,
                "{pool}, {}: {error} of {scale}",
                parameter.name
            );
        }
    }
}

#[test]
fn in_bf16_it_computes_the_same_but_for_rounding() {
    let network = small(json!({}));
    let parameters: Vec<Tensor> = (drawn(&*network).iter())
        .map(|it| it.set_requires_grad(true))
        .collect();
    let input = images(4);
    let run = || {
        let output = network.forward(&parameters, &[], &input, Mode::Train(Keys::NONE));
        let loss = output.to_kind(Kind::Float).sin().sum(Kind::Float);
        let slopes = Tensor::run_backward(&[loss], &parameters, false, false);
        (output, slopes)
    };
    let (plain, slopes) = run();
    let _rounds = kernels::shim::Autocast::enter(Device::Cpu).unwrap();
    let (rounded, rounded_slopes) = run();
    assert_eq!(
        (plain.kind(), rounded.kind()),
        (Kind::Float, Kind::BFloat16)
    );
    let share = |got: &Tensor, expected: &Tensor| {
        let norm = |it: &Tensor| it.to_kind(Kind::Double).norm().double_value(&[]);
        norm(&(got.to_kind(Kind::Float) - expected)) / norm(expected)
    };
    // 8 bits a number, over some twenty products.
    let off = share(&rounded, &plain);
    assert!(off > 0.0 && off < 0.05, "{off}");
    for ((got, expected), parameter) in rounded_slopes.iter().zip(&slopes).zip(network.parameters())
    {
        let off = share(got, expected);
        assert!(off < 0.2, "{}: {off}", parameter.name);
    }
}

#[test]
fn hidden_units_of_a_block_are_connected_one_by_one_and_features_of_heads_by_what_they_weigh() {
    let network = small(json!({}));
    let parameters = network.parameters();
    let connections = Connections::of(&network.graph(), parameters);
    let place = |name: &str| parameters.iter().position(|it| it.name == name).unwrap();
    // Rows or columns of one weight are gone.
    let without = |name: &str, dimension: i64, gone: &[i64]| {
        connections.effective(|i| {
            let mask = Tensor::ones(&parameters[i].shape[..], (Kind::Float, Device::Cpu));
            if i == place(name) {
                for &unit in gone {
                    let _ = mask.select(dimension, unit).zero_();
                }
            }
            mask
        })
    };
    let lost = |name: &str, dimension: i64, gone: &[i64], of: &str, part: i64| -> Vec<i64> {
        let effective = &without(name, dimension, gone)[&place(of)];
        let any = effective.any_dim(1 - part, false).logical_not();
        Vec::try_from(any.nonzero().flatten(0, -1)).unwrap()
    };
    let [qkv, proj] = ["blocks.1.attn.qkv.weight", "blocks.1.attn.proj.weight"];
    let [fc1, fc2] = ["blocks.1.mlp.fc1.weight", "blocks.1.mlp.fc2.weight"];
    // A hidden unit that reads nothing is read in vain, and one that nothing reads reads in vain.
    assert_eq!(lost(fc1, 0, &[3, 7], fc2, 1), [3, 7]);
    assert_eq!(lost(fc2, 1, &[4], fc1, 0), [4]);
    // Of 3 heads with 2 features: rows 0 to 5 are queries, then keys, then values.
    assert_eq!(lost(qkv, 0, &[6 + 1], qkv, 0), [1, 7]);
    assert_eq!(lost(qkv, 0, &[1], qkv, 0), [1]);
    assert_eq!(lost(qkv, 0, &[12 + 4], proj, 1), [4]);
    // A head without values has nothing to weigh.
    assert_eq!(
        lost(qkv, 0, &[12 + 2, 12 + 3], qkv, 0),
        [2, 3, 8, 9, 14, 15]
    );
    assert_eq!(lost(proj, 1, &[2, 3], qkv, 0), [2, 3, 8, 9, 14, 15]);
    // A layer norm reads all features, and none stands for itself.
    assert_eq!(lost(proj, 0, &[0], qkv, 0), [0; 0]);
    let none: Vec<i64> = (0..6).collect();
    assert_eq!(lost("patch_embed.proj.weight", 0, &none, fc1, 1), none);
}

#[test]
fn tokens_and_positions_are_rewound_with_weights_and_start_as_timms() {
    let network = network(json!({}), &[3, 224, 224]).unwrap();
    let find = |name: &str| {
        network
            .parameters()
            .iter()
            .find(|it| it.name == name)
            .unwrap()
    };
    assert_eq!(find("cls_token").init, Init::Normal(1e-6));
    assert_eq!(find("pos_embed").shape, [1, 197, 192]);
    assert_eq!(find("pos_embed").init, Init::Normal(0.02));
    assert_eq!(find("pos_embed").role, Role::FixedWeight);
    assert_eq!(find("blocks.11.mlp.fc2.weight").init, Init::Normal(0.02));
    assert_eq!(find("blocks.11.mlp.fc2.bias").init, Init::Constant(0.0));
    let bound = 1.0 / f64::from(3 * 16 * 16).sqrt();
    assert_eq!(find("patch_embed.proj.weight").init, Init::Uniform(bound));
    assert_eq!(find("norm.weight").role, Role::NormWeight);
}
