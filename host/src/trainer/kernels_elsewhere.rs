//! Training by the kernels for GPUs, in their form for the CPU, has the bytes of training by the passes for CPUs.

use std::sync::Arc;

use kernels::cuda::{AutogradBy, Kernels};
use serde_json::{Value, json};

use super::exactness::{advance, assert_same_bits, state};
use super::testing::{conv_trainer, image_trainer, mlp_trainer, start};
use super::{On, Trainer, testing};
use crate::model::forms::{Listed, kernels_on_cpu};

/// The shipped perceptron with batch norms, by autograd, as on a GPU: on the CPU it is trained without.
fn mlp(options: Value) -> Trainer {
    let network = json!({"hidden": [13, 9], "batch_norm": true});
    Trainer {
        perceptron: None,
        ..testing::shipped_trainer("mlp", network, &[7], options)
    }
}

fn resnet(options: Value) -> Trainer {
    testing::shipped_trainer("resnet-20", json!({"width": 4}), &[3, 8, 8], options)
}

/// Coins for each value that a layer reads.
fn dropping(options: Value) -> Trainer {
    let network = json!({"width": 4, "dropout": 0.3});
    testing::shipped_trainer("resnet-20", network, &[3, 8, 8], options)
}

/// The same, and coins for the samples of each branch.
fn transformer(options: Value) -> Trainer {
    let network = json!({
        "patch": 4, "width": 8, "depth": 3, "heads": 2, "dropout": 0.2, "stochastic_depth": 0.3,
    });
    testing::shipped_trainer("vit", network, &[3, 8, 8], options)
}

#[test]
fn whole_levels_have_the_same_bytes() {
    let nesterov = json!({"optimizer":
        {"name": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 1e-3, "nesterov": true}});
    let adamw = json!({"optimizer": {"name": "adamw", "lr": 1e-2, "weight_decay": 0.1}});
    let smoothed = json!({"label_smoothing": 0.1});
    type Make = fn(Value) -> Trainer;
    let cases: [(Make, Value); 7] = [
        (conv_trainer, adamw.clone()),
        (conv_trainer, smoothed),
        (image_trainer, nesterov),
        (resnet, adamw),
        (resnet, json!({"precision": "bf16"})),
        (dropping, json!({})),
        (transformer, json!({"precision": "bf16"})),
    ];
    let kernels = kernels_on_cpu();
    for (at, (make, options)) in cases.into_iter().enumerate() {
        let run = |trainer: Trainer| {
            let mut session = trainer.session(vec![start(&trainer, 3)]).unwrap();
            let records = advance(&mut session, 2 * trainer.steps_per_epoch());
            (state(&session, 0), format!("{records:?}"))
        };
        let expected = run(make(options.clone()));
        let _norms = AutogradBy::enter(&kernels);
        let got = run(make(options).computed_by(kernels.clone()));
        assert_eq!(got.1, expected.1, "{at}");
        assert_same_bits(&got.0, &expected.0);
    }
}

#[test]
fn lanes_are_independent_and_the_same_to_rounding() {
    let run = |trainer: &Trainer, seeds: &[u64]| {
        let starts = seeds.iter().map(|&seed| start(trainer, seed)).collect();
        let mut session = trainer.session(starts).unwrap();
        advance(&mut session, trainer.steps_per_level().min(8));
        let evaluated = session.evaluate(On::Test).unwrap().pop().unwrap();
        (state(&session, seeds.len() - 1), evaluated)
    };
    type Make = fn(Value) -> Trainer;
    let norms = ["", "_known", "_slopes"].map(|of| format!("norm_by_channel{of}"));
    let cases: [(Make, &str, &str); 3] = [
        (mlp, "fp32", "f32"),
        (mlp, "bf16", "bf16"),
        // Its batch norms are libtorch's own.
        (mlp_trainer, "fp32", ""),
    ];
    for (make, precision, suffix) in cases {
        let options = json!({"precision": precision});
        let plain = run(&make(options.clone()), &[2]);
        let listed = Arc::new(Listed::default());
        let kernels: Kernels = listed.clone();
        let _networks = AutogradBy::enter(&kernels);
        let trainer = make(options).computed_by(kernels.clone());
        let alone = run(&trainer, &[2]);
        let together = run(&trainer, &[4, 1, 2]);
        assert_same_bits(&together.0, &alone.0);
        assert_eq!(together.1, alone.1);
        let launched = listed.0.lock().unwrap();
        let found: Vec<_> = launched
            .iter()
            .filter(|it| it.starts_with("norm_"))
            .collect();
        let expected = norms.iter().filter(|_| !suffix.is_empty());
        let expected: Vec<_> = expected.map(|norm| format!("{norm}_{suffix}")).collect();
        assert!(
            found.iter().copied().eq(&expected),
            "{found:?} {expected:?}"
        );
        // In bf16 a number may be rounded up where it was rounded down: its steps are as far apart.
        let tolerance = if precision == "bf16" { 2e-2 } else { 1e-4 };
        for ((name, got), (_, expected)) in alone.0.0.tensors.iter().zip(&plain.0.0.tensors) {
            let apart = (got - expected).abs().max().double_value(&[]);
            assert!(apart < tolerance, "{precision} {name}: {apart}");
        }
    }
}

#[test]
fn clipped_gradients_are_the_same_to_rounding() {
    let run = |trainer: Trainer| {
        let mut session = trainer.session(vec![start(&trainer, 3)]).unwrap();
        advance(&mut session, 3);
        session.snapshot(0).unwrap()
    };
    let make = || mlp_trainer(json!({"clip_norm": 0.05}));
    let kernels = kernels_on_cpu();
    let (got, expected) = (run(make().computed_by(kernels)), run(make()));
    let (free, mut moved) = (run(mlp_trainer(json!({}))), 0.0);
    for (((name, got), (_, expected)), (_, free)) in
        (got.tensors.iter().zip(&expected.tensors)).zip(&free.tensors)
    {
        let apart = |other: &tch::Tensor| (got - other).abs().max().double_value(&[]);
        assert!(apart(expected) < 1e-6, "{name}: {}", apart(expected));
        moved = f64::max(moved, apart(free));
    }
    assert!(moved > 1e-4, "nothing was clipped");
}
