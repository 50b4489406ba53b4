//! A model for `rewind-infer`: a safetensors file whose metadata also hold the operations.

use std::collections::BTreeMap;

use rewind_infer::GRAPH;
use rewind_infer::graph::{Graph, Operation as Written, VERSION};

use super::safetensors::{self, Entry};
use super::{ExportError, Model};
use crate::model::{LAYER_NORM_EPSILON, NORM_EPSILON, Operation, Value};

/// The bytes of such a file, with every tensor in full.
///
/// # Errors
/// If an imported network has operations that are not known here.
pub fn rewind(model: &Model) -> Result<Vec<u8>, ExportError> {
    let opaque = model.graph.opaque();
    if !opaque.is_empty() {
        let names = opaque.into_iter().map(str::to_owned);
        return Err(ExportError::NotInferred(names.collect()));
    }
    let mut places: BTreeMap<Value, usize> = BTreeMap::new();
    let mut operations = Vec::new();
    for (value, operation) in model.graph.operations() {
        operations.extend(written(operation, |from| places[&from]));
        places.insert(value, operations.len() - 1);
    }
    let graph = Graph {
        version: VERSION,
        input_shape: model.input_shape.iter().map(|&it| it as usize).collect(),
        operations,
    };
    let mut metadata = model.metadata.clone();
    metadata.insert(GRAPH.to_owned(), serde_json::json!(graph).to_string());
    let entries = (model.tensors.iter())
        .map(|(name, tensor)| Entry::of(name.clone(), tensor))
        .collect();
    Ok(safetensors::encode(&metadata, entries))
}

