//! Random masks: iterative, nested, with chosen layer densities.
//!
//! `random` scores make the choice random; `nested` fixes how many weights each layer keeps, and
//! takes any score: with `imp/magnitude` it prunes by magnitude within each layer.

use plugin_api::schemars::{self, JsonSchema};
use plugin_api::{
    Among, Counts, Distribution, MaskContext, MaskUpdate, Result, ScoreContext, Scorer, Tensor,
    export_plugin,
};
use serde::Deserialize;

/// Scores every weight with a uniformly random number, new at each level.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Random {}

impl Scorer for Random {
    fn score(&mut self, ctx: &mut ScoreContext<'_>) -> Result<Vec<Tensor>> {
        ctx.uniform()
    }
}

/// Keeps the survivors of highest score in each layer, with layer densities that do not depend on the scores.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Nested {
    /// How the survivors are spread over layers.
    distribution: Distribution,
}

impl MaskUpdate for Nested {
    fn update(&mut self, ctx: &mut MaskContext<'_>) -> Result<Vec<Tensor>> {
        let counts = ctx.counts(self.distribution)?;
        let scores = ctx.scores()?;
        ctx.select(&scores, Among::Survivors, Counts::PerLayer(counts))
    }
}

export_plugin! {
    score { "random" => Random }
    mask { "nested" => Nested }
    default { score = "random-mask/random", mask = "random-mask/nested", rewind = ["lrr/learning-rate"] }
}
