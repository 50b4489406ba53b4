//! Steps that are recorded once and then done again by one call.
//!
//! A small network's step is hundreds of operations, each shorter on a GPU than the host takes to ask for it. What is
//! recorded reads nothing but memory that stays where it is; what changes from step to step is copied there before.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;

use kernels::graphs::{Branches, Graph, Library};
use tch::{Device, Tensor};

use super::compact::Compact;
use super::lanes::Lane;
use super::part::Part;
use super::{Differentiation, Session, TrainError, Trainer};
use crate::data::Inputs;
use crate::memory::text_of;
use crate::model::{Drawn, Keys, StepKey};
use crate::optimizer::Buffers;

/// Steps of a whole batch that are made one operation after another before one is recorded: libraries choose their
/// algorithms in the first, and memory is found.
const WARM_UP: u32 = 2;

/// Work that can be done again and again, parts of it beside each other.
pub type Work<'a> = Box<dyn FnMut(&dyn Fork) -> Result<(), TrainError> + 'a>;

/// Where parts of the work that is recorded may be done beside each other.
pub trait Fork {
    /// Records `work` on the branch of this number: after what was recorded before the first branch, beside the others.
    ///
    /// # Errors
    /// Those of the work, or the device's.
    fn on(
        &self,
        number: usize,
        work: &mut dyn FnMut() -> Result<(), TrainError>,
    ) -> Result<(), TrainError>;

    /// What is recorded from here on comes after all branches.
    ///
    /// # Errors
    /// The device's.
    fn join(&self) -> Result<(), TrainError>;
}

impl Fork for Branches<'_> {
    fn on(
        &self,
        number: usize,
        work: &mut dyn FnMut() -> Result<(), TrainError>,
    ) -> Result<(), TrainError> {
        Branches::on(self, number, work)
    }

    fn join(&self) -> Result<(), TrainError> {
        Ok(Branches::join(self)?)
    }
}

/// Records work.
pub trait Recorder: Send + Sync {
    /// Records `work`, which reads and writes memory of its own or of somebody who keeps it; does not do it.
    ///
    /// # Errors
    /// Why it cannot be recorded.
    fn record<'a>(&self, work: Work<'a>) -> Result<Box<dyn Recording + 'a>, TrainError>;
}

/// Recorded work.
pub trait Recording {
    /// Does it.
    ///
    /// # Errors
    /// The device's.
    fn replay(&mut self) -> Result<(), TrainError>;
}

/// Records what a GPU is asked to do, as one graph.
pub struct OnGpu {
    library: &'static Library,
    device: Device,
}

impl OnGpu {
    /// Of this GPU.
    pub fn new(library: &'static Library, device: Device) -> Self {
        Self { library, device }
    }
}

/// A graph, with what keeps the memory that it reads and writes.
struct Kept<'a> {
    graph: Graph,
    _memory: Work<'a>,
}

impl Recorder for OnGpu {
    fn record<'a>(&self, mut work: Work<'a>) -> Result<Box<dyn Recording + 'a>, TrainError> {
        let graph = Graph::capture(self.library, self.device, |branches| work(branches))?;
        Ok(Box::new(Kept {
            graph,
            _memory: work,
        }))
    }
}

impl Recording for Kept<'_> {
    fn replay(&mut self) -> Result<(), TrainError> {
        Ok(self.graph.replay()?)
    }
}

/// What is recorded of a session's steps.
pub(super) enum Recorded<'t> {
    /// Nothing yet, after so many steps.
    Not { steps: u32 },
    /// Nothing, and nothing will be until the masks or the lanes change.
    Never,
    /// A step of a whole batch.
    Step {
        memory: Memory,
        recording: Box<dyn Recording + 't>,
    },
}

impl Recorded<'_> {
    pub const NOTHING: Self = Self::Not { steps: 0 };
}

/// What changes from step to step, where a recorded step reads and writes it.
pub(super) struct Memory {
    /// `[lanes, batch]`.
    index: Tensor,
    /// `[3, lanes, batch]`.
    draws: Option<Tensor>,
    /// `[names, lanes, 4]`: keys of coins.
    coins: Option<Tensor>,
    /// `[numbers, lanes]`.
    rates: Tensor,
    /// `[lanes]`: losses and right answers.
    results: [Tensor; 2],
}

/// What one step reads, and where it writes what its samples come to.
pub(super) struct Step<'a> {
    pub index: &'a Tensor,
    pub draws: Option<&'a Tensor>,
    pub coins: Option<&'a Tensor>,
    pub rates: &'a Tensor,
    pub results: [&'a Tensor; 2],
}

impl Memory {
    /// As much as this step takes.
    fn of(step: &Step<'_>) -> Self {
        let [losses, right] = step.results;
        Self {
            index: step.index.copy(),
            draws: step.draws.map(Tensor::copy),
            coins: step.coins.map(Tensor::copy),
            rates: step.rates.copy(),
            results: [losses.zeros_like(), right.zeros_like()],
        }
    }

    /// The same memory once more.
    fn share(&self) -> Self {
        let [losses, right] = &self.results;
        Self {
            index: self.index.shallow_clone(),
            draws: self.draws.as_ref().map(Tensor::shallow_clone),
            coins: self.coins.as_ref().map(Tensor::shallow_clone),
            rates: self.rates.shallow_clone(),
            results: [losses.shallow_clone(), right.shallow_clone()],
        }
    }

