//! The mask update within a level.

use super::course::guarded::is_gradual;
use super::error::RunError;
use super::running::Running;
use super::{Levels, Seed};
use crate::interrupt::Saving;
use crate::strategy::MaskRule;
use crate::strategy::select::survivors;
use crate::trainer::Session;

impl Levels<'_> {
    /// Calls the mask update where its cadence says so.
    pub(super) fn update_within_level(
        &self,
        running: &mut Running,
        seeds: &mut [Seed],
        session: &mut Session<'_>,
        lane: usize,
        saving: &Saving,
    ) -> Result<(), RunError> {
        let strategy = &mut seeds[running.index].strategy;
        let Some(interval) = strategy.cadence().within_level.clone() else {
            return Ok(());
        };
        let (per_epoch, per_level) = (self.course.trainer.steps_per_epoch(), session.steps());
        let step = session.position().step;
        if running.level == 0 || !interval.is_due(step, per_epoch, per_level) {
            return Ok(());
        }
        let target = self.course.keep(running.level);
        let masks = session.mask(lane)?;
        let cadence = strategy.cadence();
        let is_last = interval.last_call(per_epoch, per_level) == Some(step);
        let most = if is_gradual(cadence) && !is_last {
            survivors(&masks).iter().sum()
        } else {
            target
        };
        let rule = MaskRule {
            may_grow: true,
            least: target,
            most,
        };
        let points = strategy.points().map_err(|error| running.error(error))?;
        let scene = self
            .course
            .scene_within_level(running, session, lane, masks, points)?;
        let masks = saving.apart_from(|| {
            let scores = strategy.score(&scene)?;
            strategy.update(&scene, &scores, rule)
        });
        let masks = masks.map_err(|error| running.error(error))?;
        self.course
            .check_collapse(running.seed, running.level, &masks)?;
        session.set_mask(lane, &masks)?;
        Ok(())
    }
}
