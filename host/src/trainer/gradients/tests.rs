use serde_json::json;

use super::*;
use crate::trainer::testing::{mlp_trainer, random_mask};

fn request(eval_mode: bool) -> GradientRequest {
    GradientRequest {
        loss: Loss::CrossEntropy,
        // Two whole batches and one sample, which joins the second.
        samples: Samples::Training((0..51).collect()),
        on_absolute_weights: false,
        eval_mode,
        temperature: 1.0,
        double_precision: false,
        dense: true,
    }
}

/// The point along the gradients' own direction, scaled.
fn moved(trainer: &Trainer, point: &Snapshot, along: &[Tensor], by: f64) -> Snapshot {
    let mut moved = point.clone();
    for (layer, direction) in trainer.layers().iter().zip(along) {
        for (name, tensor) in &mut moved.tensors {
            if *name == layer.name {
                *tensor = &*tensor + direction * by;
            }
        }
    }
    moved
}

fn masked(trainer: &Trainer, point: &Snapshot, mask: &[Tensor]) -> Snapshot {
    let mut masked = point.clone();
    for (layer, mask) in trainer.layers().iter().zip(mask) {
        for (name, tensor) in &mut masked.tensors {
            if *name == layer.name {
                *tensor = &*tensor * mask;
            }
        }
    }
    masked
}

/// The loss of a request at an unmasked point in f64, one batch after another.
fn loss(trainer: &Trainer, point: &Snapshot, request: &GradientRequest) -> f64 {
    let tensors: Vec<Tensor> = point
        .tensors
        .iter()
        .map(|(_, t)| t.unsqueeze(0).to_kind(Kind::Double))
        .collect();
    let mode = if request.eval_mode {
        Mode::Eval
    } else {
        Mode::Train(Keys::NONE)
    };
    let batches = match &request.samples {
        Samples::Training(_) => vec![(0, 25), (25, 26)],
        Samples::Ones => vec![(0, 1)],
    };
    let all: i64 = batches.iter().map(|(_, len)| len).sum();
    let of_batch = |(start, len): (i64, i64)| {
        let (parameters, statistics) = tensors.split_at(tensors.len() - 4);
        let statistics: Vec<Tensor> = statistics.iter().map(Tensor::copy).collect();
        let split = &trainer.data.train;
        let input = match request.samples {
            Samples::Training(_) => {
                let inputs = split.inputs.tensor().unwrap();
                inputs.narrow(0, start, len).unsqueeze(0)
            }
            Samples::Ones => Tensor::ones([1, 1, 7], tch::kind::FLOAT_CPU),
        };
        let labels = split.labels.narrow(0, start, len);
        let logits = trainer
            .network
            .forward(parameters, &statistics, &input.to_kind(Kind::Double), mode)
            .squeeze_dim(0);
        let logits = logits / request.temperature;
        let value = match request.loss {
            Loss::CrossEntropy => {
                logits.cross_entropy_loss::<Tensor>(&labels, None, Reduction::Mean, -100, 0.0)
            }
            Loss::SumOfOutputs => logits.sum(Kind::Double) / len as f64,
        };
        value.double_value(&[]) * len as f64 / all as f64
    };
    batches.into_iter().map(of_batch).sum()
}

fn dot(a: &[Tensor], b: &[Tensor]) -> f64 {
    let products = a.iter().zip(b).map(|(a, b)| (a * b).sum(Kind::Double));
    products.map(|sum| sum.double_value(&[])).sum()
}

#[test]
fn are_slopes_of_the_loss_at_the_masked_point_for_pruned_weights_too() {
    let trainer = mlp_trainer(json!({}));
    let mask = random_mask(&trainer, 1);
    let mut point = trainer.initial(1);
    // Statistics other than those of no training.
    let n = point.tensors.len();
    let _ = point.tensors[n - 1].1.fill_(0.7);
    let base = masked(&trainer, &point, &mask);
    for eval_mode in [false, true] {
        let request = request(eval_mode);
        let got = trainer.gradients(&point, &mask, &request).unwrap();
        assert_eq!(got.len(), trainer.layers().len());
        let directions = [1, 2, 3].map(|seed| random_mask(&trainer, seed));
        for direction in &directions {
            let h = 5e-4;
            let at = |by| loss(&trainer, &moved(&trainer, &base, direction, by), &request);
            let slope = (at(h) - at(-h)) / (2.0 * h);
            let expected = dot(&got, direction);
            assert!(
                (slope - expected).abs() < 2e-3 * (1.0 + slope.abs()),
                "{slope} {expected}"
            );
        }
        let sparse = GradientRequest {
            dense: false,
            ..request
        };
        let sparse = trainer.gradients(&point, &mask, &sparse).unwrap();
        for ((sparse, dense), mask) in sparse.iter().zip(&got).zip(&mask) {
            assert_eq!(*sparse, dense * mask);
            assert!((dense * mask.eq(0.0)).abs().max().double_value(&[]) > 0.0);
        }
    }
}

