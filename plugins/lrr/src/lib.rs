//! Learning-rate rewinding, LRR (Renda, Frankle & Carbin 2020, arXiv:2003.02389): weights and signs
//! stay as trained, the learning-rate schedule restarts.

use plugin_api::schemars::{self, JsonSchema};
use plugin_api::{
    BatchNorm, Error, Experiment, Finding, OptimizerState, Point, Result, Rewind, RewindContext,
    RewindPlan, Schedule, Source, export_plugin,
};
use serde::Deserialize;

/// Restarts the learning-rate schedule and keeps the weights; the optimizer is cleared.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct LearningRate {
    /// Scale and shift of every norm, batch norms and layer norms: "keep", "init" or a time of level 0 such as "4ep".
    norm_affine: Source,
    /// The same by its first name, from when batch norms were the only ones.
    batch_norm_affine: Source,
    /// Running statistics of batch norms: "keep", "init" or a time of level 0 such as "4ep".
    batch_norm_statistics: Source,
    /// Whether the optimizer's state is kept instead of being cleared.
    keep_optimizer_state: bool,
}

impl LearningRate {
    /// Where scale and shift of norms come from, whichever name says so.
    fn affine(&self) -> &Source {
        match &self.norm_affine {
            Source::Keep => &self.batch_norm_affine,
            named => named,
        }
    }
}

impl Rewind for LearningRate {
    fn validate(&self) -> Result<()> {
        match (&self.norm_affine, &self.batch_norm_affine) {
            (Source::From(_), Source::From(_)) => Err(Error::new(
                "norm_affine and batch_norm_affine are two names of one option: expected one of them, norm_affine",
            )),
            _ => Ok(()),
        }
    }

    fn review(&self, experiment: &Experiment) -> Vec<Finding> {
        let (norms, batch_norms) = (experiment.norms, experiment.batch_norms);
        let sources = [
            ("norm_affine", &self.norm_affine, norms, "norm"),
            (
                "batch_norm_affine",
                &self.batch_norm_affine,
                batch_norms,
                "batch norm",
            ),
            (
                "batch_norm_statistics",
                &self.batch_norm_statistics,
                batch_norms,
                "batch norm",
            ),
        ];
        let of_source = |(option, source, count, what): (&str, &Source, u64, &str)| match source {
            Source::From(_) if count == 0 => {
                let message = format!("the network has no {what}");
                let (message, advice) = match option {
                    "batch_norm_affine" if norms > 0 => (
                        format!("{message}, and this sets its layer norms back"),
                        "call it norm_affine",
                    ),
                    _ => (message, "leave it out"),
                };
                Some(Finding::pointless(message).at_option(option).advise(advice))
            }
            Source::From(point) => experiment.comes_too_late(option, point),
            Source::Keep => None,
        };
        sources.into_iter().filter_map(of_source).collect()
    }

    fn points(&self) -> Vec<Point> {
        [self.affine(), &self.batch_norm_statistics]
            .into_iter()
            .filter_map(|source| match source {
                Source::Keep => None,
                Source::From(point) => Some(point.clone()),
            })
            .collect()
    }

    fn rewind(&mut self, _ctx: &mut RewindContext<'_>) -> Result<RewindPlan> {
        Ok(RewindPlan {
            batch_norm: BatchNorm {
                affine: self.affine().clone(),
                statistics: self.batch_norm_statistics.clone(),
            },
            optimizer: match self.keep_optimizer_state {
                true => OptimizerState::Keep,
                false => OptimizerState::Clear,
            },
            schedule: Schedule::Restart,
            ..RewindPlan::default()
        })
    }
}

export_plugin! {
    rewind { "learning-rate" => LearningRate }
    default { score = "imp/magnitude", mask = "imp/global", rewind = ["lrr/learning-rate"] }
}
