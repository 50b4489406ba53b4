use super::super::passes::{SampleLosses, cross_entropy};
use super::*;
use crate::shim;

#[test]
fn cross_entropies_have_the_bits_of_the_shims() {
    for [lanes, batch, classes] in [
        [1, 1, 2],
        [1, 33, 10],
        [3, 60, 10],
        [3, 257, 101],
        [2, 5, 1],
    ] {
        for (smoothing, spoiled) in [(0.0, false), (0.1, false), (0.1, true)] {
            let logits = randn(&[lanes, batch, classes]) * 5.0;
            if spoiled {
                let _ = logits.get(lanes - 1).get(0).fill_(f64::NAN);
                let _ = logits
                    .get(0)
                    .get(batch - 1)
                    .select(0, 0)
                    .fill_(f64::INFINITY);
            }
            let labels = Tensor::randint(classes, [lanes, batch], kind::INT64_CPU);
            let sums = || {
                let losses = Tensor::zeros([lanes], kind::DOUBLE_CPU);
                (losses, Tensor::zeros([lanes], kind::INT64_CPU))
            };
            let (losses, correct) = sums();
            let expected = shim::cross_entropy(&logits, &labels, smoothing, &losses, &correct);
            let samples = SampleLosses::new(lanes, batch, Device::Cpu);
            for with_gradient in [true, false] {
                let what = format!("{lanes} {batch} {classes} {smoothing} {spoiled}");
                let (our_losses, our_correct) = sums();
                let gradient = logits.zeros_like();
                cross_entropy(
                    &OnCpu,
                    &logits,
                    &labels,
                    smoothing,
                    &samples,
                    &our_losses,
                    &our_correct,
                    with_gradient.then_some(&gradient),
                )
                .unwrap();
                assert_bits(&our_losses, &losses, &what);
                assert_bits(&our_correct, &correct, &what);
                if with_gradient {
                    assert_bits(&gradient, expected.as_ref().unwrap(), &what);
                }
            }
        }
    }
}

#[test]
fn a_label_that_is_no_class_makes_nan_of_its_sample() {
    let logits = Tensor::zeros([2, 2, 3], kind::FLOAT_CPU);
    let labels = Tensor::from_slice(&[0i64, 3, 1, 2]).view([2, 2]);
    let losses = Tensor::zeros([2], kind::DOUBLE_CPU);
    let correct = Tensor::zeros([2], kind::INT64_CPU);
    let gradient = logits.zeros_like();
    let samples = SampleLosses::new(2, 2, Device::Cpu);
    let all = [&losses, &correct];
    cross_entropy(
        &OnCpu,
        &logits,
        &labels,
        0.0,
        &samples,
        all[0],
        all[1],
        Some(&gradient),
    )
    .unwrap();
    let losses = Vec::<f64>::try_from(losses).unwrap();
    assert!(losses[0].is_nan() && (losses[1] - 2.0 * 3f64.ln()).abs() < 1e-6);
    assert_eq!(Vec::<i64>::try_from(correct).unwrap(), [1, 0]);
    assert_eq!(gradient.isnan().sum(Kind::Int64).int64_value(&[]), 3);
}
