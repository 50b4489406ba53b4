use super::super::passes::{NormGradients, norm_by_channel_backward, norm_by_channel_forward};
use super::*;
use crate::BatchNorm;

mod case;

use case::Case;

const EPSILON: f64 = 1e-5;
const MOMENTUM: f64 = 0.1;

/// `[outer, channels, inner]`: one row and one number alone, two samples, fewer than threads, as many as all read ahead,
/// more, no multiples of them, and many.
const SHAPES: [[i64; 3]; 12] = [
    [1, 1, 2],
    [2, 3, 1],
    [1, 40, 60],
    [1, 5, 128],
    [1, 7, 1000],
    [1000, 3, 1],
    [33, 4, 49],
    [300, 2, 7],
    [5, 6, 257],
    [3, 2, 4099],
    [17, 1, 1031],
    [1, 1, 70_001],
];

/// What is added and whether a ReLU follows.
const WAYS: [[bool; 2]; 4] = [[false, false], [false, true], [true, false], [true, true]];

#[test]
fn norms_by_channel_are_those_in_double_precision_to_a_few_roundings() {
    for (kind, shape) in [Kind::Float, Kind::BFloat16]
        .into_iter()
        .flat_map(|kind| SHAPES.map(|shape| (kind, shape)))
    {
        for (way, trains) in WAYS.iter().flat_map(|way| [(way, true), (way, false)]) {
            let case = Case::new(shape, kind, *way);
            let ours = case.ours(trains);
            let expected = case.expected(trains, &ours[0].1);
            assert_eq!(ours.len(), expected.len());
            for ((name, ours), (other, expected, bound)) in ours.iter().zip(&expected) {
                assert_eq!(name, other);
                // Sums of f64 have roundings of their own where terms cancel.
                let bound = bound.view_as(ours) + 1e-12;
                let apart = (ours.to_kind(Kind::Double) - expected.view_as(ours)).abs();
                let over = (&apart / bound).max().double_value(&[]);
                assert!(
                    over <= 1.0,
                    "{kind:?} {shape:?} {way:?} {trains}: {name} by {over}"
                );
            }
        }
    }
}

#[test]
fn equal_numbers_have_no_variance_and_their_value_as_mean() {
    for [outer, channels, inner] in SHAPES {
        let mut case = Case::new([outer, channels, inner], Kind::Float, [false, false]);
        let value = randn(&[1, channels, 1]) * 1000.0;
        case.input = value.expand([outer, channels, inner], false).contiguous();
        let found = case.ours(true);
        let expected = case.shift.view([1, -1, 1]).expand_as(&case.input);
        assert_bits(&found[0].1, &expected.contiguous(), "out");
        assert_bits(&found[1].1, &value.view([-1]), "mean");
        let root = (1.0 / EPSILON.sqrt()) as f32;
        assert_eq!(found[2].1.double_value(&[0]), f64::from(root));
        let variance = case.running[1].to_kind(Kind::Double) * (1.0 - MOMENTUM);
        let (_, running) = found.last().unwrap();
        assert_bits(running, &variance.to_kind(Kind::Float), "running variance");
    }
}

#[test]
fn a_channels_bits_do_not_depend_on_its_neighbours() {
    for (kind, trains) in [
        (Kind::Float, true),
        (Kind::Float, false),
        (Kind::BFloat16, true),
    ] {
        for shape in [[1, 9, 60], [1, 9, 1000], [7, 9, 33]] {
            let case = Case::new(shape, kind, [true, true]);
            let together = case.ours(trains);
            // Alone, among others, and elsewhere among them.
            for some in [vec![4], vec![0, 4, 8], vec![4, 3, 4]] {
                let found = case.channels(&some).ours(trains);
                let index = Tensor::from_slice(&some);
                for ((name, together), (_, found)) in together.iter().zip(&found) {
                    let channels = if together.dim() == 3 { 1 } else { 0 };
                    let expected = together.index_select(channels, &index);
                    assert_bits(found, &expected, &format!("{kind:?} {shape:?} {name}"));
                }
            }
        }
    }
}

