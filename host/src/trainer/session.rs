//! One level of one or several lanes under way.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use kernels::Taps;
use tch::{Kind, Tensor};

use super::coins::Coins;
use super::command::Command;
use super::compact::Compact;
use super::epoch::Epochs;
use super::feed::Feed;
use super::follow::Led;
use super::lanes::{Lane, common_length, common_position, epoch_log};
use super::pace::Speeds;
use super::part::Part;
use super::perceptron::{Batch, Hand};
use super::rates::Rates;
use super::recorded::{Recorded, Step};
use super::shards::Workshop;
use super::signs::{Crossed, Signs};
use super::updating::{Replay, Rest};
use super::{
    Differentiation, Evaluation, LaneStart, On, Position, Tested, TrainError, Trainer, batches,
};
use crate::data::Inputs;
use crate::model::{Keys, StepKey, drawn_in};
use crate::optimizer::Buffers;
use crate::rng::Moment;
use crate::update::Updates;

/// What one lane did in one epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct EpochRecord {
    /// The lane's number at the start of the session.
    pub lane: usize,
    /// Epoch of the level, from 0.
    pub epoch: u64,
    /// Mean training loss of the samples, and of all their targets, each at the step that saw it.
    pub loss: f64,
    /// Share of the samples that were right at the step that saw them: classified rightly, or
    /// within 0.1 of a target that is a number. Of several targets a sample each counts.
    pub accuracy: f64,
    /// Learning rate of the epoch's last step.
    pub lr: f64,
    /// First step of the level whose loss is not finite; the last of the epoch if only its weights are not.
    pub first_non_finite_step: Option<u64>,
    /// What crossed zero; none in a level that goes on from a checkpoint without signs, of an earlier version.
    pub crossed: Option<Crossed>,
}

/// One level of one or several lanes under way, all at the same step.
///
/// Lanes are numbered as they were given, also after others were dropped.
pub struct Session<'t> {
    pub(super) trainer: &'t Trainer,
    pub(super) lanes: Vec<Lane>,
    pub(super) buffers: Buffers,
    pub(super) statistics: Vec<Tensor>,
    /// What the network is computed with: all lanes at once if it knows lanes, else each by itself.
    pub(super) parts: Vec<Part>,
    /// What takes the place of autograd from the first step on, where it is not needed.
    pub(super) hand: Option<Hand>,
    /// The survivors of convolutions that are computed at them.
    pub(super) taps: Option<Vec<Option<Taps>>>,
    /// What is left of a network that lost units.
    pub(super) compact: Option<Arc<Compact>>,
    /// Whether the taps, the units that are left and the kept elements of the buffers are those of the mask.
    pub(super) kept_known: bool,
    /// The random choices of the epoch under way, and of the next one.
    epochs: Epochs,
    /// What steps take of the schedule.
    rates: Rates,
    /// What the network draws in a step, and the keys of it.
    pub(super) coins: Coins,
    /// What was recorded of a step.
    pub(super) recorded: Recorded<'t>,
    /// What is kept from step to step where batches are cut into shards.
    pub(super) workshop: Option<Workshop>,
    /// The epoch's further batches, where the training samples are image files.
    pub(super) feed: Feed,
    /// `[steps of an epoch, lanes]`: sums over a step's samples.
    pub(super) losses: Tensor,
    pub(super) correct: Tensor,
    /// The signs that the weights had.
    pub(super) signs: Signs,
    pub(super) position: Position,
    /// What is known of what the updates do, by lane and place.
    pub(super) replays: BTreeMap<(usize, usize), Replay>,
    /// What an optimizer moves beside an update that takes its place, of these lanes.
    pub(super) rest: Option<Rest>,
    /// Steps of the level.
    steps: u64,
    /// The other ranks, of rank 0, once the session is as it starts.
    led: Option<Led>,
}

