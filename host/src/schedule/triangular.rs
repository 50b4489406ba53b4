//! Up and down again.

use plugin_api::Step;
use plugin_api::schemars::{self, JsonSchema, schema_for};
use serde::{Deserialize, Serialize};

use super::{Build, Schedule, Span, Warmup};
use crate::registry::{Entry, parse};

pub(super) const ENTRY: Entry<Build> = Entry {
    name: "triangular",
    summary: "a straight line up to the whole learning rate and one down again",
    schema: || schema_for!(TriangularOptions),
    build: |options, span| Ok(Box::new(Triangular::new(parse(options)?, span))),
};

/// Options of `triangular`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TriangularOptions {
    /// Share of the level after which the learning rate is largest.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub peak: f64,
    /// Share of the learning rate at the start and at the end of the level.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub floor: f64,
    /// Time over which a factor rises from 0 that the triangle is multiplied with.
    pub warmup: Step,
}

impl Default for TriangularOptions {
    fn default() -> Self {
        Self {
            peak: 0.5,
            floor: 0.0,
            warmup: Step::ZERO,
        }
    }
}

/// # Source
/// Smith 2017 (arXiv:1506.01186), one cycle.
struct Triangular {
    options: TriangularOptions,
    warmup: Warmup,
    total: f64,
}

impl Triangular {
    fn new(options: TriangularOptions, span: Span) -> Self {
        Self {
            warmup: Warmup::new(options.warmup, span),
            options,
            total: span.total_steps as f64,
        }
    }
}

impl Schedule for Triangular {
    fn factor(&self, step: u64) -> f64 {
        let TriangularOptions { peak, floor, .. } = self.options;
        let at = (step as f64 / self.total).min(1.0);
        let height = if at < peak {
            at / peak
        } else if at < 1.0 {
            (1.0 - at) / (1.0 - peak)
        } else {
            0.0
        };
        self.warmup.factor(step) * (floor + (1.0 - floor) * height)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::schedule::tests::factors;

    #[test]
    fn rises_to_its_peak_and_falls_to_the_floor() {
        let got = factors("triangular", json!({"peak": 0.25, "floor": 0.2}));
        assert_eq!((got[0], got[10], got[40]), (0.2, 1.0, 0.2));
        assert!((got[5] - 0.6).abs() < 1e-12 && (got[25] - 0.6).abs() < 1e-12);
    }
}