#[test]
fn sums_follow_the_documented_order() {
    // 150 numbers: 64 threads, some of which have three.
    let case = Case::new([3, 2, 50], Kind::Float, [false, false]);
    let found = case.ours(true);
    for channel in 0..2 {
        let numbers = |it: &Tensor| -> Vec<f64> {
            let flat = it.select(1, channel).to_kind(Kind::Double).contiguous();
            Vec::try_from(flat.view([-1])).unwrap()
        };
        let fold = |terms: Vec<f64>| {
            let mut sums = vec![0.0; 64];
            for (place, term) in terms.iter().enumerate() {
                sums[place % 64] += term;
            }
            while sums.len() > 1 {
                let half = sums.split_off(sums.len() / 2);
                sums.iter_mut()
                    .zip(half)
                    .for_each(|(sum, other)| *sum += other);
            }
            sums[0]
        };
        let values = numbers(&case.input);
        let mean = values[0] + fold(values.iter().map(|v| v - values[0]).collect()) / 150.0;
        let square = fold(values.iter().map(|v| (v - mean) * (v - mean)).collect());
        let at = |name: &str| {
            let (_, tensor) = found.iter().find(|it| it.0 == name).unwrap();
            tensor.double_value(&[channel])
        };
        assert_eq!(at("mean"), f64::from(mean as f32));
        let root = 1.0 / (square / 150.0 + EPSILON).sqrt();
        assert_eq!(at("inverse deviation"), f64::from(root as f32));
        let slopes = numbers(&case.slope);
        assert_eq!(
            at("shift's gradient"),
            f64::from(fold(slopes.clone()) as f32)
        );
        let products = slopes.iter().zip(&values).map(|(slope, value)| {
            let distance = *value as f32 - mean as f32;
            slope * f64::from(distance)
        });
        let product = fold(products.collect()) * f64::from(root as f32);
        assert_eq!(at("scale's gradient"), f64::from(product as f32));
    }
}

#[test]
fn a_channel_with_what_is_no_number_leaves_the_others_alone() {
    let case = Case::new([2, 3, 40], Kind::Float, [false, true]);
    let whole = case.ours(true);
    let mut broken = Case { ..case };
    broken.input = copy(&broken.input);
    let _ = broken.input.get(1).get(1).get(7).fill_(f64::NAN);
    for ((name, whole), (_, found)) in whole.iter().zip(broken.ours(true)) {
        let channels = if found.dim() == 3 { 1 } else { 0 };
        for channel in [0, 2] {
            let [found, whole] = [&found, whole].map(|it| it.select(channels, channel));
            assert_bits(&found, &whole, name);
        }
        let lost = found.select(channels, 1).isnan();
        // A ReLU lets no slope of NaN pass.
        if *name != "shift's gradient" {
            assert!(bool::try_from(lost.all()).unwrap(), "{name}");
        }
    }
}

#[test]
fn a_norm_by_channel_takes_no_other_shapes_or_kinds() {
    let case = Case::new([2, 3, 4], Kind::Float, [false, false]);
    let statistics = Tensor::zeros([2, 3], kind::FLOAT_CPU);
    let refused = |input: &Tensor, added: Option<&Tensor>, statistics: &Tensor| {
        let norm = BatchNorm {
            scale: &case.scale,
            shift: &case.shift,
            running: case.running.each_ref(),
            trains: true,
            epsilon: EPSILON,
            momentum: MOMENTUM,
        };
        let out = input.zeros_like();
        norm_by_channel_forward(&OnCpu, &norm, input, added, false, statistics, &out)
            .unwrap_err()
            .to_string()
    };
    let input = &case.input;
    assert_eq!(
        refused(&input.view([6, 4]), None, &statistics),
        "input must have 3 dimensions, not the shape [6, 4]"
    );
    assert_eq!(
        refused(&input.narrow(2, 0, 0), None, &statistics),
        "a batch norm of [2, 3, 0]"
    );
    assert_eq!(
        refused(&input.to_kind(Kind::Double), None, &statistics),
        "a batch norm of Double"
    );
    assert_eq!(
        refused(&input.transpose(0, 2), None, &statistics),
        "input must be a contiguous Float [4, 3, 2] on Cpu, not strided Float [4, 3, 2] on Cpu"
    );
    assert_eq!(
        refused(&randn(&[2, 5, 4]), None, &statistics),
        "scale must be a contiguous Float [5] on Cpu, not Float [3] on Cpu"
    );
    assert_eq!(
        refused(input, Some(&randn(&[2, 3, 5])), &statistics),
        "added must be a contiguous Float [2, 3, 4] on Cpu, not Float [2, 3, 5] on Cpu"
    );
    assert_eq!(
        refused(input, None, &randn(&[5, 3])),
        "statistics must be a contiguous Float [2, 3] on Cpu, not Float [5, 3] on Cpu"
    );
    let (out, of_scale) = (input.zeros_like(), case.scale.zeros_like());
    let gradients = NormGradients {
        input: &out,
        added: Some(&out),
        scale: &of_scale,
        shift: &of_scale,
    };
    let error = norm_by_channel_backward(
        &OnCpu,
        &case.scale,
        &case.slope,
        input,
        None,
        &statistics,
        gradients,
    );
    assert!(error.unwrap_err().to_string().starts_with("without a ReLU"));
}