impl Trainer {
    /// A level of these lanes.
    ///
    /// # Errors
    /// If a start does not fit the network, the lanes are not at one step of levels of one length, or
    /// there are several and the network trains one seed at a time.
    pub fn session(&self, starts: Vec<LaneStart>) -> Result<Session<'_>, TrainError> {
        let steps = common_length(self, &starts)?;
        let position = common_position(self, &starts, steps)?;
        let (losses, correct) = epoch_log(self, &starts)?;
        let (lanes, width) = (starts.len() as i64, self.layout.width());
        let zeros = || Tensor::zeros([lanes, width], (Kind::Float, self.device));
        let mut session = Session {
            trainer: self,
            lanes: Vec::new(),
            buffers: Buffers::new(zeros(), zeros(), self.optimizer.state_names().len())
                .with_beside(self.beside.len()),
            statistics: self.layout.new_statistics(lanes, self.device),
            parts: Vec::new(),
            taps: None,
            compact: None,
            kept_known: false,
            hand: None,
            workshop: None,
            epochs: Epochs::default(),
            rates: Rates::default(),
            coins: Coins::default(),
            recorded: Recorded::NOTHING,
            feed: Feed::default(),
            losses,
            correct,
            signs: Signs::new(&zeros()),
            position,
            replays: BTreeMap::new(),
            rest: None,
            steps,
            led: None,
        };
        for (id, start) in starts.iter().enumerate() {
            session.lanes.push(Lane::new(id, start));
            session.set_mask(id, &start.mask)?;
            session.set_point(id, &start.point)?;
            session.set_optimizer_state(id, &start.optimizer)?;
        }
        (session.signs).begin(&self.layout, &session.buffers.weights, &starts)?;
        session.make_views();
        session.led = Led::begin(self, &starts)?;
        Ok(session)
    }
}

