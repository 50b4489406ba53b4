//! The same learning rate at every step.

use plugin_api::Step;
use plugin_api::schemars::{self, JsonSchema, schema_for};
use serde::{Deserialize, Serialize};

use super::{Build, Schedule, Span, Warmup};
use crate::registry::{Entry, parse};

pub(super) const ENTRY: Entry<Build> = Entry {
    name: "constant",
    summary: "the same learning rate at every step",
    schema: || schema_for!(ConstantOptions),
    build: |options, span| Ok(Box::new(Constant::new(parse(options)?, span))),
};

/// Options of `constant`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ConstantOptions {
    /// Time over which the learning rate rises from 0.
    pub warmup: Step,
}

impl Default for ConstantOptions {
    fn default() -> Self {
        Self { warmup: Step::ZERO }
    }
}

struct Constant {
    warmup: Warmup,
}

impl Constant {
    fn new(options: ConstantOptions, span: Span) -> Self {
        Self {
            warmup: Warmup::new(options.warmup, span),
        }
    }
}

impl Schedule for Constant {
    fn factor(&self, step: u64) -> f64 {
        self.warmup.factor(step)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::schedule::tests::factors;

    #[test]
    fn is_one_at_every_step() {
        assert_eq!(factors("constant", json!({})), vec![1.0; 41]);
    }
}
