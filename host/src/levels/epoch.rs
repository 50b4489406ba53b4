//! The end of an epoch.

use super::error::RunError;
use super::level::with_validation;
use super::running::Running;
use super::{Event, Levels, Observer};
use crate::records::{Epoch, SignRecord};
use crate::trainer::{On, Session};

impl Levels<'_> {
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
        let tests = match self.course.experiment.train.evaluate_every {
            Some(every) if self.is_due(every, session) => {
                let Some(tests) =
                    with_validation(session, session.evaluate_unless(On::Test, &stop)?, &stop)?
                else {
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
                self.course
                    .give_up(running.seed, running.level, reason, failed, observer)?;
                session.drop_lane(record.lane)?;
                continue;
            }
            let evaluated = tests.as_ref().map(|tests| &tests[place]);
            let validation = evaluated.and_then(|it| it.validation);
            running.epochs.push(Epoch {
                level: running.level,
                epoch: record.epoch,
                step: session.position().step,
                lr: record.lr,
                train_loss: record.loss,
                train_accuracy: record.accuracy,
                test_loss: evaluated.map(|it| it.test.loss),
                test_accuracy: evaluated.map(|it| it.test.accuracy),
                validation_loss: validation.map(|it| it.loss),
                validation_accuracy: validation.map(|it| it.accuracy),
            });
            running
                .signs
                .extend(record.crossed.as_ref().map(|it| SignRecord {
                    level: running.level,
                    epoch: record.epoch,
                    survivors: it.survivors.clone(),
                    crossed_epoch: it.epoch.clone(),
                    crossed_start: it.start.clone(),
                }));
            if let Some(record) = running.epochs.last() {
                observer.observe(&Event::Epoch {
                    seed: running.seed,
                    epochs: session.epochs(),
                    record,
                });
            }
        }
        Ok(true)
    }

    fn is_due(&self, every: plugin_api::Step, session: &Session<'_>) -> bool {
        let per_epoch = self.course.trainer.steps_per_epoch();
        let every = every.steps(per_epoch).max(1);
        // Evaluation is only possible at an epoch's end: it is due if the epoch passed a multiple.
        let position = session.position();
        position.step / every > (position.step - position.step_in_epoch) / every
    }
}
