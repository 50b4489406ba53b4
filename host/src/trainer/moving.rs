//! What is known to move the weights of a step, in one pass through memory.

use std::ops::Range;

use kernels::elementwise::Run;
use kernels::shim::Piece;
use kernels::{each, elements, elements_mut};
use tch::Tensor;

use super::layout::Layout;
use super::updating::Replay;
use super::{Session, TrainError, Trainer};
use crate::optimizer::{Buffers, Optimizer};
use crate::update::{ARRAYS, Fused, Numbers};

#[cfg(test)]
mod tests;

/// Pieces that threads share are multiples of so many elements.
const PIECE: usize = 8192;
/// So many elements go through all that acts before the next ones: they stay in the nearest cache.
const NEAR: usize = 2048;

/// What a pass does to each element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// The optimizer's step, where no update takes its place.
    Optimizer,
    /// What is known of the update at this place.
    Update(usize),
}

/// A pass over one lane.
struct Pass<'a> {
    optimizer: &'a dyn Optimizer,
    /// Whether an update moves the prunable weights in its place.
    is_optimizer_replaced: bool,
    /// How many states updates have.
    beside: usize,
    numbers: Numbers,
    stages: Vec<Stage>,
}

/// An act on one lane.
enum Stage {
    Optimizer,
    Update {
        /// Where its states lie among those of all updates.
        states: Range<usize>,
        /// What it does, by layer.
        runs: Vec<Run>,
    },
}

/// Elements of a lane that one thread moves.
struct Share<'a> {
    pass: &'a Pass<'a>,
    /// The prunable layer that they are of, if any.
    layer: Option<usize>,
    /// Weights, gradients, the states of updates and those of the optimizer.
    arrays: Vec<&'a mut [f32]>,
    mask: &'a [f32],
}

impl Session<'_> {
    /// Does this to the elements of these lanes, one act after the other.
    pub(super) fn pass(&mut self, acts: &[Act], slots: &[usize]) -> Result<(), TrainError> {
        if slots.is_empty() {
            return Ok(());
        }
        let trainer = self.trainer;
        let numbers = slots
            .iter()
            .map(|&slot| self.numbers_of(slot))
            .collect::<Vec<_>>();
        let (lanes, replays) = (&self.lanes, &self.replays);
        let passes: Option<Vec<(usize, Pass<'_>)>> = (slots.iter().zip(numbers))
            .map(|(&slot, numbers)| {
                let known = |place| replays.get(&(lanes[slot].id, place));
                Some((slot, Pass::of(trainer, acts, known, numbers)?))
            })
            .collect();
        let passes = passes.ok_or(TrainError::Update)?;
        let Buffers {
            weights,
            gradients,
            mask,
            state,
            beside,
            ..
        } = &mut self.buffers;
        let main: [&mut Tensor; ARRAYS] = [weights, gradients];
        let flats = main.into_iter().chain(beside).chain(state);
        let flats: Option<Vec<&mut [f32]>> = flats.map(elements_mut).collect();
        let (Some(mut flats), Some(mask)) = (flats, elements(mask)) else {
            return Err(TrainError::Update);
        };
        let threads = usize::try_from(tch::get_num_threads()).unwrap_or(1);
        let mut shares = Vec::new();
        let mut at = 0;
        for (slot, pass) in &passes {
            for (layer, places) in regions(&trainer.layout) {
                if layer.is_none() && !acts.contains(&Act::Optimizer) {
                    continue;
                }
                let start = slot * trainer.layout.width() as usize + places.start;
                let end = start + places.len();
                split_off(&mut flats, start - at).for_each(drop);
                at = start;
                let size = places.len().div_ceil(threads).next_multiple_of(PIECE);
                while at < end {
                    let count = size.min(end - at);
                    shares.push(Share {
                        pass,
                        layer,
                        arrays: split_off(&mut flats, count).collect(),
                        mask: &mask[at..at + count],
                    });
                    at += count;
                }
            }
        }
        each(shares, Share::run);
        Ok(())
    }
}

