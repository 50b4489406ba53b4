//! What acts inside a step beside the optimizer.

use std::num::NonZeroUsize;

use kernels::elements_mut;
use kernels::shim::Kept;
use plugin_api::Acts;
use tch::Tensor;

use super::{Session, TrainError, Trainer};
use crate::optimizer::Buffers;
use crate::update::{ARRAYS, Failed, Fused, Given, Made, Numbers, Replaced, Updates};

/// What is known of what an update does to a lane.
#[derive(Default)]
pub(super) enum Replay {
    /// Nothing yet.
    #[default]
    Unknown,
    /// What it did at the first step.
    Once(Vec<Fused>),
    /// What it did at the first two, and will do.
    Known(Vec<Fused>),
    /// It has to be asked.
    Asked,
}

/// The updates of a trainer that has none.
struct None_;

impl Updates for None_ {
    fn act(&mut self, _: usize, _: usize, _: Given) -> Result<Made, Failed> {
        Err(Failed)
    }

    fn replace(&mut self, _: usize, _: usize, _: Given) -> Result<Replaced, Failed> {
        Err(Failed)
    }

    fn give_back(&mut self, _: usize, _: usize, _: Given) -> Result<Replaced, Failed> {
        Err(Failed)
    }

    fn differs(&mut self, _: usize, _: usize) -> Failed {
        Failed
    }
}