    fn read(&mut self, step: &Step<'_>) {
        self.index.copy_(step.index);
        self.rates.copy_(step.rates);
        for (own, new) in [(&mut self.draws, step.draws), (&mut self.coins, step.coins)] {
            if let (Some(own), Some(new)) = (own, new) {
                own.copy_(new);
            }
        }
    }

    fn write(&self, step: &Step<'_>) {
        for (result, own) in step.results.into_iter().zip(&self.results) {
            result.shallow_clone().copy_(own);
        }
    }
}

impl<'t> Session<'t> {
    /// Makes this step by what was recorded, recording it first if it is time to; false if it has to be made one
    /// operation after another.
    pub(super) fn replay(&mut self, step: &Step<'_>) -> Result<bool, TrainError> {
        let trainer = self.trainer;
        let Some(recorder) = &trainer.recorder else {
            return Ok(false);
        };
        if step.index.size()[1] as u64 != trainer.step_samples {
            return Ok(false);
        }
        if let Recorded::Not { steps } = &mut self.recorded {
            if *steps < WARM_UP {
                *steps += 1;
                return Ok(false);
            }
            self.recorded = match self.unrecordable() {
                Some(reason) => {
                    log::debug!("steps are not recorded: {reason}");
                    Recorded::Never
                }
                None => self.record(&**recorder, step),
            };
        }
        let Recorded::Step { memory, recording } = &mut self.recorded else {
            return Ok(false);
        };
        memory.read(step);
        recording.replay()?;
        memory.write(step);
        Ok(true)
    }

    /// Why a step cannot be recorded, if it cannot.
    fn unrecordable(&self) -> Option<&'static str> {
        let trainer = self.trainer;
        let drawn = self.coins.drawn();
        let on_cpu = trainer.kernels.is_none();
        if !trainer.shards.is_one() {
            Some("a batch is computed in several parts")
        } else if !trainer.updates.is_empty() {
            Some("updates of the strategy are asked in it")
        } else if !matches!(trainer.data.train.inputs, Inputs::Memory(_)) {
            Some("its samples are read from files")
        } else if self.taps.is_some() {
            Some("it is made at the surviving weights")
        } else if trainer.perceptron.as_ref().is_some_and(|it| it.trains) {
            Some("it is made without libtorch")
        } else if drawn.is_some_and(|it| it.other || on_cpu && !it.coins.is_empty()) {
            Some("the network draws random numbers on the CPU")
        } else {
            None
        }
    }

    fn record(&self, recorder: &dyn Recorder, step: &Step<'_>) -> Recorded<'t> {
        let memory = Memory::of(step);
        let mut work = Body {
            trainer: self.trainer,
            memory: memory.share(),
            lanes: self.lanes.clone(),
            keys: self.step_keys(),
            drawn: self.coins.drawn().cloned().unwrap_or_default(),
            parts: self.parts.iter().map(Part::share).collect(),
            compact: self.compact.clone(),
            buffers: self.buffers.share(),
        };
        // libtorch's errors come as panics. Nothing of the work was done, and the session's memory is as it was.
        let recorded = panic::catch_unwind(AssertUnwindSafe(|| {
            recorder.record(Box::new(move |fork| work.run(fork)))
        }));
        let failed =
            |panic: Box<dyn Any + Send>| Err(TrainError::Unrecorded(text_of(&*panic).to_owned()));
        match recorded.unwrap_or_else(failed) {
            Ok(recording) => {
                log::debug!("steps of a whole batch are recorded from here on");
                Recorded::Step { memory, recording }
            }
            Err(error) => {
                log::warn!("steps are not recorded: {error}");
                Recorded::Never
            }
        }
    }
}

/// A step of a whole batch that reads nothing but memory.
struct Body<'t> {
    trainer: &'t Trainer,
    memory: Memory,
    lanes: Vec<Lane>,
    /// Of the step that is recorded. Others are told by the memory.
    keys: Vec<StepKey>,
    drawn: Drawn,
    parts: Vec<Part>,
    compact: Option<Arc<Compact>>,
    buffers: Buffers,
}

impl Body<'_> {
    fn run(&mut self, fork: &dyn Fork) -> Result<(), TrainError> {
        if let [part] = &self.parts[..] {
            self.differentiate(part)?;
        } else {
            for (number, part) in self.parts.iter().enumerate() {
                fork.on(number, &mut || self.differentiate(part))?;
            }
            fork.join()?;
        }
        let (trainer, rates) = (self.trainer, &self.memory.rates);
        trainer.follow_gradients(&mut self.buffers, rates)
    }

    fn differentiate(&self, part: &Part) -> Result<(), TrainError> {
        let (trainer, memory) = (self.trainer, &self.memory);
        let draws = memory.draws.as_ref().map(|it| part.narrow(it, 1));
        let batch = trainer.batch_in_memory(&part.narrow(&memory.index, 0), draws.as_ref())?;
        let coins = memory.coins.as_ref().map(|it| part.narrow(it, 1));
        let on_device = trainer.device_keys(Some(&self.drawn), coins);
        trainer.differentiate(Differentiation {
            batch,
            keys: Keys {
                lanes: &self.keys[part.lanes.clone()],
                on_device: on_device.as_ref(),
            },
            lanes: &self.lanes[part.lanes.clone()],
            tensors: part.tensors(),
            compact: self.compact.as_deref(),
            taps: None,
            results: memory.results.each_ref().map(|it| part.narrow(it, 0)),
        })?;
        match on_device.is_none_or(|it| it.are_used_up()) {
            true => Ok(()),
            false => Err(TrainError::Recorded),
        }
    }
}

#[cfg(test)]
mod tests;
