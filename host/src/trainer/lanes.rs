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

impl LaneStart {
    /// Optimizer steps of the lane's level.
    pub fn steps(&self, trainer: &Trainer) -> u64 {
        trainer.steps_from(self.schedule_start, self.hold)
    }
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

/// The steps of the level, which all lanes train.
pub(super) fn common_length(trainer: &Trainer, starts: &[LaneStart]) -> Result<u64, TrainError> {
    let refuse = |reason| Err(TrainError::Lanes(reason));
    let mut lengths = starts.iter().map(|start| start.steps(trainer));
    let Some(first) = lengths.next() else {
        return refuse("there is none".to_owned());
    };
    if let Some(other) = lengths.find(|other| *other != first) {
        return refuse(format!(
            "one trains {first} steps, another {other}; expected levels of one length"
        ));
    }
    match (first, starts) {
        (0, [start, ..]) => Err(TrainError::Over {
            step: start.schedule_start,
            steps: trainer.steps_per_level(),
        }),
        _ => Ok(first),
    }
}

/// The position that all lanes start at in a level of so many steps.
pub(super) fn common_position(
    trainer: &Trainer,
    starts: &[LaneStart],
    steps: u64,
) -> Result<Position, TrainError> {
    let position = |start: &LaneStart| {
        start
            .resume
            .as_ref()
            .map_or_else(Position::default, |progress| progress.position)
    };
    let first = starts.first().map(position).unwrap_or_default();
    if starts.len() > trainer.seeds_together() {
        return Err(TrainError::Lanes(format!(
            "{} lanes of a network that trains {} at a time",
            starts.len(),
            crate::counted::counted(trainer.seeds_together(), "seed")
        )));
    }
    if let Some(other) = starts.iter().map(position).find(|other| *other != first) {
        return Err(TrainError::Lanes(format!(
            "one is at step {}, another at step {}; expected all at one step",
            first.step, other.step
        )));
    }
    let per_epoch = trainer.steps_per_epoch();
    // A level may end within its last epoch.
    let step = (first.epoch * per_epoch + first.step_in_epoch).min(steps);
    if first.step_in_epoch > per_epoch || first.step != step {
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
