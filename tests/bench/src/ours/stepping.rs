//! Training step after step.

use std::time::Instant;

use host::trainer::{LaneStart, OptimizerState, Session, Trainer};
use host::update::Updates;
use tch::{Device, Tensor};

use crate::error::BenchError;
use crate::measure::{Sample, Side};

/// The host's side of training: goes on with every measurement where the last one ended.
pub struct Stepping<'t> {
    name: String,
    trainer: &'t Trainer,
    session: Session<'t>,
    seeds: u64,
    /// What acts in the steps, if anything does.
    updates: Option<Box<dyn Updates>>,
}

impl<'t> Stepping<'t> {
    /// One seed with these masks.
    ///
    /// # Errors
    /// The host's.
    pub fn new(name: &str, trainer: &'t Trainer, masks: &[Tensor]) -> Result<Self, BenchError> {
        Self::of_seeds(name, trainer, masks, 1)
    }

    /// So many seeds side by side.
    ///
    /// # Errors
    /// The host's.
    pub fn of_seeds(
        name: &str,
        trainer: &'t Trainer,
        masks: &[Tensor],
        seeds: u64,
    ) -> Result<Self, BenchError> {
        Ok(Self {
            name: name.to_owned(),
            trainer,
            session: session(trainer, masks, seeds)?,
            seeds,
            updates: None,
        })
    }
}

impl Stepping<'_> {
    /// The same with what acts in the trainer's steps.
    pub fn updated_by(mut self, updates: Box<dyn Updates>) -> Self {
        self.updates = Some(updates);
        self
    }
}

/// A session of so many seeds with these masks.
///
/// # Errors
/// The host's.
fn session<'t>(
    trainer: &'t Trainer,
    masks: &[Tensor],
    seeds: u64,
) -> Result<Session<'t>, BenchError> {
    let start = |seed| LaneStart {
        seed,
        order_level: 1,
        point: trainer.initial(seed),
        mask: masks.iter().map(Tensor::shallow_clone).collect(),
        optimizer: OptimizerState::default(),
        schedule_start: 0,
        hold: None,
        resume: None,
    };
    trainer
        .session((0..seeds).map(start).collect())
        .map_err(BenchError::ours)
}

impl Side for Stepping<'_> {
    fn name(&self) -> &str {
        &self.name
    }

    fn measure(&mut self, steps: u64) -> Result<Sample, BenchError> {
        let samples = self.trainer.data().train.len() as u64;
        let batch = self.trainer.samples_of_a_step();
        let mut seen = 0;
        let start = Instant::now();
        for _ in 0..steps {
            let before = self.session.position().step_in_epoch * batch;
            match &mut self.updates {
                Some(updates) => self.session.step_with(updates.as_mut()),
                None => self.session.step(),
            }
            .map_err(BenchError::ours)?;
            seen += batch.min(samples - before);
            if self.session.is_epoch_complete() {
                self.session.finish_epoch().map_err(BenchError::ours)?;
            }
        }
        if let Device::Cuda(number) = self.trainer.device() {
            // Steps are asked for, and made later.
            tch::Cuda::synchronize(number as i64);
        }
        Ok(Sample {
            seconds: start.elapsed().as_secs_f64(),
            units: (seen * self.seeds) as f64,
        })
    }

    fn period(&self) -> u64 {
        self.trainer.steps_per_epoch()
    }
}
