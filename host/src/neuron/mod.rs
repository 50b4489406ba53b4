//! The single hidden neuron: the theory of learning-rate rewinding, simulated.
//!
//! A student `f(x) = a relu(w . x)` learns the target `relu(x_1)` from standard normal inputs by
//! gradient descent, is pruned to its largest input weight, and learns again: from its initial
//! weights (IMP) or from the trained ones (LRR). Expectations over inputs are in closed form
//! ([`Neuron`]), so that nothing is left to the samples; `docs/neuron.md` derives them.
//!
//! # Source
//! Gadhikar & Burkholz 2024 (arXiv:2402.19262), section 2. The same by Sign-In and HAM ([`Update`]):
//! Gadhikar, Jacobs, Zhou & Burkholz, NeurIPS 2025 (arXiv:2504.12801); Jacobs, Gadhikar,
//! Rubio-Madrigal & Burkholz, ICLR 2026 (arXiv:2506.02630).

mod binomial;
mod closed_form;
mod descent;
mod files;
mod gradient;
mod record;
mod settings;
mod simulation;
mod student;
mod trajectory;
mod update;

pub use binomial::clopper_pearson;
pub use closed_form::{logistic, turning_time};
pub use descent::{Outcome, SUCCESS_LOSS, Start, outcomes};
pub use files::{FILE, NeuronFileError, complete, read, write};
pub use gradient::{Kept, Neuron};
pub use record::{
    ClosedForm, Fraction, LossGap, Method, NeuronRecord, Quadrant, StepError, Trajectory,
};
pub use settings::{Settings, SettingsError};
pub use simulation::simulate;
pub use update::{Update, defaults};
