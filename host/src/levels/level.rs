//! Training one level of the seeds that stand at the same place.

use std::collections::BTreeMap;
use std::time::Instant;

use super::acting::Acting;
use super::course::step::Points;
use super::dense::{Goal, Part};
use super::error::RunError;
use super::queue::Queue;
use super::running::Running;
use super::{Event, Levels, Observer, Seed};
use crate::interrupt::Saving;
use crate::trainer::{Evaluation, LaneStart, On, Session, Tested, TrainError};

/// Why a group's level came to an end.
pub(super) enum Pause {
    /// The level is done.
    Done,
    /// The user asked.
    Interrupted,
}

/// What a lane's weights come to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Evaluated<T> {
    /// On the test samples.
    pub test: T,
    /// On the samples that are held out for it, where there are any.
    pub validation: Option<Evaluation>,
}

/// What the lanes that are left came to on the test samples, with what they come to on the validation samples;
/// none if `stop` came true meanwhile.
pub(super) fn with_validation<T>(
    session: &Session<'_>,
    tests: Option<Vec<T>>,
    stop: &dyn Fn() -> bool,
) -> Result<Option<Vec<Evaluated<T>>>, TrainError> {
    let Some(tests) = tests else {
        return Ok(None);
    };
    let mut validations = Vec::new();
    if session.has_validation() {
        match session.evaluate_unless(On::Validation, stop)? {
            Some(evaluated) => validations = evaluated,
            None => return Ok(None),
        }
    }
    let evaluated = (tests.into_iter().enumerate()).map(|(place, test)| Evaluated {
        test,
        validation: validations.get(place).copied(),
    });
    Ok(Some(evaluated.collect()))
}

/// What the loop remembers of each seed of a session, and what the session starts from.
type Started = (Vec<Running>, Vec<LaneStart>);

impl Levels<'_> {
    /// What each seed of a group starts a level from, as its checkpoint or the strategy says. Seeds whose
    /// levels have one length share a session. None if the user asked to stop meanwhile.
    pub(super) fn start(
        &self,
        level: u64,
        seeds: &mut [Seed],
        part: &Part,
        observer: &mut dyn Observer,
    ) -> Result<Option<Vec<Started>>, RunError> {
        let mut sessions: BTreeMap<u64, Started> = BTreeMap::new();
        for &index in &part.seeds {
            let (lane, start) =
                (self.course).prepare(level, index, &mut seeds[index], part.goal)?;
            if self.interrupt.wants_stop() {
                return Ok(None);
            }
            let steps = start.steps(self.course.trainer);
            observer.observe(&Event::LevelStarted {
                seed: lane.seed,
                level,
                survivors: lane.survivors,
                weights: self.course.weights(),
                step: start
                    .resume
                    .as_ref()
                    .map_or(0, |progress| progress.position.step),
                steps,
            });
            let (running, starts) = sessions.entry(steps).or_default();
            running.push(lane);
            starts.push(start);
        }
        Ok(Some(sessions.into_values().collect()))
    }

    /// Trains a level to its end and evaluates it: one evaluation for each lane that is left, and none
    /// where only points are trained for. None, with a checkpoint, if the user asked to stop before.
    pub(super) fn train(
        &self,
        session: &mut Session<'_>,
        running: &mut [Running],
        seeds: &mut [Seed],
        queue: &mut Queue,
        observer: &mut dyn Observer,
    ) -> Result<Option<Vec<Evaluated<Tested>>>, RunError> {
        let for_points = running.iter().filter(|it| it.goal == Goal::Points);
        let last_point = for_points.flat_map(|it| &it.stored_steps).max().copied();
        let mut saved = Instant::now();
        let saving = self.interrupt.save();
        let points = Points::default();
        while !session.is_complete() {
            // A checkpoint may stand where an epoch's steps are made and its record is to come.
            if !session.is_epoch_complete() {
                self.step(session, running, (seeds, &points), &saving, observer)?;
                queue.tell_written(&self.course, seeds, observer)?;
            }
            if last_point.is_some_and(|last| session.position().step >= last) {
                return Ok(Some(Vec::new()));
            }
            if session.is_epoch_complete()
                && !self.finish_epoch(session, running, &mut queue.failed, observer)?
            {
                self.save_checkpoints(session, running, seeds)?;
                return Ok(None);
            }
            if session.position().step_in_epoch == 0 {
                self.check_lanes(session, running, seeds)?;
            }
            if session.lanes().is_empty() {
                return Ok(Some(Vec::new()));
            }
            let stop = self.interrupt.wants_stop() && !session.is_complete();
            let due = saved.elapsed() >= self.checkpoint_every && !session.is_complete();
            if stop || due || self.interrupt.takes_checkpoint() {
                self.save_checkpoints(session, running, seeds)?;
                saved = Instant::now();
            }
            if stop {
                return Ok(None);
            }
        }
        if let (Some(speeds), Some(first)) = (session.image_speeds(), running.first()) {
            log::info!("level {}: {speeds}", first.level);
        }
        let stop = || self.interrupt.wants_stop();
        let tests = with_validation(session, session.test_unless(&stop)?, &stop)?;
        if tests.is_none() {
            self.save_checkpoints(session, running, seeds)?;
        }
        Ok(tests)
    }

    /// One step of all lanes, and what is due after it.
    fn step(
        &self,
        session: &mut Session<'_>,
        running: &mut [Running],
        (seeds, points): (&mut [Seed], &Points),
        saving: &Saving,
        observer: &mut dyn Observer,
    ) -> Result<(), RunError> {
        let mut acting = Acting {
            course: &self.course,
            seeds,
            running,
            points,
            failure: None,
        };
        if let Err(error) = session.step_with(&mut acting) {
            return Err(acting.failure.take().unwrap_or_else(|| error.into()));
        }
        if let Some(first) = running.first() {
            observer.observe(&Event::Step {
                level: first.level,
                step: session.position().step,
                steps: session.steps(),
            });
        }
        for lane in session.lanes() {
            let running = &mut running[lane];
            self.update_within_level(running, seeds, session, lane, saving)?;
            self.course.store_points(running, session, lane)?;
        }
        Ok(())
    }

    /// Checks the invariants of every lane at an epoch's end.
    fn check_lanes(
        &self,
        session: &Session<'_>,
        running: &[Running],
        seeds: &[Seed],
    ) -> Result<(), RunError> {
        for lane in session.lanes() {
            let running = &running[lane];
            let strategy = &seeds[running.index].strategy;
            let bounds = self.course.bounds(running.level, strategy);
            self.course.check_lane(running, bounds, session, lane)?;
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
            let seed = &seeds[running.index];
            self.course.save_checkpoint(running, seed, session, lane)?;
        }
        Ok(())
    }
}
