//! What a model's layers are in PyTorch: classes of `torch.nn`, and the arguments of their constructors.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::Model;
use crate::model::{LAYER_NORM_EPSILON, NORM_EPSILON, NORM_MOMENTUM, Operation, Value};

/// Has a model's metadata say what modules its layers are, with the shapes that they have now, and how many heads its
/// attention has. Nothing is said of imported networks with operations that are not known here.
pub fn describe_modules(model: &mut Model) {
    if !model.graph.opaque().is_empty() {
        return;
    }
    let (mut modules, mut heads) = (BTreeMap::new(), BTreeMap::new());
    let mut ranks: BTreeMap<Value, usize> = BTreeMap::new();
    for (value, operation) in model.graph.operations() {
        let read = operation.reads().first().map(|from| ranks[from]);
        let rank = rank(model, operation, read);
        ranks.insert(value, rank);
        if let Some((layer, class, arguments)) = module(model, operation, rank) {
            modules.insert(layer, json!([class, arguments]));
        }
        if let Operation::Attention {
            heads: count, from, ..
        } = operation
            && let Operation::Linear { layer, .. } = model.graph.operation(*from)
        {
            heads.insert(layer, *count);
        }
    }
    let (modules, heads) = (json!(modules).to_string(), json!(heads).to_string());
    model.metadata.insert("modules".to_owned(), modules);
    model.metadata.insert("heads".to_owned(), heads);
}

/// Number of dimensions of what an operation makes of a value with so many, the batch among them.
fn rank(model: &Model, operation: &Operation, read: Option<usize>) -> usize {
    match operation {
        Operation::Input => model.input_shape.len() + 1,
        Operation::AddChannel(_) | Operation::Tokens(_) => 3,
        Operation::Flatten(_)
        | Operation::Mean(_)
        | Operation::FirstToken(_)
        | Operation::MeanOfTokens(_) => 2,
        _ => read.unwrap_or_default(),
    }
}

/// Name, class and arguments of the layer that an operation computes, if it is one.
fn module<'a>(
    model: &Model,
    operation: &'a Operation,
    rank: usize,
) -> Option<(&'a str, String, Json)> {
    let size = |layer: &str| model.tensors[&format!("{layer}.weight")].size();
    Some(match operation {
        Operation::Linear { layer, bias, .. } => {
            let size = size(layer);
            let arguments = json!({"in_features": size[1], "out_features": size[0], "bias": bias});
            (layer.as_str(), "Linear".to_owned(), arguments)
        }
        Operation::Convolution {
            layer,
            bias,
            stride,
            padding,
            ..
        } => {
            let size = size(layer);
            let arguments = json!({
                "in_channels": size[1], "out_channels": size[0], "kernel_size": size[2..],
                "stride": stride, "padding": padding, "bias": bias,
            });
            (
                layer.as_str(),
                format!("Conv{}d", size.len() - 2),
                arguments,
            )
        }
        Operation::Norm { layer, .. } => {
            let arguments = json!({
                "num_features": size(layer)[0], "eps": NORM_EPSILON, "momentum": NORM_MOMENTUM,
            });
            let dimensions = rank.saturating_sub(2).max(1);
            (layer.as_str(), format!("BatchNorm{dimensions}d"), arguments)
        }
        Operation::LayerNorm { layer, .. } => {
            let arguments = json!({"normalized_shape": size(layer), "eps": LAYER_NORM_EPSILON});
            (layer.as_str(), "LayerNorm".to_owned(), arguments)
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::compact;
    use crate::export::testing::{MODELS_OF_ALL_KINDS, model_of, prune};

    #[test]
    fn every_layer_of_every_model_is_a_module_of_its_tensors_shapes() {
        for (name, options, shape, classes) in MODELS_OF_ALL_KINDS {
            let options: Json = serde_json::from_str(options).unwrap();
            let mut model = model_of(name, options, shape, classes, 3);
            prune(&mut model, 0.3, 3);
            compact(&mut model, 1).unwrap();
            describe_modules(&mut model);
            let modules: BTreeMap<String, (String, Json)> =
                serde_json::from_str(&model.metadata["modules"]).unwrap();
            // What PyTorch makes of the arguments: the names and shapes of the tensors.
            let mut expected: BTreeMap<String, Vec<i64>> = BTreeMap::new();
            for (layer, (class, arguments)) in &modules {
                let mut add = |part: &str, shape: Vec<i64>| {
                    expected.insert(format!("{layer}.{part}"), shape);
                };
                let number = |name: &str| arguments[name].as_i64().unwrap();
                match class.as_str() {
                    "Linear" => {
                        add(
                            "weight",
                            vec![number("out_features"), number("in_features")],
                        );
                        if arguments["bias"] == true {
                            add("bias", vec![number("out_features")]);
                        }
                    }
                    "Conv1d" | "Conv2d" => {
                        let (out, input) = (number("out_channels"), number("in_channels"));
                        let kernel = arguments["kernel_size"].as_array().unwrap();
                        assert_eq!(format!("Conv{}d", kernel.len()), *class);
                        let kernel = kernel.iter().map(|it| it.as_i64().unwrap());
                        add("weight", [out, input].into_iter().chain(kernel).collect());
                        if arguments["bias"] == true {
                            add("bias", vec![out]);
                        }
                    }
                    "BatchNorm1d" | "BatchNorm2d" => {
                        for part in ["weight", "bias", "running_mean", "running_var"] {
                            add(part, vec![number("num_features")]);
                        }
                    }
                    "LayerNorm" => {
                        for part in ["weight", "bias"] {
                            add(
                                part,
                                vec![arguments["normalized_shape"][0].as_i64().unwrap()],
                            );
                        }
                    }
                    other => panic!("{other}"),
                }
            }
            let own = model
                .tensors
                .iter()
                .map(|(name, it)| (name.clone(), it.size()));
            // Class token and positions are parameters by themselves.
            let own = own.filter(|(name, _)| !["cls_token", "pos_embed"].contains(&name.as_str()));
            assert_eq!(expected, own.collect(), "{name}");
            let heads: BTreeMap<String, i64> =
                serde_json::from_str(&model.metadata["heads"]).unwrap();
            assert_eq!(heads.is_empty(), name != "vit", "{name}");
            let of_images = modules.get("bn1").map(|it| it.0.as_str());
            let expected = match name {
                "cnn1d" => Some("BatchNorm1d"),
                _ if name.starts_with("resnet") => Some("BatchNorm2d"),
                _ => of_images,
            };
            assert_eq!(of_images, expected, "{name}");
        }
    }
}
