//! What a file says of its input and output, and how bytes become numbers.

use super::message::{Attribute, Dimension, Shape, Tensor, TensorType, Type, ValueInfo};
use super::{INPUT, Writer, tensor};
use crate::data::PixelStatistics;

/// Name of the dimension that is open.
const BATCH: &str = "batch";

impl Writer<'_> {
    /// Bytes to the network's inputs, as one product and one sum a channel.
    pub(super) fn normalise(&mut self, PixelStatistics { mean, std }: &PixelStatistics) -> String {
        let shape = vec![1, mean.len() as i64, 1, 1];
        let pairs = || mean.iter().zip(std);
        let scale: Vec<f32> = pairs().map(|(_, s)| (1.0 / (255.0 * s)) as f32).collect();
        let shift: Vec<f32> = pairs().map(|(m, s)| (-m / s) as f32).collect();
        for (name, values) in [("pixels.scale", scale), ("pixels.shift", shift)] {
            self.graph
                .initializer
                .push(tensor(name, shape.clone(), &values));
        }
        let to_float = vec![Attribute::int("to", i64::from(Tensor::FLOAT))];
        let pixels = self.node("Cast", "pixels", &[INPUT], to_float);
        let scaled = self.node("Mul", "pixels.scaled", &[&pixels, "pixels.scale"], vec![]);
        self.node(
            "Add",
            "pixels.normalised",
            &[&scaled, "pixels.shift"],
            vec![],
        )
    }
}

/// A batch of any size.
pub(super) fn batch_of(name: &str, elem_type: i32, shape: &[i64]) -> ValueInfo {
    let batch = Dimension {
        dim_param: Some(BATCH.to_owned()),
        ..Dimension::default()
    };
    let size = |&size: &i64| Dimension {
        dim_value: Some(size),
        ..Dimension::default()
    };
    let dim = std::iter::once(batch).chain(shape.iter().map(size));
    ValueInfo {
        name: name.to_owned(),
        r#type: Some(Type {
            tensor_type: Some(TensorType {
                elem_type,
                shape: Some(Shape { dim: dim.collect() }),
            }),
        }),
    }
}
