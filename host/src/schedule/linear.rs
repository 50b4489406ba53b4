//! A straight line down.

use plugin_api::Step;
use plugin_api::schemars::{self, JsonSchema, schema_for};
use serde::{Deserialize, Serialize};

use super::{Build, Schedule, Span, Warmup};
use crate::registry::{Entry, parse};

pub(super) const ENTRY: Entry<Build> = Entry {
    name: "linear",
    summary: "a straight line from the whole learning rate to the floor",
    schema: || schema_for!(LinearOptions),
    build: |options, span| Ok(Box::new(Linear::new(parse(options)?, span))),
};

/// Options of `linear`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LinearOptions {
    /// Share of the learning rate that is left at the end of the level.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub floor: f64,
    /// Time over which the learning rate rises from 0, before the line.
    pub warmup: Step,
}

impl Default for LinearOptions {
    fn default() -> Self {
        Self {
            floor: 0.0,
            warmup: Step::ZERO,
        }
    }
}

struct Linear {
    floor: f64,
    warmup: Warmup,
    span: Span,
}

impl Linear {
    fn new(options: LinearOptions, span: Span) -> Self {
        Self {
            floor: options.floor,
            warmup: Warmup::new(options.warmup, span),
            span,
        }
    }
}

impl Schedule for Linear {
    fn factor(&self, step: u64) -> f64 {
        if step < self.warmup.steps {
            return self.warmup.factor(step);
        }
        1.0 - (1.0 - self.floor) * self.warmup.progress(step, self.span)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::schedule::tests::factors;

    #[test]
    fn falls_by_the_same_amount_at_every_step() {
        for (s, factor) in factors("linear", json!({"floor": 0.5})).iter().enumerate() {
            assert!((factor - (1.0 - 0.5 * s as f64 / 40.0)).abs() < 1e-12);
        }
    }
}