impl Session<'_> {
    /// One optimizer step of all lanes. Nothing is read back from the device.
    ///
    /// # Errors
    /// If the epoch or the level is complete, every lane was dropped, or updates act in the trainer's steps.
    pub fn step(&mut self) -> Result<(), TrainError> {
        self.step_with(&mut None_)
    }

    /// What the updates put in the place of parameters for the pass of this step; gives the parameters, if any
    /// were replaced.
    pub(super) fn replace_parameters(
        &mut self,
        updates: &mut dyn Updates,
    ) -> Result<Option<Tensor>, TrainError> {
        let trainer = self.trainer;
        let mut own = None;
        for (place, update) in trainer.updates.iter().enumerate() {
            if update.form.around.is_none() {
                continue;
            }
            own.get_or_insert_with(|| self.buffers.weights.copy());
            for slot in 0..self.lanes.len() {
                let given = self.given(place, slot);
                let replaced = updates.replace(self.lanes[slot].id, place, given)?;
                let flat = self.buffers.weights.select(0, slot as i64);
                trainer.write_replaced(&flat, &replaced);
            }
        }
        Ok(own)
    }

    /// Puts the parameters back, and makes their gradients of those at what took their place.
    pub(super) fn give_parameters_back(
        &mut self,
        updates: &mut dyn Updates,
        own: Option<Tensor>,
    ) -> Result<(), TrainError> {
        let Some(own) = own else {
            return Ok(());
        };
        self.buffers.weights.copy_(&own);
        let trainer = self.trainer;
        for (place, update) in trainer.updates.iter().enumerate().rev() {
            if update.form.around.is_none() {
                continue;
            }
            for slot in 0..self.lanes.len() {
                let given = self.given(place, slot);
                let gradients = updates.give_back(self.lanes[slot].id, place, given)?;
                let flat = self.buffers.gradients.select(0, slot as i64);
                trainer.write_replaced(&flat, &gradients);
            }
        }
        Ok(())
    }

    /// The step of the optimizer with what acts before, after and instead of it.
    pub(super) fn move_weights(&mut self, updates: &mut dyn Updates) -> Result<(), TrainError> {
        let trainer = self.trainer;
        let step = self.position.step;
        let lr: Vec<f64> = self.lanes.iter().map(|l| l.lr(trainer, step)).collect();
        let steps: Vec<i64> = (self.lanes.iter())
            .map(|lane| lane.optimizer_steps as i64)
            .collect();
        self.act(updates, |acts| acts == Acts::Before)?;
        let is_replaced = trainer
            .updates
            .iter()
            .any(|it| it.form.acts == Acts::Instead);
        match is_replaced {
            false => trainer.optimizer.step(&mut self.buffers, &lr, &steps)?,
            true => trainer.step_of_the_rest(&mut self.buffers, &lr, &steps)?,
        }
        self.act(updates, |acts| acts != Acts::Before)
    }

    /// Has the updates that act then do so, one after the other.
    fn act(
        &mut self,
        updates: &mut dyn Updates,
        then: impl Fn(Acts) -> bool,
    ) -> Result<(), TrainError> {
        let trainer = self.trainer;
        for (place, update) in trainer.updates.iter().enumerate() {
            if !then(update.form.acts) {
                continue;
            }
            for slot in 0..self.lanes.len() {
                let lane = self.lanes[slot].id;
                let known = self.replays.get(&(lane, place));
                if let Some(Replay::Known(fused)) = known {
                    self.replay(place, slot, fused)?;
                    continue;
                }
                let given = self.given(place, slot);
                let mut made = updates.act(lane, place, given)?;
                let fused = made.fused.take();
                self.write_made(place, slot, made);
                let replay = self.replays.entry((lane, place)).or_default();
                *replay = match (std::mem::take(replay), fused) {
                    (Replay::Unknown, Some(fused)) => Replay::Once(fused),
                    (Replay::Once(first), Some(second)) if first == second => Replay::Known(second),
                    (Replay::Once(_), _) => return Err(updates.differs(lane, place).into()),
                    _ => Replay::Asked,
                };
            }
        }
        Ok(())
    }

    /// What an update sees of a lane.
    fn given(&self, place: usize, slot: usize) -> Given {
        let trainer = self.trainer;
        let (layout, lane) = (&trainer.layout, &self.lanes[slot]);
        let of = |flat: &Tensor| layout.prunable(&flat.select(0, slot as i64));
        let update = &trainer.updates[place];
        let states = self.buffers.beside[trainer.beside_of(place)].iter();
        let norms = |flat: &Tensor| layout.norms(&flat.select(0, slot as i64));
        let has_norms = update.form.around.norms;
        Given {
            weights: of(&self.buffers.weights),
            gradients: of(&self.buffers.gradients),
            masks: of(&self.buffers.mask),
            states: (update.form.states.iter().cloned())
                .zip(states.map(of))
                .collect(),
            norms: match has_norms {
                true => norms(&self.buffers.weights),
                false => Vec::new(),
            },
            norm_gradients: match has_norms {
                true => (norms(&self.buffers.gradients).into_iter())
                    .map(|(_, tensor)| tensor)
                    .collect(),
                false => Vec::new(),
            },
            numbers: self.numbers(lane.lr(trainer, self.position.step), lane.optimizer_steps),
        }
    }

    fn numbers(&self, lr: f64, age: u64) -> Numbers {
        Numbers {
            lr,
            step: self.position.step + 1,
            steps: self.steps(),
            age,
        }
    }

    fn write_made(&mut self, place: usize, slot: usize, made: Made) {
        let trainer = self.trainer;
        let main = match trainer.updates[place].form.acts {
            Acts::Before => &self.buffers.gradients,
            _ => &self.buffers.weights,
        };
        // A result may be what it was lent for another of them.
        let copies = |tensors: &[Tensor]| tensors.iter().map(Tensor::copy).collect::<Vec<_>>();
        let results: Vec<Vec<Tensor>> = std::iter::once(&made.tensors)
            .chain(&made.states)
            .map(|tensors| copies(tensors))
            .collect();
        let targets = std::iter::once(main).chain(&self.buffers.beside[trainer.beside_of(place)]);
        let off = self.buffers.mask.select(0, slot as i64).eq(0.0);
        for (flat, tensors) in targets.zip(&results) {
            let flat = flat.select(0, slot as i64);
            trainer.write_prunable(&flat, tensors);
            // A product with a mask may be -0.
            let _ = flat.shallow_clone().masked_fill_(&off, 0.0);
        }
    }

    /// Does once more what an update did before, in one pass over each layer.
    fn replay(&self, place: usize, slot: usize, fused: &[Fused]) -> Result<(), TrainError> {
        let trainer = self.trainer;
        let lane = &self.lanes[slot];
        let numbers = self.numbers(lane.lr(trainer, self.position.step), lane.optimizer_steps);
        let threads = usize::try_from(tch::get_num_threads()).unwrap_or(1);
        let threads = NonZeroUsize::new(threads).unwrap_or(NonZeroUsize::MIN);
        let states = &self.buffers.beside[trainer.beside_of(place)];
        for ((offset, len), fused) in trainer.layout.prunable_places().zip(fused) {
            let piece = |flat: &Tensor| flat.select(0, slot as i64).narrow(0, offset, len);
            let mut flats = vec![&self.buffers.weights, &self.buffers.gradients];
            debug_assert_eq!(flats.len(), ARRAYS);
            flats.extend(states);
            let mut pieces: Vec<Tensor> = flats.into_iter().map(piece).collect();
            let arrays = pieces.iter_mut().map(elements_mut);
            let arrays: Option<Vec<&mut [f32]>> = arrays.collect();
            let mask = piece(&self.buffers.mask);
            let scalars = fused.numbers.iter().map(|it| numbers.get(*it));
            let scalars: Option<Vec<f32>> = scalars.collect();
            let (Some(mut arrays), Some(scalars)) = (arrays, scalars) else {
                return Err(TrainError::Update);
            };
            let mask = kernels::elements(&mask);
            fused.program.run(&mut arrays, mask, &scalars, threads);
        }
        Ok(())
    }
}

