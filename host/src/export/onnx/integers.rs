//! What is rounded to 8 bits: integers, and the operators between them and numbers (QDQ).

use super::message::{Attribute, Tensor};
use super::{Writer, tensor};
use crate::export::quantise::{Affine, Bias, Rounded};

impl Writer<'_> {
    /// An activation, rounded.
    pub(super) fn rounded(&mut self, name: &str, Affine { scale, zero }: Affine) -> String {
        let own = |part: &str| format!("{name}.{part}");
        let (scale_name, zero_name) = (own("scale"), own("zero_point"));
        self.graph
            .initializer
            .push(tensor(&scale_name, vec![], &[scale]));
        self.graph.initializer.push(Tensor {
            dims: vec![],
            data_type: Tensor::UINT8,
            name: zero_name.clone(),
            raw_data: zero.to_le_bytes().to_vec(),
        });
        let how = [scale_name.as_str(), &zero_name];
        let integers = self.node(
            "QuantizeLinear",
            &own("integers"),
            &[name, how[0], how[1]],
            vec![],
        );
        self.node(
            "DequantizeLinear",
            &own("rounded"),
            &[&integers, how[0], how[1]],
            vec![],
        )
    }

    /// A layer's weight; of tokens `[in, out]`, as products with them want it.
    pub(super) fn rounded_weight(
        &mut self,
        layer: &str,
        own: &Rounded,
        transposed: bool,
    ) -> String {
        let (weight, axis, name) = match transposed {
            true => (own.weight.tr(), 1, format!("{layer}.weight.transposed")),
            false => (own.weight.shallow_clone(), 0, format!("{layer}.weight")),
        };
        let mut bytes = vec![0u8; weight.numel()];
        let count = bytes.len();
        weight.contiguous().copy_data_u8(&mut bytes, count);
        let integers = Tensor {
            dims: weight.size(),
            data_type: Tensor::INT8,
            name,
            raw_data: bytes,
        };
        self.by_channel(integers, &own.scales, axis)
    }

    /// A layer's bias.
    pub(super) fn rounded_bias(&mut self, layer: &str, Bias { values, scales }: &Bias) -> String {
        let integers = Tensor {
            dims: vec![values.len() as i64],
            data_type: Tensor::INT32,
            name: format!("{layer}.bias"),
            raw_data: values.iter().flat_map(|it| it.to_le_bytes()).collect(),
        };
        self.by_channel(integers, scales, 0)
    }

    /// Integers with a scale for each place of a dimension, whose 0 is 0.
    fn by_channel(&mut self, integers: Tensor, scales: &[f32], axis: i64) -> String {
        let name = integers.name.clone();
        let own = |part: &str| format!("{name}.{part}");
        let (scale, zero) = (own("scale"), own("zero_point"));
        let channels = scales.len();
        let width = match integers.data_type {
            Tensor::INT32 => 4,
            _ => 1,
        };
        let zeros = Tensor {
            dims: vec![channels as i64],
            data_type: integers.data_type,
            name: zero.clone(),
            raw_data: vec![0; width * channels],
        };
        let scales = tensor(&scale, vec![channels as i64], scales);
        self.graph.initializer.extend([integers, scales, zeros]);
        let axis = vec![Attribute::int("axis", axis)];
        self.node(
            "DequantizeLinear",
            &own("rounded"),
            &[&name, &scale, &zero],
            axis,
        )
    }
}