impl Session<'_> {
    /// Whether the other ranks have begun it, too.
    pub(super) fn has_begun(&self) -> bool {
        self.led.is_some()
    }

    /// How fast images were decoded and trained on, where they stay in their files and an epoch has several steps.
    pub fn image_speeds(&self) -> Option<Speeds> {
        self.feed.speeds()
    }

    /// Numbers of the lanes that are still trained.
    pub fn lanes(&self) -> Vec<usize> {
        self.lanes.iter().map(|lane| lane.id).collect()
    }

    /// Where in the level all lanes are.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Steps of the level.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Epochs of the level; the last has fewer steps where the level ends within it.
    pub fn epochs(&self) -> u64 {
        self.steps.div_ceil(self.trainer.steps_per_epoch())
    }

    /// Whether every step of the epoch is made and [`finish_epoch`](Session::finish_epoch) is due.
    pub fn is_epoch_complete(&self) -> bool {
        let Position {
            step,
            step_in_epoch,
            ..
        } = self.position;
        step_in_epoch == self.trainer.steps_per_epoch() || (step == self.steps && step_in_epoch > 0)
    }

    /// Whether the level is trained and its last epoch finished.
    pub fn is_complete(&self) -> bool {
        self.position.epoch >= self.epochs()
    }

    /// Learning rate of a lane's next step.
    ///
    /// # Errors
    /// If there is no such lane.
    pub fn lr(&self, lane: usize) -> Result<f64, TrainError> {
        Ok(self.lanes[self.slot(lane)?].lr(self.trainer, self.position.step))
    }

    /// As [`step`](Session::step), with what acts in the trainer's steps.
    ///
    /// # Errors
    /// If the epoch or the level is complete, every lane was dropped, or an update fails.
    pub fn step_with(&mut self, updates: &mut dyn Updates) -> Result<(), TrainError> {
        let refuse = |reason| {
            Err(TrainError::Step {
                step: self.position.step,
                reason,
            })
        };
        if self.lanes.is_empty() {
            return refuse("every lane was dropped");
        } else if self.is_complete() {
            return refuse("the level is complete");
        } else if self.is_epoch_complete() {
            return refuse("the epoch is complete, its record has to be read first");
        }
        let trainer = self.trainer;
        trainer.tell(Command::Step)?;
        if !std::mem::replace(&mut self.kept_known, true) {
            self.buffers.find_kept();
            self.rest = None;
            self.workshop = None;
            self.recorded = Recorded::NOTHING;
            (self.taps, self.compact) = match self.lanes.len() {
                1 if trainer.shards.is_one() => {
                    let mask = self.buffers.mask.select(0, 0);
                    (trainer.taps(&mask)?, trainer.compact(&mask).map(Arc::new))
                }
                _ => (None, None),
            };
        }
        for lane in &mut self.lanes {
            lane.optimizer_steps += 1;
        }
        let own = self.replace_parameters(updates)?;
        let (index, draws) = self.next_batch()?;
        let rates = (self.rates).at(trainer, &self.lanes, self.position)?;
        let coins = (self.coins).at(trainer, &self.lanes, self.position)?;
        let row = self.position.step_in_epoch as i64;
        let results = [self.losses.select(0, row), self.correct.select(0, row)];
        let recorded = self.replay(&Step {
            index: &index,
            draws: draws.as_ref(),
            coins: coins.as_ref(),
            rates: &rates,
            results: results.each_ref(),
        })?;
        if !recorded {
            self.find_gradients((&index, draws.as_ref()), coins.as_ref(), &results)?;
            self.give_parameters_back(updates, own)?;
            match trainer.updates.is_empty() {
                true => trainer.follow_gradients(&mut self.buffers, &rates)?,
                false => {
                    trainer.clip(&mut self.buffers);
                    self.move_weights(updates, &rates)?;
                }
            }
        }
        self.position.step += 1;
        self.position.step_in_epoch += 1;
        Ok(())
    }

    /// The gradients of a batch, and what its samples come to.
    fn find_gradients(
        &mut self,
        samples: (&Tensor, Option<&Tensor>),
        coins: Option<&Tensor>,
        results: &[Tensor; 2],
    ) -> Result<(), TrainError> {
        let trainer = self.trainer;
        match &trainer.perceptron {
            _ if !trainer.shards.is_one() => self.step_in_shards(samples, results),
            Some(plan) if plan.trains => {
                let batch = self.batch_by_hand(samples)?;
                let (hand, buffers) = (&mut self.hand, &mut self.buffers);
                let hand = hand.get_or_insert_with(|| Hand::new(plan, self.lanes.len()));
                let results = results.each_ref();
                trainer.step_by_hand(plan, hand, buffers, &self.statistics, batch, results)
            }
            _ => self.differentiate(samples, coins, results),
        }
    }

    /// The gradients of a batch by autograd.
    fn differentiate(
        &mut self,
        (index, draws): (&Tensor, Option<&Tensor>),
        coins: Option<&Tensor>,
        results: &[Tensor; 2],
    ) -> Result<(), TrainError> {
        let trainer = self.trainer;
        let keys = self.step_keys();
        let fed = match trainer.data.train.inputs {
            Inputs::Files(_) => {
                let feed = &mut self.feed;
                let samples = (index, draws);
                Some(trainer.training_batch(samples, &self.lanes, self.position, feed)?)
            }
            _ => None,
        };
        for part in &self.parts {
            let batch = match &fed {
                Some((inputs, labels)) => part.of_batch(inputs, labels),
                None => {
                    let draws = draws.map(|it| part.narrow(it, 1));
                    trainer.batch_in_memory(&part.narrow(index, 0), draws.as_ref())?
                }
            };
            let on_device =
                trainer.device_keys(self.coins.drawn(), coins.map(|it| part.narrow(it, 1)));
            let of = Differentiation {
                batch,
                keys: Keys {
                    lanes: &keys[part.lanes.clone()],
                    on_device: on_device.as_ref(),
                },
                lanes: &self.lanes[part.lanes.clone()],
                tensors: part.tensors(),
                compact: self.compact.as_deref(),
                taps: self.taps.as_deref(),
                results: results.each_ref().map(|it| part.narrow(it, 0)),
            };
            let (result, drawn) = drawn_in(|| trainer.differentiate(of));
            result?;
            // All parts draw alike.
            self.coins.know(drawn);
        }
        Ok(())
    }

    /// The batch with these indices: rows of the samples where nothing changes them.
    fn batch_by_hand<'a>(
        &mut self,
        samples: (&'a Tensor, Option<&Tensor>),
    ) -> Result<Batch<'a>, TrainError> {
        let data = &self.trainer.data;
        if data.augment.is_none() && matches!(data.train.inputs, Inputs::Memory(_)) {
            return Ok(Batch::Rows(samples.0));
        }
        let feed = &mut self.feed;
        let (inputs, targets) =
            (self.trainer).training_batch(samples, &self.lanes, self.position, feed)?;
        Ok(Batch::Made(inputs, targets))
    }

    /// The records of a complete epoch; the one read-back of the epoch.
    ///
    /// # Errors
    /// If the epoch is not complete.
    pub fn finish_epoch(&mut self) -> Result<Vec<EpochRecord>, TrainError> {
        if !self.is_epoch_complete() {
            return Err(TrainError::Step {
                step: self.position.step,
                reason: "the epoch is not complete",
            });
        }
        self.trainer.tell(Command::FinishEpoch)?;
        let steps = self.position.step_in_epoch;
        let seen = steps.saturating_mul(self.trainer.step_samples);
        let samples = seen.min(self.trainer.data.train.len() as u64);
        let targets = (samples * self.trainer.targets_a_sample()) as f64;
        let epoch = self.position.epoch;
        let first_step = epoch * self.trainer.steps_per_epoch();
        let last_step = self.position.step - 1;
        let finite = self.buffers.weights.isfinite().all_dim(1, false);
        let finite = Vec::<bool>::try_from(&finite).map_err(read_back)?;
        let crossed = self.crossed()?;
        let mut records = Vec::with_capacity(self.lanes.len());
        for ((slot, lane), crossed) in self.lanes.iter().enumerate().zip(crossed) {
            // Beyond these steps the log is that of the epoch before.
            let column = |log: &Tensor| {
                let own = log.select(1, slot as i64);
                own.narrow(0, 0, steps as i64).contiguous()
            };
            let losses = Vec::<f64>::try_from(column(&self.losses)).map_err(read_back)?;
            let correct = Vec::<i64>::try_from(column(&self.correct)).map_err(read_back)?;
            let bad = losses.iter().position(|loss| !loss.is_finite());
            records.push(EpochRecord {
                lane: lane.id,
                epoch,
                loss: losses.iter().sum::<f64>() / targets,
                accuracy: correct.iter().sum::<i64>() as f64 / targets,
                lr: lane.lr(self.trainer, last_step),
                first_non_finite_step: bad
                    .map(|step| first_step + step as u64)
                    .or((!finite[slot]).then_some(last_step)),
                crossed,
            });
        }
        self.position.epoch += 1;
        self.position.step_in_epoch = 0;
        Ok(records)
    }

    /// Stops training a lane; the others go on with the same bytes.
    ///
    /// # Errors
    /// If there is no such lane.
    pub fn drop_lane(&mut self, lane: usize) -> Result<(), TrainError> {
        let slot = self.slot(lane)?;
        self.trainer.tell(Command::DropLane(lane))?;
        self.lanes.remove(slot);
        self.kept_known = false;
        if let Some(hand) = &mut self.hand {
            hand.remove(slot);
        }
        if self.lanes.is_empty() {
            return Ok(());
        }
        let rest = (0..=self.lanes.len()).filter(|&other| other != slot);
        let rest: Vec<i64> = rest.map(|other| other as i64).collect();
        let rest = Tensor::from_slice(&rest).to_device(self.trainer.device);
        let keep = |tensor: &mut Tensor, dim| *tensor = tensor.index_select(dim, &rest);
        keep(&mut self.buffers.weights, 0);
        keep(&mut self.buffers.gradients, 0);
        keep(&mut self.buffers.mask, 0);
        self.buffers.state.iter_mut().for_each(|t| keep(t, 0));
        self.buffers.beside.iter_mut().for_each(|t| keep(t, 0));
        self.statistics.iter_mut().for_each(|t| keep(t, 0));
        self.signs.drop_lane(slot, &rest);
        keep(&mut self.losses, 1);
        keep(&mut self.correct, 1);
        self.make_views();
        Ok(())
    }

    /// Loss and accuracy of every lane that is still trained, in their order.
    ///
    /// # Errors
    /// Libtorch's.
    pub fn evaluate(&self, on: On) -> Result<Vec<Evaluation>, TrainError> {
        let evaluated = self.evaluate_unless(on, &|| false)?;
        Ok(evaluated.unwrap_or_default())
    }

    /// Whether training samples are held out to choose by.
    pub fn has_validation(&self) -> bool {
        self.trainer.data.validation.is_some()
    }

    /// As [`evaluate`](Session::evaluate); none if `stop` came true meanwhile.
    ///
    /// # Errors
    /// Libtorch's.
    pub fn evaluate_unless(
        &self,
        on: On,
        stop: &dyn Fn() -> bool,
    ) -> Result<Option<Vec<Evaluation>>, TrainError> {
        if self.lanes.is_empty() {
            return Ok(Some(Vec::new()));
        }
        let (trainer, flat) = (self.trainer, &self.buffers.weights);
        if let Some(ranks) = trainer.ranks() {
            return trainer.evaluate_together(flat, &self.statistics, on, ranks, stop);
        }
        self.part_by_part(|flat, statistics| {
            trainer.evaluate_lanes(flat, statistics, on, &mut [], stop)
        })
    }

    /// What `evaluate` gives of all lanes, those that the network takes at once by one call; none if it does of any.
    fn part_by_part<T>(
        &self,
        evaluate: impl Fn(&Tensor, &[Tensor]) -> Result<Option<Vec<T>>, TrainError>,
    ) -> Result<Option<Vec<T>>, TrainError> {
        let mut all = Vec::new();
        for part in &self.parts {
            let flat = part.narrow(&self.buffers.weights, 0);
            match evaluate(&flat, &part.statistics)? {
                Some(evaluated) => all.extend(evaluated),
                None => return Ok(None),
            }
        }
        Ok(Some(all))
    }

    /// Loss, accuracy and the experiment's metrics on the test samples of every lane that is still
    /// trained, in their order; none if `stop` came true meanwhile.
    ///
    /// # Errors
    /// Libtorch's.
    pub fn test_unless(&self, stop: &dyn Fn() -> bool) -> Result<Option<Vec<Tested>>, TrainError> {
        if self.lanes.is_empty() {
            return Ok(Some(Vec::new()));
        }
        if self.trainer.metrics.is_empty() && self.trainer.ranks().is_some() {
            let evaluated = self.evaluate_unless(On::Test, stop)?;
            let tested = |evaluation| Tested {
                evaluation,
                metrics: Default::default(),
            };
            return Ok(evaluated.map(|all| all.into_iter().map(tested).collect()));
        }
        // Metrics are added up in the order of the samples: rank 0 does it alone.
        self.part_by_part(|flat, statistics| self.trainer.test_lanes(flat, statistics, stop))
    }

    /// Indices of the training samples that a lane's next step will see; of the first of the next
    /// epoch if this one is complete.
    ///
    /// # Errors
    /// If there is no such lane.
    pub fn next_samples(&self, lane: usize) -> Result<Vec<i64>, TrainError> {
        let lane = &self.lanes[self.slot(lane)?];
        let (mut epoch, mut step) = (self.position.epoch, self.position.step_in_epoch);
        if self.is_epoch_complete() {
            (epoch, step) = (epoch + 1, 0);
        }
        let samples = self.trainer.data.train.len();
        let order = batches::order(lane.seed, lane.order_level, epoch, samples);
        let size = self.trainer.step_samples as usize;
        let start = step as usize * size;
        Ok(order[start..order.len().min(start + size)].to_vec())
    }

    fn make_views(&mut self) {
        let trainer = self.trainer;
        let all = self.lanes.len();
        // Lanes that the network takes at once.
        let each = if trainer.lanes() { all.max(1) } else { 1 };
        let part = |lanes: Range<usize>| {
            let (start, len) = (lanes.start as i64, lanes.len() as i64);
            let views = |flat: &Tensor| trainer.layout.views(&flat.narrow(0, start, len));
            let leaf = |view: Tensor| view.detach().set_requires_grad(true);
            Part {
                leaves: views(&self.buffers.weights).into_iter().map(leaf).collect(),
                slopes: views(&self.buffers.gradients),
                statistics: match trainer.lanes() {
                    true => self.statistics.iter().map(Tensor::shallow_clone).collect(),
                    false => trainer.layout.lane_statistics(&self.statistics, start),
                },
                lanes,
            }
        };
        self.parts = (0..all)
            .step_by(each)
            .map(|first| part(first..first + each))
            .collect();
    }

    /// Indices of the next batch, `[lanes, batch]`, and what was drawn to change its images, `[3, lanes, batch]`.
    fn next_batch(&mut self) -> Result<(Tensor, Option<Tensor>), TrainError> {
        let (trainer, position) = (self.trainer, self.position);
        let more = position.epoch + 1 < self.epochs();
        let epoch = (self.epochs).at(trainer, &self.lanes, position.epoch, more)?;
        let (size, samples) = (trainer.step_samples as i64, trainer.data.train.len());
        let start = position.step_in_epoch as i64 * size;
        let len = size.min(samples - start);
        let draws = epoch.draws.as_ref().map(|it| it.narrow(2, start, len));
        Ok((epoch.order.narrow(1, start, len), draws))
    }

    /// What the random numbers of the next step are keyed by. Like the order of the samples and
    /// their augmentation, dropout is that of the level whose order is used.
    pub(super) fn step_keys(&self) -> Vec<StepKey> {
        let key = |lane: &Lane| StepKey {
            seed: lane.seed,
            moment: Moment {
                level: lane.order_level,
                epoch: self.position.epoch,
                step: self.position.step,
            },
            shard: None,
        };
        self.lanes.iter().map(key).collect()
    }
}

/// A failure to copy numbers from the device.
fn read_back(error: tch::TchError) -> TrainError {
    TrainError::ReadBack(error.to_string())
}
