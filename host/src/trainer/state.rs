//! The state of one lane of a session: read, replaced and checked.

use tch::{Kind, Tensor};

use super::layout::row_major;
use super::{OptimizerState, Progress, Session, Snapshot, TrainError};

impl Session<'_> {
    /// A lane's parameters and running statistics.
    ///
    /// # Errors
    /// If there is no such lane.
    pub fn snapshot(&self, lane: usize) -> Result<Snapshot, TrainError> {
        let slot = self.slot(lane)? as i64;
        let layout = &self.trainer.layout;
        let statistics = layout.lane_statistics(&self.statistics, slot);
        Ok(layout.store(&self.buffers.weights.select(0, slot), &statistics))
    }

    /// A lane's optimizer state.
    ///
    /// # Errors
    /// If there is no such lane.
    pub fn optimizer_state(&self, lane: usize) -> Result<OptimizerState, TrainError> {
        let slot = self.slot(lane)?;
        let layout = &self.trainer.layout;
        let mut tensors = Vec::new();
        for (state, flat) in self.states() {
            let named = layout.unpack(&flat.select(0, slot as i64));
            let prefix = |(name, tensor)| (format!("{state}.{name}"), tensor);
            tensors.extend(named.into_iter().map(prefix));
        }
        for (state, flat) in self.beside() {
            // Only what is prunable has any.
            let views = layout.prunable(&flat.select(0, slot as i64));
            for (layer, view) in layout.layers().iter().zip(&views) {
                tensors.push((format!("{state}.{}", layer.name), row_major(view)));
            }
        }
        Ok(OptimizerState {
            tensors,
            steps: self.lanes[slot].optimizer_steps,
        })
    }

    /// What a lane has to remember, beside its snapshot, mask and optimizer state, to go on from here.
    ///
    /// # Errors
    /// If there is no such lane.
    pub fn progress(&self, lane: usize) -> Result<Progress, TrainError> {
        let slot = self.slot(lane)? as i64;
        let done = self.position.step_in_epoch as i64;
        let part = |log: &Tensor| row_major(&log.select(1, slot).narrow(0, 0, done));
        let mut tensors = vec![
            ("losses".to_owned(), part(&self.losses)),
            ("correct".to_owned(), part(&self.correct)),
        ];
        tensors.extend(self.signs.tensors(&self.trainer.layout, slot));
        Ok(Progress {
            position: self.position,
            tensors,
        })
    }

    /// A lane's masks, one for each prunable layer.
    ///
    /// # Errors
    /// If there is no such lane.
    pub fn mask(&self, lane: usize) -> Result<Vec<Tensor>, TrainError> {
        let flat = self.buffers.mask.select(0, self.slot(lane)? as i64);
        let views = self.trainer.layout.prunable(&flat);
        Ok(views.iter().map(row_major).collect())
    }

    /// Gives a lane other masks. What they prune becomes 0 at once; what they grow starts at 0, with
    /// a cleared optimizer state.
    ///
    /// # Errors
    /// If there is no such lane or the masks are not masks of its layers.
    pub fn set_mask(&mut self, lane: usize, masks: &[Tensor]) -> Result<(), TrainError> {
        let slot = self.slot(lane)? as i64;
        self.lead_mask(lane, masks)?;
        let flat = self.buffers.mask.select(0, slot);
        // Pruned weights have no optimizer state by the invariant of every step, so that clearing
        // by the old mask and by the new one leaves nothing behind in grown weights.
        self.buffers.clear_pruned(slot);
        self.trainer.layout.pack_masks(&flat, masks)?;
        self.buffers.clear_pruned(slot);
        self.kept_known = false;
        self.signs.forget_survivors();
        if let Some(hand) = &mut self.hand {
            hand.forget(slot as usize);
        }
        Ok(())
    }

    /// Gives a lane other parameters and running statistics; its mask is applied to them.
    ///
    /// # Errors
    /// If there is no such lane or the point is another network's.
    pub fn set_point(&mut self, lane: usize, point: &Snapshot) -> Result<(), TrainError> {
        let slot = self.slot(lane)? as i64;
        let layout = &self.trainer.layout;
        let statistics = layout.lane_statistics(&self.statistics, slot);
        layout.load(point, &self.buffers.weights.select(0, slot), &statistics)?;
        self.buffers.clear_pruned(slot);
        Ok(())
    }

    /// Gives a lane another optimizer state; its mask is applied to it.
    ///
    /// # Errors
    /// If there is no such lane, or the state is another optimizer's or network's.
    pub fn set_optimizer_state(
        &mut self,
        lane: usize,
        state: &OptimizerState,
    ) -> Result<(), TrainError> {
        let slot = self.slot(lane)?;
        for (name, flat) in self.states() {
            let flat = flat.select(0, slot as i64);
            if state.tensors.is_empty() {
                let _ = flat.shallow_clone().zero_();
            } else {
                let of = |parameter: &str| state.get(&format!("{name}.{parameter}"));
                self.trainer.layout.pack(&flat, of)?;
            }
        }
        for (name, flat) in self.beside() {
            let flat = flat.select(0, slot as i64);
            let _ = flat.shallow_clone().zero_();
            if !state.tensors.is_empty() {
                let of = |layer: &str| state.get(&format!("{name}.{layer}"));
                self.trainer.layout.pack_prunable(&flat, of)?;
            }
        }
        self.lanes[slot].optimizer_steps = state.steps;
        self.buffers.clear_pruned(slot as i64);
        Ok(())
    }

    /// Whether every pruned weight of a lane, and its optimizer state, is exactly +0.
    ///
    /// # Errors
    /// Names the first that is not, with its value.
    pub fn check_pruned(&self, lane: usize) -> Result<(), TrainError> {
        let slot = self.slot(lane)? as i64;
        let off = self.buffers.mask.select(0, slot).eq(0.0);
        let weights = std::iter::once(("weight", &self.buffers.weights));
        for (tensor, flat) in weights.chain(self.states()).chain(self.beside()) {
            let flat = flat.select(0, slot);
            // Bits, so that neither -0 nor NaN passes.
            let alive = flat.view_dtype(Kind::Int).ne(0).logical_and(&off);
            if alive.any().int64_value(&[]) == 0 {
                continue;
            }
            let layout = &self.trainer.layout;
            let views = layout.prunable(&alive).into_iter();
            for ((layer, alive), values) in layout
                .layers()
                .iter()
                .zip(views)
                .zip(layout.prunable(&flat))
            {
                let found = alive.reshape([-1]).nonzero();
                if found.size()[0] > 0 {
                    let index = found.int64_value(&[0, 0]);
                    return Err(TrainError::Pruned {
                        tensor: tensor.to_owned(),
                        layer: layer.name.clone(),
                        index,
                        value: values.reshape([-1]).double_value(&[index]),
                    });
                }
            }
        }
        Ok(())
    }

    /// Place of a lane in the buffers.
    pub(super) fn slot(&self, lane: usize) -> Result<usize, TrainError> {
        self.lanes
            .iter()
            .position(|other| other.id == lane)
            .ok_or(TrainError::NoLane { lane })
    }

    /// The optimizer's state tensors with their names.
    fn states(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.trainer.state_names().zip(&self.buffers.state)
    }

    /// The states beside the optimizer's with their names.
    fn beside(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        let names = self.trainer.beside.iter().map(String::as_str);
        names.zip(&self.buffers.beside)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::trainer::testing::{conv_trainer, mlp_trainer, random_mask, start};

    #[test]
    fn a_pruned_weight_that_is_not_zero_is_named_with_its_place_and_value() {
        for channels_last in [false, true] {
            let trainer = conv_trainer(json!({"channels_last": channels_last}));
            let session = trainer.session(vec![start(&trainer, 1)]).unwrap();
            let mask = session.mask(0).unwrap()[1].reshape([-1]);
            let index = mask.eq(0.0).nonzero().int64_value(&[5, 0]);
            let views = trainer
                .layout()
                .prunable(&session.buffers.state[0].select(0, 0));
            let strides: Vec<i64> = vec![72, 9, 3, 1];
            let place = strides
                .iter()
                .zip(views[1].size())
                .fold(views[1].shallow_clone(), |view, (stride, size)| {
                    view.select(0, index / stride % size)
                });
            let _ = place.shallow_clone().fill_(-0.0);
            let error = session.check_pruned(0).unwrap_err().to_string();
            let expected = format!("momentum of `conv2.weight` is -0e0 at index {index}");
            assert!(error.starts_with(&expected), "{error}, not {expected}");
        }
    }

    #[test]
    fn a_new_mask_prunes_at_once_and_grown_weights_start_from_nothing() {
        let trainer = mlp_trainer(json!({}));
        let mut session = trainer
            .session(vec![start(&trainer, 1), start(&trainer, 2)])
            .unwrap();
        for _ in 0..3 {
            session.step().unwrap();
        }
        let (other, old) = (session.snapshot(0).unwrap(), session.snapshot(1).unwrap());
        let (before, after) = (session.mask(1).unwrap(), random_mask(&trainer, 77));
        session.set_mask(1, &after).unwrap();
        session.check_pruned(1).unwrap();
        assert_eq!(session.snapshot(0).unwrap(), other);
        let (new, state) = (
            session.snapshot(1).unwrap(),
            session.optimizer_state(1).unwrap(),
        );
        for ((layer, before), after) in trainer.layers().iter().zip(before).zip(after) {
            let momentum = state.get(&format!("momentum.{}", layer.name)).unwrap();
            let grown = after.ne(0.0).logical_and(&before.eq(0.0));
            assert!(grown.any().int64_value(&[]) != 0);
            let weight = new.get(&layer.name).unwrap();
            for tensor in [weight, momentum] {
                assert_eq!(
                    tensor
                        .masked_select(&grown)
                        .count_nonzero(None)
                        .int64_value(&[]),
                    0
                );
            }
            assert_eq!(*weight, old.get(&layer.name).unwrap() * &after);
        }
        session.step().unwrap();
        session.check_pruned(1).unwrap();
    }

    #[test]
    fn a_value_that_is_not_zero_or_one_is_no_mask() {
        let trainer = mlp_trainer(json!({}));
        let mut session = trainer.session(vec![start(&trainer, 1)]).unwrap();
        let mut masks = session.mask(0).unwrap();
        masks[1] = &masks[1] * 0.5;
        let error = session.set_mask(0, &masks).unwrap_err();
        assert!(error.to_string().contains("fc1.weight"), "{error}");
    }
}
