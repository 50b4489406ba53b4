//! Half a cosine.

use plugin_api::Step;
use plugin_api::schemars::{self, JsonSchema, schema_for};
use serde::{Deserialize, Serialize};

use super::{Build, Schedule, Span, Warmup};
use crate::registry::{Entry, parse};

pub(super) const ENTRY: Entry<Build> = Entry {
    name: "cosine",
    summary: "half a cosine from the whole learning rate to the floor",
    schema: || schema_for!(CosineOptions),
    build: |options, span| Ok(Box::new(Cosine::new(parse(options)?, span))),
};

/// Options of `cosine`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CosineOptions {
    /// Share of the learning rate that is left at the end of the level.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub floor: f64,
    /// Time over which the learning rate rises from 0, before the cosine.
    pub warmup: Step,
}

impl Default for CosineOptions {
    fn default() -> Self {
        Self {
            floor: 0.0,
            warmup: Step::ZERO,
        }
    }
}

/// # Source
/// Loshchilov & Hutter 2017 (arXiv:1608.03983), equation 5, without restarts.
struct Cosine {
    floor: f64,
    warmup: Warmup,
    span: Span,
}

impl Cosine {
    fn new(options: CosineOptions, span: Span) -> Self {
        Self {
            floor: options.floor,
            warmup: Warmup::new(options.warmup, span),
            span,
        }
    }
}

impl Schedule for Cosine {
    fn factor(&self, step: u64) -> f64 {
        if step < self.warmup.steps {
            return self.warmup.factor(step);
        }
        let progress = self.warmup.progress(step, self.span);
        let cosine = (1.0 + (std::f64::consts::PI * progress).cos()) / 2.0;
        self.floor + (1.0 - self.floor) * cosine
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::schedule::tests::factors;

    #[test]
    fn falls_from_one_after_the_warm_up_to_the_floor_at_the_end() {
        let got = factors("cosine", json!({"warmup": "2ep", "floor": 0.2}));
        assert_eq!((got[8], got[40]), (1.0, 0.2));
        // Half of the way, and cos(60 degrees) = 1/2 after a third of it.
        assert!((got[24] - 0.6).abs() < 1e-12);
        let third = factors("cosine", json!({"warmup": "10it"}))[20];
        assert!((third - 0.75).abs() < 1e-12);
    }
}
