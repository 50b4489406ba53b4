//! Against every path of small graphs.

use super::*;
use crate::model::{Init, Role};
use crate::rng::{Moment, Purpose, Stream};

mod gradients;

fn mask(shape: &[i64], values: &[f32]) -> Tensor {
    Tensor::from_slice(values).view(shape)
}

fn flat(mask: &Tensor) -> Vec<bool> {
    Vec::try_from(mask.reshape([-1])).unwrap()
}

/// Weights of these shapes, called by their places.
fn weights(shapes: &[&[i64]]) -> Vec<Parameter> {
    let weight = |(place, shape): (usize, &&[i64])| Parameter {
        name: format!("{place}.weight"),
        shape: shape.to_vec(),
        role: Role::FixedWeight,
        init: Init::Constant(1.0),
    };
    shapes.iter().enumerate().map(weight).collect()
}

/// Adds the layer of the weight at this place.
fn weigh(graph: &mut Graph, place: usize, from: Value) -> Value {
    graph.add(Operation::Linear {
        layer: place.to_string(),
        bias: true,
        from,
    })
}

/// How many weights of each mask are effective.
fn counts(connections: &Connections, masks: &[Tensor]) -> Vec<i64> {
    let effective = connections.effective(|parameter| masks[parameter].shallow_clone());
    let count = |on_path: &Tensor| on_path.sum(Kind::Int64).int64_value(&[]);
    effective.values().map(count).collect()
}

#[test]
fn a_unit_without_an_input_or_an_output_makes_its_weights_ineffective() {
    let (mut graph, input) = Graph::of_input();
    let hidden = weigh(&mut graph, 0, input);
    let hidden = graph.add(Operation::Relu(hidden));
    weigh(&mut graph, 1, hidden);
    let connections = Connections::of(&graph, &weights(&[&[3, 2], &[1, 3]]));
    // Unit 0 has both, unit 1 no output, unit 2 no input.
    let masks = [
        mask(&[3, 2], &[1.0, 0.0, 1.0, 1.0, 0.0, 0.0]),
        mask(&[1, 3], &[1.0, 0.0, 1.0]),
    ];
    let effective = connections.effective(|parameter| masks[parameter].shallow_clone());
    assert_eq!(
        flat(&effective[&0]),
        [true, false, false, false, false, false]
    );
    assert_eq!(flat(&effective[&1]), [true, false, false]);
}

#[test]
fn a_shortcut_keeps_paths_alive_around_a_dead_layer() {
    let (mut graph, input) = Graph::of_input();
    let stem = weigh(&mut graph, 0, input);
    let inner = weigh(&mut graph, 1, stem);
    let last = weigh(&mut graph, 2, inner);
    let sum = graph.add(Operation::Sum([stem, last]));
    weigh(&mut graph, 3, sum);
    let shapes: [&[i64]; 4] = [&[2, 1], &[2, 2], &[2, 2], &[3, 2]];
    let mut masks = shapes.map(|shape| Tensor::ones(shape, (Kind::Float, Device::Cpu)));
    let _ = masks[2].zero_();
    let connections = Connections::of(&graph, &weights(&shapes));
    assert_eq!(counts(&connections, &masks), [2, 0, 0, 6]);
}

#[test]
fn what_leads_to_no_output_is_ineffective_wherever_it_is_described() {
    let (mut graph, input) = Graph::of_input();
    let one = weigh(&mut graph, 0, input);
    weigh(&mut graph, 1, input);
    graph.add(Operation::Relu(one));
    let shapes: [&[i64]; 2] = [&[2, 3], &[4, 3]];
    let masks = shapes.map(|shape| Tensor::ones(shape, (Kind::Float, Device::Cpu)));
    let connections = Connections::of(&graph, &weights(&shapes));
    assert_eq!(counts(&connections, &masks), [6, 0]);
}

