//! Which values are rounded.

use crate::model::{Graph, Operation, Value};

/// What an operation passes on as it is, or the greatest ones of it.
pub fn carried(operation: &Operation) -> Option<Value> {
    match operation {
        Operation::AddChannel(from)
        | Operation::Flatten(from)
        | Operation::MaxPool { from, .. } => Some(*from),
        _ => None,
    }
}

/// The values that are rounded by a range of their own: what layers, sums and means of images read, and what
/// convolutions and sums make, after a ReLU that alone reads it.
pub fn measured(graph: &Graph) -> Vec<Value> {
    let in_integers = |operation: &Operation| match operation {
        Operation::Linear { .. }
        | Operation::Convolution { .. }
        | Operation::Mean(_)
        | Operation::MaxPool { .. }
        | Operation::Flatten(_)
        | Operation::AddChannel(_) => true,
        Operation::Sum([one, _]) => !graph.is_of_tokens(*one),
        _ => false,
    };
    let makes = |value: Value| match graph.operation(value) {
        Operation::Convolution { .. } => true,
        Operation::Sum([one, _]) => !graph.is_of_tokens(*one),
        _ => false,
    };
    let relu_alone = |value: Value| {
        let reader = graph.reader(value).map(|reader| graph.operation(reader));
        matches!(reader, Some(Operation::Relu(_)))
    };
    let is_measured = |value: Value, operation: &Operation| {
        let mut readers = (graph.operations()).filter(|(_, it)| it.reads().contains(&value));
        let is_read = readers.any(|(_, it)| in_integers(it));
        let is_made = match operation {
            Operation::Relu(from) => makes(*from),
            _ => makes(value),
        };
        let is_needed = is_read || (is_made && !relu_alone(value));
        is_needed && value != graph.output() && carried(operation).is_none()
    };
    (graph.operations())
        .filter(|(value, operation)| is_measured(*value, operation))
        .map(|(value, _)| value)
        .collect()
}
