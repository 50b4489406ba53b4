//! What the author of a pruning strategy sees.

pub use schemars;

mod layer;
mod step;

pub use layer::{Layer, LayerKind};
pub use step::{ParseStepError, Step};
