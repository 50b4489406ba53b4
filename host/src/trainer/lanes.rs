//! What distinguishes the lanes of a session.

use tch::{Kind, Tensor};

use super::{OptimizerState, Position, Progress, Snapshot, TrainError, Trainer};

/// Where one lane of a session starts.
#[derive(Debug)]
pub struct LaneStart {
    /// Seed of the repetition.
    pub seed: u64,
    /// Level whose data order is used, and with it its augmentation and dropout.
    pub order_level: u64,
    /// Parameters and running statistics.
    pub point: Snapshot,
    /// One mask for each prunable layer: f32 0/1 in PyTorch's layout.
    pub mask: Vec<Tensor>,
    /// State of the optimizer; the default is cleared.
    pub optimizer: OptimizerState,
    /// Position in the schedule of the level's first step.
    pub schedule_start: u64,
    /// Factor at which the schedule is held, if it does not run.
    pub hold: Option<f64>,
    /// Where in the level to go on, if not at its start; `point` and `optimizer` are then of that time.
    pub resume: Option<Progress>,
}

/// A lane of a session under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lane {
    /// Its number when the session started: stays when other lanes are dropped.
    pub id: usize,
    pub seed: u64,
    pub order_level: u64,
    pub schedule_start: u64,
    pub hold: Option<f64>,
    pub optimizer_steps: u64,
}

impl Lane {
    pub(super) fn new(id: usize, start: &LaneStart) -> Self {
        Self {
            id,
            seed: start.seed,
            order_level: start.order_level,
            schedule_start: start.schedule_start,
            hold: start.hold,
            optimizer_steps: start.optimizer.steps,
        }
    }

    /// Learning rate at this step of the level.
    pub(super) fn lr(&self, trainer: &Trainer, step: u64) -> f64 {
        let factor = self.hold.unwrap_or_else(|| {
            trainer
                .schedule
                .factor(self.schedule_start.saturating_add(step))
        });
        trainer.optimizer.lr() * factor
    }
}

/// The position that all lanes start at.
pub(super) fn common_position(
    trainer: &Trainer,
    starts: &[LaneStart],
) -> Result<Position, TrainError> {
    let position = |start: &LaneStart| {
        start
            .resume
            .as_ref()
            .map_or_else(Position::default, |progress| progress.position)
    };
    let Some(first) = starts.first().map(position) else {
        return Err(TrainError::Lanes("there is none".to_owned()));
    };
    if starts.len() > 1 && !trainer.lanes() {
        return Err(TrainError::Lanes(format!(
            "{} lanes of a network that trains one seed at a time",
            starts.len()
        )));
    }
    if let Some(other) = starts.iter().map(position).find(|other| *other != first) {
        return Err(TrainError::Lanes(format!(
            "one is at step {}, another at step {}; expected all at one step",
            first.step, other.step
        )));
    }
    let per_epoch = trainer.steps_per_epoch();
    if first.step_in_epoch > per_epoch
        || first.step != first.epoch * per_epoch + first.step_in_epoch
    {
        return Err(TrainError::Lanes(format!(
            "they stand at step {} of epoch {}, step {} in all, but an epoch has {per_epoch} steps",
            first.step_in_epoch, first.epoch, first.step
        )));
    }
    Ok(first)
}

/// The log of the epoch under way: losses (f64) and right answers (i64), `[steps of an epoch, lanes]`.
pub(super) fn epoch_log(
    trainer: &Trainer,
    starts: &[LaneStart],
) -> Result<(Tensor, Tensor), TrainError> {
    let shape = [trainer.steps_per_epoch() as i64, starts.len() as i64];
    let log = |kind, name: &str| -> Result<Tensor, TrainError> {
        let log = Tensor::zeros(shape, (kind, trainer.device));
        for (lane, start) in starts.iter().enumerate() {
            let Some(progress) = &start.resume else {
                continue;
            };
            let done = progress.position.step_in_epoch as i64;
            let stored = progress.get(name).ok_or_else(|| TrainError::Missing {
                name: name.to_owned(),
            })?;
            if stored.size() != [done] {
                return Err(TrainError::Shape {
                    name: name.to_owned(),
                    got: stored.size(),
                    expected: vec![done],
                });
            }
            log.select(1, lane as i64).narrow(0, 0, done).copy_(stored);
        }
        Ok(log)
    };
    Ok((log(Kind::Double, "losses")?, log(Kind::Int64, "correct")?))
}