impl<'a> Pass<'a> {
    /// None if something is not known, or takes a number that this host does not know.
    fn of(
        trainer: &'a Trainer,
        acts: &[Act],
        known: impl Fn(usize) -> Option<&'a Replay>,
        numbers: Numbers,
    ) -> Option<Self> {
        let stages = acts.iter().map(|act| {
            let &Act::Update(place) = act else {
                return Some(Stage::Optimizer);
            };
            let Replay::Known(fused) = known(place)? else {
                return None;
            };
            let runs = fused.iter().map(
                |Fused {
                     program,
                     numbers: of_step,
                 }| {
                    let scalars = of_step.iter().map(|number| numbers.get(*number));
                    Some(Run::new(program, &scalars.collect::<Option<Vec<f32>>>()?))
                },
            );
            Some(Stage::Update {
                states: trainer.beside_of(place),
                runs: runs.collect::<Option<_>>()?,
            })
        });
        Some(Pass {
            optimizer: &*trainer.optimizer,
            is_optimizer_replaced: trainer.is_optimizer_replaced(),
            beside: trainer.beside.len(),
            numbers,
            stages: stages.collect::<Option<_>>()?,
        })
    }
}

impl Share<'_> {
    fn run(mut self) {
        let &Pass {
            optimizer,
            is_optimizer_replaced,
            beside,
            numbers: Numbers { lr, age, .. },
            ref stages,
        } = self.pass;
        let is_moved = self.layer.is_none() || !is_optimizer_replaced;
        let mut runs: Vec<Option<Run>> = (stages.iter())
            .map(|stage| match (stage, self.layer) {
                (Stage::Update { runs, .. }, Some(layer)) => Some(runs[layer].clone()),
                _ => None,
            })
            .collect();
        let mut near = Vec::with_capacity(self.arrays.len());
        for mask in self.mask.chunks(NEAR) {
            near.clear();
            near.extend(split_off(&mut self.arrays, mask.len()));
            for (stage, run) in stages.iter().zip(&mut runs) {
                match (stage, run) {
                    (Stage::Optimizer, _) if is_moved => {
                        let [weights, gradients, states @ ..] = &mut near[..] else {
                            unreachable!("weights and gradients come first");
                        };
                        let piece = Piece {
                            weights,
                            gradients,
                            mask,
                        };
                        let states = &mut states[beside..];
                        optimizer.step_of(piece, states, lr, age as i64);
                    }
                    (Stage::Update { states, .. }, Some(run)) => {
                        let others = ARRAYS..ARRAYS + beside;
                        near[others.clone()].rotate_left(states.start);
                        run.pass(&mut near[..ARRAYS + states.len()], Some(mask));
                        near[others].rotate_right(states.start);
                    }
                    _ => {}
                }
            }
        }
    }
}

/// The prunable layers and what lies before, between and behind them in a lane.
fn regions(layout: &Layout) -> impl Iterator<Item = (Option<usize>, Range<usize>)> {
    let mut at = 0;
    let end = [(None, layout.width(), 0)].into_iter();
    let layers = (layout.prunable_places().enumerate())
        .map(|(layer, (offset, len))| (Some(layer), offset, len));
    layers.chain(end).flat_map(move |(layer, offset, len)| {
        let (offset, len) = (offset as usize, len as usize);
        let between = (None, at..offset);
        at = offset + len;
        let both = [between, (layer, offset..at)].into_iter();
        both.filter(|(_, places)| !places.is_empty())
    })
}

/// The first elements of each, which the rest goes on behind.
fn split_off<'a, 'f>(
    flats: &'f mut [&'a mut [f32]],
    count: usize,
) -> impl Iterator<Item = &'a mut [f32]> + use<'a, 'f> {
    flats.iter_mut().map(move |flat| {
        let (first, rest) = std::mem::take(flat).split_at_mut(count);
        *flat = rest;
        first
    })
}
