//! How much a graph multiplies and adds for one sample.

use std::collections::BTreeMap;

use ::pt2::{Argument, Dim, Graph, Node, ValueId};

use super::state::{Given, State};
use super::views;

/// Products of two numbers that are added up, by the parameter that holds one of them, also through views; none
/// where that is no parameter that is trained, as in attention.
pub fn of(graph: &Graph, state: &State) -> Vec<(Option<String>, u64)> {
    let sources = views::sources(graph);
    let origins = views::origins(graph);
    let parameter = |value: ValueId| {
        let origin = origins.get(&value).copied().unwrap_or(value);
        match state.given(*sources.get(&origin)?) {
            Given::Parameter(at) => Some(state.parameters[at].name.clone()),
            Given::Buffer(_) | Given::Fixed => None,
        }
    };
    let outputs: BTreeMap<&str, i64> = (state.parameters.iter())
        .filter_map(|it| Some((it.name.as_str(), *it.shape.first()?)))
        .collect();
    let mut all = Vec::new();
    for node in &graph.nodes {
        let Some((factors, count)) = products(graph, node) else {
            continue;
        };
        let held = factors.iter().find_map(|value| {
            let name = parameter(*value)?;
            Some((*value, name))
        });
        // An output layer that was made another size has as many outputs as its weight now has.
        let count = match &held {
            Some((value, name)) if sources.contains_key(value) => {
                let exported = sizes(graph, *value).and_then(|it| it.first().copied());
                match (exported, outputs.get(name.as_str())) {
                    (Some(before), Some(&now)) if before > 0 => count / before * now as u64,
                    _ => count,
                }
            }
            _ => count,
        };
        all.push((held.map(|(_, name)| name), count));
    }
    all
}

/// The tensors that a node multiplies, and how many of their products it adds up for one sample; none if it is no
/// sum of products, or its sizes are not known.
fn products(graph: &Graph, node: &Node) -> Option<(Vec<ValueId>, u64)> {
    let tensor = |name: &str| views::tensor(node, name);
    let made = sizes(graph, node.makes().next()?)?;
    let outputs: u64 = made.iter().product();
    let last = |value: ValueId, from_end: usize| {
        let own = sizes(graph, value)?;
        own.iter().rev().nth(from_end).copied()
    };
    let name = views::name(node)?;
    let is_convolution =
        ["conv1d", "conv2d", "conv3d", "convolution", "_convolution"].contains(&name);
    let is_transposed = name.starts_with("conv_transpose")
        || node.argument("transposed") == Some(&Argument::Bool(true));
    Some(match name {
        "linear" => {
            let weight = tensor("weight")?;
            (
                vec![weight, views::first(node)?],
                outputs * last(weight, 0)?,
            )
        }
        _ if is_convolution || is_transposed => {
            let (weight, input) = (tensor("weight")?, views::first(node)?);
            let own = sizes(graph, weight)?;
            let each: u64 = own.iter().skip(1).product();
            let places: u64 = match is_transposed {
                true => sizes(graph, input)?.iter().product(),
                false => outputs,
            };
            (vec![weight, input], places * each)
        }
        "mm" | "bmm" => {
            let (one, other) = (views::first(node)?, tensor("mat2")?);
            (vec![other, one], outputs * last(one, 0)?)
        }
        "matmul" => {
            let (one, other) = (views::first(node)?, tensor("other")?);
            (vec![other, one], outputs * last(one, 0)?)
        }
        "addmm" => {
            let (one, other) = (tensor("mat1")?, tensor("mat2")?);
            (vec![other, one], outputs * last(one, 0)?)
        }
        "baddbmm" => {
            let (one, other) = (tensor("batch1")?, tensor("batch2")?);
            (vec![other, one], outputs * last(one, 0)?)
        }
        "scaled_dot_product_attention" => {
            let (query, key, value) = (tensor("query")?, tensor("key")?, tensor("value")?);
            // Each place of the query with each of the key, and the sum of the values by what came of it.
            let pairs = outputs / last(value, 0)?.max(1) * last(key, 1)?;
            let each = last(query, 0)? + last(value, 0)?;
            (vec![query, key, value], pairs * each)
        }
        "einsum" => einsum(graph, node)?,
        _ => return None,
    })
}

/// The product of the sizes of all letters.
fn einsum(graph: &Graph, node: &Node) -> Option<(Vec<ValueId>, u64)> {
    let (Argument::String(equation), Argument::Tensors(operands)) =
        (node.argument("equation")?, node.argument("tensors")?)
    else {
        return None;
    };
    let equation: String = equation.chars().filter(|it| !it.is_whitespace()).collect();
    let (inputs, _) = equation.split_once("->").unwrap_or((&equation, ""));
    let mut letters: BTreeMap<char, u64> = BTreeMap::new();
    for (own, operand) in inputs.split(',').zip(operands) {
        let sizes = sizes(graph, *operand)?;
        if own.contains('.') || own.chars().count() != sizes.len() {
            return None;
        }
        for (letter, size) in own.chars().zip(sizes) {
            letters.insert(letter, size);
        }
    }
    (operands.len() == 2).then(|| (operands.clone(), letters.values().product()))
}

/// The sizes of a tensor for a batch of one sample; none if one of them is another expression of the batch's.
pub(super) fn sizes(graph: &Graph, value: ValueId) -> Option<Vec<u64>> {
    let size = |dim: &Dim| match dim {
        Dim::Fixed(size) => Some(*size as u64),
        Dim::Batch => Some(1),
        // SymPy writes a batch that is cut into windows as a number times a symbol.
        Dim::Other(expression) => multiple(expression),
    };
    graph.shape(value)?.iter().map(size).collect()
}

/// The number in `64*s77`.
fn multiple(expression: &str) -> Option<u64> {
    let (number, symbol) = expression.split_once('*')?;
    let is_symbol = symbol.starts_with('s') && symbol[1..].chars().all(|it| it.is_ascii_digit());
    number.parse().ok().filter(|_| is_symbol)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_multiple_of_the_batch_is_its_number() {
        assert_eq!(multiple("64*s77"), Some(64));
        assert_eq!(multiple("s77*64"), None);
        assert_eq!(multiple("64*s77 + 1"), None);
        assert_eq!(multiple("64"), None);
    }
}
