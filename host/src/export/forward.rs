//! The forward pass of a model as its graph describes it, with weights in full or in sparse rows.

use std::collections::BTreeMap;

use tch::{TchError, Tensor};

use super::Model;
use crate::model::{LAYER_NORM_EPSILON, NORM_EPSILON, NORM_MOMENTUM, Operation, Value};

/// The logits. A weight of which there are sparse rows is multiplied by libtorch's product of a CSR
/// matrix and a dense one; a convolution's after its windows have been written out (im2col).
///
/// # Shapes
/// `sparse`: `[out, in * kernel]` by the weight's name; `input`: `[batch, ...]`; result:
/// `[batch, outputs]`.
///
/// # Errors
/// If this libtorch has no such product.
pub fn forward(
    model: &Model,
    sparse: &BTreeMap<String, Tensor>,
    input: &Tensor,
) -> Result<Tensor, TchError> {
    forward_through(model, sparse, input, &mut |_, made| made)
}

/// The same, in which operations read what `through` makes of each value.
///
/// # Errors
/// As [`forward`].
pub fn forward_through(
    model: &Model,
    sparse: &BTreeMap<String, Tensor>,
    input: &Tensor,
    through: &mut dyn FnMut(Value, Tensor) -> Tensor,
) -> Result<Tensor, TchError> {
    let mut values: BTreeMap<Value, Tensor> = BTreeMap::new();
    for (value, operation) in model.graph.operations() {
        let of = |layer: &str, part: &str| &model.tensors[&format!("{layer}.{part}")];
        let made = match operation {
            Operation::Input => input.shallow_clone(),
            Operation::AddChannel(from) => values[from].unsqueeze(1),
            Operation::Opaque { name, .. } => {
                return Err(TchError::Torch(format!(
                    "{name} is not one of the operations that are known here"
                )));
            }
            Operation::Flatten(from) => values[from].flatten(1, -1),
            Operation::Relu(from) => values[from].relu(),
            Operation::Mean(from) => {
                values[from].mean_dim([2i64, 3].as_slice(), false, None::<tch::Kind>)
            }
            Operation::Sum([one, other]) => &values[one] + &values[other],
            Operation::MaxPool {
                kernel,
                stride,
                padding,
                from,
            } => values[from].max_pool2d([*kernel; 2], [*stride; 2], [*padding; 2], [1; 2], false),
            Operation::Norm { layer, from } => values[from].batch_norm(
                Some(of(layer, "weight")),
                Some(of(layer, "bias")),
                Some(of(layer, "running_mean")),
                Some(of(layer, "running_var")),
                false,
                NORM_MOMENTUM,
                NORM_EPSILON,
                true,
            ),
            Operation::Linear { layer, bias, from } => {
                let bias = bias.then(|| of(layer, "bias"));
                match sparse.get(&format!("{layer}.weight")) {
                    None => values[from].linear(of(layer, "weight"), bias),
                    Some(rows) => {
                        let input = &values[from];
                        let mut shape = input.size();
                        let flat = input.reshape([-1, shape.pop().unwrap_or(1)]);
                        shape.push(rows.size()[0]);
                        let product = rows.f_matmul(&flat.tr())?.tr().reshape(shape);
                        match bias {
                            Some(bias) => product + bias,
                            None => product,
                        }
                    }
                }
            }
            Operation::Tokens(from) => values[from].flatten(2, -1).transpose(1, 2),
            Operation::ClassToken { parameter, from } => {
                let tokens = &values[from];
                let first = model.tensors[parameter].expand([tokens.size()[0], -1, -1], false);
                Tensor::cat(&[&first, tokens], 1)
            }
            Operation::Positions { parameter, from } => &values[from] + &model.tensors[parameter],
            Operation::LayerNorm { layer, from } => {
                let (scale, shift) = (of(layer, "weight"), of(layer, "bias"));
                let features = scale.size();
                values[from].layer_norm(
                    features,
                    Some(scale),
                    Some(shift),
                    LAYER_NORM_EPSILON,
                    true,
                )
            }
            Operation::Gelu(from) => values[from].gelu("none"),
            Operation::Attention { heads, from, .. } => attend(&values[from], *heads),
            Operation::FirstToken(from) => values[from].select(1, 0),
            Operation::MeanOfTokens(from) => {
                values[from].mean_dim([1i64].as_slice(), false, None::<tch::Kind>)
            }
            Operation::Convolution {
                layer,
                bias,
                stride,
                padding,
                from,
            } => {
                let (weight, bias) = (of(layer, "weight"), bias.then(|| of(layer, "bias")));
                let (input, place) = (&values[from], [*stride, *padding]);
                match sparse.get(&format!("{layer}.weight")) {
                    None => convolve(input, weight, bias, place),
                    Some(rows) => convolve_rows(input, rows, &weight.size(), bias, place)?,
                }
            }
        };
        values.insert(value, through(value, made));
    }
    let output = values.remove(&model.graph.output());
    Ok(output.unwrap_or_else(|| input.shallow_clone()))
}

