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
use kernels::shim::{Autocast, ShimError};
use plugin_api::{Experiment as Facts, Layer};
use tch::{Device, Tensor};

use crate::data::{Dataset, Split};
use crate::experiment::{Experiment, LevelEnd, Metric, Named, Precision, Train, TrainLoss};
use crate::model::{self, Connections, Given, MODELS, Mode, Network, Parameter, Role};
use crate::optimizer::{OPTIMIZERS, Optimizer};
use crate::registry::{Entry, find};
use crate::rng::{Moment, Purpose, Stream};
use crate::schedule::{SCHEDULES, Schedule, Span};

mod batches;
mod command;
mod compact;
mod error;

mod evaluate;
#[cfg(test)]
mod exactness;
mod feed;
mod follow;
mod gradients;
mod lanes;
mod layout;
#[cfg(test)]
mod level_end;
mod metrics;
mod objective;
mod pass;
mod perceptron;
mod session;
mod shards;
mod snapshot;
mod state;
mod statistics;
mod taps;
mod targets;
mod teacher;
#[cfg(test)]
pub(crate) mod testing;
mod units;

pub use error::TrainError;
pub use evaluate::{Evaluation, On};
pub use gradients::{GradientRequest, Samples};
pub use lanes::LaneStart;
pub use layout::Layout;
pub use metrics::{ClassCounts, Metrics, Tested};
pub use session::{EpochRecord, Session};
use shards::Shards;
pub use snapshot::{OptimizerState, Position, Progress, Snapshot};
use targets::Targets;
pub use teacher::Teacher;

/// Bytes of the samples that stand in for data in timings.
const TIMING_MEMORY: usize = 64 << 20;

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
    schedule: Box<dyn Schedule>,
    epochs: u64,
    level_end: LevelEnd,
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
}

impl Trainer {
    /// An experiment's network and how it is trained on these data, which must lie on `device`.
    ///
    /// # Errors
    /// If data, network and training do not fit together.
    pub fn of(experiment: &Experiment, data: Dataset, device: Device) -> Result<Self, TrainError> {
        let entry = entry("model", MODELS, &experiment.model)?;
        let options = &experiment.model.options;
        let network = model::network(entry, options, &data.spec())?;
        let given = model::given(entry, options, &*network)?;
        Self::new(network, &experiment.train, data, device)?
            .ending_levels(experiment.prune.level_end)
            .starting_at(given)
            .including(&experiment.prune.include)?
            .excluding(&experiment.prune.exclude)?
            .checked_for_units()
    }

    /// A trainer on `device`, where the data must lie.
    ///
    /// # Errors
    /// If the optimizer, the schedule or the batch size cannot be used.
    pub fn new(
        network: Box<dyn Network>,
        train: &Train,
        data: Dataset,
        device: Device,
    ) -> Result<Self, TrainError> {
        if data.train.is_empty() || data.test.is_empty() {
            return Err(TrainError::Empty(data.name));
        }
        let targets = Targets::of(&data);
        objective::check(&train.loss, targets, &data)?;
        metrics::check(&train.metrics, targets, &data)?;
        let needs_two = network.values_per_feature(&data.input_shape) == Some(1);
        let shards = Shards::of(train);
        shards.check(&data, train.batch_size, needs_two)?;
        if shards.synchronised && !network.synchronises() {
            return Err(TrainError::NotSynchronised);
        }
        if needs_two {
            check_last_batch(train.batch_size, data.train.len())?;
        }
        let channels_last = train.channels_last && network.channels_last() && !network.lanes();
        let steps_per_epoch = (data.train.len() as u64).div_ceil(train.batch_size);
        let span = Span {
            steps_per_epoch,
            total_steps: steps_per_epoch * train.epochs,
        };
        let optimizer = component("optimizer", OPTIMIZERS, &train.optimizer)?;
        let schedule = component("schedule", SCHEDULES, &train.schedule)?;
        let layout = Layout::new(&*network, channels_last);
        let plan = perceptron::Plan::of(&*network, &layout, &data, device, train.precision)
            .and_then(|plan| plan.for_loss(&train.loss, targets))
            .map(|mut plan| {
                // Its kernels know the batch norm of a shard alone.
                plan.trains &= !shards.synchronised || layout.buffers().is_empty();
                plan
            });
        Ok(Self {
            layout,
            perceptron: plan,
            optimizer: optimizer(&train.optimizer.options)
                .map_err(|source| options_error("optimizer", &train.optimizer, source))?,
            schedule: schedule(&train.schedule.options, span)
                .map_err(|source| options_error("schedule", &train.schedule, source))?,
            network,
            data,
            device,
            needs_two,
            epochs: train.epochs,
            level_end: LevelEnd::default(),
            batch_size: train.batch_size,
            targets,
            loss: train.loss.clone(),
            teacher: None,
            metrics: train.metrics.clone(),
            label_smoothing: train.label_smoothing,
            clip_norm: train.clip_norm,
            precision: train.precision,
            channels_last,
            sparse_below: train.sparse_below,
            compact: train.compact,
            units: OnceLock::new(),
            shards,
        })
    }

