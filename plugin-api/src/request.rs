//! What a component asks of the host.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which function of the weights is differentiated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Loss {
    /// Mean cross-entropy of the training samples.
    #[default]
    CrossEntropy,
    /// Sum of all outputs (SynFlow).
    SumOfOutputs,
}

/// Which samples a gradient is taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Batches {
    /// This many batches of the experiment's size, drawn from the component's random stream.
    Random(u64),
    /// The next batch of training: what the next step will see.
    Next,
    /// All training samples.
    All,
    /// One input of ones, no sample at all.
    Ones,
    /// The samples of the request before in the same call, as a Hessian-gradient product needs.
    Same,
}

impl Default for Batches {
    fn default() -> Self {
        Self::Random(1)
    }
}

/// A gradient of the masked network. It is taken with respect to every weight, pruned or not:
/// growth needs the gradients of pruned weights. Running statistics stay as they are. Samples are not
/// augmented and nothing is dropped out, so that it is a function of the weights and the samples alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct GradientRequest {
    /// Which function.
    pub loss: Loss,
    /// Which samples.
    pub batches: Batches,
    /// Whether weights, biases and batch-norm scales are replaced by their absolute values first.
    pub on_absolute_weights: bool,
    /// Whether batch norm uses its running statistics.
    pub eval_mode: bool,
    /// What the outputs are divided by before the cross-entropy: positive.
    pub temperature: f64,
    /// Whether it is computed and given in f64: products over many layers leave f32's range.
    pub double_precision: bool,
}

impl Default for GradientRequest {
    fn default() -> Self {
        Self {
            loss: Loss::default(),
            batches: Batches::default(),
            on_absolute_weights: false,
            eval_mode: false,
            temperature: 1.0,
            double_precision: false,
        }
    }
}

impl GradientRequest {
    /// A gradient of `loss` over `batches`.
    pub fn new(loss: Loss, batches: Batches) -> Self {
        Self {
            loss,
            batches,
            ..Self::default()
        }
    }

    /// At the absolute values of the weights.
    #[must_use]
    pub fn on_absolute_weights(mut self) -> Self {
        self.on_absolute_weights = true;
        self
    }

    /// With batch norm in evaluation mode.
    #[must_use]
    pub fn in_eval_mode(mut self) -> Self {
        self.eval_mode = true;
        self
    }

    /// With outputs divided by `temperature` before the cross-entropy.
    #[must_use]
    pub fn at_temperature(mut self, temperature: f64) -> Self {
        self.temperature = temperature;
        self
    }

    /// Computed and given in f64.
    #[must_use]
    pub fn in_double_precision(mut self) -> Self {
        self.double_precision = true;
        self
    }
}

/// How survivors are spread over layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Distribution {
    /// The same density in every layer.
    Uniform,
    /// The same number in every layer; a layer that would exceed its size is full and the rest redistributed.
    Balanced,
    /// Erdős-Rényi-Kernel: density proportional to the sum over the product of a layer's dimensions;
    /// a layer over 1 is full and the rest rescaled.
    ///
    /// # Source
    /// Evci et al. 2020 (arXiv:1911.11134).
    #[default]
    Erk,
}

/// Which weights may be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Among {
    /// Those with mask 1.
    Survivors,
    /// Those with mask 0.
    Pruned,
    /// Every weight.
    All,
}

/// How many weights are chosen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Counts {
    /// This many in all layers together.
    Total(u64),
    /// This many in each layer.
    PerLayer(Vec<u64>),
}
