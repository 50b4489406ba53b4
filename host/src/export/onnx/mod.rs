//! A model as ONNX.

mod feed;
mod integers;
mod message;
#[cfg(test)]
mod tests;
mod tokens;

use prost::Message;

use super::quantise::{Quantised, Rounded};
use super::safetensors::values;
use super::{ExportError, Model};
use crate::data::PixelStatistics;
use crate::model::{NORM_EPSILON, Operation, Value};
use feed::batch_of;
use message::{Attribute, Graph, Node, OperatorSet, Property, Tensor};
use tokens::{layer_norm, over_tokens};

/// Version of the operators.
const OPSET: i64 = 17;
/// Version of the format in which those were published.
const IR_VERSION: i64 = 8;
/// Name of what is fed.
const INPUT: &str = "input";
/// Name of what comes out.
const OUTPUT: &str = "logits";

/// The bytes of an ONNX file with a model's operations and tensors. With `pixels` its input is bytes,
/// which it normalises itself; with `quantised`, which is of the same model, layers are in 8 bits.
///
/// # Shapes
/// `input`: `[batch, ...input_shape]`, f32, or u8 with `pixels`; `logits`: `[batch, outputs]`, f32.
///
/// # Errors
/// If an imported network has operations that are not known here.
pub fn onnx(
    model: &Model,
    pixels: Option<&PixelStatistics>,
    quantised: Option<&Quantised>,
) -> Result<Vec<u8>, ExportError> {
    let opaque = model.graph.opaque();
    if !opaque.is_empty() {
        let names = opaque.into_iter().map(str::to_owned);
        return Err(ExportError::Opaque(names.collect()));
    }
    let mut writer = Writer {
        graph: Graph::default(),
        quantised,
    };
    let first = match pixels {
        Some(pixels) => writer.normalise(pixels),
        None => INPUT.to_owned(),
    };
    let mut names: Vec<(Value, String)> = Vec::new();
    for (value, operation) in model.graph.operations() {
        let reads: Vec<String> = (operation.reads().iter())
            .filter_map(|from| names.iter().find(|(value, _)| value == from))
            .map(|(_, name)| name.clone())
            .collect();
        let is_last = value == model.graph.output();
        let rounded = quantised.and_then(|it| it.activation(value));
        let name = match operation {
            Operation::Input => first.clone(),
            // Integers begin at 0: rounding alone does what ReLU does, and runtimes fuse it with the layer before.
            Operation::Relu(_) if rounded.is_some_and(|it| it.zero == 0) => reads[0].clone(),
            operation => writer.operation(model, operation, reads, is_last),
        };
        let name = match rounded {
            Some(how) => writer.rounded(&name, how),
            None => name,
        };
        names.push((value, name));
    }
    let tensors = (model.tensors.iter())
        .filter(|(name, _)| !quantised.is_some_and(|it| it.has(name)))
        .map(|(name, it)| tensor(name, it.size(), &values(it)))
        .collect::<Vec<_>>();
    writer.graph.initializer.splice(0..0, tensors);
    let kind = if pixels.is_some() {
        Tensor::UINT8
    } else {
        Tensor::FLOAT
    };
    let graph = Graph {
        name: model.metadata.get("model").cloned().unwrap_or_default(),
        input: vec![batch_of(INPUT, kind, &model.input_shape)],
        output: vec![batch_of(OUTPUT, Tensor::FLOAT, &[model.outputs])],
        ..writer.graph
    };
    let property = |(key, value): (&String, &String)| Property {
        key: key.clone(),
        value: value.clone(),
    };
    let message = message::Model {
        ir_version: IR_VERSION,
        producer_name: "rewind".to_owned(),
        producer_version: env!("CARGO_PKG_VERSION").to_owned(),
        graph: Some(graph),
        opset_import: vec![OperatorSet {
            domain: String::new(),
            version: OPSET,
        }],
        metadata_props: model.metadata.iter().map(property).collect(),
    };
    Ok(message.encode_to_vec())
}

/// Collects operations and what they need to know besides the model's tensors.
struct Writer<'a> {
    graph: Graph,
    quantised: Option<&'a Quantised>,
}

