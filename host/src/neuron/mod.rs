//! The single hidden neuron: the theory of learning-rate rewinding, simulated.
//!
//! # Source
//! Gadhikar & Burkholz 2024 (arXiv:2402.19262), section 2.

mod record;

pub use record::{ClosedForm, Fraction, Method, NeuronRecord, Quadrant, StepError, Trajectory};
