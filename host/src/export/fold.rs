//! Batch norms as part of the layers before them.

use std::collections::BTreeMap;

use tch::{Kind, Tensor};

use super::Model;
use crate::model::{Graph, NORM_EPSILON, Operation, Value};

/// Folds each batch norm that alone reads a layer into that layer, which gets a bias.
///
/// With `s = weight / sqrt(running_var + epsilon)`, a row `w` becomes `s w`, and the bias
/// `s (bias - running_mean)` plus the batch norm's own. They are computed in f64 and rounded once.
pub fn fold(model: &mut Model) {
    let old = &model.graph;
    let mut new: Option<(Graph, BTreeMap<Value, Value>)> = None;
    for (value, operation) in old.operations() {
        let Some((graph, places)) = &mut new else {
            // The first operation is the input.
            let (graph, input) = Graph::of_input();
            new = Some((graph, BTreeMap::from([(value, input)])));
            continue;
        };
        let place = match operation {
            // Its layer is in place already, with what it does.
            Operation::Norm { from, .. } if layer_before(old, *from).is_some() => places[from],
            operation => {
                let mut operation = operation.map(|from| places[&from]);
                let norm = old.reader(value).map(|reader| old.operation(reader));
                if let (Some(Operation::Norm { layer: norm, .. }), Some(layer)) =
                    (norm, layer_before(old, value))
                {
                    fold_tensors(&mut model.tensors, layer, norm);
                    if let Operation::Linear { bias, .. } | Operation::Convolution { bias, .. } =
                        &mut operation
                    {
                        *bias = true;
                    }
                }
                graph.add(operation)
            }
        };
        places.insert(value, place);
    }
    if let Some((graph, _)) = new {
        model.graph = graph;
    }
    model
        .metadata
        .insert("folded".to_owned(), "true".to_owned());
}

/// The layer that makes a value which only one operation reads.
fn layer_before(graph: &Graph, value: Value) -> Option<&str> {
    graph.reader(value)?;
    match graph.operation(value) {
        Operation::Linear { layer, .. } | Operation::Convolution { layer, .. } => Some(layer),
        _ => None,
    }
}

fn fold_tensors(tensors: &mut BTreeMap<String, Tensor>, layer: &str, norm: &str) {
    let mut take = |part: &str| {
        let tensor = tensors.remove(&format!("{norm}.{part}"));
        tensor.map(|tensor| tensor.to_kind(Kind::Double))
    };
    let parts = ["weight", "bias", "running_mean", "running_var"].map(&mut take);
    let [Some(scale), Some(shift), Some(mean), Some(variance)] = parts else {
        return; // A network that was read has all of them.
    };
    let scale = scale / (variance + NORM_EPSILON).sqrt();
    let bias = format!("{layer}.bias");
    let own = match tensors.get(&bias) {
        Some(own) => own.to_kind(Kind::Double) - mean,
        None => -mean,
    };
    tensors.insert(bias, (own * &scale + shift).to_kind(Kind::Float));
    if let Some(weight) = tensors.get_mut(&format!("{layer}.weight")) {
        let mut rows = vec![1; weight.dim()];
        rows[0] = -1;
        *weight = (weight.to_kind(Kind::Double) * scale.view(&rows[..])).to_kind(Kind::Float);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::forward::forward as evaluate;
    use crate::export::testing::{MODELS_OF_ALL_KINDS, forward, inputs, model_of, network_of};

    #[test]
    fn every_model_computes_the_same_without_batch_norms() {
        for (name, options, shape, classes) in MODELS_OF_ALL_KINDS {
            let options: serde_json::Value = serde_json::from_str(options).unwrap();
            let network = network_of(name, &options, shape, classes);
            let mut model = model_of(name, options, shape, classes, 5);
            let input = inputs(shape, 4, 5);
            let expected = forward(&*network, &model, &input);
            fold(&mut model);
            let operations = || model.graph.operations().map(|(_, it)| it);
            assert!(
                !operations().any(|it| matches!(it, Operation::Norm { .. })),
                "{name}"
            );
            assert!(
                !model.tensors.keys().any(|it| it.contains("running")),
                "{name}"
            );
            let got = evaluate(&model, &BTreeMap::new(), &input).unwrap();
            let scale = expected.abs().max().double_value(&[]);
            let error = (got - expected).abs().max().double_value(&[]);
            assert!(error <= 1e-5 * scale, "{name}: {error} of {scale}");
        }
    }
}
