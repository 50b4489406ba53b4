//! Masks that are carried to another initialisation: the permutation that was hidden is found again.

#![allow(clippy::unwrap_used)]

use end_to_end::built::{part, plain, strategy};
use end_to_end::program::elements;
use host::strategy::still::{Still, flat};
use host::strategy::{MaskRule, Strategy};
use plugin_api::{Layer, Point, UnitSet, UnitSlice, Units};
use serde_json::json;
use tch::{Kind, Tensor};

fn aligned() -> Strategy {
    let options = json!({"run": "other", "to": "level-0-end"});
    strategy(
        plain("imp/magnitude"),
        part("aligned/levels", options),
        vec![plain("lrr/learning-rate")],
    )
    .unwrap()
}

/// The same tensor with these places along an axis.
fn along(tensor: &Tensor, axis: i64, order: &[i64]) -> Tensor {
    tensor.index_select(axis, &Tensor::from_slice(order))
}

/// Half of the weights of each layer, those of largest magnitude.
fn halves(weights: &[Tensor]) -> Vec<Tensor> {
    let half = |weight: &Tensor| {
        let median = weight.abs().flatten(0, -1).median();
        weight.abs().gt_tensor(&median).to_kind(Kind::Float)
    };
    weights.iter().map(half).collect()
}

/// Hides `orders` (layer, axis, order) in a copy of the scene's network, and has the masks of the first carried to it.
fn assert_found(mut scene: Still, orders: &[(usize, i64, Vec<i64>)]) {
    let mut strategy = aligned();
    // Weights of which no two are equal.
    let first: Vec<Tensor> = scene.points[0]
        .1
        .iter()
        .map(Tensor::shallow_clone)
        .collect();
    let permuted = |tensors: &[Tensor]| {
        let mut all: Vec<Tensor> = tensors.iter().map(Tensor::shallow_clone).collect();
        for (layer, axis, order) in orders {
            all[*layer] = along(&all[*layer], *axis, order);
        }
        all
    };
    let noisy = |tensor: Tensor| {
        let size = tensor.size();
        let count = size.iter().product::<i64>();
        tensor
            + (Tensor::arange(count, (Kind::Float, tch::Device::Cpu)) * 1.7)
                .sin()
                .view(&size[..])
                * 0.05
    };
    let second: Vec<Tensor> = permuted(&first).into_iter().map(noisy).collect();
    let masks = halves(&first);
    let target = flat(&masks).iter().sum::<f32>() as u64;
    let run = Point::Run {
        run: "other".to_owned(),
        point: Box::new(Point::LevelEnd(0)),
    };
    let copies = |tensors: &[Tensor]| tensors.iter().map(Tensor::shallow_clone).collect();
    scene.points.push((run, first));
    scene.points.push((Point::LevelEnd(0), second));
    scene
        .other_masks
        .push(("other".to_owned(), 1, copies(&masks)));
    scene.facts.target = target;
    let scores: Vec<Tensor> = scene.weights.iter().map(Tensor::abs).collect();
    let got = strategy
        .update(&scene, &scores, MaskRule::nested(target))
        .unwrap();
    let expected = permuted(&masks);
    for (layer, (got, expected)) in got.iter().zip(&expected).enumerate() {
        assert_eq!(elements(got), elements(expected), "layer {layer}");
    }
    assert!(flat(&got) != flat(&masks), "something was hidden");
}

#[test]
fn hidden_units_of_a_chain_are_found_behind_convolutions_and_flattening_too() {
    // Channels, and hidden units that read each channel at four places.
    let scene = Still::new(&[&[6, 3, 3, 3], &[8, 24], &[5, 8]], 4);
    let channels = vec![3, 0, 5, 1, 4, 2];
    let places = channels
        .iter()
        .flat_map(|it| (0..4).map(move |at| it * 4 + at))
        .collect();
    let units = vec![7, 2, 4, 0, 1, 6, 3, 5];
    assert_found(
        scene,
        &[
            (0, 0, channels),
            (1, 1, places),
            (1, 0, units.clone()),
            (2, 1, units),
        ],
    );
}

#[test]
fn units_that_a_residual_connection_ties_move_together() {
    let mut scene = Still::new(&[&[6, 9], &[6, 6], &[4, 6]], 5);
    let all = || (0..6).map(Some).collect();
    let slice = |layer, axis, makes| UnitSlice::new(layer, axis, makes, all());
    let slices = vec![
        slice(0, 0, true),
        slice(1, 0, true),
        slice(1, 1, false),
        slice(2, 1, false),
    ];
    let sizes: Vec<u64> = scene.facts.layers.iter().map(Layer::len).collect();
    scene.units = Units::new(vec![UnitSet::new("stream", 6, slices)], sizes);
    let order = vec![4, 2, 0, 5, 1, 3];
    let places = [(0, 0), (1, 0), (1, 1), (2, 1)];
    let orders: Vec<(usize, i64, Vec<i64>)> = (places.iter())
        .map(|(layer, axis)| (*layer, *axis, order.clone()))
        .collect();
    assert_found(scene, &orders);
}