/// Attention by libtorch's fused operation.
fn attend(qkv: &Tensor, heads: i64) -> Tensor {
    let parts = qkv.chunk(3, -1);
    let [query, key, value] =
        [0, 1, 2].map(|i: usize| parts[i].unflatten(-1, [heads, -1]).transpose(1, 2));
    let read = Tensor::scaled_dot_product_attention(
        &query,
        &key,
        &value,
        None::<&Tensor>,
        0.0,
        false,
        None,
        false,
    );
    read.transpose(1, 2).flatten(2, -1)
}

fn convolve(
    input: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    [stride, padding]: [i64; 2],
) -> Tensor {
    match weight.dim() {
        3 => input.conv1d(weight, bias, [stride], [padding], [1], 1),
        _ => input.conv2d(weight, bias, [stride; 2], [padding; 2], [1; 2], 1),
    }
}

/// A convolution by sparse rows, in one or two dimensions.
fn convolve_rows(
    input: &Tensor,
    rows: &Tensor,
    shape: &[i64],
    bias: Option<&Tensor>,
    [stride, padding]: [i64; 2],
) -> Result<Tensor, TchError> {
    let one_dimension = shape.len() == 3;
    let (image, kernel, padding, stride) = match one_dimension {
        true => (input.unsqueeze(2), [1, shape[2]], [0, padding], [1, stride]),
        false => (
            input.shallow_clone(),
            [shape[2], shape[3]],
            [padding; 2],
            [stride; 2],
        ),
    };
    let size = image.size();
    let side = |i: usize| (size[2 + i] + 2 * padding[i] - kernel[i]) / stride[i] + 1;
    // [batch, in * kernel, places] to [in * kernel, batch * places].
    let windows = image.f_im2col(kernel, [1; 2], padding, stride)?;
    let columns = windows.permute([1, 0, 2]).reshape([windows.size()[1], -1]);
    let product = rows.f_matmul(&columns)?;
    let mut output = product
        .view([shape[0], size[0], side(0), side(1)])
        .transpose(0, 1);
    if let Some(bias) = bias {
        output += bias.view([1, -1, 1, 1]);
    }
    Ok(if one_dimension {
        output.squeeze_dim(2)
    } else {
        output
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::Csr;
    use crate::export::testing::{
        MODELS_OF_ALL_KINDS, forward as network_forward, inputs, model_of, network_of, prune,
    };
    use crate::model::MODELS;

    #[test]
    fn every_graph_computes_what_its_network_does_with_weights_in_full_and_in_rows() {
        // Imported networks are files, compared in their own tests.
        for entry in MODELS.iter().filter(|it| it.name != "pt2") {
            let seen = MODELS_OF_ALL_KINDS.iter().any(|it| it.0 == entry.name);
            assert!(seen, "no graph of {} is compared", entry.name);
        }
        for (name, options, shape, classes) in MODELS_OF_ALL_KINDS {
            let options: serde_json::Value = serde_json::from_str(options).unwrap();
            let network = network_of(name, &options, shape, classes);
            let mut model = model_of(name, options, shape, classes, 2);
            prune(&mut model, 0.3, 2);
            let input = inputs(shape, 3, 2);
            let expected = network_forward(&*network, &model, &input);
            let scale = expected.abs().max().double_value(&[]);
            let rows = |name: &String| Some((name.clone(), Csr::of(&model.tensors[name])?));
            let sparse: BTreeMap<String, Tensor> = (model.prunable.iter().filter_map(rows))
                .map(|(name, rows)| (name, rows.tensor().unwrap()))
                .collect();
            assert!(!sparse.is_empty() || name == "hidden-neuron", "{name}");
            for sparse in [BTreeMap::new(), sparse] {
                // A libtorch without MKL has no product of sparse rows.
                let Ok(got) = forward(&model, &sparse, &input) else {
                    assert!(!sparse.is_empty());
                    continue;
                };
                assert_eq!(got.size(), expected.size(), "{name}");
                let error = (got - &expected).abs().max().double_value(&[]);
                assert!(error <= 1e-5 * scale, "{name}: {error} of {scale}");
            }
        }
    }
}