impl<'a> Writer<'a> {
    /// A layer's integers, if it has any.
    fn rounded_layer(&self, layer: &str) -> Option<&'a Rounded> {
        self.quantised?.layer(layer)
    }

    /// The names of a layer's weight and bias.
    fn parameters(&mut self, layer: &str, bias: bool) -> Vec<String> {
        let own = self.rounded_layer(layer);
        let mut names = vec![match own {
            Some(own) => self.rounded_weight(layer, own, false),
            None => format!("{layer}.weight"),
        }];
        if bias {
            names.push(match own.and_then(|it| it.bias.as_ref()) {
                Some(bias) => self.rounded_bias(layer, bias),
                None => format!("{layer}.bias"),
            });
        }
        names
    }

    /// Adds what one operation of a model is in ONNX; the name of what it makes.
    fn operation(
        &mut self,
        model: &Model,
        operation: &Operation,
        mut reads: Vec<String>,
        is_last: bool,
    ) -> String {
        let number = self.graph.node.len();
        let numbered = |what: &str| match is_last {
            true => OUTPUT.to_owned(),
            false => format!("{what}.{number}"),
        };
        let named = |layer: &str| match is_last {
            true => OUTPUT.to_owned(),
            false => format!("{layer}.output"),
        };
        let own = |layer: &str, parts: &[&str]| -> Vec<String> {
            parts.iter().map(|part| format!("{layer}.{part}")).collect()
        };
        let (operator, name, attributes) = match operation {
            Operation::Input => return INPUT.to_owned(),
            Operation::AddChannel(_) => {
                let axes = "add_channel.axes";
                self.graph.initializer.push(Tensor {
                    dims: vec![1],
                    data_type: Tensor::INT64,
                    name: axes.to_owned(),
                    raw_data: 1i64.to_le_bytes().to_vec(),
                });
                reads.push(axes.to_owned());
                ("Unsqueeze", numbered("add_channel"), vec![])
            }
            // Refused before.
            Operation::Opaque { name, .. } => (name.as_str(), numbered("opaque"), vec![]),
            Operation::Flatten(_) => ("Flatten", numbered("flatten"), flat()),
            Operation::Relu(_) => ("Relu", numbered("relu"), vec![]),
            Operation::Sum(_) => ("Add", numbered("sum"), vec![]),
            Operation::Mean(_) => {
                let pooled = format!("mean.{number}");
                let reads: Vec<&str> = reads.iter().map(String::as_str).collect();
                let pooled = self.node("GlobalAveragePool", &pooled, &reads, vec![]);
                let name = if is_last {
                    OUTPUT.to_owned()
                } else {
                    format!("flatten.{number}")
                };
                return self.node("Flatten", &name, &[&pooled], flat());
            }
            Operation::MaxPool {
                kernel,
                stride,
                padding,
                ..
            } => {
                let attributes = window([*kernel; 2].to_vec(), *stride, *padding);
                ("MaxPool", numbered("max_pool"), attributes)
            }
            Operation::Tokens(_) => return self.tokens(&reads[0], &numbered("tokens")),
            Operation::ClassToken { parameter, .. } => {
                return self.class_token(parameter, &reads[0], &numbered("class_token"));
            }
            Operation::Positions { parameter, .. } => {
                reads.push(parameter.clone());
                ("Add", numbered("positions"), vec![])
            }
            Operation::LayerNorm { layer, .. } => {
                reads.extend(own(layer, &["weight", "bias"]));
                ("LayerNormalization", named(layer), layer_norm())
            }
            Operation::Gelu(_) => return self.gelu(&reads[0], &numbered("gelu")),
            Operation::Attention { heads, of_head, .. } => {
                return self.attention([*heads, *of_head], &reads[0], &numbered("attention"));
            }
            Operation::FirstToken(_) => return self.first_token(&reads[0], &numbered("token")),
            Operation::MeanOfTokens(_) => ("ReduceMean", numbered("mean"), over_tokens()),
            Operation::Linear { layer, bias, from } if model.graph.is_of_tokens(*from) => {
                return self.linear_of_tokens(layer, *bias, &reads[0], &named(layer));
            }
            Operation::Linear { layer, bias, .. } => {
                reads.extend(self.parameters(layer, *bias));
                ("Gemm", named(layer), vec![Attribute::int("transB", 1)])
            }
            Operation::Convolution {
                layer,
                bias,
                stride,
                padding,
                ..
            } => {
                reads.extend(self.parameters(layer, *bias));
                let kernel = model.tensors[&format!("{layer}.weight")].size()[2..].to_vec();
                ("Conv", named(layer), window(kernel, *stride, *padding))
            }
            Operation::Norm { layer, .. } => {
                let parts = ["weight", "bias", "running_mean", "running_var"];
                reads.extend(own(layer, &parts));
                let epsilon = Attribute::float("epsilon", NORM_EPSILON as f32);
                ("BatchNormalization", named(layer), vec![epsilon])
            }
        };
        let reads: Vec<&str> = reads.iter().map(String::as_str).collect();
        self.node(operator, &name, &reads, attributes)
    }

    /// Adds an operation with one result, whose name is its own.
    fn node(
        &mut self,
        operator: &str,
        name: &str,
        reads: &[&str],
        attribute: Vec<Attribute>,
    ) -> String {
        self.graph.node.push(Node {
            input: reads.iter().map(|&it| it.to_owned()).collect(),
            output: vec![name.to_owned()],
            name: name.to_owned(),
            op_type: operator.to_owned(),
            attribute,
        });
        name.to_owned()
    }
}

/// Everything but the batch in one dimension.
fn flat() -> Vec<Attribute> {
    vec![Attribute::int("axis", 1)]
}

fn window(kernel: Vec<i64>, stride: i64, padding: i64) -> Vec<Attribute> {
    let dimensions = kernel.len();
    vec![
        Attribute::ints("kernel_shape", kernel),
        Attribute::ints("strides", vec![stride; dimensions]),
        Attribute::ints("pads", vec![padding; 2 * dimensions]),
    ]
}

fn tensor(name: &str, dims: Vec<i64>, values: &[f32]) -> Tensor {
    Tensor {
        dims,
        data_type: Tensor::FLOAT,
        name: name.to_owned(),
        raw_data: values.iter().flat_map(|it| it.to_le_bytes()).collect(),
    }
}
