//! A plugin that was built against a later plugin-api, which has an operation, a service and a field
//! of a request that no host of today knows.

use plugin_api::abi::{Op, Service};
use plugin_api::schemars::{self, JsonSchema};
use plugin_api::{Error, GradientRequest, Result, ScoreContext, Scorer, Tensor, export_plugin};
use serde::Deserialize;

/// Scores by |w|, in a better way where the host knows how.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Adapts {}

impl Scorer for Adapts {
    fn score(&mut self, ctx: &mut ScoreContext<'_>) -> Result<Vec<Tensor>> {
        let weights = ctx.weights()?;
        for weight in &weights {
            is_unsupported("the operation", weight.try_apply(Op::LATER, &[], &[], &[]))?;
        }
        is_unsupported("the service", ctx.try_query::<u64>(Service::LATER, &()))?;
        let mut request = GradientRequest::default();
        request.later = true;
        is_unsupported("the field", ctx.gradients(&request))?;
        Ok(weights.iter().map(Tensor::abs).collect())
    }
}

/// Scores by an operation that only a later host has.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Insists {}

impl Scorer for Insists {
    fn score(&mut self, ctx: &mut ScoreContext<'_>) -> Result<Vec<Tensor>> {
        Ok(ctx.weights()?.iter().map(Tensor::later).collect())
    }
}

fn is_unsupported<T>(what: &str, answer: Result<T>) -> Result<()> {
    match answer {
        Err(error) if error.is_unsupported() => Ok(()),
        Err(error) => Err(Error::new(format!("{what} failed otherwise: {error}"))),
        Ok(_) => Err(Error::new(format!("{what} is known"))),
    }
}

export_plugin! { score { "adapts" => Adapts, "insists" => Insists } }
