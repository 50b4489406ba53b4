//! Every axis of rewinding, set on its own: magnitudes, signs, norms, optimizer, schedule and
//! data order.
//!
//! IMP, WR, LRR and fine-tuning are points of this space, and so is all that lies between them: the
//! signs of one run with the magnitudes of another, say, or sparse training from a new init
//! (Gadhikar & Burkholz 2024, arXiv:2402.19262).

mod text;

use plugin_api::schemars::{self, JsonSchema};
use plugin_api::{
    BatchNorm, Error, Experiment, Finding, OptimizerState, Point, Result, RewindContext,
    RewindPlan, Schedule, Source, Weights, export_plugin,
};
use serde::Deserialize;

use text::{OrderText, ScheduleText, StateText};

/// Takes each axis of rewinding from where it is told. What is not named stays as it is: with no
/// option at all training goes on at the last learning rate, which is fine-tuning.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Rewind {
    /// Where the magnitudes of the weights come from, and the biases with them.
    magnitudes: Source,
    /// Where the signs of the weights come from; where a weight is 0 there, it keeps the sign of its magnitude's source.
    signs: Source,
    /// Where scale and shift of every norm come from, batch norms and layer norms.
    norm_affine: Source,
    /// The same by its first name, from when batch norms were the only ones.
    batch_norm_affine: Source,
    /// Where running mean and variance of batch norms come from.
    batch_norm_statistics: Source,
    /// What becomes of the optimizer's state.
    optimizer_state: StateText,
    /// Where the learning-rate schedule goes on; "keep" is its last value, unless a policy before says otherwise.
    schedule: ScheduleText,
    /// In which order the next level sees the samples: "keep" is a new one for each level, "level-3" the one of that level, "draw-1" another new one for each level.
    data_order: OrderText,
}

impl Rewind {
    /// Where scale and shift of norms come from, whichever name says so.
    fn affine(&self) -> &Source {
        match &self.norm_affine {
            Source::Keep => &self.batch_norm_affine,
            named => named,
        }
    }
}

impl plugin_api::Rewind for Rewind {
    fn validate(&self) -> Result<()> {
        match (&self.norm_affine, &self.batch_norm_affine) {
            (Source::From(_), Source::From(_)) => Err(Error::new(
                "norm_affine and batch_norm_affine are two names of one option: expected one of them, norm_affine",
            )),
            _ => Ok(()),
        }
    }

    fn review(&self, experiment: &Experiment) -> Vec<Finding> {
        let mut found = Vec::new();
        let (norms, batch_norms) = (experiment.norms, experiment.batch_norms);
        for (option, source, lacks) in [
            ("magnitudes", &self.magnitudes, None),
            ("signs", &self.signs, None),
            (
                "norm_affine",
                &self.norm_affine,
                (norms == 0).then_some("norm"),
            ),
            (
                "batch_norm_affine",
                &self.batch_norm_affine,
                (batch_norms == 0).then_some("batch norm"),
            ),
            (
                "batch_norm_statistics",
                &self.batch_norm_statistics,
                (batch_norms == 0).then_some("batch norm"),
            ),
        ] {
            let Source::From(point) = source else {
                continue;
            };
            if let Some(what) = lacks {
                let message = format!("the network has no {what}");
                let (message, advice) = match option {
                    "batch_norm_affine" if norms > 0 => (
                        format!("{message}, and this sets its layer norms back"),
                        "call it norm_affine",
                    ),
                    _ => (message, "leave it out"),
                };
                let finding = Finding::pointless(message);
                found.push(finding.at_option(option).advise(advice));
            }
            found.extend(experiment.comes_too_late(option, point));
        }
        if let OptimizerState::From(point) = &self.optimizer_state.0 {
            found.extend(experiment.comes_too_late("optimizer_state", point));
        }
        if let Schedule::From(time) = &self.schedule.0
            && experiment.steps(*time) >= experiment.steps_per_level()
        {
            let length = experiment.length();
            let message =
                format!("the schedule is over at `{time}`: it is as long as a level, {length}");
            let finding = Finding::pointless(message).at_option("schedule");
            found
                .push(finding.advise("name an earlier time; \"keep\" trains on at its last value"));
        }
        found
    }

    fn points(&self) -> Vec<Point> {
        let sources = [
            &self.magnitudes,
            &self.signs,
            self.affine(),
            &self.batch_norm_statistics,
        ];
        let from = |source: &Source| match source {
            Source::Keep => None,
            Source::From(point) => Some(point.clone()),
        };
        let mut points: Vec<Point> = sources.into_iter().filter_map(from).collect();
        if let OptimizerState::From(point) = &self.optimizer_state.0 {
            points.push(point.clone());
        }
        points
    }

    fn rewind(&mut self, _ctx: &mut RewindContext<'_>) -> Result<RewindPlan> {
        Ok(RewindPlan {
            weights: match (&self.magnitudes, &self.signs) {
                (Source::Keep, Source::Keep) => Weights::Keep,
                (Source::From(one), Source::From(other)) if one == other => {
                    Weights::From(one.clone())
                }
                (magnitudes, signs) => Weights::Mixed {
                    magnitudes: magnitudes.clone(),
                    signs: signs.clone(),
                },
            },
            batch_norm: BatchNorm {
                affine: self.affine().clone(),
                statistics: self.batch_norm_statistics.clone(),
            },
            optimizer: self.optimizer_state.0.clone(),
            schedule: self.schedule.0.clone(),
            data_order: self.data_order.0.clone(),
            ..RewindPlan::default()
        })
    }
}

export_plugin! {
    rewind { "rewind" => Rewind }
}
