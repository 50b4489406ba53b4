//! Which values of a graph share their memory, and what shapes say.

use std::collections::{HashMap, HashSet};

use ::pt2::{Argument, Dim, Dtype, Graph, Node, Source, Target, ValueId, ValueKind};

/// The operation's name without its overload; none if it is arithmetic on numbers.
pub fn name(node: &Node) -> Option<&str> {
    match &node.target {
        Target::Aten { name, .. } => Some(name),
        _ => None,
    }
}

/// Whether it gives its first tensor's elements.
pub fn is_view(node: &Node) -> bool {
    node.gives_back_elements()
}

/// Its first tensor.
pub fn first(node: &Node) -> Option<ValueId> {
    match node.inputs.first() {
        Some((_, Argument::Tensor(value))) => Some(*value),
        _ => None,
    }
}

/// Gives an argument a value, whether it had one or not.
pub fn set(inputs: &mut Vec<(String, Argument)>, name: &str, value: Argument) {
    match inputs.iter_mut().find(|(known, _)| known == name) {
        Some((_, known)) => *known = value,
        None => inputs.push((name.to_owned(), value)),
    }
}

/// The tensor of an argument.
pub fn tensor(node: &Node, argument: &str) -> Option<ValueId> {
    match node.argument(argument) {
        Some(Argument::Tensor(value)) => Some(*value),
        _ => None,
    }
}

/// For each value, the one whose elements it may have.
pub fn origins(graph: &Graph) -> HashMap<ValueId, ValueId> {
    let mut origins: HashMap<ValueId, ValueId> = HashMap::new();
    for node in &graph.nodes {
        if !is_view(node) && node.changes_in_place().is_none() {
            continue;
        }
        if let Some(from) = first(node) {
            let origin = origins.get(&from).copied().unwrap_or(from);
            origins.extend(node.makes().map(|made| (made, origin)));
        }
    }
    origins
}

/// Whether a value that the node at this place changes is read after it as part of another one.
pub fn is_seen_elsewhere(graph: &Graph, changed: ValueId, node: &Node, at: usize) -> bool {
    let origins = origins(graph);
    let origin = |value: ValueId| origins.get(&value).copied().unwrap_or(value);
    let of_this: Vec<ValueId> = node.makes().chain([changed]).collect();
    let later = &graph.nodes[at + 1..];
    // What is viewed of the result later is another value of the same origin, but made of it.
    let made: HashSet<ValueId> = later.iter().flat_map(Node::makes).collect();
    (later.iter().flat_map(Node::reads))
        .filter(|it| !made.contains(it) && !of_this.contains(it))
        .any(|it| origin(it) == origin(changed))
}

/// Values that some node changes in place.
pub fn changed(graph: &Graph) -> HashSet<ValueId> {
    graph
        .nodes
        .iter()
        .filter_map(Node::changes_in_place)
        .collect()
}

/// How often each value is read, the output once more.
pub fn reads(graph: &Graph) -> HashMap<ValueId, usize> {
    let mut reads: HashMap<ValueId, usize> = HashMap::new();
    let updates = graph.updates.iter().map(|update| update.value);
    let all = graph.nodes.iter().flat_map(Node::reads);
    for value in all.chain([graph.output]).chain(updates) {
        *reads.entry(value).or_default() += 1;
    }
    reads
}

/// Shape and type of a tensor, without its batch.
///
/// # Errors
/// If it has no such shape.
pub fn sample(graph: &Graph, value: ValueId) -> Result<(Vec<i64>, Dtype), String> {
    let value = graph.value(value);
    let ValueKind::Tensor { dtype, shape } = &value.kind else {
        return Err(format!("{} is no tensor", value.name));
    };
    let sizes = shape.iter().skip(1).map(|dim| match dim {
        Dim::Fixed(size) => Ok(*size as i64),
        _ => Err(format!(
            "{} has shape {}, expected one that only its batch is open in",
            value.name,
            ::pt2::graph::shown(shape)
        )),
    });
    Ok((sizes.collect::<Result<_, _>>()?, *dtype))
}

/// What each of the graph's inputs is.
pub fn sources(graph: &Graph) -> HashMap<ValueId, Source> {
    graph
        .inputs
        .iter()
        .map(|it| (it.value, it.source))
        .collect()
}

/// The fewest values that a batch norm, or another one that takes the batch's statistics, sees of one feature of
/// one sample.
pub fn values_per_feature(graph: &Graph) -> Option<i64> {
    let norms = graph.nodes.iter().filter(|node| {
        let training = node.argument("training") == Some(&Argument::Bool(true));
        training && name(node).is_some_and(|it| it.contains("batch_norm"))
    });
    let values = norms.filter_map(|node| {
        let shape = graph.shape(first(node)?)?;
        let sizes = shape.iter().skip(2).map(|dim| match dim {
            Dim::Fixed(size) => *size as i64,
            _ => 1,
        });
        Some(sizes.product())
    });
    values.min()
}

/// Whether images can lie channel by channel in memory: there are convolutions of them, and nothing that looks
/// at the memory's order.
pub fn suit_channels_last(graphs: [&Graph; 2]) -> bool {
    let calls = |names: &[&str]| {
        let nodes = graphs.iter().flat_map(|graph| &graph.nodes);
        nodes
            .filter_map(name)
            .any(|it| names.contains(&it.trim_end_matches('_')))
    };
    calls(&["conv2d"]) && !calls(&["as_strided", "_reshape_alias", "unsafe_chunk"])
}
