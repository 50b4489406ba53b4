//! Training one level of the seeds that stand at the same place.

use std::time::Instant;

use super::error::RunError;
use super::running::Running;
use super::{Event, Levels, Observer, Seed};
use crate::interrupt::Saving;
use crate::trainer::{On, Session};

/// Why training a group stopped.
pub(super) enum Pause {
    /// The level is done.
    Done,
    /// The user asked.
    Interrupted,
}

impl Levels<'_> {
    /// Trains one level of these seeds.
    pub(super) fn train(
        &self,
        level: u64,
        seeds: &mut [Seed],
        group: &[usize],
        failed: &mut Vec<(u64, String)>,
        observer: &mut dyn Observer,
    ) -> Result<Pause, RunError> {
        let mut running: Vec<Running> = Vec::new();
        let mut starts = Vec::new();
        for &index in group {
            let (lane, start) = self.prepare(level, index, &mut seeds[index])?;
            if self.interrupt.wants_stop() {
                return Ok(Pause::Interrupted);
            }
            observer.observe(&Event::LevelStarted {
                seed: lane.seed,
                level,
                survivors: lane.survivors,
                weights: self.weights(),
                step: start
                    .resume
                    .as_ref()
                    .map_or(0, |progress| progress.position.step),
                steps: self.trainer.steps_per_level(),
            });
            running.push(lane);
            starts.push(start);
        }
        tch::set_num_threads(self.threads as i32);
        let mut session = self.trainer.session(starts)?;
        let mut saved = Instant::now();
        let saving = self.interrupt.save();
        while !session.is_complete() {
            // A checkpoint may stand where an epoch's steps are made and its record is to come.
            if !session.is_epoch_complete() {
                self.step(level, &mut session, &mut running, seeds, &saving, observer)?;
            }
            if session.is_epoch_complete()
                && !self.finish_epoch(&mut session, &mut running, failed, observer)?
            {
                self.save_checkpoints(&session, &running, seeds)?;
                return Ok(Pause::Interrupted);
            }
            if session.position().step_in_epoch == 0 {
                self.check_lanes(level, &session, &running, seeds)?;
            }
            if session.lanes().is_empty() {
                return Ok(Pause::Done);
            }
            let stop = self.interrupt.wants_stop() && !session.is_complete();
            let due = saved.elapsed() >= self.checkpoint_every && !session.is_complete();
            if stop || due || self.interrupt.takes_checkpoint() {
                self.save_checkpoints(&session, &running, seeds)?;
                saved = Instant::now();
            }
            if stop {
                return Ok(Pause::Interrupted);
            }
        }
        let stop = || self.interrupt.wants_stop();
        let Some(evaluations) = session.evaluate_unless(On::Test, &stop)? else {
            self.save_checkpoints(&session, &running, seeds)?;
            return Ok(Pause::Interrupted);
        };
        self.finish_level(level, &session, &running, seeds, &evaluations, observer)?;
        Ok(Pause::Done)
    }

    /// One step of all lanes, and what is due after it.
    fn step(
        &self,
        level: u64,
        session: &mut Session<'_>,
        running: &mut [Running],
        seeds: &mut [Seed],
        saving: &Saving,
        observer: &mut dyn Observer,
    ) -> Result<(), RunError> {
        session.step()?;
        observer.observe(&Event::Step {
            level,
            step: session.position().step,
            steps: self.trainer.steps_per_level(),
        });
        for lane in session.lanes() {
            let running = &mut running[lane];
            self.update_within_level(running, seeds, session, lane, saving)?;
            self.store_points(running, session, lane)?;
        }
        Ok(())
    }

    /// Checks the invariants of every lane at an epoch's end.
    fn check_lanes(
        &self,
        level: u64,
        session: &Session<'_>,
        running: &[Running],
        seeds: &[Seed],
    ) -> Result<(), RunError> {
        for lane in session.lanes() {
            let running = &running[lane];
            let cadence = seeds[running.index].strategy.cadence();
            self.check_lane(running, self.bounds(level, cadence), session, lane)?;
        }
        Ok(())
    }

    fn save_checkpoints(
        &self,
        session: &Session<'_>,
        running: &[Running],
        seeds: &[Seed],
    ) -> Result<(), RunError> {
        for lane in session.lanes() {
            let running = &running[lane];
            self.save_checkpoint(running, &seeds[running.index], session, lane)?;
        }
        Ok(())
    }
}
