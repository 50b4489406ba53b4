//! What a network computes in evaluation, operation by operation: the one description of how its layers
//! are connected.

/// A value of a graph, by the place of the operation that makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Value(usize);

/// The operations of a network from its input on, each after those whose values it reads; the last
/// one's value is the output.
///
/// A layer is named as its parameters are without their last part: `fc1` has `fc1.weight`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Graph {
    operations: Vec<Operation>,
}

/// One operation, with the value that it reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// The network's input: `[batch, features]` or `[batch, channels, height, width]`.
    Input,
    /// `[batch, features]` to `[batch, 1, features]`.
    AddChannel(Value),
    /// `[batch, ...]` to `[batch, features]`, row-major.
    Flatten(Value),
    /// `[batch, in]` to `[batch, out]`, or `[batch, tokens, in]` to `[batch, tokens, out]`, by `weight` `[out, in]`.
    Linear {
        /// Name of the layer.
        layer: String,
        /// Whether it has `bias` `[out]`.
        bias: bool,
        /// What it reads.
        from: Value,
    },
    /// `[batch, in, ...]` to `[batch, out, ...]` by `weight` `[out, in, ...kernel]`.
    Convolution {
        /// Name of the layer.
        layer: String,
        /// Whether it has `bias` `[out]`.
        bias: bool,
        /// Stride in each dimension.
        stride: i64,
        /// Zeros around the input, on each side.
        padding: i64,
        /// What it reads.
        from: Value,
    },
    /// `[batch, features, ...]` to the same by `weight`, `bias`, `running_mean` and `running_var`
    /// `[features]`; [`NORM_EPSILON`](super::NORM_EPSILON) is added to the variance.
    Norm {
        /// Name of the batch norm.
        layer: String,
        /// What it reads.
        from: Value,
    },
    /// The greater one of each value and 0.
    Relu(Value),
    /// `[batch, channels, height, width]` to the greatest value in each window, rounded downwards in
    /// number.
    MaxPool {
        /// Height and width of a window.
        kernel: i64,
        /// From a window to the next.
        stride: i64,
        /// Pixels around the input that no window chooses.
        padding: i64,
        /// What it reads.
        from: Value,
    },
    /// `[batch, channels, height, width]` to the means over the image, `[batch, channels]`.
    Mean(Value),
    /// The sum of two values of the same shape.
    Sum([Value; 2]),
    /// `[batch, channels, height, width]` to `[batch, height * width, channels]`, places row by row.
    Tokens(Value),
    /// `[batch, tokens, features]` to `[batch, 1 + tokens, features]`: a parameter `[1, 1, features]` comes first.
    ClassToken {
        /// Name of the parameter.
        parameter: String,
        /// What it reads.
        from: Value,
    },
    /// `[batch, tokens, features]` plus a parameter `[1, tokens, features]`.
    Positions {
        /// Name of the parameter.
        parameter: String,
        /// What it reads.
        from: Value,
    },
    /// `[batch, ..., features]` to the same: of the features that stand together the mean is taken away, they are
    /// divided by their deviation, and `weight` and `bias` `[features]` follow;
    /// [`LAYER_NORM_EPSILON`](super::LAYER_NORM_EPSILON) is added to the variance.
    LayerNorm {
        /// Name of the layer norm.
        layer: String,
        /// What it reads.
        from: Value,
    },
    /// Each value times the share of a standard normal distribution that lies below it, exactly.
    Gelu(Value),
    /// `[batch, tokens, 3 * features]`, the queries of all heads, their keys and their values, to
    /// `[batch, tokens, features]`: in each head softmax(q k^T / sqrt(d)) v, with its d features.
    ///
    /// A feature of keys or values that depends on no input must be the same for all tokens.
    Attention {
        /// Number of heads.
        heads: i64,
        /// Features of each head.
        of_head: i64,
        /// What it reads.
        from: Value,
    },
    /// `[batch, tokens, features]` to the first token, `[batch, features]`.
    FirstToken(Value),
    /// `[batch, tokens, features]` to the means over the tokens, `[batch, features]`.
    MeanOfTokens(Value),
    /// Anything else that an imported network computes: how its units are connected is not known.
    Opaque {
        /// What it is, such as `aten.softmax.int`.
        name: String,
        /// What it reads.
        reads: Vec<Value>,
    },
}

impl Graph {
    /// A graph that only has its input.
    pub fn of_input() -> (Self, Value) {
        let operations = vec![Operation::Input];
        (Self { operations }, Value(0))
    }

    /// Adds an operation on values of this graph, which becomes the output.
    pub fn add(&mut self, operation: Operation) -> Value {
        self.operations.push(operation);
        Value(self.operations.len() - 1)
    }

