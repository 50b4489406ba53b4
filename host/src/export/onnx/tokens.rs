//! What a transformer computes, in ONNX's operators.

use super::message::{Attribute, Tensor};
use super::{Writer, tensor};
use crate::model::LAYER_NORM_EPSILON;

/// Attributes of a layer norm over the last dimension.
pub(super) fn layer_norm() -> Vec<Attribute> {
    let epsilon = Attribute::float("epsilon", LAYER_NORM_EPSILON as f32);
    vec![Attribute::int("axis", -1), epsilon]
}

/// Attributes of a mean over the tokens.
pub(super) fn over_tokens() -> Vec<Attribute> {
    let axes = Attribute::ints("axes", vec![1]);
    vec![axes, Attribute::int("keepdims", 0)]
}

/// Dimensions in this order.
fn order(dimensions: &[i64]) -> Vec<Attribute> {
    vec![Attribute::ints("perm", dimensions.to_vec())]
}

impl Writer<'_> {
    /// `[batch, channels, height, width]` to `[batch, height * width, channels]`. In a shape 0 stands for the size
    /// that a dimension has, -1 for what is left.
    pub(super) fn tokens(&mut self, read: &str, name: &str) -> String {
        let shape = self.integers(&[3], &[0, 0, -1]);
        let places = self.node(
            "Reshape",
            &format!("{name}.places"),
            &[read, &shape],
            vec![],
        );
        self.node("Transpose", name, &[&places], order(&[0, 2, 1]))
    }

    /// The class token before each sample's others.
    pub(super) fn class_token(&mut self, parameter: &str, read: &str, name: &str) -> String {
        let one = [Attribute::int("start", 0), Attribute::int("end", 1)].to_vec();
        let batch = self.node("Shape", &format!("{name}.batch"), &[read], one);
        let ones = self.integers(&[2], &[1, 1]);
        let axis = |axis| vec![Attribute::int("axis", axis)];
        let shape = self.node(
            "Concat",
            &format!("{name}.shape"),
            &[&batch, &ones],
            axis(0),
        );
        let first = self.node(
            "Expand",
            &format!("{name}.first"),
            &[parameter, &shape],
            vec![],
        );
        self.node("Concat", name, &[&first, read], axis(1))
    }

    /// A linear layer of each token, whose product ONNX's `Gemm` does not know.
    pub(super) fn linear_of_tokens(
        &mut self,
        layer: &str,
        bias: bool,
        read: &str,
        name: &str,
    ) -> String {
        let transposed = match self.rounded_layer(layer) {
            Some(own) => self.rounded_weight(layer, own, true),
            None => {
                let weight = format!("{layer}.weight");
                let transposed = format!("{weight}.transposed");
                self.node("Transpose", &transposed, &[&weight], order(&[1, 0]))
            }
        };
        if !bias {
            return self.node("MatMul", name, &[read, &transposed], vec![]);
        }
        let product = format!("{layer}.product");
        let product = self.node("MatMul", &product, &[read, &transposed], vec![]);
        self.node("Add", name, &[&product, &format!("{layer}.bias")], vec![])
    }

    /// x (1 + erf(x / sqrt(2))) / 2: this version has no operator for it.
    pub(super) fn gelu(&mut self, read: &str, name: &str) -> String {
        let [root, one, half] =
            [std::f32::consts::FRAC_1_SQRT_2, 1.0, 0.5].map(|value| self.number(value));
        let scaled = self.node("Mul", &format!("{name}.scaled"), &[read, &root], vec![]);
        let erf = self.node("Erf", &format!("{name}.erf"), &[&scaled], vec![]);
        let share = self.node("Add", &format!("{name}.share"), &[&erf, &one], vec![]);
        let twice = self.node("Mul", &format!("{name}.twice"), &[read, &share], vec![]);
        self.node("Mul", name, &[&twice, &half], vec![])
    }

    /// softmax(q k^T / sqrt(d)) v in each head.
    pub(super) fn attention(
        &mut self,
        [heads, of_head]: [i64; 2],
        read: &str,
        name: &str,
    ) -> String {
        let step = |what: &str| format!("{name}.{what}");
        let shape = self.integers(&[5], &[0, 0, 3, heads, of_head]);
        let parts = self.node("Reshape", &step("parts"), &[read, &shape], vec![]);
        let parts = self.node(
            "Transpose",
            &step("heads"),
            &[&parts],
            order(&[2, 0, 3, 1, 4]),
        );
        let [query, key, value] = [("query", 0), ("key", 1), ("value", 2)].map(|(part, place)| {
            let place = self.integers(&[], &[place]);
            let first = vec![Attribute::int("axis", 0)];
            self.node("Gather", &step(part), &[&parts, &place], first)
        });
        let scale = self.number((of_head as f32).powf(-0.5));
        let query = self.node("Mul", &step("scaled"), &[&query, &scale], vec![]);
        let key = self.node("Transpose", &step("columns"), &[&key], order(&[0, 1, 3, 2]));
        let scores = self.node("MatMul", &step("scores"), &[&query, &key], vec![]);
        let last = vec![Attribute::int("axis", -1)];
        let weights = self.node("Softmax", &step("weights"), &[&scores], last);
        let read = self.node("MatMul", &step("read"), &[&weights, &value], vec![]);
        let read = self.node("Transpose", &step("tokens"), &[&read], order(&[0, 2, 1, 3]));
        let shape = self.integers(&[3], &[0, 0, -1]);
        self.node("Reshape", name, &[&read, &shape], vec![])
    }

    /// The first token of each sample.
    pub(super) fn first_token(&mut self, read: &str, name: &str) -> String {
        let place = self.integers(&[], &[0]);
        let axis = vec![Attribute::int("axis", 1)];
        self.node("Gather", name, &[read, &place], axis)
    }

    /// A tensor of whole numbers, once for all that read it.
    fn integers(&mut self, dims: &[i64], values: &[i64]) -> String {
        let texts: Vec<String> = values.iter().map(i64::to_string).collect();
        let kind = if dims.is_empty() {
            "integer"
        } else {
            "integers"
        };
        let name = format!("{kind}.{}", texts.join("_"));
        self.constant(Tensor {
            dims: dims.to_vec(),
            data_type: Tensor::INT64,
            name,
            raw_data: values.iter().flat_map(|it| it.to_le_bytes()).collect(),
        })
    }

    /// A number, once for all that read it.
    fn number(&mut self, value: f32) -> String {
        self.constant(tensor(&format!("number.{value}"), vec![], &[value]))
    }

    fn constant(&mut self, tensor: Tensor) -> String {
        let name = tensor.name.clone();
        if !self.graph.initializer.iter().any(|it| it.name == name) {
            self.graph.initializer.push(tensor);
        }
        name
    }
}
