//! Trains the levels of one or several seeds.
//!
//! A [`Trainer`] knows the network, the data and how a level is trained; a [`Session`] is one level
//! of one or several lanes (seeds) under way, driven step by step from outside. All weights of all
//! lanes lie in one flat buffer (see [`Layout`]), so that a step of the optimizer is one pass.
//!
//! The bytes of a lane are a function of its own start: they do not depend on how many lanes there
//! are, nor on what the others compute, nor on where training was interrupted.

use std::sync::OnceLock;

use kernels::Taps;
use kernels::cuda::Kernels;
use kernels::shim::{Autocast, ShimError, Tf32};
use plugin_api::{Experiment as Facts, Layer};
use tch::{Device, Tensor};

use crate::data::{Dataset, Split};
use crate::experiment::{Experiment, LevelEnd, Metric, Precision, TrainLoss};
use crate::model::{Mode, Network, Role};
use crate::optimizer::Optimizer;
use crate::schedule::Schedule;
use crate::update::Known;

mod ahead;
mod batches;
mod begin;
mod build;
mod coins;
mod command;
mod compact;
mod differentiate;
mod epoch;
mod error;
mod evaluate;
#[cfg(test)]
mod exactness;
mod feed;
mod follow;
mod gradients;
#[cfg(test)]
mod kernels_elsewhere;
mod lanes;
mod layout;
#[cfg(test)]
mod level_end;
mod metrics;
mod moving;
mod objective;
mod pace;
mod part;
mod pass;
mod perceptron;
mod rates;
mod recorded;
mod session;
mod shards;
mod signs;
mod snapshot;
mod state;
mod statistics;
mod table;
mod taps;
mod targets;
mod teacher;
#[cfg(test)]
pub(crate) mod testing;
mod units;
mod updating;

use differentiate::Differentiation;
pub use error::TrainError;
pub use evaluate::{Evaluation, On};
pub use gradients::{GradientRequest, Samples};
pub use lanes::LaneStart;
pub use layout::Layout;
pub use metrics::{ClassCounts, Metrics, Tested};
pub use pace::Speeds;
pub use recorded::{Fork, OnGpu, Recorder, Recording, Work};
pub use session::{EpochRecord, Session};
use shards::Shards;
pub use signs::Crossed;
pub use snapshot::{OptimizerState, Position, Progress, Snapshot};
use targets::Targets;
pub use teacher::Teacher;

/// A network, its data, and how one level of it is trained.
pub struct Trainer {
    network: Box<dyn Network>,
    layout: Layout,
    /// How it is trained without autograd, if it can be.
    perceptron: Option<perceptron::Plan>,
    data: Dataset,
    device: Device,
    /// Whether a batch norm sees one value per feature of a sample, whose variance takes two samples.
    needs_two: bool,
    optimizer: Box<dyn Optimizer>,
    /// What acts beside the optimizer, in its order.
    updates: Vec<Known>,
    /// Names of their states.
    beside: Vec<String>,
    schedule: Box<dyn Schedule>,
    epochs: u64,
    level_end: LevelEnd,
    /// Samples of a step: those of several batches where gradients are accumulated.
    step_samples: u64,
    /// Samples that strategies have gradients of at once.
    batch_size: u64,
    /// What the targets are.
    targets: Targets,
    loss: TrainLoss,
    /// Who teaches it, where the loss is that of distillation.
    teacher: Option<Teacher>,
    metrics: Vec<Metric>,
    label_smoothing: f64,
    clip_norm: Option<f64>,
    precision: Precision,
    channels_last: bool,
    sparse_below: f64,
    /// Whether units that were pruned whole are left out.
    compact: bool,
    /// Found when they are first asked for.
    units: OnceLock<units::Known>,
    /// How batches are cut.
    shards: Shards,
    /// Seeds of a network without lanes that one session may have.
    seeds_together: usize,
    /// Computes what it can in libtorch's place, where that is asked for.
    kernels: Option<Kernels>,
    /// Records steps, where that is asked for.
    recorder: Option<Box<dyn Recorder>>,
}

impl Trainer {
    /// Shards of a step.
    pub fn shards(&self) -> u64 {
        self.shards.count
    }

    /// Whether the bits of a training step may depend on the number of threads.
    pub fn depends_on_threads(&self) -> bool {
        let taught = self.loss.distillation().is_some();
        let by_lanes = self.teacher.as_ref().is_some_and(Teacher::has_lanes);
        !self.lanes() || (taught && !by_lanes)
    }

    /// What the strategy's components are told of an experiment that is trained so.
    pub fn facts(&self, experiment: &Experiment) -> Facts {
        let layers = self.layers().to_vec();
        let size = layers.iter().map(Layer::len).sum();
        let levels = 0..=experiment.last_level();
        let mut facts = Facts::new(layers, self.steps_per_epoch(), self.epochs, []);
        // A mean and a variance each.
        facts.batch_norms = self.layout.buffers().len() as u64 / 2;
        let of_norms = |role| (self.layout.parameters()).filter(move |it| it.role == role);
        let [scales, shifts] =
            [Role::NormWeight, Role::NormBias].map(|role| of_norms(role).count());
        facts.norms = scales.max(shifts) as u64;
        facts.targets = levels.map(|level| experiment.keep(level, size)).collect();
        facts.densities = experiment.densities();
        let updates = self.updates.iter().map(|it| it.component.clone());
        facts.updates = updates.collect();
        if !self.updates.is_empty() {
            let optimizer = &experiment.train.optimizer;
            facts.optimizer = Some(plugin_api::Optimizer {
                name: optimizer.name.clone(),
                options: optimizer.options.clone(),
            });
        }
        facts
    }

