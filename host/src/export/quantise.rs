//! Weights and activations in 8 bits, without training.
//!
//! Weights are rounded symmetrically with a scale for each channel that they make, so that 0 stays 0; activations with
//! one scale and one zero point a tensor, from what they are on training samples. Layers read and make rounded
//! numbers, in between sums and maxima of images do; norms of tokens, attention, GELU and the logits stay in 32 bits.
//!
//! # Source
//! Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
//! <https://arxiv.org/abs/1712.05877>, equation 1; Wu et al., "Integer Quantization for Deep Learning Inference:
//! Principles and Empirical Evaluation", <https://arxiv.org/abs/2004.09602>, sections 3 and 4, for scales a channel and
//! percentiles.

mod calibrate;
mod places;
mod ranges;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use tch::{Kind, TchError, Tensor};

use super::forward::forward_through;
use super::safetensors::values;
use super::{ExportError, Model};
use crate::model::{Operation, Value};
pub use calibrate::{Calibration, Int8, calibrate, quantise};
use places::{carried, measured};
use ranges::Ranges;

/// The integers of activations: all that 8 bits have, without a sign, as processors multiply them with weights.
const ACTIVATIONS: [f64; 2] = [0.0, 255.0];
/// The greatest integer of a weight; -128 is left out, so that both signs reach as far.
const WEIGHTS: f32 = 127.0;
/// The greatest integer of a bias, which an f32 still tells from its neighbours.
const BIASES: f64 = (1 << 24) as f64;

/// How an activation `x` becomes `round(x / scale) + zero`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Affine {
    /// From an integer to the next.
    pub scale: f32,
    /// The integer of 0.
    pub zero: u8,
}

/// A layer's weight and bias.
#[derive(Debug)]
pub struct Rounded {
    /// `[out, in, ...]`, i8.
    pub weight: Tensor,
    /// `[out]`, one for each channel.
    pub scales: Vec<f32>,
    /// In units of the scale times that of the input; none where the layer has none, or where it is added in 32 bits.
    pub bias: Option<Bias>,
}

/// A layer's bias.
#[derive(Debug)]
pub struct Bias {
    /// `[out]`.
    pub values: Vec<i32>,
    /// `[out]`.
    pub scales: Vec<f32>,
}

/// A model in 8 bits.
#[derive(Debug)]
pub struct Quantised {
    activations: BTreeMap<Value, Affine>,
    layers: BTreeMap<String, Rounded>,
    /// The model with the numbers that the integers stand for.
    model: Model,
}

impl Quantised {
    /// Rounds a model, whose batch norms are folded, by what it computes of these batches: all but a share of the
    /// activations of each tensor lie within its integers, `percentile` percent from below and from above.
    ///
    /// # Errors
    /// If an imported network has operations that are not known here, or activations are no finite numbers.
    pub fn new(model: &Model, batches: &[Tensor], percentile: f64) -> Result<Self, ExportError> {
        let opaque = model.graph.opaque();
        if !opaque.is_empty() {
            let names = opaque.into_iter().map(str::to_owned);
            return Err(ExportError::Opaque(names.collect()));
        }
        let samples = batches.iter().map(|it| it.size()[0]).sum();
        let mut ranges = Ranges::new(samples, percentile);
        let wanted = measured(&model.graph);
        for batch in batches {
            let passed = forward_through(model, &BTreeMap::new(), batch, &mut |value, made| {
                if wanted.contains(&value) {
                    ranges.see(value, &made);
                }
                made
            });
            let _ = passed.map_err(|error| ExportError::Forward(error.to_string()))?;
        }
        let mut activations = BTreeMap::new();
        for (value, operation) in model.graph.operations() {
            let same = carried(operation).and_then(|from| activations.get(&from).copied());
            let own = match ranges.of(value) {
                Some([low, high]) if !low.is_finite() || !high.is_finite() => {
                    return Err(ExportError::NotFinite);
                }
                Some(range) => Some(affine(range)),
                None => same,
            };
            if let Some(own) = own {
                activations.insert(value, own);
            }
        }
        let mut own = Self {
            activations,
            layers: BTreeMap::new(),
            model: model.copied(),
        };
        for (_, operation) in model.graph.operations() {
            if let Operation::Linear { layer, from, .. }
            | Operation::Convolution { layer, from, .. } = operation
                && let Some(input) = own.activations.get(from).copied()
            {
                own.round(layer, input, model.graph.is_of_tokens(*from));
            }
        }
        Ok(own)
    }

    /// How a value is rounded; none if it is not.
    pub fn activation(&self, value: Value) -> Option<Affine> {
        self.activations.get(&value).copied()
    }

    /// A layer's integers.
    pub fn layer(&self, name: &str) -> Option<&Rounded> {
        self.layers.get(name)
    }

