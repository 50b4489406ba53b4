//! What an update says of itself, and what it gives back.

use serde::{Deserialize, Serialize};

use crate::Tensor;

/// When in a step an update acts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Acts {
    /// Before the optimizer: it gives the gradients that the optimizer takes.
    Before,
    /// After the optimizer: it sees the weights that the optimizer made, and gives others.
    #[default]
    After,
    /// Instead of the optimizer, for the prunable weights: it gives the weights. Biases and norms stay the
    /// optimizer's. A strategy has one such update at most.
    Instead,
}

/// Which parameters an update replaces for one forward and backward pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Around {
    /// The prunable weights.
    pub weights: bool,
    /// Scale and shift of norms.
    pub norms: bool,
}

impl Around {
    /// Whether it replaces nothing.
    pub fn is_none(self) -> bool {
        self == Self::default()
    }
}

/// What an update says of itself, once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdateForm {
    /// When it acts.
    pub acts: Acts,
    /// Whether it is pure.
    pub pure: bool,
    /// Names of its states.
    pub states: Vec<String>,
    /// What it replaces around the gradient.
    pub around: Around,
}

/// A number of the step, which is another one at each step: asked for as a tensor, so that what is computed of it
/// can be replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum StepNumber {
    /// The learning rate.
    Lr,
    /// The share of the level's steps that are done with this one, above 0 and at most 1.
    Progress,
    /// Steps since state and optimizer were cleared, this one included: 1 at the first.
    Age,
    /// 1 at each so manieth step of the level, else 0.
    Due(u64),
}

/// What an [`Update`](crate::Update) makes of a step.
#[derive(Debug)]
pub struct Updated {
    pub(crate) tensors: Vec<Tensor>,
    pub(crate) states: Vec<(String, Vec<Tensor>)>,
}

impl Updated {
    /// These weights, or gradients of an update that acts before the optimizer; its states stay as they are.
    pub fn new(tensors: Vec<Tensor>) -> Self {
        Self {
            tensors,
            states: Vec::new(),
        }
    }

    /// The same with other numbers in a state.
    pub fn with(mut self, state: &str, tensors: Vec<Tensor>) -> Self {
        self.states.push((state.to_owned(), tensors));
        self
    }
}

impl From<Vec<Tensor>> for Updated {
    fn from(tensors: Vec<Tensor>) -> Self {
        Self::new(tensors)
    }
}

/// Parameters, or their gradients, of those that an update [replaces](Around).
#[derive(Debug, Default)]
pub struct Parameters {
    /// One for each prunable layer; none, if it does not replace them.
    pub weights: Vec<Tensor>,
    /// One for each parameter of a norm, in the order of [`norms`](crate::UpdateContext::norms).
    pub norms: Vec<Tensor>,
}