impl Trainer {
    /// Where the states of the update at this place lie among all.
    fn beside_of(&self, place: usize) -> std::ops::Range<usize> {
        let count = |updates: &[crate::update::Known]| -> usize {
            updates.iter().map(|it| it.form.states.len()).sum()
        };
        let first = count(&self.updates[..place]);
        first..first + self.updates[place].form.states.len()
    }

    fn write_prunable(&self, flat: &Tensor, tensors: &[Tensor]) {
        for (view, tensor) in self.layout.prunable(flat).iter_mut().zip(tensors) {
            tch::no_grad(|| view.copy_(tensor));
        }
    }

    fn write_replaced(&self, flat: &Tensor, replaced: &Replaced) {
        self.write_prunable(flat, &replaced.weights);
        for ((_, view), tensor) in self.layout.norms(flat).iter_mut().zip(&replaced.norms) {
            tch::no_grad(|| view.copy_(tensor));
        }
    }

    /// An optimizer step of what is not prunable: the prunable weights and their state stay as they are.
    fn step_of_the_rest(
        &self,
        buffers: &mut Buffers,
        lr: &[f64],
        steps: &[i64],
    ) -> Result<(), TrainError> {
        let rest = buffers.mask.copy();
        for slot in 0..rest.size()[0] {
            for view in &mut self.layout.prunable(&rest.select(0, slot)) {
                let _ = view.zero_();
            }
        }
        let others = Kept::of(&rest, 1.0);
        let is_listed = others.is_some();
        let kept = std::mem::replace(&mut buffers.kept, others);
        let own = (!is_listed).then(|| buffers.weights.copy());
        let moved = self.optimizer.step(buffers, lr, steps);
        buffers.kept = kept;
        moved?;
        if let Some(own) = own {
            // Where nothing is listed all were moved.
            let is_rest = rest.ne(0.0);
            let all = own.where_self(&is_rest.logical_not(), &buffers.weights);
            buffers.weights.copy_(&all);
            for state in &mut buffers.state {
                let _ = state.masked_fill_(&is_rest.logical_not(), 0.0);
            }
        }
        Ok(())
    }
}