    /// The same trainer with levels that end so.
    pub fn ending_levels(mut self, level_end: LevelEnd) -> Self {
        self.level_end = level_end;
        self
    }

    /// The same trainer whose network starts at these values, if any are given.
    pub fn starting_at(mut self, given: Option<Given>) -> Self {
        if let Some(given) = given {
            self.layout.start_at(given);
        }
        self
    }

    /// The same trainer with the parameters of these names or patterns prunable, too.
    ///
    /// # Errors
    /// If one fits no parameter, or a single number.
    pub fn including(mut self, patterns: &[String]) -> Result<Self, TrainError> {
        if !patterns.is_empty() {
            self.layout.include(patterns)?;
        }
        Ok(self)
    }

    /// The same trainer with the weights of these names or patterns trained but not prunable.
    ///
    /// # Errors
    /// If one fits no prunable layer, or none is left: without a weight to prune there is no
    /// density.
    pub fn excluding(mut self, patterns: &[String]) -> Result<Self, TrainError> {
        let layers = self.layers().len();
        self.layout.exclude(patterns)?;
        match self.layers().iter().all(Layer::is_empty) {
            true => Err(TrainError::NothingToPrune { layers }),
            false => Ok(self),
        }
    }

    /// The same trainer that computes so many shards of a batch side by side, each on as many threads as
    /// libtorch was told.
    pub fn side_by_side(mut self, shards: usize) -> Self {
        self.shards.abreast = shards;
        self
    }

    /// Shards of a batch.
    pub fn shards(&self) -> u64 {
        self.shards.count
    }

    /// The same trainer of a network that is taught.
    pub fn taught_by(mut self, teacher: Teacher) -> Self {
        self.teacher = Some(teacher);
        self
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
        facts
    }

    /// Whether convolutions can be computed at their survivors.
    pub fn computes_at_survivors(&self) -> bool {
        self.network.computes_at_survivors() && self.precision == Precision::Fp32
    }

    /// The same trainer that computes every layer with all its weights, however many are pruned: the
    /// bits are the same, the time is not.
    pub fn without_sparse_kernels(mut self) -> Self {
        if let Some(plan) = &mut self.perceptron {
            plan.sparse = false;
        }
        self
    }

    /// The same trainer for timings, whose level does not end. A stand-in of data becomes as many
    /// samples as fit into a little memory.
    pub fn for_timing(mut self) -> Self {
        if self.data.is_stand_in() {
            self.data.train.materialise(TIMING_MEMORY);
        }
        if self.teacher.is_none() && self.loss.distillation().is_some() {
            // Its run is yet to come: what it takes to ask it is not known.
            self.loss = TrainLoss::default();
        }
        // Longer than any timing, and no sum of steps overflows.
        self.epochs = u64::from(u32::MAX);
        // As much is computed in one piece.
        self.shards.count = 1;
        self.shards.synchronised = false;
        self
    }

    /// The same trainer with batches of at least so many samples: the next size that leaves no lone
    /// sample to a batch norm, or the whole batch. Returns it, too.
    pub fn in_parts_of(mut self, samples: u64) -> (Self, u64) {
        let (whole, count) = (self.samples_of_a_batch(), self.data.train.len());
        let fits = |size: &u64| !(self.needs_two && leaves_one(*size, count));
        let part = (samples.clamp(1, whole)..whole).find(fits);
        self.batch_size = part.unwrap_or(whole);
        let part = self.batch_size;
        (self, part)
    }

    /// The same trainer with batches of so many samples.
    pub fn with_batches_of(mut self, samples: u64) -> Self {
        self.batch_size = samples;
        self
    }

    /// Samples of a whole batch.
    pub fn samples_of_a_batch(&self) -> u64 {
        self.batch_size.min(self.data.train.len() as u64)
    }

