//! What a simulation came to: `neuron.json`.

use serde::{Deserialize, Serialize};

use super::Update;

/// Results of a simulation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NeuronRecord {
    /// Seed of the initial weights.
    pub seed: u64,
    /// Time that a training lasts, in units of the gradient flow.
    pub time: f64,
    /// Length of an Euler step, in the same units.
    pub step: f64,
    /// L2 norm of the initial input weights, and magnitude of the initial output weight.
    pub scale: f64,
    /// How a step of training moved the weights; not written where it is gradient descent.
    #[serde(default, skip_serializing_if = "Update::is_gradient")]
    pub update: Update,
    /// What tells success from failure.
    #[serde(default)]
    pub gap: LossGap,
    /// How often each method learns the target, by dimension.
    pub fractions: Vec<Fraction>,
    /// A few inits on their way.
    pub trajectories: Vec<Trajectory>,
    /// One dimension: simulation beside the closed form; gradient descent alone has one.
    pub closed_form: Vec<ClosedForm>,
    /// Distance between the two by length of step; as above.
    pub step_errors: Vec<StepError>,
}

/// The final losses around the threshold below which the target counts as learnt.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LossGap {
    /// The threshold.
    pub threshold: f64,
    /// Largest final loss below it; none without a success.
    pub greatest_success: Option<f64>,
    /// Least final loss from it on; none without a failure.
    pub least_failure: Option<f64>,
}

/// How the neuron's parameters are handled after pruning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Back to init.
    Imp,
    /// Kept as trained.
    Lrr,
}

/// How often a method learns the target in one dimension.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fraction {
    /// Dimension of the input.
    pub dimension: u64,
    /// Method.
    pub method: Method,
    /// Number of inits.
    pub inits: u64,
    /// Inits from which the pruned neuron learns the target.
    pub successes: u64,
    /// Least success probability of the 95 % interval.
    pub low: f64,
    /// Greatest success probability of the 95 % interval.
    pub high: f64,
    /// The same by the signs of the initial a and w_1.
    pub quadrants: Vec<Quadrant>,
}

/// The inits with these signs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quadrant {
    /// Whether a is positive at init.
    pub a_positive: bool,
    /// Whether w_1 is positive at init.
    pub w1_positive: bool,
    /// Number of inits.
    pub inits: u64,
    /// Those that learn the target.
    pub successes: u64,
}

/// One init on its way: first dense, then pruned to one input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trajectory {
    /// Dimension of the input.
    pub dimension: u64,
    /// Method.
    pub method: Method,
    /// Number of the init.
    pub init: u64,
    /// Whether the pruned neuron learns the target.
    pub success: bool,
    /// Time since the start of the dense training; the pruned training follows on it.
    pub time: Vec<f64>,
    /// Whether the neuron is pruned at that time.
    pub pruned: Vec<bool>,
    /// Output weight at these times.
    pub a: Vec<f64>,
    /// First input weight at these times; 0 once it is pruned.
    pub w1: Vec<f64>,
    /// Loss at these times.
    pub loss: Vec<f64>,
}

/// The product a w of a one-dimensional neuron at a time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClosedForm {
    /// Time.
    pub time: f64,
    /// As simulated.
    pub simulated: f64,
    /// By the closed form.
    pub exact: f64,
}

/// How far the simulation is from the closed form.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepError {
    /// Length of an Euler step.
    pub step: f64,
    /// Largest distance of a w from the closed form over the whole time.
    pub error: f64,
}