    /// The operations, each with the value that it makes.
    pub fn operations(&self) -> impl Iterator<Item = (Value, &Operation)> {
        let places = (0..self.operations.len()).map(Value);
        places.zip(&self.operations)
    }

    /// The convolutions: their names, strides and paddings.
    pub fn convolutions(&self) -> impl Iterator<Item = (&str, i64, i64)> {
        self.operations.iter().filter_map(|it| match it {
            Operation::Convolution {
                layer,
                stride,
                padding,
                ..
            } => Some((layer.as_str(), *stride, *padding)),
            _ => None,
        })
    }

    /// Names of the operations that are not understood, each once.
    pub fn opaque(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for operation in &self.operations {
            if let Operation::Opaque { name, .. } = operation
                && !names.contains(&name.as_str())
            {
                names.push(name);
            }
        }
        names
    }

    /// Whether a value is `[batch, tokens, features]`.
    pub fn is_of_tokens(&self, value: Value) -> bool {
        match self.operation(value) {
            Operation::Tokens(_) => true,
            Operation::ClassToken { from, .. }
            | Operation::Positions { from, .. }
            | Operation::Attention { from, .. }
            | Operation::LayerNorm { from, .. }
            | Operation::Linear { from, .. }
            | Operation::Gelu(from)
            | Operation::Relu(from)
            | Operation::Sum([from, _]) => self.is_of_tokens(*from),
            _ => false,
        }
    }

    /// The operation that makes a value.
    pub fn operation(&self, value: Value) -> &Operation {
        &self.operations[value.0]
    }

    /// The operation that alone reads a value; none if there are several, or if it is the output.
    pub fn reader(&self, value: Value) -> Option<Value> {
        let mut readers = (self.operations()).filter(|(_, it)| it.reads().contains(&value));
        let first = readers.next().map(|(reader, _)| reader);
        first.filter(|_| readers.next().is_none())
    }

    /// The value that is the output.
    pub fn output(&self) -> Value {
        Value(self.operations.len() - 1)
    }
}

impl Operation {
    /// The values that it reads.
    pub fn reads(&self) -> Vec<Value> {
        let mut all = Vec::new();
        let _ = self.map(|from| {
            all.push(from);
            from
        });
        all
    }

    /// The same operation on other values.
    pub fn map(&self, mut to: impl FnMut(Value) -> Value) -> Self {
        let mut own = self.clone();
        match &mut own {
            Self::Input => {}
            Self::Sum(both) => both.iter_mut().for_each(|from| *from = to(*from)),
            Self::Opaque { reads, .. } => reads.iter_mut().for_each(|from| *from = to(*from)),
            Self::AddChannel(from)
            | Self::Flatten(from)
            | Self::Relu(from)
            | Self::Mean(from)
            | Self::Tokens(from)
            | Self::Gelu(from)
            | Self::FirstToken(from)
            | Self::MeanOfTokens(from)
            | Self::ClassToken { from, .. }
            | Self::Positions { from, .. }
            | Self::LayerNorm { from, .. }
            | Self::Attention { from, .. }
            | Self::Linear { from, .. }
            | Self::Convolution { from, .. }
            | Self::Norm { from, .. }
            | Self::MaxPool { from, .. } => *from = to(*from),
        }
        own
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_has_a_reader_if_exactly_one_operation_reads_it() {
        let (mut graph, input) = Graph::of_input();
        let one = graph.add(Operation::Relu(input));
        let other = graph.add(Operation::Flatten(one));
        let sum = graph.add(Operation::Sum([one, other]));
        assert_eq!(graph.reader(input), Some(one));
        assert_eq!(graph.reader(one), None);
        assert_eq!(graph.reader(other), Some(sum));
        assert_eq!(graph.reader(sum), None);
        assert_eq!(graph.output(), sum);
    }

    #[test]
    fn values_are_of_tokens_from_where_they_are_made_to_where_one_or_their_mean_is_taken() {
        let (mut graph, image) = Graph::of_input();
        let tokens = graph.add(Operation::Tokens(image));
        let linear = |layer: &str, from| Operation::Linear {
            layer: layer.to_owned(),
            bias: true,
            from,
        };
        let hidden = graph.add(linear("fc1", tokens));
        let hidden = graph.add(Operation::Gelu(hidden));
        let sum = graph.add(Operation::Sum([tokens, hidden]));
        let first = graph.add(Operation::FirstToken(sum));
        let last = graph.add(linear("fc2", first));
        for (value, expected) in [
            (image, false),
            (tokens, true),
            (hidden, true),
            (sum, true),
            (first, false),
            (last, false),
        ] {
            assert_eq!(
                graph.is_of_tokens(value),
                expected,
                "{:?}",
                graph.operation(value)
            );
        }
    }
}
