//! What the level loop remembers of a seed while a level of it is trained.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::error::RunError;
use super::guarded::is_gradual;
use super::{Event, Levels, Observer, Seed};
use crate::interrupt::Saving;
use crate::records::Epoch;
use crate::store::{LevelDir, SeedDir};
use crate::strategy::MaskRule;
use crate::strategy::select::survivors;
use crate::trainer::{On, Session};

/// Position in the learning-rate schedule of a level's first step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ScheduleStart {
    /// Step of the schedule.
    pub step: u64,
    /// Factor at which the schedule is held instead of running.
    pub hold: Option<f64>,
}

/// What a level's files do not say and the next level needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Carry {
    /// Where the schedule was at the level's start.
    pub schedule: ScheduleStart,
    /// Level whose data order was used.
    pub order_level: u64,
    /// States of the strategy's components at the level's end, hexadecimal, by place; components
    /// without state are left out.
    pub states: BTreeMap<String, String>,
}

/// A seed in training.
#[derive(Clone)]
pub struct Running {
    /// Its place among the run's seeds.
    pub index: usize,
    /// Seed.
    pub seed: u64,
    /// Level.
    pub level: u64,
    /// Folder of the seed in which the level is trained.
    pub home: SeedDir,
    /// Folder of the level.
    pub dir: LevelDir,
    /// Surviving weights at the start.
    pub survivors: u64,
    /// Where the schedule was at the level's start.
    pub schedule: ScheduleStart,
    /// Level whose data order is used.
    pub order_level: u64,
    /// Epochs that are done.
    pub epochs: Vec<Epoch>,
    /// Steps of level 0 after which the point is stored.
    pub stored_steps: Vec<u64>,
    /// Files of the level that are written already.
    pub files: Vec<String>,
}

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
        let (per_epoch, per_level) = (
            self.trainer.steps_per_epoch(),
            self.trainer.steps_per_level(),
        );
        let step = session.position().step;
        if running.level == 0 || !interval.is_due(step, per_epoch, per_level) {
            return Ok(());
        }
        let target = self.keep(running.level);
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
        let scene = self.scene_within_level(running, session, lane, masks, points)?;
        let masks = saving.apart_from(|| {
            let scores = strategy.score(&scene)?;
            strategy.update(&scene, &scores, rule)
        });
        let masks = masks.map_err(|error| running.error(error))?;
        self.check_collapse(running.seed, running.level, &masks)?;
        session.set_mask(lane, &masks)?;
        Ok(())
    }

    /// Stores the points of level 0 that the strategy's components named.
    pub(super) fn store_points(
        &self,
        running: &mut Running,
        session: &Session<'_>,
        lane: usize,
    ) -> Result<(), RunError> {
        let step = session.position().step;
        if running.level > 0 || !running.stored_steps.contains(&step) {
            return Ok(());
        }
        let names = super::points::step_files(step);
        self.write_point(running, &names, session, lane)
    }

    /// Reads the epoch's records; a seed whose loss is not finite is given up. False, and nothing is
    /// done, if the user asked to stop before all was evaluated.
    pub(super) fn finish_epoch(
        &self,
        session: &mut Session<'_>,
        running: &mut [Running],
        failed: &mut Vec<(u64, String)>,
        observer: &mut dyn Observer,
    ) -> Result<bool, RunError> {
        let stop = || self.interrupt.wants_stop();
        let tests = match self.experiment.train.evaluate_every {
            Some(every) if self.is_due(every, session) => {
                let Some(tests) = session.evaluate_unless(On::Test, &stop)? else {
                    return Ok(false);
                };
                Some(tests)
            }
            _ => None,
        };
        let records = session.finish_epoch()?;
        for (place, record) in records.iter().enumerate() {
            let running = &mut running[record.lane];
            if let Some(step) = record.first_non_finite_step {
                let reason = format!(
                    "the loss is no finite number from step {step} of level {} on; try a smaller learning rate",
                    running.level
                );
                self.give_up(running.seed, running.level, reason, failed, observer)?;
                session.drop_lane(record.lane)?;
                continue;
            }
            let test = tests.as_ref().map(|tests| &tests[place]);
            running.epochs.push(Epoch {
                level: running.level,
                epoch: record.epoch,
                step: session.position().step,
                lr: record.lr,
                train_loss: record.loss,
                train_accuracy: record.accuracy,
                test_loss: test.map(|test| test.loss),
                test_accuracy: test.map(|test| test.accuracy),
            });
            if let Some(record) = running.epochs.last() {
                let epochs = self.trainer.epochs();
                observer.observe(&Event::Epoch {
                    seed: running.seed,
                    epochs,
                    record,
                });
            }
        }
        Ok(true)
    }

    fn is_due(&self, every: plugin_api::Step, session: &Session<'_>) -> bool {
        let per_epoch = self.trainer.steps_per_epoch();
        let every = every.steps(per_epoch).max(1);
        // Evaluation is only possible at an epoch's end: it is due if the epoch passed a multiple.
        let step = session.position().step;
        step / every > (step - per_epoch) / every
    }

    /// Warns of layers without survivors, or fails where the experiment says so.
    pub(super) fn check_collapse(
        &self,
        seed: u64,
        level: u64,
        masks: &[Tensor],
    ) -> Result<(), RunError> {
        for (layer, survivors) in self.trainer.layers().iter().zip(survivors(masks)) {
            if survivors > 0 {
                continue;
            }
            let layer = layer.name.clone();
            match self.experiment.prune.collapse {
                crate::experiment::Collapse::Error => {
                    return Err(RunError::Collapse { seed, level, layer });
                }
                crate::experiment::Collapse::Warn => {
                    log::warn!("seed {seed}, level {level}: layer `{layer}` has no survivor left");
                }
            }
        }
        Ok(())
    }
}

impl Running {
    pub(super) fn error(&self, source: crate::strategy::StrategyError) -> RunError {
        RunError::Strategy {
            seed: self.seed,
            level: self.level,
            source,
        }
    }
}
