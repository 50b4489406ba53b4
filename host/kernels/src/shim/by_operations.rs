//! What GPUs compute by libtorch's operations is, to rounding, what passes over memory compute.

use tch::{Device, Kind, Tensor};

use super::*;
use crate::losses::{self, Distillation};

const FLOAT: (Kind, Device) = (Kind::Float, Device::Cpu);

/// The largest distance of two tensors, as a share of the greatest number.
fn apart(a: &Tensor, b: &Tensor) -> f64 {
    let size = a.abs().max().double_value(&[]).max(1e-30);
    (a - b).abs().max().double_value(&[]) / size
}

/// What `compute` gives by passes, and by operations.
fn both<T>(compute: impl Fn() -> T) -> [T; 2] {
    let passed = compute();
    let _by_operations = ByOperations::enter();
    [passed, compute()]
}

fn assert_near(what: &str, [a, b]: [Vec<Tensor>; 2]) {
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter().zip(&b) {
        let apart = apart(&a.to_kind(Kind::Double), &b.to_kind(Kind::Double));
        assert!(apart < 1e-6, "{what}: {apart}");
    }
}

#[test]
fn optimizers_make_the_same_steps() {
    let shape = [3, 5003];
    let mask = Tensor::rand(shape, FLOAT).gt(0.5).to_kind(Kind::Float);
    let off = mask.eq(0.0);
    let weights = Tensor::randn(shape, FLOAT).masked_fill(&off, 0.0);
    let states = [0, 1].map(|_| Tensor::rand(shape, FLOAT).masked_fill(&off, 0.0));
    // A pruned weight's gradient may be anything.
    let gradients = Tensor::randn(shape, FLOAT).masked_fill(&off, f64::NAN);
    let pruning = Pruning {
        mask: &mask,
        kept: None,
    };
    for (momentum, weight_decay, nesterov) in
        [(0.9, 0.01, true), (0.9, 0.0, false), (0.0, 0.01, false)]
    {
        let step = SgdStep {
            momentum,
            weight_decay,
            nesterov,
        };
        let rates = Tensor::from_slice(&[0.3f32, 0.1, 0.02]).view([1, 3]);
        let made = both(|| {
            let (mut w, mut m) = (weights.copy(), states[0].copy());
            let state = (momentum > 0.0).then_some(&mut m);
            masked_sgd_step(&mut w, &gradients, state, pruning, &rates, step).unwrap();
            vec![w, m]
        });
        assert_near("SGD", made);
    }
    let step = AdamwStep {
        betas: (0.9, 0.999),
        eps: 1e-8,
        weight_decay: 0.1,
    };
    let rates: Vec<[f32; 3]> = (1..4).map(|n| adamw_rates(0.01, n, step)).collect();
    let rates = Tensor::from_slice(&rates.concat())
        .view([3, 3])
        .tr()
        .contiguous();
    let made = both(|| {
        let (mut w, mut a, mut v) = (weights.copy(), states[0].copy(), states[1].copy());
        masked_adamw_step(&mut w, &gradients, [&mut a, &mut v], pruning, &rates, step).unwrap();
        assert_eq!(
            w.masked_select(&off).count_nonzero(None).int64_value(&[]),
            0
        );
        vec![w, a, v]
    });
    assert_near("AdamW", made);
}

#[test]
fn losses_and_their_gradients_are_the_same() {
    let logits = Tensor::randn([2, 33, 7], FLOAT) * 3.0;
    let taught = Tensor::randn([2, 33, 7], FLOAT) * 3.0;
    let labels = Tensor::randint(7, [2, 33], tch::kind::INT64_CPU);
    let numbers = Tensor::randn([2, 33], FLOAT);
    let results = || {
        let of = |kind| Tensor::zeros([2], (kind, Device::Cpu));
        (of(Kind::Double), of(Kind::Int64))
    };
    for smoothing in [0.0, 0.1] {
        let made = both(|| {
            let (loss, right) = results();
            let slope = cross_entropy(&logits, &labels, smoothing, &loss, &right).unwrap();
            vec![slope, loss, right]
        });
        assert_near("cross-entropy", made);
        let how = Distillation {
            temperature: 4.0,
            alpha: 0.9,
            smoothing,
        };
        let made = both(|| {
            let (loss, right) = results();
            let slope = losses::distillation(&logits, &taught, &labels, how, &loss, &right);
            vec![slope.unwrap(), loss, right]
        });
        assert_near("distillation", made);
    }
    let outputs = logits.narrow(2, 0, 1);
    let made = both(|| {
        let (loss, right) = results();
        let slope = half_square(&outputs, &numbers, 0.1, &loss, &right).unwrap();
        vec![slope, loss, right]
    });
    assert_near("half the square", made);
    let several = logits.gt(0.5).to_kind(Kind::Float);
    let made = both(|| {
        let (loss, right) = results();
        let slope = losses::binary_cross_entropy(&logits, &several, &loss, &right).unwrap();
        vec![slope, loss, right]
    });
    assert_near("binary cross-entropy", made);
}

#[test]
fn layers_of_lanes_are_the_same() {
    let random = |shape: &[i64]| Tensor::randn(shape, FLOAT);
    let (bias, weight, input) = (random(&[3, 20]), random(&[3, 20, 30]), random(&[3, 30, 9]));
    let made = both(|| vec![lane_linear(&bias, &weight, &input).unwrap()]);
    assert_near("linear", made);
}
