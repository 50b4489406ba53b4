//! Carries out what a rewind policy plans.

use plugin_api::{DataOrder, OptimizerState as PlannedOptimizer, Point, Schedule, Source};
use tch::Tensor;

use super::Levels;
use super::error::RunError;
use super::running::ScheduleStart;
use super::start::Start;
use crate::model::Role;
use crate::strategy::{PlannedWeights, RewindPlan};
use crate::trainer::{OptimizerState, Snapshot};

impl Levels<'_> {
    /// Changes what `level` starts from as the plan says. Pruned weights stay exactly 0; the
    /// session does the same for their optimizer state.
    pub(super) fn rewind(
        &self,
        level: u64,
        seed: u64,
        plan: RewindPlan,
        start: &mut Start,
    ) -> Result<(), RunError> {
        // Points are those of the level before: what this plan redefines counts from now on.
        let point = |point: &Point| self.point(seed, level - 1, point);
        start.redefined.extend(plan.redefine);
        match plan.weights {
            PlannedWeights::Keep => {}
            PlannedWeights::From(from) => {
                let from = self.with_redefined(point(&from)?, &from, start);
                self.take(start, &from, is_weight_or_bias);
            }
            PlannedWeights::Mixed { magnitudes, signs } => {
                let read = |source: Option<Point>, start: &Start| match source {
                    Some(from) => {
                        Ok::<_, RunError>(Some(self.with_redefined(point(&from)?, &from, start)))
                    }
                    None => Ok(None),
                };
                let (magnitudes, signs) = (read(magnitudes, start)?, read(signs, start)?);
                self.mix(start, magnitudes.as_ref(), signs.as_ref());
            }
            PlannedWeights::Tensors(tensors) => {
                for (layer, tensor) in self.trainer.layers().iter().zip(tensors) {
                    start.point.replace(&layer.name, tensor);
                }
            }
        }
        if let Source::From(from) = &plan.batch_norm.affine {
            self.take(start, &point(from)?, |role| {
                matches!(role, Role::NormWeight | Role::NormBias)
            });
        }
        if let Source::From(from) = &plan.batch_norm.statistics {
            let from = point(from)?;
            for buffer in self.trainer.layout().buffers() {
                if let Some(tensor) = from.get(&buffer.name) {
                    start.point.replace(&buffer.name, tensor.shallow_clone());
                }
            }
        }
        match plan.optimizer {
            PlannedOptimizer::Clear => start.optimizer = OptimizerState::default(),
            PlannedOptimizer::From(from) => start.optimizer = self.point_optimizer(seed, &from)?,
            _ => {}
        }
        match plan.schedule {
            Schedule::Restart => start.schedule = ScheduleStart::default(),
            Schedule::From(step) => {
                let step = step.steps(self.trainer.steps_per_epoch());
                start.schedule = ScheduleStart { step, hold: None };
            }
            Schedule::Hold => {
                let hold = start
                    .schedule
                    .hold
                    .or(Some(self.trainer.schedule_factor(start.schedule.step)));
                start.schedule.hold = hold;
            }
            _ => {}
        }
        if let DataOrder::OfLevel(level) = plan.data_order {
            start.order_level = level;
        }
        self.apply_masks(start);
        Ok(())
    }

    /// A point with the weights that this level's earlier policies gave it.
    fn with_redefined(&self, mut stored: Snapshot, point: &Point, start: &Start) -> Snapshot {
        let newest = start
            .redefined
            .iter()
            .rev()
            .find(|(redefined, _)| redefined == point);
        if let Some((_, weights)) = newest {
            for (layer, tensor) in self.trainer.layers().iter().zip(weights) {
                stored.replace(&layer.name, tensor.shallow_clone());
            }
        }
        stored
    }

    /// Takes the parameters with these roles from another point.
    fn take(&self, start: &mut Start, from: &Snapshot, wanted: impl Fn(Role) -> bool) {
        for parameter in self.trainer.layout().parameters() {
            if let (true, Some(tensor)) = (wanted(parameter.role), from.get(&parameter.name)) {
                start.point.replace(&parameter.name, tensor.shallow_clone());
            }
        }
    }

    /// Magnitudes of one point with the signs of another; biases go with the magnitudes. Where the
    /// sign is that of 0, the magnitude's own sign stays.
    fn mix(&self, start: &mut Start, magnitudes: Option<&Snapshot>, signs: Option<&Snapshot>) {
        for parameter in self.trainer.layout().parameters() {
            let Some(now) = start.point.get(&parameter.name).map(Tensor::shallow_clone) else {
                continue;
            };
            let of = |point: Option<&Snapshot>| {
                point
                    .and_then(|point| point.get(&parameter.name))
                    .unwrap_or(&now)
                    .shallow_clone()
            };
            let (magnitude, sign) = (of(magnitudes), of(signs).sign());
            let mixed = match parameter.role {
                Role::Weight(_) | Role::FixedWeight => {
                    (magnitude.abs() * &sign).where_self(&sign.ne(0.0), &magnitude)
                }
                Role::Bias => magnitude,
                _ => continue,
            };
            start.point.replace(&parameter.name, mixed);
        }
    }
}

fn is_weight_or_bias(role: Role) -> bool {
    matches!(role, Role::Weight(_) | Role::FixedWeight | Role::Bias)
}
