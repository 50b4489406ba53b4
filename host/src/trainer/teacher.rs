//! The network that a network is taught by.

use std::collections::BTreeMap;

use kernels::shim;
use tch::{Device, Kind, Tensor};

use super::build::entry;
use super::lanes::Lane;
use super::{Layout, Snapshot, TrainError, Trainer, in_precision};
use crate::data::{Dataset, declared};
use crate::experiment::{Experiment, Precision};
use crate::model::{self, MODELS, Mode, Network};

/// The network that a network is taught by, with a point of it for each seed. It computes in evaluation mode, in
/// the precision that it was trained in, and never changes.
pub struct Teacher {
    network: Box<dyn Network>,
    layout: Layout,
    channels_last: bool,
    precision: Precision,
    device: Device,
    /// Parameters and running statistics by seed, as the network takes them.
    points: BTreeMap<u64, (Vec<Tensor>, Vec<Tensor>)>,
}

impl Teacher {
    /// The network of another experiment, for inputs and classes of these data.
    ///
    /// # Errors
    /// If its own data have other inputs or classes, or the network cannot be made for these.
    pub fn of(experiment: &Experiment, data: &Dataset, device: Device) -> Result<Self, TrainError> {
        // What is not known before data are read shows in the shapes of the weights.
        if let Ok(own) = declared(&experiment.data.name, &experiment.data.options)
            && (own.classes != data.classes || own.input_shape != data.input_shape)
        {
            return Err(TrainError::Teacher(format!(
                "its data have {} classes of inputs of shape {:?}, and dataset `{}` has {} of {:?}",
                own.classes, own.input_shape, data.name, data.classes, data.input_shape
            )));
        }
        let entry = entry("model", MODELS, &experiment.model)?;
        let network = model::network(entry, &experiment.model.options, &data.spec())?;
        let train = &experiment.train;
        let channels_last = train.channels_last && network.channels_last() && !network.lanes();
        Ok(Self {
            layout: Layout::new(&*network, channels_last),
            network,
            channels_last,
            precision: train.precision,
            device,
            points: BTreeMap::new(),
        })
    }

    /// Takes what a seed is taught by.
    ///
    /// # Errors
    /// If the point is another network's.
    pub fn take(&mut self, seed: u64, point: &Snapshot) -> Result<(), TrainError> {
        let flat = Tensor::zeros([1, self.layout.width()], (Kind::Float, self.device));
        let statistics = self.layout.new_statistics(1, self.device);
        let views = self.layout.lane_statistics(&statistics, 0);
        self.layout.load(point, &flat.select(0, 0), &views)?;
        self.points
            .insert(seed, (self.layout.views(&flat), statistics));
        Ok(())
    }

    /// Whether its results are the same with any number of threads.
    pub(super) fn has_lanes(&self) -> bool {
        self.network.lanes()
    }

    /// What it says of one lane's batch.
    ///
    /// # Shapes
    /// `input`: `[batch, ...]`; result: `[batch, classes]`, or `[batch, classes, length]`.
    fn logits(&self, seed: u64, input: &Tensor) -> Result<Tensor, TrainError> {
        let Some((parameters, statistics)) = self.points.get(&seed) else {
            return Err(TrainError::Teacher(format!(
                "the teacher has no weights for seed {seed}"
            )));
        };
        let images = input.dim() == 4;
        let input = match (self.has_lanes(), self.channels_last && images) {
            (true, _) => input.contiguous().unsqueeze(0),
            (false, true) => shim::channels_last(input)?,
            (false, false) => input.contiguous(),
        };
        let logits = in_precision(self.precision, self.device, || {
            (self.network).forward(parameters, statistics, &input, Mode::Eval)
        })?;
        Ok(match self.has_lanes() {
            true => logits.squeeze_dim(0),
            false => logits,
        })
    }
}

impl Trainer {
    /// What the teacher says of the lanes' batches, without a gradient; none if there is to be none.
    ///
    /// # Shapes
    /// `input`: as the network takes it; result: `[lanes, batch, ...]`, as outputs.
    pub(super) fn taught(
        &self,
        input: &Tensor,
        lanes: &[Lane],
    ) -> Result<Option<Tensor>, TrainError> {
        if self.loss.distillation().is_none() {
            return Ok(None);
        }
        let Some(teacher) = &self.teacher else {
            return Err(TrainError::Teacher(
                "train.loss names a teacher, and none was given".to_owned(),
            ));
        };
        let _no_grad = tch::no_grad_guard();
        let of_lane = |(slot, lane): (i64, &Lane)| match self.lanes() {
            true => teacher.logits(lane.seed, &input.select(0, slot)),
            false => teacher.logits(lane.seed, input),
        };
        let each: Result<Vec<Tensor>, TrainError> = (0..).zip(lanes).map(of_lane).collect();
        Ok(Some(Tensor::stack(&each?, 0)))
    }
}

#[cfg(test)]
mod tests;
