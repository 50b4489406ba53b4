//! What a model computes: the operations as they stand in its file.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Version of the list of operations.
pub const VERSION: u32 = 1;

/// The operations of a network, each after those whose values it reads; the last one's value is the output.
///
/// A layer is named as its parameters are without their last part: `fc1` has `fc1.weight`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Graph {
    /// Version of the list.
    pub version: u32,
    /// Shape of one input: `[features]`, `[channels, length]` or `[channels, height, width]`.
    pub input_shape: Vec<usize>,
    /// The list.
    pub operations: Vec<Operation>,
}

/// One operation, with the place of the operation whose value it reads.
///
/// Shapes are those of one sample.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Operation {
    /// The network's input, the first in the list and nowhere else.
    Input {},
    /// `[features]` to `[1, features]`.
    AddChannel {
        /// What it reads.
        from: usize,
    },
    /// Any shape to `[features]`, row-major.
    Flatten {
        /// What it reads.
        from: usize,
    },
    /// `[in]` to `[out]`, or `[tokens, in]` to `[tokens, out]`, by `weight` `[out, in]`.
    Linear {
        /// Name of the layer.
        layer: String,
        /// Whether it has `bias` `[out]`.
        bias: bool,
        /// What it reads.
        from: usize,
    },
    /// `[in, ...]` to `[out, ...]` by `weight` `[out, in, ...kernel]`.
    Convolution {
        /// Name of the layer.
        layer: String,
        /// Whether it has `bias` `[out]`.
        bias: bool,
        /// Stride in each dimension.
        stride: usize,
        /// Zeros around the input, on each side.
        padding: usize,
        /// What it reads.
        from: usize,
    },
    /// `[features, ...]` to the same by `weight`, `bias`, `running_mean` and `running_var` `[features]`.
    Norm {
        /// Name of the batch norm.
        layer: String,
        /// Added to the variance.
        epsilon: f64,
        /// What it reads.
        from: usize,
    },
    /// The greater one of each value and 0.
    Relu {
        /// What it reads.
        from: usize,
    },
    /// `[channels, height, width]` to the greatest value in each window, rounded downwards in number.
    MaxPool {
        /// Height and width of a window.
        kernel: usize,
        /// From a window to the next.
        stride: usize,
        /// Pixels around the input that no window chooses; at most half a window.
        padding: usize,
        /// What it reads.
        from: usize,
    },
    /// `[channels, height, width]` to the means over the image, `[channels]`.
    Mean {
        /// What it reads.
        from: usize,
    },
    /// The sum of two values of the same shape.
    Sum {
        /// What it reads.
        from: [usize; 2],
    },
    /// `[channels, height, width]` to `[height * width, channels]`, places row by row.
    Tokens {
        /// What it reads.
        from: usize,
    },
    /// `[tokens, features]` to `[1 + tokens, features]`: a parameter `[1, 1, features]` comes first.
    ClassToken {
        /// Name of the parameter.
        parameter: String,
        /// What it reads.
        from: usize,
    },
    /// `[tokens, features]` plus a parameter `[1, tokens, features]`.
    Positions {
        /// Name of the parameter.
        parameter: String,
        /// What it reads.
        from: usize,
    },
    /// `[..., features]` to the same: mean 0 and deviation 1 over the features, then `weight` and `bias` `[features]`.
    LayerNorm {
        /// Name of the layer norm.
        layer: String,
        /// Added to the variance.
        epsilon: f64,
        /// What it reads.
        from: usize,
    },
    /// Each value times the share of a standard normal distribution that lies below it.
    Gelu {
        /// What it reads.
        from: usize,
    },
    /// `[tokens, 3 * heads * of_head]`, the queries of all heads, their keys and their values, to
    /// `[tokens, heads * of_head]`: in each head softmax(q k^T / sqrt(of_head)) v.
    Attention {
        /// Number of heads.
        heads: usize,
        /// Features of each head.
        of_head: usize,
        /// What it reads.
        from: usize,
    },
    /// `[tokens, features]` to the first token, `[features]`.
    FirstToken {
        /// What it reads.
        from: usize,
    },
    /// `[tokens, features]` to the means over the tokens, `[features]`.
    MeanOfTokens {
        /// What it reads.
        from: usize,
    },
}

/// Operations of a list at most.
const MOST_OPERATIONS: usize = 100_000;

impl Graph {
    /// Reads a list and checks that it reads backwards only.
    ///
    /// # Errors
    /// What is no such list, operations that are not known here, places that are not before.
    pub fn parse(text: &str) -> Result<Self> {
        // A newer list may have operations that are not known here: its version says so better than their names.
        #[derive(Deserialize)]
        struct Head {
            version: u32,
        }
        let head: Head =
            serde_json::from_str(text).map_err(|error| Error::Graph(error.to_string()))?;
        if head.version != VERSION {
            return Err(Error::Version {
                got: head.version,
                expected: VERSION,
            });
        }
        let graph: Self =
            serde_json::from_str(text).map_err(|error| Error::Graph(error.to_string()))?;
        graph.check()?;
        Ok(graph)
    }

    fn check(&self) -> Result<()> {
        let count = self.operations.len();
        if count > MOST_OPERATIONS {
            return Err(Error::TooLarge {
                what: "the number of operations".to_owned(),
                got: count.to_string(),
                most: MOST_OPERATIONS as u64,
            });
        }
        if self.operations.first() != Some(&Operation::Input {}) {
            return Err(Error::Graph("the first is not `input`".to_owned()));
        }
        for (place, operation) in self.operations.iter().enumerate().skip(1) {
            let fail = |reason: String| Err(operation.fails(place, reason));
            let reads = operation.reads();
            if reads.is_empty() {
                return fail("only the first operation is `input`".to_owned());
            }
            if let Some(from) = reads.iter().find(|from| **from >= place) {
                return fail(format!("it reads operation {from}, expected one before it"));
            }
        }
        Ok(())
    }
}

impl Operation {
    /// The places that it reads.
    pub fn reads(&self) -> &[usize] {
        match self {
            Self::Input {} => &[],
            Self::Sum { from } => from,
            Self::AddChannel { from }
            | Self::Flatten { from }
            | Self::Linear { from, .. }
            | Self::Convolution { from, .. }
            | Self::Norm { from, .. }
            | Self::Relu { from }
            | Self::MaxPool { from, .. }
            | Self::Mean { from }
            | Self::Tokens { from }
            | Self::ClassToken { from, .. }
            | Self::Positions { from, .. }
            | Self::LayerNorm { from, .. }
            | Self::Gelu { from }
            | Self::Attention { from, .. }
            | Self::FirstToken { from }
            | Self::MeanOfTokens { from } => std::slice::from_ref(from),
        }
    }

    /// What it is called in a list, with its layer's name.
    pub fn name(&self) -> String {
        let value = serde_json::to_value(self).unwrap_or_default();
        let text = |key: &str| value[key].as_str().map(str::to_owned);
        let name = text("op").unwrap_or_default();
        match text("layer").or_else(|| text("parameter")) {
            Some(layer) => format!("{name} `{layer}`"),
            None => name,
        }
    }

    /// What is wrong with it.
    pub(crate) fn fails(&self, place: usize, reason: impl Into<String>) -> Error {
        Error::Operation {
            place,
            operation: self.name(),
            reason: reason.into(),
        }
    }
}
