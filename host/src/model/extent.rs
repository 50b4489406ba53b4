//! How large the values of one sample are: what batch norms see of it, and how much is multiplied.

use std::collections::BTreeMap;

use super::{Graph, Operation, Parameter, Value};

/// The fewest values that a batch norm of the graph sees of one feature of one sample.
pub(super) fn values_per_feature(
    graph: &Graph,
    parameters: &[Parameter],
    input: &[i64],
) -> Option<i64> {
    let shapes = shapes(graph, parameters, input);
    let norms = (graph.operations()).filter(|(_, it)| matches!(it, Operation::Norm { .. }));
    norms
        .filter_map(|(value, _)| Some(shapes.get(&value)?.get(1..)?.iter().product()))
        .min()
}

/// The products of linear and convolution layers for one sample, by their weights: as many as a layer has inputs
/// of an output, for each output. Zeros around images count as inputs.
pub(super) fn multiply_adds(
    graph: &Graph,
    parameters: &[Parameter],
    input: &[i64],
) -> Vec<(Option<String>, u64)> {
    let shapes = shapes(graph, parameters, input);
    let products = |(value, operation): (Value, &Operation)| {
        let (Operation::Linear { layer, .. } | Operation::Convolution { layer, .. }) = operation
        else {
            return None;
        };
        let name = format!("{layer}.weight");
        let weight = parameters.iter().find(|it| it.name == name)?;
        let outputs: i64 = shapes.get(&value)?.iter().product();
        let inputs: i64 = weight.shape[1..].iter().product();
        Some((Some(name), (outputs * inputs) as u64))
    };
    graph.operations().filter_map(products).collect()
}

