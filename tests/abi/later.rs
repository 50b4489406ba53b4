//! A plugin with a component of a kind that the host lacks: `tests/end-to-end/tests/abi.rs` gives updates another name
//! in its plugin-api, as they have one that a host of 1.0 does not know.

use plugin_api::schemars::{self, JsonSchema};
use plugin_api::{Result, Update, UpdateContext, Updated, export_plugin};
use serde::Deserialize;

/// Leaves the weights as they are.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Rests {}

impl Update for Rests {
    fn update(&mut self, ctx: &mut UpdateContext<'_>) -> Result<Updated> {
        Ok(ctx.weights()?.into())
    }
}

export_plugin! { update { "rests" => Rests } }
