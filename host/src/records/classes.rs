//! What is recorded of the classes of one level.

use serde::{Deserialize, Serialize};

use super::maybe_number;

/// One class of one level, or one of several labels: a line of `classes.jsonl`, where the experiment's metrics ask
/// for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassRecord {
    /// Level.
    pub level: u64,
    /// The class, from 0.
    pub class: u64,
    /// Test targets of this class; of a label all test samples.
    pub test_samples: u64,
    /// Of these, those that are right, with the metric `per-class`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_correct: Option<u64>,
    /// `test_correct` over `test_samples`; no number where there are none.
    #[serde(
        default,
        deserialize_with = "maybe_number",
        skip_serializing_if = "Option::is_none"
    )]
    pub test_accuracy: Option<f64>,
    /// For each class, how many of these were taken for it, with the metric `confusion`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predicted: Option<Vec<u64>>,
}
