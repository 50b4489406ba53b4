//! The units of a network whose graph the host knows.

use std::collections::BTreeMap;

use tch::Tensor;

use super::Units;
use super::trace::{Channels, Trace};
use crate::model::extent::shapes;
use crate::model::{Buffer, Graph, Operation, Parameter, Value};

/// The units of a network.
///
/// # Shapes
/// `input`: one sample.
pub fn units(graph: &Graph, parameters: &[Parameter], buffers: &[Buffer], input: &[i64]) -> Units {
    let sizes = |name: &str| {
        let found = parameters.iter().find(|it| it.name == name);
        found.map_or(&[][..], |it| &it.shape)
    };
    let mut trace = Trace::new();
    let mut values: BTreeMap<Value, Tensor> = BTreeMap::new();
    let shapes = shapes(graph, parameters, input);
    for (value, operation) in graph.operations() {
        let places = || shapes[&value].get(1..).unwrap_or_default().to_vec();
        let made = match operation {
            Operation::Input => {
                let shape = [&[1], input].concat();
                trace.staying(&shape, "they are the network's inputs")
            }
            Operation::AddChannel(from) => values[from].unsqueeze(1),
            Operation::Flatten(from) => values[from].flatten(1, -1),
            Operation::Relu(from) | Operation::Gelu(from) => values[from].shallow_clone(),
            Operation::Linear { layer, bias, from } => {
                let (weight, bias) = (
                    format!("{layer}.weight"),
                    bias.then(|| format!("{layer}.bias")),
                );
                let own = sizes(&weight);
                let names = (weight.as_str(), bias.as_deref());
                trace.linear(names, [0, 1], [own[0], own[1]], &values[from])
            }
            Operation::Convolution {
                layer, bias, from, ..
            } => {
                let (weight, bias) = (
                    format!("{layer}.weight"),
                    bias.then(|| format!("{layer}.bias")),
                );
                let own = sizes(&weight);
                let channels = Channels {
                    weight: &weight,
                    bias: bias.as_deref(),
                    sizes: [own[0], own[1]],
                    groups: 1,
                };
                trace.convolution(&channels, &values[from], &places())
            }
            Operation::Norm { layer, from } => {
                let features = trace.along(&values[from], 1, layer);
                for part in ["weight", "bias", "running_mean", "running_var"] {
                    trace.follow(&format!("{layer}.{part}"), 0, &features);
                }
                values[from].shallow_clone()
            }
            Operation::MaxPool { from, .. } => trace.pool(&values[from], &places(), "max pool"),
            Operation::Mean(from) => trace.pool(&values[from], &[], "mean"),
            Operation::Sum([one, other]) => trace.combine(&values[one], &values[other]),
            Operation::Tokens(from) => values[from].flatten(2, -1).transpose(1, 2),
            Operation::ClassToken { parameter, from } => {
                let tokens = &values[from];
                let features = trace.along(tokens, -1, parameter);
                trace.follow(parameter, 2, &features);
                Tensor::cat(&[&tokens.narrow(1, 0, 1), tokens], 1)
            }
            Operation::Positions { parameter, from } => {
                let features = trace.along(&values[from], -1, parameter);
                trace.follow(parameter, 2, &features);
                values[from].shallow_clone()
            }
            Operation::LayerNorm { layer, from } => {
                trace.normalise(&values[from], 1, layer);
                values[from].shallow_clone()
            }
            Operation::Attention {
                heads,
                of_head,
                from,
            } => {
                let qkv = &values[from];
                let tokens = qkv.size()[1];
                let parts = qkv
                    .reshape([tokens, 3, *heads, *of_head])
                    .permute([2, 0, 1, 3]);
                let read = trace.attend(&[&parts], 1, &[*heads, tokens, *of_head]);
                read.permute([1, 0, 2]).reshape([1, tokens, -1])
            }
            Operation::FirstToken(from) => values[from].select(1, 0),
            Operation::MeanOfTokens(from) => {
                trace.reduce(&values[from], &[1], "mean").squeeze_dim(1)
            }
            // Networks with such operations follow their own nodes.
            Operation::Opaque { name, reads } => {
                let reason = format!("`{name}` is not known");
                for read in reads {
                    trace.keep(&values[read], &reason);
                }
                trace.staying(&[1, 1], &reason)
            }
        };
        values.insert(value, made);
    }
    trace.keep(&values[&graph.output()], "they are the network's outputs");
    trace.sets(parameters, buffers)
}
