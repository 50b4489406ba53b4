//! The host's side.

mod mask;
mod stepping;
mod work;

pub use mask::{half_of_the_units, random_masks};
pub use stepping::Stepping;
pub use work::{BATCH, Data, Work};