/// An operation as the file says it; none for one that is not known.
fn written(operation: &Operation, place: impl Fn(Value) -> usize) -> Option<Written> {
    // Strides and paddings are not negative, as the network was built.
    let size = |&it: &i64| it as usize;
    let place = |from: &Value| place(*from);
    Some(match operation {
        Operation::Input => Written::Input {},
        Operation::AddChannel(from) => Written::AddChannel { from: place(from) },
        Operation::Flatten(from) => Written::Flatten { from: place(from) },
        Operation::Linear { layer, bias, from } => Written::Linear {
            layer: layer.clone(),
            bias: *bias,
            from: place(from),
        },
        Operation::Convolution {
            layer,
            bias,
            stride,
            padding,
            from,
        } => Written::Convolution {
            layer: layer.clone(),
            bias: *bias,
            stride: size(stride),
            padding: size(padding),
            from: place(from),
        },
        Operation::Norm { layer, from } => Written::Norm {
            layer: layer.clone(),
            epsilon: NORM_EPSILON,
            from: place(from),
        },
        Operation::Relu(from) => Written::Relu { from: place(from) },
        Operation::MaxPool {
            kernel,
            stride,
            padding,
            from,
        } => Written::MaxPool {
            kernel: size(kernel),
            stride: size(stride),
            padding: size(padding),
            from: place(from),
        },
        Operation::Mean(from) => Written::Mean { from: place(from) },
        Operation::Sum(from) => Written::Sum {
            from: from.each_ref().map(place),
        },
        Operation::Tokens(from) => Written::Tokens { from: place(from) },
        Operation::ClassToken { parameter, from } => Written::ClassToken {
            parameter: parameter.clone(),
            from: place(from),
        },
        Operation::Positions { parameter, from } => Written::Positions {
            parameter: parameter.clone(),
            from: place(from),
        },
        Operation::LayerNorm { layer, from } => Written::LayerNorm {
            layer: layer.clone(),
            epsilon: LAYER_NORM_EPSILON,
            from: place(from),
        },
        Operation::Gelu(from) => Written::Gelu { from: place(from) },
        Operation::Attention {
            heads,
            of_head,
            from,
        } => Written::Attention {
            heads: size(heads),
            of_head: size(of_head),
            from: place(from),
        },
        Operation::FirstToken(from) => Written::FirstToken { from: place(from) },
        Operation::MeanOfTokens(from) => Written::MeanOfTokens { from: place(from) },
        Operation::Opaque { .. } => return None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use tch::Tensor;

    use super::*;
    use crate::export::testing::{MODELS_OF_ALL_KINDS, forward, inputs, model_of, network_of};
    use crate::export::{compact, fold};
    use crate::rng::{Moment, Purpose, Stream};

    /// Keeps each prunable weight with this probability.
    fn prune(model: &mut Model, density: f32, seed: u64) {
        for name in &model.prunable {
            let weight = &model.tensors[name];
            let mut stream = Stream::new(seed, Purpose::Strategy(name), Moment::default());
            let mask: Vec<f32> = (0..weight.numel())
                .map(|_| f32::from(u8::from(stream.uniform() < density)))
                .collect();
            let pruned = weight * Tensor::from_slice(&mask).view_as(weight);
            model.tensors.insert(name.clone(), pruned);
        }
    }

    /// Largest difference of the runtime's outputs from the network's own, as a share of the largest output.
    fn difference(
        bytes: &[u8],
        kernels: &str,
        threads: usize,
        input: &Tensor,
        expected: &Tensor,
    ) -> f64 {
        let options = rewind_infer::Options {
            threads,
            kernels: Some(kernels.to_owned()),
        };
        let model = rewind_infer::Model::of_bytes(bytes, &options).unwrap();
        let batch = input.size()[0] as usize;
        let numbers = Vec::<f32>::try_from(input.reshape([-1])).unwrap();
        let got = model.run(&numbers, batch).unwrap();
        let got = Tensor::from_slice(&got).view_as(expected);
        let error = (got - expected).abs().max().double_value(&[]);
        match error {
            // A hidden neuron that is closed gives 0 everywhere.
            0.0 => 0.0,
            error => error / expected.abs().max().double_value(&[]),
        }
    }

    #[test]
    fn the_runtime_computes_what_every_network_does_at_every_density_on_every_kernel() {
        for (name, options, shape, classes) in MODELS_OF_ALL_KINDS {
            let options: Value = serde_json::from_str(options).unwrap();
            let network = network_of(name, &options, shape, classes);
            for density in [0.5, 0.1, 0.02] {
                let mut model = model_of(name, options.clone(), shape, classes, 4);
                prune(&mut model, density, 4);
                let all = inputs(shape, 21, 4);
                let expected = forward(&*network, &model, &all);
                fold(&mut model);
                let bytes = rewind(&model).unwrap();
                for (at, kernels) in rewind_infer::available_kernels().into_iter().enumerate() {
                    // Slower kernels once; the first with one sample, some that are filled up, and several chunks.
                    let batches = if at == 0 {
                        &[(1, 1), (3, 1), (21, 2)][..]
                    } else {
                        &[(4, 1)]
                    };
                    if at > 0 && density != 0.1 {
                        continue;
                    }
                    for &(batch, threads) in batches {
                        let (input, expected) =
                            (all.narrow(0, 0, batch), expected.narrow(0, 0, batch));
                        let error = difference(&bytes, kernels, threads, &input, &expected);
                        assert!(
                            error <= 1e-5,
                            "{name} at {density} with {kernels}, batch {batch}: {error}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn batch_norms_that_are_not_folded_and_layers_without_dead_units_are_computed_too() {
        for (name, options, shape, classes) in MODELS_OF_ALL_KINDS {
            let options: Value = serde_json::from_str(options).unwrap();
            let network = network_of(name, &options, shape, classes);
            let mut model = model_of(name, options, shape, classes, 6);
            crate::export::testing::prune(&mut model, 0.2, 6);
            let input = inputs(shape, 5, 6);
            let expected = forward(&*network, &model, &input);
            let kernels = rewind_infer::available_kernels()[0];
            let as_trained = rewind(&model).unwrap();
            assert!(
                difference(&as_trained, kernels, 1, &input, &expected) <= 1e-5,
                "{name}"
            );
            compact(&mut model, 1).unwrap();
            fold(&mut model);
            let small = rewind(&model).unwrap();
            assert!(
                difference(&small, kernels, 1, &input, &expected) <= 1e-5,
                "{name}"
            );
        }
    }

    #[test]
    fn operations_that_are_not_known_are_named() {
        let mut model = model_of("mlp", serde_json::json!({"hidden": []}), &[4], 2, 1);
        let input = model.graph.output();
        model.graph.add(Operation::Opaque {
            name: "aten.sin".to_owned(),
            reads: vec![input],
        });
        let error = rewind(&model).unwrap_err().to_string();
        assert!(
            error.contains("the network computes aten.sin, which"),
            "{error}"
        );
    }
}
