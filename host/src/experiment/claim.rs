//! What an experiment file expects to see, to be judged by its report.

use plugin_api::schemars::{self, JsonSchema};
use serde::{Deserialize, Serialize};

/// One method is above another, seed by seed, over a range of densities.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// The claim in words.
    pub claim: String,
    /// The method that is claimed to have more of it.
    pub above: String,
    /// The method that is claimed to have less of it.
    pub below: String,
    /// Of what.
    #[serde(default)]
    pub measure: Measure,
    /// The least and the greatest density at which the two are compared; all levels after the dense
    /// one if not given.
    #[serde(default)]
    #[schemars(extend("items" = { "type": "number", "minimum": 0.0, "maximum": 1.0 }))]
    pub densities: Option<[f64; 2]>,
}

/// What two methods are compared by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// Test accuracy at a level's end.
    #[default]
    TestAccuracy,
    /// Accuracy on the validation samples at a level's end, where `data.validation` holds some out.
    ValidationAccuracy,
    /// Share of survivors whose sign differs from init.
    FlipsInit,
    /// Share of survivors whose sign differs from the level's start.
    FlipsStart,
}
