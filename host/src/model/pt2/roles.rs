//! What parameters are for, and how they start: by the operations that read them.

use std::collections::HashMap;

use ::pt2::{Argument, Graph, Node, Source, ValueId};
use plugin_api::LayerKind;

use super::views;
use crate::model::{Init, Role};

/// How a parameter is used.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Use {
    /// As the weight of a layer.
    Weight {
        /// Which kind of layer.
        kind: LayerKind,
        /// Inputs of each output.
        fan_in: f64,
        /// What PyTorch's layers take for it when they start.
        start: f64,
    },
    /// As the bias of a layer with so many inputs.
    Bias(f64),
    /// As the scale of a norm.
    NormWeight,
    /// As the shift of a norm.
    NormBias,
    /// As the rows that indices choose from.
    Embedding,
    /// Otherwise.
    Other,
}

/// The uses of each of the archive's parameters, those of its views too.
pub fn uses(graph: &Graph) -> HashMap<usize, Vec<Use>> {
    let mut parameters: HashMap<ValueId, usize> = HashMap::new();
    for input in &graph.inputs {
        if let Source::Parameter(at) = input.source {
            parameters.insert(input.value, at);
        }
    }
    let mut uses: HashMap<usize, Vec<Use>> = HashMap::new();
    for node in &graph.nodes {
        for (argument, value) in arguments(node) {
            let Some(&parameter) = parameters.get(&value) else {
                continue;
            };
            if views::is_view(node) && views::first(node) == Some(value) {
                parameters.extend(node.makes().map(|made| (made, parameter)));
            } else {
                let found = used(graph, node, argument, value);
                uses.entry(parameter).or_default().push(found);
            }
        }
    }
    uses
}

/// What a parameter of this shape is for, of which these are the uses.
pub fn role(uses: &[Use], shape: &[i64]) -> Role {
    let weight = uses.iter().find_map(|it| match it {
        Use::Weight { kind, .. } => Some(*kind),
        _ => None,
    });
    let embeds = uses.contains(&Use::Embedding);
    match weight {
        Some(kind) if !embeds && shape.len() >= 2 => Role::Weight(kind),
        None if uses.contains(&Use::NormWeight) => Role::NormWeight,
        None if uses.contains(&Use::NormBias) => Role::NormBias,
        None if uses.iter().any(|it| matches!(it, Use::Bias(_))) => Role::Bias,
        _ => Role::FixedWeight,
    }
}

/// How a parameter with these uses starts, if there is a rule for it.
pub fn init(uses: &[Use], kaiming: bool) -> Option<Init> {
    if uses.contains(&Use::Embedding) {
        return Some(Init::Normal(1.0));
    }
    uses.iter().find_map(|it| match *it {
        Use::Weight { fan_in, .. } if kaiming => Some(Init::Normal((2.0 / fan_in).sqrt())),
        Use::Weight { start, .. } | Use::Bias(start) => Some(Init::Uniform(1.0 / start.sqrt())),
        Use::NormWeight => Some(Init::Constant(1.0)),
        Use::NormBias => Some(Init::Constant(0.0)),
        Use::Embedding | Use::Other => None,
    })
}

/// The tensors that a node reads, with the names of their arguments.
fn arguments(node: &Node) -> Vec<(&str, ValueId)> {
    let mut all = Vec::new();
    for (name, argument) in &node.inputs {
        match argument {
            Argument::Tensor(value) => all.push((name.as_str(), *value)),
            Argument::Tensors(values) => all.extend(values.iter().map(|it| (name.as_str(), *it))),
            Argument::OptionalTensors(values) => {
                all.extend(values.iter().flatten().map(|it| (name.as_str(), *it)));
            }
            _ => {}
        }
    }
    all
}