    /// Optimizer steps of an epoch.
    pub fn steps_per_epoch(&self) -> u64 {
        (self.data.train.len() as u64).div_ceil(self.batch_size)
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
    pub fn state_names(&self) -> &[&'static str] {
        self.optimizer.state_names()
    }

    /// Where it trains.
    pub fn device(&self) -> Device {
        self.device
    }

    /// Whether several seeds can be trained in one session.
    pub fn lanes(&self) -> bool {
        self.network.lanes()
    }

    /// What the learning rate is multiplied with at this position of the schedule.
    pub fn schedule_factor(&self, step: u64) -> f64 {
        self.schedule.factor(step)
    }

    /// The initial parameters and running statistics of a seed. They are drawn on the CPU: the same
    /// bits on every device.
    pub fn initial(&self, seed: u64) -> Snapshot {
        self.initial_draw(seed, 0)
    }

    /// Another draw of the initial parameters and running statistics of a seed, by its number; draw 0
    /// is [`initial`](Trainer::initial).
    pub fn initial_draw(&self, seed: u64, number: u64) -> Snapshot {
        let draw = |parameter: &Parameter| {
            let name = &parameter.name;
            let count = parameter.shape.iter().product::<i64>() as usize;
            let purpose = match number {
                0 => Purpose::Init(name),
                draw => Purpose::InitDraw {
                    parameter: name,
                    draw,
                },
            };
            let mut stream = Stream::new(seed, purpose, Moment::default());
            let values = parameter.init.draw(count, &mut stream);
            let tensor = Tensor::from_slice(&values).view(&parameter.shape[..]);
            (name.clone(), tensor.to_device(self.device))
        };
        let mut tensors: Vec<_> = self.layout.parameters().map(draw).collect();
        let statistics = self.layout.new_statistics(1, self.device);
        let statistics = self.layout.lane_statistics(&statistics, 0);
        for (buffer, tensor) in self.layout.buffers().iter().zip(statistics) {
            tensors.push((buffer.name.clone(), tensor.copy()));
        }
        Snapshot { tensors }
    }

    /// Number of weights of each prunable layer that lie on a path from the network's input to its
    /// output. Weights that are excluded from pruning all conduct.
    ///
    /// # Shapes
    /// `masks`: one for each prunable layer, with its shape.
    pub fn effective(&self, masks: &[Tensor]) -> Vec<u64> {
        let parameters = self.network.parameters();
        let place = |parameter: &Parameter| {
            let own = |layer: &Layer| layer.name == parameter.name;
            self.layers().iter().position(own)
        };
        let connections = Connections::of(&self.network.graph(), parameters);
        let effective = connections.effective(|index| {
            let parameter = &parameters[index];
            match place(parameter) {
                Some(layer) => masks[layer].to_device(Device::Cpu),
                None => Tensor::ones(&parameter.shape[..], (tch::Kind::Float, Device::Cpu)),
            }
        });
        // What lies on no path that is known, such as the weights of an imported network's attention, counts
        // as it is.
        let kept = |mask: &Tensor| mask.count_nonzero(None).int64_value(&[]) as u64;
        let mut counts: Vec<u64> = masks.iter().map(kept).collect();
        for (index, on_path) in effective {
            if let Some(layer) = place(&parameters[index]) {
                counts[layer] = on_path.sum(tch::Kind::Int64).int64_value(&[]) as u64;
            }
        }
        counts
    }

    /// Masks that prune nothing, one for each prunable layer.
    pub fn dense_mask(&self) -> Vec<Tensor> {
        let ones = |layer: &Layer| Tensor::ones(&layer.shape[..], (tch::Kind::Float, self.device));
        self.layers().iter().map(ones).collect()
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

/// What `forward` computes, in this precision.
fn in_precision(
    precision: Precision,
    device: Device,
    forward: impl FnOnce() -> Tensor,
) -> Result<Tensor, ShimError> {
    let _autocast = match precision {
        Precision::Fp32 => None,
        Precision::Bf16 => Some(Autocast::enter(device)?),
    };
    Ok(forward())
}

/// The builder of a named component.
fn component<Build: Copy>(
    area: &'static str,
    entries: &'static [Entry<Build>],
    named: &Named,
) -> Result<Build, TrainError> {
    entry(area, entries, named).map(|entry| entry.build)
}

/// A named component.
fn entry<Build>(
    area: &'static str,
    entries: &'static [Entry<Build>],
    named: &Named,
) -> Result<&'static Entry<Build>, TrainError> {
    find(entries, &named.name).ok_or_else(|| TrainError::UnknownComponent {
        area,
        name: named.name.clone(),
        known: entries
            .iter()
            .map(|entry| entry.name)
            .collect::<Vec<_>>()
            .join(", "),
    })
}

fn options_error(area: &'static str, named: &Named, source: serde_json::Error) -> TrainError {
    TrainError::Options {
        area,
        name: named.name.clone(),
        source,
    }
}

/// Fails if there would be a batch of one sample.
fn check_last_batch(batch_size: u64, samples: i64) -> Result<(), TrainError> {
    if !leaves_one(batch_size, samples) {
        return Ok(());
    }
    let suggestion = (batch_size + 1..).find(|&size| !leaves_one(size, samples));
    Err(TrainError::LoneSample {
        samples,
        batch_size,
        suggestion: suggestion.unwrap_or(samples as u64),
    })
}

/// Whether batches of this size leave a batch of one sample.
fn leaves_one(batch_size: u64, samples: i64) -> bool {
    batch_size == 1 || samples as u64 % batch_size == 1
}
