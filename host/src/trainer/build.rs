//! How a trainer is made.

use std::sync::OnceLock;

use kernels::cuda::Kernels;
use plugin_api::Layer;
use tch::Device;

use super::perceptron;
use super::shards::Shards;
use super::targets::Targets;
use super::{Layout, Recorder, Teacher, TrainError, Trainer, metrics, objective};
use crate::data::Dataset;
use crate::experiment::{Experiment, LevelEnd, Named, Train, TrainLoss};
use crate::model::{self, Given, MODELS, Network};
use crate::optimizer::OPTIMIZERS;
use crate::registry::{Entry, find};
use crate::schedule::{SCHEDULES, Span};
use crate::update::Known;

/// Bytes of the samples that stand in for data in timings.
const TIMING_MEMORY: usize = 64 << 20;

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
            check_last_batch(train.samples_of_a_step(), data.train.len())?;
        }
        let channels_last = train.channels_last && network.channels_last() && !network.lanes();
        let steps_per_epoch = (data.train.len() as u64).div_ceil(train.samples_of_a_step());
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
            updates: Vec::new(),
            beside: Vec::new(),
            schedule: schedule(&train.schedule.options, span)
                .map_err(|source| options_error("schedule", &train.schedule, source))?,
            network,
            data,
            device,
            needs_two,
            epochs: train.epochs,
            level_end: LevelEnd::default(),
            step_samples: train.samples_of_a_step(),
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
            seeds_together: 1,
            kernels: None,
            recorder: None,
        })
    }

    /// The same trainer whose sessions may have so many seeds of a network without lanes: each is computed by itself, on a
    /// GPU beside the others where steps are recorded. No bit depends on it.
    pub fn with_seeds_together(mut self, seeds: usize) -> Self {
        self.set_seeds_together(seeds);
        self
    }

    /// As [`with_seeds_together`](Trainer::with_seeds_together), of sessions to come.
    pub fn set_seeds_together(&mut self, seeds: usize) {
        self.seeds_together = seeds.max(1);
    }

    /// The same trainer that computes batches of images, cross-entropies and the optimizer's step by these kernels on
    /// its device. Batch norms are the process's: see [`kernels::cuda::autograd_by`].
    pub fn computed_by(mut self, kernels: Kernels) -> Self {
        self.kernels = Some(kernels);
        self
    }

    /// The same trainer whose steps are recorded, as far as they can be: the bytes stay.
    pub fn recorded_by(mut self, recorder: Box<dyn Recorder>) -> Self {
        self.recorder = Some(recorder);
        self
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

    /// The same trainer in whose steps these act, too. Its [sessions](Trainer::session) then go on by
    /// [`step_with`](super::Session::step_with).
    pub fn updated_by(mut self, updates: &[Known]) -> Self {
        self.updates = updates.to_vec();
        let names = |it: &Known| -> Vec<String> {
            it.form
                .states
                .iter()
                .map(|state| it.state_name(state))
                .collect()
        };
        self.beside = updates.iter().flat_map(names).collect();
        self
    }

    /// The same trainer of a network that is taught.
    pub fn taught_by(mut self, teacher: Teacher) -> Self {
        self.teacher = Some(teacher);
        self
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
        // Their components are at hand only where a level is trained.
        self.updates.clear();
        self.beside.clear();
        // Longer than any timing, and no sum of steps overflows.
        self.epochs = u64::from(u32::MAX);
        // As much is computed in one piece.
        self.shards.count = self.shards.batches;
        self.shards.synchronised = false;
        self
    }

    /// The same trainer with steps of at least so many samples: the next size that leaves no lone
    /// sample to a batch norm, or the whole batch. Returns it, too.
    pub fn in_parts_of(mut self, samples: u64) -> (Self, u64) {
        let (whole, count) = (self.samples_of_a_step(), self.data.train.len());
        let fits = |size: &u64| !(self.needs_two && leaves_one(*size, count));
        let part = (samples.clamp(1, whole)..whole).find(fits);
        let part = part.unwrap_or(whole);
        self.shards.count = match part < whole {
            true => 1,
            false => self.shards.batches,
        };
        (self.with_batches_of(part), part)
    }

    /// The same trainer with steps of so many samples.
    pub fn with_batches_of(mut self, samples: u64) -> Self {
        self.step_samples = samples;
        self.batch_size = self.batch_size.min(samples);
        self
    }
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
pub(super) fn entry<Build>(
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
