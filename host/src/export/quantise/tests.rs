//! What is rounded, how far, and what comes of it.

use serde_json::json;

use super::*;
use crate::export::testing::{MODELS_OF_ALL_KINDS, inputs, model_of, prune};
use crate::export::{compact, fold, forward};

fn evaluate(model: &Model, input: &Tensor) -> Tensor {
    forward::forward(model, &BTreeMap::new(), input).unwrap()
}

fn most(tensor: &Tensor) -> f64 {
    tensor.abs().max().double_value(&[])
}

#[test]
fn every_model_computes_nearly_the_same_in_8_bits_also_compact() {
    for (name, options, shape, classes) in MODELS_OF_ALL_KINDS {
        let options: serde_json::Value = serde_json::from_str(options).unwrap();
        for is_compact in [false, true] {
            let mut model = model_of(name, options.clone(), shape, classes, 6);
            prune(&mut model, 0.5, 6);
            if is_compact {
                compact(&mut model, 1).unwrap();
            }
            fold(&mut model);
            let calibration = [inputs(shape, 40, 6), inputs(shape, 24, 7)];
            let quantised = Quantised::new(&model, &calibration, 100.0).unwrap();
            let expected = evaluate(&model, &calibration[0]);
            let got = quantised.forward(&calibration[0]).unwrap();
            let (scale, error) = (most(&expected), &got - &expected);
            let deviation = error.square().mean(Kind::Float).sqrt().double_value(&[]);
            assert!(deviation <= 0.05 * scale, "{name}: {deviation} of {scale}");
            assert!(most(&error) > 0.0, "{name} is not rounded");
        }
    }
}

#[test]
fn weights_are_rounded_to_the_nearest_of_their_channels_and_0_stays() {
    let mut model = model_of(
        "mlp",
        json!({"hidden": [24], "batch_norm": false}),
        &[20],
        10,
        1,
    );
    prune(&mut model, 0.5, 1);
    // A channel without weights has its bias alone.
    let weight = model.tensors["fc1.weight"].index_fill(0, &Tensor::from_slice(&[4i64]), 0.0);
    model.tensors.insert("fc1.weight".to_owned(), weight);
    let quantised = Quantised::new(&model, &[inputs(&[20], 64, 1)], 99.9).unwrap();
    let input = quantised.activation(quantised.model.graph.operations().nth(1).unwrap().0);
    for layer in ["fc1", "fc2"] {
        let own = quantised.layer(layer).unwrap();
        let weight = &model.tensors[&format!("{layer}.weight")];
        let scales = Tensor::from_slice(&own.scales).view([-1, 1]);
        assert_eq!(own.weight.kind(), Kind::Int8);
        let back = own.weight.to_kind(Kind::Float) * &scales;
        let apart = (&back - weight).abs() / &scales;
        assert!(most(&apart) <= 0.5001, "{layer}");
        assert!(
            back.eq(0.0)
                .logical_or(&weight.ne(0.0))
                .all()
                .int64_value(&[])
                == 1
        );
        // Each channel reaches as far as its weights do.
        let greatest = own
            .weight
            .to_kind(Kind::Float)
            .abs()
            .amax([1i64].as_slice(), false);
        for row in 0..greatest.size()[0] {
            let any = weight.get(row).ne(0.0).any().int64_value(&[]);
            let expected = if any == 0 { 0.0 } else { 127.0 };
            assert_eq!(greatest.double_value(&[row]), expected, "{layer} {row}");
        }
        let bias = own.bias.as_ref().unwrap();
        for (row, (integer, scale)) in bias.values.iter().zip(&bias.scales).enumerate() {
            let expected = model.tensors[&format!("{layer}.bias")].double_value(&[row as i64]);
            let got = f64::from(*integer) * f64::from(*scale);
            assert!(
                (got - expected).abs() <= 0.51 * f64::from(*scale),
                "{layer} {row}"
            );
            if layer == "fc1" {
                let both = own.scales[row] * input.unwrap().scale;
                assert_eq!(both, *scale);
            }
        }
        assert!(!quantised.has("conv.weight") && quantised.has(&format!("{layer}.bias")));
    }
    let row = quantised.layer("fc1").unwrap().bias.as_ref().unwrap();
    let error = f64::from(row.values[4]) * f64::from(row.scales[4])
        - model.tensors["fc1.bias"].double_value(&[4]);
    assert!(error.abs() < 1e-6, "{error}");
}

#[test]
fn integers_reach_from_end_to_end_of_a_range_with_an_exact_0() {
    for (range, scale, zero) in [
        ([0.0, 255.0], 1.0, 0),
        ([-255.0, 0.0], 1.0, 255),
        ([10.0, 51.0], 0.2, 0),
        ([-128.0, 127.0], 1.0, 128),
        ([0.0, 0.0], 1.0, 0),
    ] {
        let own = affine(range);
        assert_eq!(own, Affine { scale, zero }, "{range:?}");
        let [low, high] = [range[0].min(0.0), range[1].max(0.0)];
        let numbers = Tensor::from_slice(&[low, high, 0.0, high + 9.0, low - 9.0]);
        let expected = Tensor::from_slice(&[low, high, 0.0, high, low]);
        if low != high {
            let error = most(&(own.apply(&numbers) - expected));
            assert!(error <= 1e-6 * f64::from(high - low), "{range:?}: {error}");
        }
    }
    // Halves go to the even integer, as in ONNX.
    let halves = affine([-128.0, 127.0]).apply(&Tensor::from_slice(&[0.5f32, 1.5, 2.5, -0.5]));
    assert_eq!(Vec::<f32>::try_from(halves).unwrap(), [0.0, 2.0, 2.0, 0.0]);
}

#[test]
fn sums_and_layers_of_images_read_integers_and_tokens_and_logits_stay_numbers() {
    let rounded = |name: &str, options: serde_json::Value, shape: &[i64]| {
        let mut model = model_of(name, options, shape, 10, 1);
        fold(&mut model);
        let quantised = Quantised::new(&model, &[inputs(shape, 8, 1)], 99.99).unwrap();
        let all = (model.graph.operations())
            .map(|(value, operation)| (operation.clone(), quantised.activation(value).is_some()));
        all.collect::<Vec<_>>()
    };
    for (operation, is_rounded) in rounded("resnet-20", json!({"width": 4}), &[3, 16, 16]) {
        let expected = match &operation {
            Operation::Linear { .. } => false,
            // The first of each block is followed by a ReLU.
            Operation::Convolution { layer, .. } => !layer.ends_with("conv1"),
            Operation::Sum(_) => false,
            _ => true,
        };
        assert_eq!(is_rounded, expected, "{operation:?}");
    }
    let options = json!({"patch": 4, "width": 12, "depth": 2});
    for (operation, is_rounded) in rounded("vit", options, &[3, 8, 12]) {
        let expected = matches!(
            operation,
            Operation::Input
                | Operation::Convolution { .. }
                | Operation::LayerNorm { .. }
                | Operation::Gelu(_)
                | Operation::Attention { .. }
        );
        assert_eq!(is_rounded, expected, "{operation:?}");
    }
}

#[test]
fn what_is_not_finite_is_refused() {
    let mut model = model_of(
        "mlp",
        json!({"hidden": [4], "batch_norm": false}),
        &[6],
        3,
        0,
    );
    let weight = model.tensors["fc1.weight"].full_like(f64::INFINITY);
    model.tensors.insert("fc1.weight".to_owned(), weight);
    let refused = Quantised::new(&model, &[inputs(&[6], 8, 0)], 100.0).unwrap_err();
    assert!(matches!(refused, ExportError::NotFinite), "{refused}");
}
