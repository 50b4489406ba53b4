//! What the author of a pruning strategy sees.

#![deny(missing_docs)]

pub use schemars;

mod cadence;
mod component;
mod context;
mod error;
mod export;
mod layer;
mod point;
mod request;
mod rewind_plan;
mod step;
mod tensor;

pub mod abi;

pub use abi::DType;
pub use cadence::{Cadence, Interval, Phase};
pub use component::{MaskUpdate, Options, Rewind, Scorer};
pub use context::{Context, MaskContext, RewindContext, ScoreContext};
pub use error::{Error, Result};
pub use layer::{Layer, LayerKind};
pub use point::{ParsePointError, Point, Source};
pub use request::{Among, Batches, Counts, Distribution, GradientRequest, Loss};
pub use rewind_plan::{BatchNorm, DataOrder, OptimizerState, RewindPlan, Schedule, Weights};
pub use step::{ParseStepError, Step};
pub use tensor::Tensor;
