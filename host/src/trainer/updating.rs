//! What acts inside a step beside the optimizer.

use kernels::shim::Kept;
use plugin_api::Acts;
use tch::Tensor;

use super::moving::Act;
use super::{Session, TrainError, Trainer};
use crate::optimizer::Buffers;
use crate::update::{Failed, Fused, Given, Made, Numbers, Replaced, Updates};

/// What is known of what an update does to a lane.
#[derive(Default)]
pub(super) enum Replay {
    /// Nothing yet.
    #[default]
    Unknown,
    /// What it did at the first step.
    Once(Vec<Fused>),
    /// What it did at two of them, and will do until it is asked again.
    Known(Vec<Fused>),
    /// It has to be asked.
    Asked,
}

/// What of the buffers is no prunable weight.
pub(super) struct Rest {
    /// Where it is, where that can be listed.
    listed: Option<Kept>,
    /// `[lanes, elements]`: what it is not.
    not: Tensor,
}

/// The updates of a trainer that has none.
struct NoUpdates;

impl Updates for NoUpdates {
    fn act(&mut self, _: usize, _: usize, _: Given) -> Result<Made, Failed> {
        Err(Failed)
    }
}

impl Session<'_> {
    /// One optimizer step of all lanes. Nothing is read back from the device.
    ///
    /// # Errors
    /// If the epoch or the level is complete, every lane was dropped, or updates act in the trainer's steps.
    pub fn step(&mut self) -> Result<(), TrainError> {
        self.step_with(&mut NoUpdates)
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
    pub(super) fn move_weights(
        &mut self,
        updates: &mut dyn Updates,
        rates: &Tensor,
    ) -> Result<(), TrainError> {
        let trainer = self.trainer;
        if self.moves_in_one_pass() {
            let acting = |then: fn(Acts) -> bool| {
                let updates = trainer.updates.iter().enumerate();
                let acting = updates.filter(move |(_, update)| then(update.form.acts));
                acting.map(|(place, _)| Act::Update(place))
            };
            let before = acting(|acts| acts == Acts::Before);
            let after = acting(|acts| acts != Acts::Before);
            let acts: Vec<Act> = before.chain([Act::Optimizer]).chain(after).collect();
            let slots: Vec<usize> = (0..self.lanes.len()).collect();
            return self.pass(&acts, &slots);
        }
        self.act(updates, |acts| acts == Acts::Before)?;
        match trainer.is_optimizer_replaced() {
            false => trainer.optimizer.step(&mut self.buffers, rates)?,
            true => {
                let mask = &self.buffers.mask;
                let rest = self.rest.get_or_insert_with(|| trainer.rest(mask));
                trainer.step_of_the_rest(&mut self.buffers, rest, rates)?;
            }
        }
        self.act(updates, |acts| acts != Acts::Before)
    }

    /// Whether all that acts at this step can go over the weights together: nothing has to be asked.
    pub(super) fn moves_in_one_pass(&self) -> bool {
        let trainer = self.trainer;
        // Where few weights are kept the optimizer looks at these alone.
        let looks_at_all = self.buffers.kept.is_none() || trainer.is_optimizer_replaced();
        !trainer.updates.is_empty()
            && looks_at_all
            && (0..trainer.updates.len())
                .all(|place| self.lanes.iter().all(|lane| self.is_known(lane.id, place)))
    }

    /// Whether it is known what an update does to a lane at this step.
    fn is_known(&self, lane: usize, place: usize) -> bool {
        // It is asked once an epoch: what it says of itself may stop being true.
        let is_first = self.position.step_in_epoch == 0;
        !is_first && matches!(self.replays.get(&(lane, place)), Some(Replay::Known(_)))
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
            let mut known = Vec::new();
            for slot in 0..self.lanes.len() {
                let lane = self.lanes[slot].id;
                if self.is_known(lane, place) {
                    known.push(slot);
                    continue;
                }
                let given = self.given(place, slot);
                let mut made = updates.act(lane, place, given)?;
                let fused = made.fused.take();
                self.write_made(place, slot, made);
                let replay = self.replays.entry((lane, place)).or_default();
                *replay = match (std::mem::take(replay), fused) {
                    (Replay::Unknown, Some(fused)) => Replay::Once(fused),
                    (Replay::Once(first) | Replay::Known(first), Some(second))
                        if first == second =>
                    {
                        Replay::Known(second)
                    }
                    (Replay::Once(_) | Replay::Known(_), _) => {
                        return Err(updates.differs(lane, place).into());
                    }
                    _ => Replay::Asked,
                };
            }
            self.pass(&[Act::Update(place)], &known)?;
        }
        Ok(())
    }

    /// What an update sees of a lane.
    fn given(&self, place: usize, slot: usize) -> Given {
        let trainer = self.trainer;
        let layout = &trainer.layout;
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
            numbers: self.numbers_of(slot),
        }
    }

    /// The numbers of a lane's step.
    pub(super) fn numbers_of(&self, slot: usize) -> Numbers {
        let lane = &self.lanes[slot];
        Numbers {
            lr: lane.lr(self.trainer, self.position.step),
            step: self.position.step + 1,
            steps: self.steps(),
            age: lane.optimizer_steps,
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
}

impl Trainer {
    /// Whether an update moves the prunable weights in the optimizer's place.
    pub(super) fn is_optimizer_replaced(&self) -> bool {
        let mut updates = self.updates.iter();
        updates.any(|update| update.form.acts == Acts::Instead)
    }

    /// Where the states of the update at this place lie among all.
    pub(super) fn beside_of(&self, place: usize) -> std::ops::Range<usize> {
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

    /// What of these lanes an optimizer moves that prunable weights do without.
    fn rest(&self, mask: &Tensor) -> Rest {
        let rest = mask.copy();
        for slot in 0..rest.size()[0] {
            for view in &mut self.layout.prunable(&rest.select(0, slot)) {
                let _ = view.zero_();
            }
        }
        Rest {
            listed: Kept::of(&rest, 1.0),
            not: rest.eq(0.0),
        }
    }

    /// An optimizer step of what is not prunable: the prunable weights and their state stay as they are.
    fn step_of_the_rest(
        &self,
        buffers: &mut Buffers,
        rest: &mut Rest,
        rates: &Tensor,
    ) -> Result<(), TrainError> {
        std::mem::swap(&mut buffers.kept, &mut rest.listed);
        // Where nothing is listed all are moved.
        let own = (buffers.kept.is_none()).then(|| buffers.weights.copy());
        let moved = self.optimizer.step(buffers, rates);
        std::mem::swap(&mut buffers.kept, &mut rest.listed);
        moved?;
        if let Some(own) = own {
            let all = own.where_self(&rest.not, &buffers.weights);
            buffers.weights.copy_(&all);
            for state in &mut buffers.state {
                let _ = state.masked_fill_(&rest.not, 0.0);
            }
        }
        Ok(())
    }
}