/// 2 units with 3 places each, flattened and added to 6 units; and these as the places of one channel.
#[test]
fn units_that_become_several_features_or_one_channel_keep_their_paths() {
    let (mut graph, input) = Graph::of_input();
    let channels = weigh(&mut graph, 0, input);
    let features = graph.add(Operation::Flatten(channels));
    let same = weigh(&mut graph, 1, input);
    let sum = graph.add(Operation::Sum([features, same]));
    weigh(&mut graph, 2, sum);
    let shapes: [&[i64]; 3] = [&[2, 1, 1], &[6, 3], &[1, 6]];
    let connections = Connections::of(&graph, &weights(&shapes));
    let ones = shapes.map(|shape| Tensor::ones(shape, (Kind::Float, Device::Cpu)));
    assert_eq!(counts(&connections, &ones), [2, 18, 6]);
    // Only feature 4 is read: the second channel's.
    let read = mask(&[1, 6], &[0.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
    let [first, second, _] = ones.each_ref().map(Tensor::shallow_clone);
    let masks = [first, second, read];
    let effective = connections.effective(|parameter| masks[parameter].shallow_clone());
    assert_eq!(flat(&effective[&0]), [false, true]);
    assert_eq!(counts(&connections, &masks), [1, 3, 1]);

    let (mut graph, input) = Graph::of_input();
    let features = weigh(&mut graph, 0, input);
    let channel = graph.add(Operation::AddChannel(features));
    weigh(&mut graph, 1, channel);
    let shapes: [&[i64]; 2] = [&[4, 2], &[2, 1, 3]];
    let connections = Connections::of(&graph, &weights(&shapes));
    let none = |shape: &[i64]| Tensor::zeros(shape, (Kind::Float, Device::Cpu));
    let one = mask(&[4, 2], &[0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
    let tap = mask(&[2, 1, 3], &[0.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
    let both = [one, tap];
    assert_eq!(counts(&connections, &both), [1, 1]);
    let [one, tap] = both;
    assert_eq!(counts(&connections, &[one, none(&[2, 1, 3])]), [0, 0]);
    assert_eq!(counts(&connections, &[none(&[4, 2]), tap]), [0, 0]);
}

#[test]
#[should_panic(expected = "the graph's layer `7` has no parameter `7.weight`")]
fn a_layer_without_a_parameter_is_named() {
    let (mut graph, input) = Graph::of_input();
    weigh(&mut graph, 7, input);
    Connections::of(&graph, &weights(&[&[2, 1]]));
}

/// Weights between single units: (parameter, index in the parameter, from, to).
type Edge = (usize, usize, usize, usize);

/// Marks the edges of every path from an input to an output, path by path.
fn walk(at: usize, edges: &[Edge], outputs: &[usize], path: &mut Vec<usize>, on: &mut [bool]) {
    if outputs.contains(&at) {
        path.iter().for_each(|&edge| on[edge] = true);
        return;
    }
    for (place, &(_, _, from, to)) in edges.iter().enumerate() {
        if from == at {
            path.push(place);
            walk(to, edges, outputs, path, on);
            path.pop();
        }
    }
}

/// A small residual network, path by path: 2 channels - kernels of 3 - 3 channels - a block of two
/// with a shortcut - 2 positions of each flattened - 2 outputs.
#[test]
fn agrees_with_a_search_of_every_path_in_small_networks() {
    let shapes: [&[i64]; 5] = [&[3, 2, 3], &[2, 3, 1], &[3, 2, 3], &[3, 3, 1], &[2, 6]];
    let (mut graph, input) = Graph::of_input();
    let stem = weigh(&mut graph, 0, input);
    let inner = weigh(&mut graph, 1, stem);
    let last = weigh(&mut graph, 2, inner);
    let projection = weigh(&mut graph, 3, stem);
    let sum = graph.add(Operation::Sum([last, projection]));
    let sum = graph.add(Operation::Sum([sum, stem]));
    let flattened = graph.add(Operation::Flatten(sum));
    weigh(&mut graph, 4, flattened);
    let connections = Connections::of(&graph, &weights(&shapes));
    // Numbers of the first unit of each group: inputs 0, stem 2, inner 5, block's end 7, outputs 10.
    let ends = [(0, 2), (2, 5), (5, 7), (2, 7), (7, 10)];
    let mut partial = 0;
    for seed in 0..200 {
        let mut stream = Stream::new(seed, Purpose::Strategy("paths"), Moment::default());
        let masks = shapes.map(|shape| {
            let count = shape.iter().product::<i64>();
            let draw = |_| f32::from(u8::from(stream.uniform() < 0.25));
            mask(shape, &(0..count).map(draw).collect::<Vec<_>>())
        });
        let mut edges: Vec<Edge> = Vec::new();
        for (parameter, mask) in masks.iter().enumerate() {
            let (from, to) = ends[parameter];
            let shape = mask.size();
            let row = shape[1..].iter().product::<i64>() as usize;
            // Of the linear layer two neighbouring columns read one channel.
            let unit = if parameter == 4 {
                2
            } else {
                row / shape[1] as usize
            };
            let values = Vec::<f32>::try_from(mask.reshape([-1])).unwrap();
            for (i, _) in values
                .iter()
                .enumerate()
                .filter(|(_, value)| **value != 0.0)
            {
                edges.push((parameter, i, from + i % row / unit, to + i / row));
            }
        }
        // The identity shortcut, whose edges belong to no parameter.
        edges.extend((0..3).map(|channel| (usize::MAX, 0, 2 + channel, 7 + channel)));
        let mut on = vec![false; edges.len()];
        for input in 0..2 {
            walk(input, &edges, &[10, 11], &mut Vec::new(), &mut on);
        }
        let effective = connections.effective(|parameter| masks[parameter].shallow_clone());
        for (parameter, shape) in shapes.iter().enumerate() {
            let mut expected = vec![false; shape.iter().product::<i64>() as usize];
            for (&(_, index, ..), _) in edges
                .iter()
                .zip(&on)
                .filter(|(edge, on)| edge.0 == parameter && **on)
            {
                expected[index] = true;
            }
            let survivors = masks[parameter].sum(Kind::Int64).int64_value(&[]) as usize;
            let count = expected.iter().filter(|&&on| on).count();
            partial += usize::from(count > 0 && count < survivors);
            assert_eq!(
                flat(&effective[&parameter]),
                expected,
                "seed {seed}, {parameter}"
            );
        }
    }
    // The comparison means something only where some survivors are on paths and some are not.
    assert!(partial > 100, "{partial}");
}
