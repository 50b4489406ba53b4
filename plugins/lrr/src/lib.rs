//! Learning-rate rewinding, LRR (Renda, Frankle & Carbin 2020, arXiv:2003.02389): weights and signs
//! stay as trained, the learning-rate schedule restarts.

use plugin_api::schemars::{self, JsonSchema};
use plugin_api::{
    BatchNorm, Experiment, Finding, OptimizerState, Point, Result, Rewind, RewindContext,
    RewindPlan, Schedule, Source, export_plugin,
};
use serde::Deserialize;

/// Restarts the learning-rate schedule and keeps the weights; the optimizer is cleared.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct LearningRate {
    /// Scale and shift of batch norms: "keep", "init" or a time of level 0 such as "4ep".
    batch_norm_affine: Source,
    /// Running statistics of batch norms: "keep", "init" or a time of level 0 such as "4ep".
    batch_norm_statistics: Source,
    /// Whether the optimizer's state is kept instead of being cleared.
    keep_optimizer_state: bool,
}

impl Rewind for LearningRate {
    fn review(&self, experiment: &Experiment) -> Vec<Finding> {
        let sources = [
            ("batch_norm_affine", &self.batch_norm_affine),
            ("batch_norm_statistics", &self.batch_norm_statistics),
        ];
        let of_source = |(option, source): (&str, &Source)| match source {
            Source::From(_) if experiment.batch_norms == 0 => {
                let message = "the network has no batch norm";
                Some(
                    Finding::pointless(message)
                        .at_option(option)
                        .advise("leave it out"),
                )
            }
            Source::From(point) => experiment.comes_too_late(option, point),
            Source::Keep => None,
        };
        sources.into_iter().filter_map(of_source).collect()
    }

    fn points(&self) -> Vec<Point> {
        [&self.batch_norm_affine, &self.batch_norm_statistics]
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
                affine: self.batch_norm_affine.clone(),
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
