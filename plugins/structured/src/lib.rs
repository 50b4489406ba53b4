//! Whole units: output channels, hidden units and attention heads are pruned with all that makes and reads them, so
//! that what is left is a smaller network.
//!
//! `units` scores them; `mask` keeps the best, and takes the scores of any other component, too.

mod importance;
mod mask;
mod score;
mod sums;

use plugin_api::export_plugin;

export_plugin! {
    score { "units" => score::Score }
    mask { "mask" => mask::Mask }
    default { score = "structured/units", mask = "structured/mask", rewind = ["lrr/learning-rate"] }
}
