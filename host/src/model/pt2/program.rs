//! A graph as calls of libtorch's operations, for one device and one precision.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use ::pt2::{Archive, Mode, Source};
use kernels::dispatch::{self, Frame, Slot};
use kernels::shim::ShimError;
use tch::{Device, Kind, Tensor};

use super::fewer::Fewer;
use super::lower::{Call, Work, calls, slot};
use super::state::{self, Given, State};

/// What a program is for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Setting {
    /// Whether it is the graph for training.
    pub trains: bool,
    /// Whether random numbers are drawn.
    pub draws: bool,
    /// Where its tensors lie.
    pub device: Device,
    /// What parameters are, and samples unless they are tokens: fp32 or fp64.
    pub kind: Kind,
}

/// A graph ready to be called, by several threads at once.
pub struct Program {
    pub setting: Setting,
    /// The shapes of its parameters, where units are gone of them.
    pub left: Option<Vec<Vec<i64>>>,
    calls: Vec<Call>,
    slots: usize,
    inputs: Vec<(Slot, Input)>,
    /// What stays in a frame from pass to pass.
    constants: Mutex<Vec<(Slot, Tensor)>>,
    output: Slot,
    /// Values that become a buffer's contents after the pass.
    updates: Vec<(Slot, usize)>,
    is_random: bool,
    frames: Mutex<Vec<Frame>>,
}

/// What is put into a slot for a pass.
enum Input {
    Parameter(usize),
    Buffer {
        at: usize,
        copied: bool,
    },
    /// Changed by the graph, so that each pass has its own.
    Copy(Mutex<Tensor>),
    Sample {
        copied: bool,
    },
}

/// Held while random numbers are drawn: libtorch's generator is one for all threads.
static DRAWS: Mutex<()> = Mutex::new(());

impl Program {
    /// The program of an archive's graph, for parameters of the shapes in `left` if there are some.
    ///
    /// # Errors
    /// Which node calls what this libtorch lacks, or takes what the host does not know.
    pub fn new(
        archive: &Archive,
        state: &State,
        setting: Setting,
        channels_last: bool,
        left: Option<&[Vec<i64>]>,
    ) -> Result<Self, String> {
        let mode = match setting.trains {
            true => Mode::Train,
            false => Mode::Eval,
        };
        let graph = archive.graph(mode);
        let changes: HashSet<Source> = graph.changes().into_iter().collect();
        let (mut inputs, mut constants) = (Vec::new(), Vec::new());
        let place = |tensor: &Tensor| {
            let tensor = tensor.to_device(setting.device);
            match tensor.kind() {
                Kind::Float => tensor.to_kind(setting.kind),
                _ => tensor,
            }
        };
        for input in &graph.inputs {
            let (slot, changed) = (slot(input.value), changes.contains(&input.source));
            match input.source {
                Source::Input => {
                    inputs.push((slot, Input::Sample { copied: changed }));
                    continue;
                }
                source => match state.given(source) {
                    Given::Parameter(_) if changed => {
                        return Err(format!(
                            "its forward pass changes the parameter `{}`: only an optimizer may",
                            graph.value(input.value).name
                        ));
                    }
                    Given::Parameter(at) => inputs.push((slot, Input::Parameter(at))),
                    Given::Buffer(at) => {
                        // Evaluation leaves everything as it is.
                        let copied = changed && !setting.trains;
                        inputs.push((slot, Input::Buffer { at, copied }));
                    }
                    Given::Fixed => {
                        let constant = place(&state::fixed(archive, mode, source)?);
                        match changed {
                            true => inputs.push((slot, Input::Copy(Mutex::new(constant)))),
                            false => constants.push((slot, constant)),
                        }
                    }
                },
            }
        }
        let mut updates = Vec::new();
        for update in graph.updates.iter().filter(|_| setting.trains) {
            if let Given::Buffer(at) = state.given(update.target) {
                updates.push((slot(update.value), at));
            }
        }
        let fewer = left.map(|left| Fewer::of(archive, mode, state, left));
        let fewer = fewer.transpose()?;
        let calls = calls(graph, state, setting, channels_last, fewer)?;
        let is_random = (calls.iter())
            .any(|call| matches!(&call.work, Work::Dispatched(node) if node.is_random()));
        let mut program = Self {
            setting,
            left: left.map(<[_]>::to_vec),
            calls,
            slots: graph.values.len(),
            inputs,
            constants: Mutex::default(),
            output: slot(graph.output),
            updates,
            is_random,
            frames: Mutex::default(),
        };
        let kept = constants.iter().map(|(slot, _)| *slot);
        (program.drop_early(kept)).map_err(|error| error.to_string())?;
        program.constants = Mutex::new(constants);
        Ok(program)
    }

