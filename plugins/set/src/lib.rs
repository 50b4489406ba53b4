//! SET: while a sparse network trains, small weights go and others come at random.
//!
//! # Source
//! Mocanu et al. 2018 (arXiv:1707.04780).

use plugin_api::schemars::{self, JsonSchema};
use plugin_api::{
    Among, Cadence, Counts, Distribution, Experiment, Finding, MaskContext, MaskUpdate, Phase,
    Result, Step, Tensor, export_plugin,
};
use serde::Deserialize;

/// Starts the level with the survivors of highest score in each layer. Within it every exchange
/// drops the smallest weights of each layer and grows, from 0, as many at random.
///
/// # Source
/// Mocanu et al. 2018 (arXiv:1707.04780), algorithm 1, with the smallest magnitudes instead of the
/// smallest of each sign; the decay is that of Evci et al. 2020 (arXiv:1911.11134).
///
/// # Departures
/// An exchange comes between two optimizer steps, the first after `every` steps. `fraction` of a
/// layer's survivors is rounded to the nearest whole number, and is at most what the layer has room for.
/// What was just dropped may grow back; it then keeps its value.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct DropAndGrow {
    /// How the survivors are spread over layers; no exchange changes it.
    distribution: Distribution,
    /// Share of each layer's survivors that an exchange replaces.
    #[schemars(range(min = 0.0, max = 1.0))]
    fraction: f64,
    /// Whether the fraction falls as half a cosine to 0 at `until`, or stays.
    // Not `default`, which an identity leaves out: there are runs whose identity holds "cosine".
    #[schemars(extend("x-default" = "cosine"))]
    decay: Decay,
    /// Distance of two exchanges.
    every: Step,
    /// Share of the level's steps after which the mask stays.
    #[schemars(range(min = 0.0, max = 1.0))]
    until: f64,
}

impl Default for DropAndGrow {
    fn default() -> Self {
        Self {
            distribution: Distribution::Erk,
            fraction: 0.3,
            decay: Decay::Cosine,
            every: Step::Epochs(1),
            until: 0.75,
        }
    }
}

impl MaskUpdate for DropAndGrow {
    fn validate(&self) -> Result<()> {
        self.every.expect_some("every")
    }

    fn review(&self, experiment: &Experiment) -> Vec<Finding> {
        experiment.exchanges("every", self.every, "until", self.until)
    }

    fn cadence(&self) -> Cadence {
        Cadence::between_levels().and_every(self.every, None)
    }

    fn update(&mut self, ctx: &mut MaskContext<'_>) -> Result<Vec<Tensor>> {
        if ctx.phase() != Phase::WithinLevel {
            let counts = ctx.counts(self.distribution)?;
            let scores = ctx.scores()?;
            return ctx.select(&scores, Among::Survivors, Counts::PerLayer(counts));
        }
        let fraction = self.fraction * self.decay.factor(ctx.cosine(self.until));
        let exchanged = ctx.exchanged(fraction)?;
        if exchanged.iter().sum::<u64>() == 0 {
            return ctx.masks();
        }
        let magnitudes: Vec<Tensor> = ctx.weights()?.iter().map(Tensor::abs).collect();
        let growth = ctx.uniform()?;
        ctx.drop_and_grow(&magnitudes, &growth, &exchanged)
    }
}

/// How the fraction changes over a level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Decay {
    /// From the whole fraction to 0.
    #[default]
    Cosine,
    /// The whole fraction until the end.
    Constant,
}

impl Decay {
    /// What the fraction is multiplied with where a cosine would be at `cosine`.
    fn factor(self, cosine: f64) -> f64 {
        match self {
            Self::Cosine => cosine,
            Self::Constant if cosine > 0.0 => 1.0,
            Self::Constant => 0.0,
        }
    }
}

export_plugin! {
    mask { "drop-and-grow" => DropAndGrow }
    default { score = "random-mask/random", mask = "set/drop-and-grow", rewind = ["imp/weights"] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_of_no_steps_is_refused() {
        let update = DropAndGrow {
            every: Step::Epochs(0),
            ..DropAndGrow::default()
        };
        let message = update.validate().unwrap_err().to_string();
        assert_eq!(message, "every is \"0ep\", expected at least one step");
    }

    #[test]
    fn a_constant_fraction_ends_where_the_cosine_does() {
        assert_eq!(Decay::Cosine.factor(0.3), 0.3);
        assert_eq!(Decay::Constant.factor(0.3), 1.0);
        assert_eq!(Decay::Constant.factor(0.0), 0.0);
    }
}