/// The shapes of a sample's values.
pub(super) fn shapes(
    graph: &Graph,
    parameters: &[Parameter],
    input: &[i64],
) -> BTreeMap<Value, Vec<i64>> {
    let weight = |layer: &str| {
        let name = format!("{layer}.weight");
        let found = parameters.iter().find(|it| it.name == name);
        found.map_or(&[][..], |it| &it.shape)
    };
    let mut shapes: BTreeMap<Value, Vec<i64>> = BTreeMap::new();
    let windows = |from: &[i64], kernel: &dyn Fn(usize) -> i64, stride: i64, padding: i64| {
        let place =
            |(axis, length): (usize, &i64)| (length + 2 * padding - kernel(axis)) / stride + 1;
        from.iter()
            .skip(1)
            .enumerate()
            .map(place)
            .collect::<Vec<_>>()
    };
    for (value, operation) in graph.operations() {
        let read = operation.reads().first().and_then(|it| shapes.get(it));
        let from = read.cloned().unwrap_or_default();
        let channels = from.first().copied().unwrap_or(1);
        let shape = match operation {
            Operation::Input => input.to_vec(),
            Operation::AddChannel(_) => [&[1], &from[..]].concat(),
            Operation::Flatten(_) => vec![from.iter().product()],
            Operation::Linear { layer, .. } => {
                let others = &from[..from.len().saturating_sub(1)];
                [others, weight(layer).get(..1).unwrap_or_default()].concat()
            }
            Operation::Convolution {
                layer,
                stride,
                padding,
                ..
            } => {
                let weight = weight(layer);
                let kernel = |axis: usize| weight.get(axis + 2).copied().unwrap_or(1);
                let outputs = weight.first().copied().unwrap_or(1);
                [vec![outputs], windows(&from, &kernel, *stride, *padding)].concat()
            }
            Operation::MaxPool {
                kernel,
                stride,
                padding,
                ..
            } => [
                vec![channels],
                windows(&from, &|_| *kernel, *stride, *padding),
            ]
            .concat(),
            Operation::Mean(_) => vec![channels],
            Operation::Tokens(_) => vec![from.iter().skip(1).product(), channels],
            Operation::ClassToken { .. } => (from.iter().enumerate())
                .map(|(axis, size)| size + i64::from(axis == 0))
                .collect(),
            Operation::Attention { .. } => (from.iter().enumerate())
                .map(|(axis, size)| if axis == 1 { size / 3 } else { *size })
                .collect(),
            Operation::FirstToken(_) | Operation::MeanOfTokens(_) => {
                from.iter().skip(1).copied().collect()
            }
            Operation::Norm { .. }
            | Operation::LayerNorm { .. }
            | Operation::Positions { .. }
            | Operation::Gelu(_)
            | Operation::Relu(_)
            | Operation::Sum(_) => from,
            // Networks with such operations know the shapes themselves.
            Operation::Opaque { .. } => Vec::new(),
        };
        shapes.insert(value, shape);
    }
    shapes
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{InputSpec, MODELS};
    use super::*;
    use crate::registry::find;

    #[test]
    fn the_shapes_of_a_transformer_are_those_of_its_tokens() {
        let spec = InputSpec {
            shape: vec![3, 8, 12],
            classes: 10,
            ..InputSpec::default()
        };
        let options = json!({"patch": 4, "width": 6, "depth": 1, "mlp_ratio": 2.0});
        let build = find(MODELS, "vit").unwrap().build;
        let network = build(options.as_object().unwrap(), &spec).unwrap();
        let (graph, parameters) = (network.graph(), network.parameters());
        let shapes = shapes(&graph, parameters, &spec.shape);
        let mut seen = Vec::new();
        for (value, operation) in graph.operations() {
            let expected: &[i64] = match operation {
                Operation::Input => &[3, 8, 12],
                Operation::Convolution { .. } => &[6, 2, 3],
                Operation::Tokens(_) => &[6, 6],
                Operation::Linear { layer, .. } if layer.ends_with("qkv") => &[7, 18],
                Operation::Linear { layer, .. } if layer.ends_with("fc1") => &[7, 12],
                Operation::Gelu(_) => &[7, 12],
                Operation::Linear { layer, .. } if layer == "head" => &[10],
                Operation::LayerNorm { layer, .. } if layer == "norm" => &[6],
                Operation::FirstToken(_) => &[6],
                _ => &[7, 6],
            };
            assert_eq!(shapes[&value], expected, "{operation:?}");
            seen.push(value);
        }
        assert!(seen.len() > 15);
        assert_eq!(network.values_per_feature(&spec.shape), None);
    }

    fn seen(model: &str, options: serde_json::Value, shape: &[i64]) -> Option<i64> {
        let spec = InputSpec {
            shape: shape.to_vec(),
            classes: 10,
            ..InputSpec::default()
        };
        let build = find(MODELS, model).unwrap().build;
        let network = build(options.as_object().unwrap(), &spec).unwrap();
        network.values_per_feature(shape)
    }

    #[test]
    fn a_norm_behind_a_linear_layer_sees_one_value_and_none_sees_nothing() {
        assert_eq!(seen("mlp", json!({}), &[40]), Some(1));
        assert_eq!(seen("mlp", json!({"batch_norm": false}), &[40]), None);
        assert_eq!(seen("lenet-300-100", json!({}), &[1, 28, 28]), None);
    }

    #[test]
    fn products_are_inputs_of_an_output_times_outputs() {
        let count = |model: &str, shape: &[i64]| -> u64 {
            let spec = InputSpec {
                shape: shape.to_vec(),
                classes: 10,
                ..InputSpec::default()
            };
            let build = find(MODELS, model).unwrap().build;
            let network = build(&Default::default(), &spec).unwrap();
            let all = network.multiply_adds(shape);
            all.into_iter().map(|(_, count)| count).sum()
        };
        assert_eq!(
            count("lenet-300-100", &[1, 28, 28]),
            784 * 300 + 300 * 100 + 100 * 10
        );
        let conv = |inputs: u64, outputs: u64, kernel: u64, side: u64| {
            inputs * outputs * kernel.pow(2) * side.pow(2)
        };
        // A stage's first convolution has half as many inputs, and beside it stands a projection.
        let stage = |inputs: u64, outputs: u64, side: u64| {
            let first = conv(inputs, outputs, 3, side) + conv(inputs, outputs, 1, side);
            first + 5 * conv(outputs, outputs, 3, side)
        };
        let first = conv(3, 16, 3, 32) + 6 * conv(16, 16, 3, 32);
        let whole = first + stage(16, 32, 16) + stage(32, 64, 8) + 64 * 10;
        assert_eq!(count("resnet-20", &[3, 32, 32]), whole);
        // As counters of operations say of torchvision's, with 1,000 classes instead of 10.
        let head = 2048 * 990;
        assert_eq!(count("resnet-50", &[3, 224, 224]) + head, 4_089_184_256);
    }

    #[test]
    fn a_norm_of_images_sees_their_height_times_width_where_they_are_smallest() {
        // Three stages, two of them with a stride of 2: 32, 16, 8.
        assert_eq!(seen("resnet-20", json!({}), &[3, 32, 32]), Some(64));
        assert_eq!(seen("resnet-50", json!({}), &[3, 224, 224]), Some(49));
        // Four max-pools before the last stage: 2 x 2, and 1 x 1 of the smallest images.
        assert_eq!(seen("vgg-16", json!({}), &[3, 32, 32]), Some(4));
        assert_eq!(seen("vgg-16", json!({}), &[3, 16, 16]), Some(1));
        assert!(seen("cnn1d", json!({}), &[40]) > Some(1));
    }
}