    /// Whether a tensor is one of integers.
    pub fn has(&self, tensor: &str) -> bool {
        let of = |ending: &str| self.layers.get(tensor.strip_suffix(ending)?);
        of(".weight").is_some() || of(".bias").is_some_and(|it| it.bias.is_some())
    }

    /// Bytes of all integers, their scales and zero points, and what stays in 32 bits.
    pub fn bytes(&self) -> usize {
        let of_layer = |own: &Rounded| {
            let bias = own.bias.as_ref().map_or(0, |it| 12 * it.values.len());
            own.weight.numel() + 5 * own.scales.len() + bias
        };
        let in_full = self
            .model
            .tensors
            .iter()
            .filter(|(name, _)| !self.has(name));
        let in_full = in_full.map(|(_, tensor)| 4 * tensor.numel());
        self.layers.values().map(of_layer).sum::<usize>()
            + 5 * self.activations.len()
            + in_full.sum::<usize>()
    }

    /// What the rounded model computes, in 32 bits: integer arithmetic gives the same but for rounding.
    ///
    /// # Shapes
    /// `input`: `[batch, ...]`; result: `[batch, outputs]`.
    ///
    /// # Errors
    /// What libtorch cannot compute.
    pub fn forward(&self, input: &Tensor) -> Result<Tensor, TchError> {
        forward_through(
            &self.model,
            &BTreeMap::new(),
            input,
            &mut |value, made| match self.activations.get(&value) {
                Some(affine) => affine.apply(&made),
                None => made,
            },
        )
    }

    /// Rounds a layer that reads numbers of this scale.
    fn round(&mut self, layer: &str, input: Affine, of_tokens: bool) {
        let tensors = &mut self.model.tensors;
        let (weight_name, bias_name) = (format!("{layer}.weight"), format!("{layer}.bias"));
        let weight = &tensors[&weight_name];
        let rows = weight.size()[0];
        let greatest = weight
            .reshape([rows, -1])
            .abs()
            .amax([1i64].as_slice(), false);
        // Of tokens the bias is added after the product.
        let bias = (tensors.get(&bias_name).filter(|_| !of_tokens)).map(values);
        let scales: Vec<f32> = (values(&greatest).iter().enumerate())
            .map(|(row, greatest)| {
                let bias = bias.as_ref().map_or(0.0, |it| f64::from(it[row].abs()));
                let least = bias / (f64::from(input.scale) * BIASES);
                match (greatest / WEIGHTS).max(least as f32) {
                    0.0 => 1.0,
                    scale => scale,
                }
            })
            .collect();
        let mut shape = vec![1; weight.dim()];
        shape[0] = -1;
        let by_row = Tensor::from_slice(&scales).view(&shape[..]);
        let integers = (weight / &by_row)
            .round()
            .clamp(-f64::from(WEIGHTS), f64::from(WEIGHTS));
        let back = &integers * &by_row;
        let bias = bias.map(|bias| {
            let scales: Vec<f32> = scales.iter().map(|it| it * input.scale).collect();
            let pairs = bias.iter().zip(&scales);
            let values =
                pairs.map(|(bias, scale)| (f64::from(*bias) / f64::from(*scale)).round() as i32);
            Bias {
                values: values.collect(),
                scales,
            }
        });
        tensors.insert(weight_name, back);
        if let Some(bias) = &bias {
            let pairs = bias.values.iter().zip(&bias.scales);
            let back: Vec<f32> = pairs.map(|(value, scale)| *value as f32 * scale).collect();
            tensors.insert(bias_name, Tensor::from_slice(&back));
        }
        let weight = integers.to_kind(Kind::Int8);
        self.layers.insert(
            layer.to_owned(),
            Rounded {
                weight,
                scales,
                bias,
            },
        );
    }
}

impl Affine {
    /// The numbers that a tensor's integers stand for.
    fn apply(&self, made: &Tensor) -> Tensor {
        let (scale, zero) = (f64::from(self.scale), f64::from(self.zero));
        let [low, high] = ACTIVATIONS.map(|end| end - zero);
        (made / scale).round().clamp(low, high) * scale
    }
}

/// The scale and zero point of numbers in a range, which 0 is made a part of.
fn affine([low, high]: [f32; 2]) -> Affine {
    let [low, high] = [low.min(0.0), high.max(0.0)];
    let scale = match (high - low) / (ACTIVATIONS[1] - ACTIVATIONS[0]) as f32 {
        scale if scale.is_normal() => scale,
        _ => 1.0,
    };
    let zero = (ACTIVATIONS[0] - f64::from(low) / f64::from(scale)).round();
    let zero = zero.clamp(ACTIVATIONS[0], ACTIVATIONS[1]) as u8;
    Affine { scale, zero }
}