    /// Has each call empty the slots that none after it reads.
    fn drop_early(
        &mut self,
        constants: impl Iterator<Item = Slot>,
    ) -> Result<(), dispatch::NodeError> {
        let updates = self.updates.iter().map(|(slot, _)| *slot);
        let mut later: HashSet<Slot> = constants.chain(updates).chain([self.output]).collect();
        for call in self.calls.iter_mut().rev() {
            let touched = call.work.touches().into_iter();
            let last: Vec<Slot> = touched.filter(|slot| later.insert(*slot)).collect();
            match &mut call.work {
                Work::Dispatched(node) => node.drop_after(&last)?,
                _ => call.drops = last,
            }
        }
        Ok(())
    }

    /// The output for a batch. Random numbers, where there are any, follow from the seed alone.
    ///
    /// # Errors
    /// Which node failed, with libtorch's message.
    pub fn run(
        &self,
        parameters: &[Tensor],
        buffers: &[Tensor],
        input: &Tensor,
        seed: u64,
    ) -> Result<Tensor, String> {
        let mut frame = self.frame().map_err(|error| error.to_string())?;
        let _alone = match self.is_random {
            true => {
                let alone = DRAWS.lock().unwrap_or_else(PoisonError::into_inner);
                dispatch::seed(self.setting.device, seed).map_err(|error| error.to_string())?;
                Some(alone)
            }
            false => None,
        };
        self.fill(&mut frame, parameters, buffers, input)
            .map_err(|error| error.to_string())?;
        for call in &self.calls {
            let named = |error| format!("node `{}`: {error}", call.name);
            call.work.call(&mut frame).map_err(named)?;
            for slot in &call.drops {
                frame.clear(*slot).map_err(named)?;
            }
        }
        let output = self.finish(&mut frame, buffers);
        let output = output.map_err(|error| error.to_string())?;
        let mut frames = self.frames.lock().unwrap_or_else(PoisonError::into_inner);
        frames.push(frame);
        Ok(output)
    }

    /// A frame with the constants, and nothing else.
    fn frame(&self) -> Result<Frame, ShimError> {
        let mut frames = self.frames.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(frame) = frames.pop() {
            return Ok(frame);
        }
        drop(frames);
        let mut frame = Frame::new(self.slots)?;
        let constants = self.constants.lock();
        for (slot, tensor) in constants.unwrap_or_else(PoisonError::into_inner).iter() {
            frame.set(*slot, tensor)?;
        }
        Ok(frame)
    }

    fn fill(
        &self,
        frame: &mut Frame,
        parameters: &[Tensor],
        buffers: &[Tensor],
        input: &Tensor,
    ) -> Result<(), ShimError> {
        let put = |frame: &mut Frame, slot, tensor: &Tensor, copied| match copied {
            true => frame.set(slot, &tensor.copy()),
            false => frame.set(slot, tensor),
        };
        for (slot, from) in &self.inputs {
            match from {
                Input::Parameter(at) => frame.set(*slot, &parameters[*at])?,
                Input::Buffer { at, copied } => put(frame, *slot, &buffers[*at], *copied)?,
                Input::Copy(tensor) => {
                    let tensor = tensor.lock().unwrap_or_else(PoisonError::into_inner);
                    put(frame, *slot, &tensor, true)?;
                }
                Input::Sample { copied } => put(frame, *slot, input, *copied)?,
            }
        }
        Ok(())
    }

    fn finish(&self, frame: &mut Frame, buffers: &[Tensor]) -> Result<Tensor, ShimError> {
        for (slot, at) in &self.updates {
            let new = frame.tensor(*slot)?;
            tch::no_grad(|| buffers[*at].shallow_clone().copy_(&new));
            frame.clear(*slot)?;
        }
        let output = frame.tensor(self.output)?;
        frame.clear(self.output)?;
        // What no call reads is still there.
        for (slot, _) in &self.inputs {
            frame.clear(*slot)?;
        }
        Ok(output)
    }
}