#[test]
fn at_a_temperature_and_in_double_precision_are_slopes_to_eight_digits() {
    let trainer = mlp_trainer(json!({}));
    let mask = trainer.dense_mask();
    let point = trainer.initial(1);
    let direction: Vec<Tensor> = random_mask(&trainer, 2)
        .iter()
        .map(|mask| mask.to_kind(Kind::Double))
        .collect();
    for temperature in [0.5, 200.0] {
        let request = GradientRequest {
            temperature,
            double_precision: true,
            ..request(true)
        };
        let got = trainer.gradients(&point, &mask, &request).unwrap();
        assert!(got.iter().all(|slope| slope.kind() == Kind::Double));
        let h = 1e-5;
        let at = |by| loss(&trainer, &moved(&trainer, &point, &direction, by), &request);
        let slope = (at(h) - at(-h)) / (2.0 * h);
        let expected = dot(&got, &direction);
        assert!(
            (slope - expected).abs() < 1e-8 * slope.abs().max(1e-2),
            "{slope} {expected}"
        );
    }
}

#[test]
fn of_the_sum_of_outputs_for_an_input_of_ones_are_taken_at_absolute_weights() {
    let trainer = mlp_trainer(json!({}));
    let mask = random_mask(&trainer, 1);
    let point = trainer.initial(1);
    let request = GradientRequest {
        loss: Loss::SumOfOutputs,
        samples: Samples::Ones,
        on_absolute_weights: true,
        eval_mode: true,
        temperature: 1.0,
        double_precision: false,
        dense: true,
    };
    let got = trainer.gradients(&point, &mask, &request).unwrap();
    let mut base = masked(&trainer, &point, &mask);
    for (_, tensor) in &mut base.tensors {
        *tensor = tensor.abs();
    }
    let direction = random_mask(&trainer, 2);
    let h = 1e-2;
    let at = |by| loss(&trainer, &moved(&trainer, &base, &direction, by), &request);
    let slope = (at(h) - at(-h)) / (2.0 * h);
    let expected = dot(&got, &direction);
    assert!(
        (slope - expected).abs() < 2e-3 * (1.0 + slope.abs()),
        "{slope} {expected}"
    );
    let training = GradientRequest {
        eval_mode: false,
        ..request
    };
    let error = trainer.gradients(&point, &mask, &training).unwrap_err();
    assert!(error.to_string().contains("evaluation mode"), "{error}");
}

#[test]
fn hessian_vector_products_are_differences_of_gradients() {
    let trainer = mlp_trainer(json!({}));
    let mask = trainer.dense_mask();
    let point = trainer.initial(1);
    for eval_mode in [false, true] {
        let request = request(eval_mode);
        let vector = random_mask(&trainer, 5);
        let got = trainer
            .hessian_vector(&point, &mask, &vector, &request)
            .unwrap();
        let h = 2e-3;
        let at = |by| {
            let point = moved(&trainer, &point, &vector, by);
            trainer.gradients(&point, &mask, &request).unwrap()
        };
        for ((got, plus), minus) in got.iter().zip(at(h)).zip(at(-h)) {
            let expected = (plus - minus) / (2.0 * h);
            let error = (got - &expected).abs().max().double_value(&[]);
            let scale = expected.abs().max().double_value(&[]);
            assert!(scale > 1e-3 && error < 0.02 * scale, "{error} of {scale}");
        }
    }
}

#[test]
fn random_samples_repeat_none_before_all_were_drawn() {
    let trainer = mlp_trainer(json!({}));
    let mut stream = Stream::new(
        0,
        crate::rng::Purpose::Strategy("x"),
        crate::rng::Moment::default(),
    );
    let Samples::Training(mut some) = trainer.random_samples(10, &mut stream) else {
        panic!("not samples")
    };
    assert_eq!(some.len(), 250);
    let mut rest = some.split_off(207);
    some.sort_unstable();
    assert_eq!(some, (0..207).collect::<Vec<_>>());
    rest.sort_unstable();
    rest.dedup();
    assert_eq!(rest.len(), 43);
}