    /// Whether convolutions can be computed at their survivors.
    pub fn computes_at_survivors(&self) -> bool {
        self.network.computes_at_survivors() && self.precision != Precision::Bf16
    }

    /// Samples of a whole step.
    pub fn samples_of_a_step(&self) -> u64 {
        self.step_samples.min(self.data.train.len() as u64)
    }

    /// Optimizer steps of an epoch.
    pub fn steps_per_epoch(&self) -> u64 {
        (self.data.train.len() as u64).div_ceil(self.step_samples)
    }

    /// Optimizer steps of the dense level and of the schedule; others may end earlier.
    pub fn steps_per_level(&self) -> u64 {
        self.steps_per_epoch() * self.epochs
    }

    /// Optimizer steps of a level whose schedule starts at `schedule_start`, or is held.
    pub fn steps_from(&self, schedule_start: u64, hold: Option<f64>) -> u64 {
        let whole = self.steps_per_level();
        self.level_end.steps(whole, schedule_start, hold)
    }

    /// Epochs of the dense level and of the schedule.
    pub fn epochs(&self) -> u64 {
        self.epochs
    }

    /// The prunable layers, in the network's order.
    pub fn layers(&self) -> &[Layer] {
        self.layout.layers()
    }

    /// Where parameters lie in the flat buffer.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The network.
    pub fn network(&self) -> &dyn Network {
        &*self.network
    }

    /// The data.
    pub fn data(&self) -> &Dataset {
        &self.data
    }

    /// What the optimizer keeps of each parameter, such as `momentum`.
    pub fn state_names(&self) -> impl Iterator<Item = &str> {
        self.optimizer.state_names().iter().copied()
    }

    /// What is kept of each prunable layer's weights: the optimizer's states and those of updates.
    pub fn states_of_weights(&self) -> impl Iterator<Item = &str> {
        let beside = self.beside.iter().map(String::as_str);
        self.state_names().chain(beside)
    }

    /// What acts beside the optimizer, in its order.
    pub fn updates(&self) -> &[Known] {
        &self.updates
    }

    /// Where it trains.
    pub fn device(&self) -> Device {
        self.device
    }

    /// Whether kernels of our own compute what they can.
    pub fn has_kernels(&self) -> bool {
        self.kernels.is_some()
    }

    /// How many seeds one session may have.
    pub fn seeds_together(&self) -> usize {
        // What is computed of a network by itself follows from all of its weights.
        let is_whole = self.sparse_below == 0.0 && !self.compact;
        match self.lanes() {
            true => usize::MAX,
            false if self.shards.is_one() && is_whole && self.updates.is_empty() => {
                self.seeds_together
            }
            false => 1,
        }
    }

    /// Whether the network takes several seeds at once.
    pub fn lanes(&self) -> bool {
        self.network.lanes()
    }

    /// What the learning rate is multiplied with at this position of the schedule.
    pub fn schedule_factor(&self, step: u64) -> f64 {
        self.schedule.factor(step)
    }

    fn split(&self, on: On) -> Result<&Split, TrainError> {
        match on {
            On::Train => Ok(&self.data.train),
            On::Test => Ok(&self.data.test),
            On::Validation => {
                let validation = self.data.validation.as_ref();
                validation.ok_or(TrainError::NoValidation)
            }
        }
    }

    /// The logits, computed in the experiment's precision, and at the survivors that are given.
    fn forward(
        &self,
        parameters: &[Tensor],
        statistics: &[Tensor],
        input: &Tensor,
        mode: Mode<'_>,
        taps: Option<&[Option<Taps>]>,
    ) -> Result<Tensor, ShimError> {
        if let Some(taps) = taps {
            return Ok(self
                .network
                .forward_at_survivors(parameters, statistics, input, mode, taps));
        }
        in_precision(self.precision, self.device, || {
            self.network.forward(parameters, statistics, input, mode)
        })
    }
}

/// While what it returns lives, a GPU computes fp32 products as this precision allows; processors always do.
fn products_of(precision: Precision, device: Device) -> Option<Tf32> {
    (device.is_cuda()).then(|| Tf32::set(precision == Precision::Tf32))
}

/// What `forward` computes, in this precision.
fn in_precision(
    precision: Precision,
    device: Device,
    forward: impl FnOnce() -> Tensor,
) -> Result<Tensor, ShimError> {
    let _products = products_of(precision, device);
    let _autocast = match precision {
        Precision::Fp32 | Precision::Tf32 => None,
        Precision::Bf16 => Some(Autocast::enter(device)?),
    };
    Ok(forward())
}
