//! Iterative magnitude pruning: the smallest weights go, the others go back.
//!
//! With `to = "init"` this is IMP (Frankle & Carbin 2019, arXiv:1803.03635), with `to = "4ep"` it is
//! weight rewinding, WR (Frankle et al. 2020, arXiv:1912.05671).

use plugin_api::schemars::{self, JsonSchema};
use plugin_api::{
    Among, Counts, Error, Experiment, Finding, MaskContext, MaskUpdate, OptimizerState, Point,
    Result, Rewind, RewindContext, RewindPlan, Schedule, ScoreContext, Scorer, Tensor,
    export_plugin,
};
use serde::Deserialize;

/// Scores a weight w by |w|.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Magnitude {}

impl Scorer for Magnitude {
    fn score(&mut self, ctx: &mut ScoreContext<'_>) -> Result<Vec<Tensor>> {
        Ok(ctx.weights()?.iter().map(Tensor::abs).collect())
    }
}

/// Keeps the survivors of highest score over all layers together.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Global {}

impl MaskUpdate for Global {
    fn update(&mut self, ctx: &mut MaskContext<'_>) -> Result<Vec<Tensor>> {
        let scores = ctx.scores()?;
        let target = ctx.target();
        ctx.select(&scores, Among::Survivors, Counts::Total(target))
    }
}

/// Sets weights, biases and batch norm back to an earlier point; the schedule restarts.
///
/// # Source
/// Frankle and Carbin 2019 (arXiv:1803.03635) to init; Frankle et al. 2020 (arXiv:1912.05671) to a time k.
///
/// # Departures
/// Every level trains all of its T epochs. Frankle et al. train from time k to T, which is T - k. With
/// `schedule_from_point` the schedule goes on from k as theirs does and comes to its end after T - k; with the
/// experiment's `prune.level_end = "schedule"` the level ends there, too. Without it the last k of its epochs have the
/// schedule's last factor, 0 with `cosine` and its default floor: they change no weight, only batch norm's running
/// statistics.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Weights {
    /// Where the weights go back to: "init" is IMP, a time of level 0 such as "4ep" is WR.
    to: Point,
    /// Whether the optimizer's state goes back with the weights instead of being cleared.
    optimizer_state: bool,
    /// Whether the schedule goes on from the time in `to` instead of restarting.
    schedule_from_point: bool,
}

impl Default for Weights {
    fn default() -> Self {
        Self {
            to: Point::Init,
            optimizer_state: false,
            schedule_from_point: false,
        }
    }
}

impl Rewind for Weights {
    fn validate(&self) -> Result<()> {
        if self.schedule_from_point && !matches!(self.to, Point::Step(_)) {
            return Err(Error::new(format!(
                "schedule_from_point wants a time of level 0 in `to`, such as \"4ep\", got \"{}\"",
                self.to
            )));
        }
        Ok(())
    }

    fn review(&self, experiment: &Experiment) -> Vec<Finding> {
        experiment
            .comes_too_late("to", &self.to)
            .into_iter()
            .collect()
    }

    fn points(&self) -> Vec<Point> {
        vec![self.to.clone()]
    }

    fn rewind(&mut self, _ctx: &mut RewindContext<'_>) -> Result<RewindPlan> {
        let mut plan = RewindPlan::to_point(self.to.clone());
        if self.optimizer_state {
            plan.optimizer = OptimizerState::From(self.to.clone());
        }
        if let (true, Point::Step(step)) = (self.schedule_from_point, &self.to) {
            plan.schedule = Schedule::From(*step);
        }
        Ok(plan)
    }
}

export_plugin! {
    score { "magnitude" => Magnitude }
    mask { "global" => Global }
    rewind { "weights" => Weights }
    default { score = "imp/magnitude", mask = "imp/global", rewind = ["imp/weights"] }
}