fn used(graph: &Graph, node: &Node, argument: &str, value: ValueId) -> Use {
    let Some(operation) = views::name(node) else {
        return Use::Other;
    };
    // A parameter, and what is viewed of it, has the same shape for every batch, but for expansions.
    let shape = |value: ValueId| -> Vec<f64> {
        let dims = graph.shape(value).into_iter().flatten();
        let sizes = dims.map(|dim| match dim {
            ::pt2::Dim::Fixed(size) => *size as f64,
            _ => 1.0,
        });
        sizes.collect()
    };
    let own = shape(value);
    let product = |sizes: Option<&[f64]>| sizes.map_or(1.0, |it| it.iter().product()).max(1.0);
    let from_end = |place: usize| own.iter().rev().nth(place).copied().unwrap_or(1.0).max(1.0);
    let linear = |fan_in: f64| Use::Weight {
        kind: LayerKind::Linear,
        fan_in,
        start: fan_in,
    };
    let of_weight = |own: &[f64]| {
        let transposed = is_transposed(node, operation);
        let start = product(own.get(1..));
        let fan_in = match transposed {
            true => {
                let kernel = product(own.get(2..));
                product(own.get(..1)) / groups(node) * kernel
            }
            false => start,
        };
        (fan_in.max(1.0), start)
    };
    match (operation, argument) {
        ("linear", "weight") => linear(product(own.get(1..))),
        ("linear", "bias") => {
            let weight = views::tensor(node, "weight").map(shape).unwrap_or_default();
            Use::Bias(product(weight.get(1..)))
        }
        (name, "weight") if is_convolution(name) => {
            let (fan_in, start) = of_weight(&own);
            Use::Weight {
                // Volumes are nearest to images.
                kind: match own.len() {
                    3 => LayerKind::Conv1d,
                    _ => LayerKind::Conv2d,
                },
                fan_in,
                start,
            }
        }
        (name, "bias") if is_convolution(name) => {
            let weight = views::tensor(node, "weight").map(shape).unwrap_or_default();
            Use::Bias(of_weight(&weight).1)
        }
        ("addmm", "self") | ("baddbmm", "self") => {
            let weight = views::tensor(node, "mat2").or(views::tensor(node, "batch2"));
            let weight = weight.map(shape).unwrap_or_default();
            Use::Bias(weight.iter().rev().nth(1).copied().unwrap_or(1.0).max(1.0))
        }
        // What stands on the right is [in, out], what stands on the left [out, in].
        ("addmm" | "mm", "mat2")
        | ("bmm", "mat2")
        | ("baddbmm", "batch2")
        | ("matmul", "other") => linear(from_end(1)),
        ("addmm", "mat1") | ("mm" | "bmm" | "matmul", "self") | ("baddbmm", "batch1") => {
            linear(from_end(0))
        }
        ("einsum", "tensors") => linear(contracted(node, value, &own)),
        ("scaled_dot_product_attention", "query" | "key" | "value") => linear(from_end(0)),
        (name, "weight") if name.contains("norm") => Use::NormWeight,
        (name, "bias") if name.contains("norm") => Use::NormBias,
        ("embedding" | "embedding_bag", "weight") => Use::Embedding,
        _ => Use::Other,
    }
}

fn is_convolution(name: &str) -> bool {
    let known = ["conv1d", "conv2d", "conv3d", "convolution", "_convolution"];
    known.contains(&name) || name.starts_with("conv_transpose")
}

fn is_transposed(node: &Node, name: &str) -> bool {
    name.starts_with("conv_transpose") || node.argument("transposed") == Some(&Argument::Bool(true))
}

fn groups(node: &Node) -> f64 {
    match node.argument("groups") {
        Some(Argument::Int(groups) | Argument::SymInt(::pt2::Scalar::Fixed(groups))) => {
            (*groups).max(1) as f64
        }
        _ => 1.0,
    }
}

/// The product of the operand's dimensions that the sum runs over: those that the result lacks.
fn contracted(node: &Node, value: ValueId, own: &[f64]) -> f64 {
    let (Some(Argument::String(equation)), Some(Argument::Tensors(operands))) =
        (node.argument("equation"), node.argument("tensors"))
    else {
        return 1.0;
    };
    let equation: String = equation.chars().filter(|it| !it.is_whitespace()).collect();
    let (inputs, output) = equation.split_once("->").unwrap_or((&equation, ""));
    let place = operands.iter().position(|it| *it == value);
    let letters = place.and_then(|place| inputs.split(',').nth(place));
    let summed = letters.unwrap_or_default().chars().zip(own);
    let summed = summed.filter(|(letter, _)| !output.contains(*letter));
    summed.map(|(_, size)| size).product::<f64>().max(1.0)
}
