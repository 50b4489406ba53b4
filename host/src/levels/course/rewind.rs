//! Carries out what a rewind policy plans.

use plugin_api::{DataOrder, OptimizerState as PlannedOptimizer, Point, Schedule, Source};
use tch::Tensor;

use super::Course;
use super::points::fitting;
use super::start::Start;
use crate::levels::RunError;
use crate::levels::running::ScheduleStart;
use crate::model::Role;
use crate::strategy::{PlannedWeights, RewindPlan};
use crate::trainer::{OptimizerState, Snapshot};

impl Course<'_> {
    /// Changes what `level` starts from as the plan says. Pruned weights stay exactly 0; the
    /// session does the same for their optimizer state.
    pub(in crate::levels) fn rewind(
        &self,
        level: u64,
        seed: u64,
        plan: RewindPlan,
        start: &mut Start,
    ) -> Result<(), RunError> {
        let plan = at_level(plan, level);
        // Points are those of the level before: what this plan redefines counts from now on.
        let point = |point: &Point| self.point(seed, level - 1, point);
        start.redefined.extend(plan.redefine);
        match plan.weights {
            PlannedWeights::Keep => {}
            PlannedWeights::From(from) => {
                let stored = self.with_redefined(point(&from)?, &from, start);
                self.take(start, &from, &stored, is_weight_or_bias)?;
            }
            PlannedWeights::Mixed { magnitudes, signs } => {
                let read = |source: Option<Point>, start: &Start| match source {
                    Some(from) => {
                        let stored = self.with_redefined(point(&from)?, &from, start);
                        Ok::<_, RunError>(Some((from, stored)))
                    }
                    None => Ok(None),
                };
                let (magnitudes, signs) = (read(magnitudes, start)?, read(signs, start)?);
                self.mix(start, magnitudes.as_ref(), signs.as_ref())?;
            }
            PlannedWeights::Tensors(tensors) => {
                for (layer, tensor) in self.trainer.layers().iter().zip(tensors) {
                    start.point.replace(&layer.name, tensor);
                }
            }
        }
        if let Source::From(from) = &plan.batch_norm.affine {
            self.take(start, from, &point(from)?, |role| {
                matches!(role, Role::NormWeight | Role::NormBias)
            })?;
        }
        if let Source::From(from) = &plan.batch_norm.statistics {
            let stored = point(from)?;
            for buffer in self.trainer.layout().buffers() {
                let tensor = part(from, &stored, &buffer.name, &[buffer.features])?;
                start.point.replace(&buffer.name, tensor.shallow_clone());
            }
        }
        match plan.optimizer {
            PlannedOptimizer::Clear => start.optimizer = OptimizerState::default(),
            PlannedOptimizer::From(from) => start.optimizer = self.point_optimizer(seed, &from)?,
            _ => {}
        }
        start.schedule = self.rewound(start.schedule, &plan.schedule);
        match plan.data_order {
            DataOrder::OfLevel(level) => start.order_level = level,
            // No experiment has so many levels that one of them had this order.
            DataOrder::Draw(number) => start.order_level = (u64::from(number) << 32) | level,
            _ => {}
        }
        self.apply_masks(start);
        Ok(())
    }

    /// The schedule after a level that starts there, held at its last value.
    pub(super) fn held(&self, level: ScheduleStart) -> ScheduleStart {
        let end = level.step.saturating_add(level.steps(self.trainer));
        let step = end.saturating_sub(1);
        let hold = (level.hold).unwrap_or_else(|| self.trainer.schedule_factor(step));
        ScheduleStart {
            step,
            hold: Some(hold),
        }
    }

    /// Where the schedule starts after this axis of a plan.
    pub(super) fn rewound(&self, before: ScheduleStart, plan: &Schedule) -> ScheduleStart {
        match plan {
            Schedule::Restart => ScheduleStart::default(),
            Schedule::From(time) => ScheduleStart {
                step: time.steps(self.trainer.steps_per_epoch()),
                hold: None,
            },
            Schedule::Hold => ScheduleStart {
                hold: (before.hold).or(Some(self.trainer.schedule_factor(before.step))),
                ..before
            },
            _ => before,
        }
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
    fn take(
        &self,
        start: &mut Start,
        from: &Point,
        stored: &Snapshot,
        wanted: impl Fn(Role) -> bool,
    ) -> Result<(), RunError> {
        for parameter in self.trainer.layout().parameters() {
            if wanted(parameter.role) {
                let tensor = part(from, stored, &parameter.name, &parameter.shape)?;
                start.point.replace(&parameter.name, tensor.shallow_clone());
            }
        }
        Ok(())
    }

    /// Magnitudes of one point with the signs of another; biases go with the magnitudes. Where the
    /// sign is that of 0, the magnitude's own sign stays.
    fn mix(
        &self,
        start: &mut Start,
        magnitudes: Option<&(Point, Snapshot)>,
        signs: Option<&(Point, Snapshot)>,
    ) -> Result<(), RunError> {
        for parameter in self.trainer.layout().parameters() {
            let Some(now) = start.point.get(&parameter.name).map(Tensor::shallow_clone) else {
                continue;
            };
            let of = |source: Option<&(Point, Snapshot)>| match source {
                Some((from, stored)) => {
                    part(from, stored, &parameter.name, &parameter.shape).map(Tensor::shallow_clone)
                }
                None => Ok(now.shallow_clone()),
            };
            let mixed = match parameter.role {
                Role::Weight(_) | Role::FixedWeight => {
                    let (magnitude, sign) = (of(magnitudes)?, of(signs)?.sign());
                    (magnitude.abs() * &sign).where_self(&sign.ne(0.0), &magnitude)
                }
                Role::Bias => of(magnitudes)?,
                _ => continue,
            };
            start.point.replace(&parameter.name, mixed);
        }
        Ok(())
    }
}

/// A plan whose points are those of the level that it leads to.
fn at_level(mut plan: RewindPlan, level: u64) -> RewindPlan {
    let fix = |point: &mut Point| *point = point.at_level(level);
    match &mut plan.weights {
        PlannedWeights::From(point) => fix(point),
        PlannedWeights::Mixed { magnitudes, signs } => {
            magnitudes.iter_mut().chain(signs).for_each(fix);
        }
        PlannedWeights::Keep | PlannedWeights::Tensors(_) => {}
    }
    for source in [&mut plan.batch_norm.affine, &mut plan.batch_norm.statistics] {
        if let Source::From(point) = source {
            fix(point);
        }
    }
    if let PlannedOptimizer::From(point) = &mut plan.optimizer {
        fix(point);
    }
    plan.redefine.iter_mut().for_each(|(point, _)| fix(point));
    plan
}

/// A tensor of a point, which may be another network's.
fn part<'s>(
    from: &Point,
    stored: &'s Snapshot,
    name: &str,
    shape: &[i64],
) -> Result<&'s Tensor, RunError> {
    fitting(stored.get(name), name, shape)
        .map_err(|reason| RunError::Missing(format!("the point `{from}` does not fit: {reason}")))
}

fn is_weight_or_bias(role: Role) -> bool {
    matches!(role, Role::Weight(_) | Role::FixedWeight | Role::Bias)
}
