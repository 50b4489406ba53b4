//! A step up to the gradients, shard by shard.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread::{self, ScopedJoinHandle};

use kernels::{Meeting, Perceptron};
use tch::Tensor;

use super::bundle::Bundle;
use super::exchange::Exchange;
use super::slot::{Common, Job, Slot};
use super::tree::{self, Node};
use crate::trainer::perceptron::Hand;
use crate::trainer::{Session, TrainError};

/// What a session keeps from step to step where batches are cut into shards.
pub(in crate::trainer) struct Workshop {
    slots: Vec<Slot>,
    /// Bundles that nobody uses.
    free: Vec<Bundle>,
    /// That of the last step, whose gradients are the session's.
    last: Option<Bundle>,
    /// Of several processes.
    exchange: Option<Exchange>,
}

/// What a shard's samples came to, for each lane.
type Results = Vec<(f64, i64)>;

impl Workshop {
    fn new(session: &Session<'_>) -> Result<Self, TrainError> {
        let (trainer, lanes) = (session.trainer, session.lanes.len());
        let shards = &trainer.shards;
        let own = shards.share().shards;
        let own = (own.end - own.start) as usize;
        let by_hand = session.hand.is_some();
        let slot = || -> Result<Slot, TrainError> {
            let leaf = |view: Tensor| view.detach().set_requires_grad(true);
            let views = trainer.layout.views(&session.buffers.weights);
            let [losses, right] = Slot::results(lanes as i64, trainer.device);
            let plan = trainer.perceptron.as_ref().filter(|_| by_hand);
            let (taps, compact) = match lanes {
                1 => {
                    let mask = session.buffers.mask.select(0, 0);
                    (trainer.taps(&mask)?, trainer.compact(&mask))
                }
                _ => (None, None),
            };
            Ok(Slot {
                leaves: views.into_iter().map(leaf).collect(),
                weights: session.buffers.weights.shallow_clone(),
                before: (session.statistics.iter())
                    .map(Tensor::shallow_clone)
                    .collect(),
                statistics: session.statistics.iter().map(Tensor::copy).collect(),
                taps,
                compact,
                perceptron: plan.map(|plan| Perceptron::new(plan.layers().to_vec())),
                losses,
                right,
            })
        };
        // Batch norms that see the whole batch need all shards under way at once.
        let slots = match shards.synchronised {
            true => own,
            false => shards.abreast.clamp(1, own),
        };
        Ok(Self {
            slots: (0..slots).map(|_| slot()).collect::<Result<_, _>>()?,
            free: Vec::new(),
            last: None,
            exchange: None,
        })
    }

    fn take(&mut self, session: &Session<'_>) -> Bundle {
        let trainer = session.trainer;
        self.free.pop().unwrap_or_else(|| {
            let lanes = session.lanes.len() as i64;
            Bundle::new(&trainer.layout, lanes, &session.statistics, trainer.device)
        })
    }
}

impl Session<'_> {
    /// The gradients of a batch, and its running statistics, from its shards.
    ///
    /// # Shapes
    /// `index`: `[lanes, batch]`; `draws`: `[3, lanes, batch]`; results: `[lanes]`, f64 losses and i64 right answers.
    pub(in crate::trainer) fn step_in_shards(
        &mut self,
        (index, draws): (&Tensor, Option<&Tensor>),
        [losses, right]: &[Tensor; 2],
    ) -> Result<(), TrainError> {
        let trainer = self.trainer;
        let (share, batch) = (trainer.shards.share(), index.size()[1]);
        self.update_hand();
        let mut workshop = match self.workshop.take() {
            Some(workshop) => workshop,
            None => Workshop::new(self)?,
        };
        if let Some(last) = workshop.last.take() {
            workshop.free.push(last);
        }
        let works = self.works((index, draws))?;
        let mut sums: Vec<(Node, Bundle)> = Vec::new();
        let [mut of_losses, mut of_right] = [losses, right].map(|sum| sum.shallow_clone().zero_());
        let mut results: Vec<Results> = Vec::new();
        let mut works = works.into_iter();
        let mut shard = share.shards.start;
        while shard < share.shards.end {
            let end = (shard + workshop.slots.len() as u64).min(share.shards.end);
            let mut round = Vec::new();
            for (shard, work) in (shard..end).zip(&mut works) {
                let samples = share.samples_of(shard, batch);
                let keys = self.keys_of(shard);
                let share = (samples.end - samples.start) as f64 / batch as f64;
                round.push((workshop.take(self), work, keys, share));
            }
            let jobs = workshop.slots.iter_mut().zip(round);
            let jobs = jobs.map(|(slot, (bundle, work, keys, share))| Job {
                slot,
                bundle,
                work,
                keys,
                share,
            });
            let made = self.side_by_side(jobs.collect())?;
            for (at, bundle) in made.into_iter().enumerate() {
                let node = shard + at as u64..shard + at as u64 + 1;
                add_up(share.count, &mut sums, &mut workshop.free, (node, bundle));
                let slot = &workshop.slots[at];
                match trainer.shards.ranks {
                    Some(_) => results.push(slot.results_of_lanes()?),
                    // Where they are: a GPU is not waited for.
                    None => {
                        let _ = of_losses.g_add_(&slot.losses);
                        let _ = of_right.g_add_(&slot.right);
                    }
                }
            }
            shard = end;
        }
        let (sum, results) = self.over_ranks(sums, results, &mut workshop)?;
        if trainer.shards.ranks.is_some() {
            write(&results, losses, right)?;
        }
        for (running, moves) in self.statistics.iter().zip(&sum.moves) {
            let _ = running.shallow_clone().g_add_(moves);
        }
        self.buffers.gradients = sum.gradients.shallow_clone();
        workshop.last = Some(sum);
        self.workshop = Some(workshop);
        Ok(())
    }

    /// The survivors of a perceptron that is trained without autograd.
    fn update_hand(&mut self) {
        let Some(plan) = self.trainer.perceptron.as_ref().filter(|plan| plan.trains) else {
            return;
        };
        let lanes = self.lanes.len();
        let hand = self.hand.get_or_insert_with(|| Hand::new(plan, lanes));
        hand.update(plan, &self.buffers.mask, &mut self.buffers.gradients);
    }

    /// Computes shards, each on a thread of its own.
    fn side_by_side(&self, jobs: Vec<Job<'_>>) -> Result<Vec<Bundle>, TrainError> {
        let trainer = self.trainer;
        let common = Common {
            network: &*trainer.network,
            objective: trainer.objective(),
            precision: trainer.precision,
            device: trainer.device,
            with_lanes: trainer.lanes(),
            survivors: self.hand.as_ref().map_or(&[], |hand| hand.survivors()),
        };
        let shards = &trainer.shards;
        let meeting = shards.synchronised.then(|| {
            let across = shards.ranks.clone().map(|ranks| {
                let gather =
                    move |own: &[f64]| ranks.gather_numbers(own).map_err(|error| error.to_string());
                Box::new(gather) as kernels::Across
            });
            let count = shards.count as usize;
            Meeting::new(jobs.len(), count, shards.abreast.max(1), across)
        });
        let meeting = meeting.as_ref();
        let threads = tch::get_num_threads();
        let compute = |place: usize, job: Job<'_>| match meeting {
            Some(meeting) => meeting.attend(place, || job.run(common)),
            None => job.run(common),
        };
        let made = thread::scope(|scope| {
            let mut jobs = jobs.into_iter().enumerate();
            let first = jobs.next();
            let compute = &compute;
            let mut others = Vec::new();
            for (place, job) in jobs {
                let work = move || {
                    // A thread starts with as many as the machine has cores.
                    tch::set_num_threads(threads);
                    compute(place, job)
                };
                let builder = thread::Builder::new().name(format!("shard-{place}"));
                let started = builder.spawn_scoped(scope, work).inspect_err(|_| {
                    // The others would wait for it in their batch norms.
                    let _ = meeting.inspect(|meeting| meeting.fail("a thread is missing"));
                });
                others.push(started.map_err(|error| TrainError::Thread(error.to_string()))?);
            }
            let of_first = |(place, job)| catch_unwind(AssertUnwindSafe(|| compute(place, job)));
            let mut made: Vec<thread::Result<_>> = first.into_iter().map(of_first).collect();
            made.extend(others.into_iter().map(ScopedJoinHandle::join));
            Ok::<_, TrainError>(made)
        });
        // A shard whose meeting failed knows no more than that.
        if let Some(ranks) = &shards.ranks
            && let Some(reason) = meeting.and_then(Meeting::failure)
        {
            ranks.trouble().check()?;
            log::debug!("the shards of a batch did not meet: {reason}");
        }
        let each = made?.into_iter();
        each.map(|made| made.unwrap_or_else(|panic| resume_unwind(panic)))
            .collect()
    }

    /// The sum over the shards of all processes, and what each shard's samples came to: of rank 0 all of them.
    fn over_ranks(
        &self,
        sums: Vec<(Node, Bundle)>,
        mut results: Vec<Results>,
        workshop: &mut Workshop,
    ) -> Result<(Bundle, Vec<Results>), TrainError> {
        let mut sums: Vec<Bundle> = sums.into_iter().map(|(_, bundle)| bundle).collect();
        if let (Some(ranks), Some(first)) = (&self.trainer.shards.ranks, sums.first()) {
            let share = self.trainer.shards.share();
            if !ranks.leads() {
                ranks.answer(&serde_json::to_vec(&bits_of(&results)).unwrap_or_default())?;
            }
            let numbers = first.flat.numel() as i64;
            (workshop.exchange)
                .get_or_insert_with(|| Exchange::new(ranks, &share, numbers))
                .add_up(ranks, share.count, &sums)?;
            for rank in 1..ranks.count() {
                if ranks.leads() {
                    let words = ranks.answer_of(rank)?;
                    let bits: Vec<Vec<(u64, i64)>> =
                        serde_json::from_slice(&words).map_err(|_| TrainError::Letter)?;
                    let of_shard = |shard: Vec<(u64, i64)>| -> Results {
                        let each = shard.into_iter();
                        each.map(|(loss, right)| (f64::from_bits(loss), right))
                            .collect()
                    };
                    results.extend(bits.into_iter().map(of_shard));
                }
            }
        }
        workshop.free.extend(sums.drain(1..));
        let sum = sums.pop();
        sum.map(|sum| (sum, results))
            .ok_or_else(|| TrainError::Thread("no shard was computed".to_owned()))
    }
}

/// Results in a form that JSON keeps to the last bit, also where they are no finite numbers.
fn bits_of(results: &[Results]) -> Vec<Vec<(u64, i64)>> {
    let of_lane = |(loss, right): &(f64, i64)| (loss.to_bits(), *right);
    let of_shard = |shard: &Results| shard.iter().map(of_lane).collect();
    results.iter().map(of_shard).collect()
}

/// Adds a sum of shards to those that are there, as far as they are neighbours in the tree.
fn add_up(
    count: u64,
    sums: &mut Vec<(Node, Bundle)>,
    free: &mut Vec<Bundle>,
    (mut node, mut bundle): (Node, Bundle),
) {
    while let Some((before, mut sum)) = sums.pop_if(|(before, _)| {
        before.end == node.start && tree::has(count, &(before.start..node.end))
    }) {
        sum.add(&bundle);
        free.push(std::mem::replace(&mut bundle, sum));
        node = before.start..node.end;
    }
    sums.push((node, bundle));
}

impl Slot {
    fn results_of_lanes(&self) -> Result<Results, TrainError> {
        let read = |error: tch::TchError| TrainError::ReadBack(error.to_string());
        let losses = Vec::<f64>::try_from(&self.losses).map_err(read)?;
        let right = Vec::<i64>::try_from(&self.right).map_err(read)?;
        Ok(losses.into_iter().zip(right).collect())
    }
}

/// Writes the sums of the shards' results, in the shards' order.
fn write(results: &[Results], losses: &Tensor, right: &Tensor) -> Result<(), TrainError> {
    let lanes = losses.size()[0] as usize;
    let sum = |lane: usize| results.iter().map(|shard| shard[lane].0).sum::<f64>();
    let count = |lane: usize| results.iter().map(|shard| shard[lane].1).sum::<i64>();
    let all: Vec<f64> = (0..lanes).map(sum).collect();
    losses.shallow_clone().copy_(&Tensor::from_slice(&all));
    let all: Vec<i64> = (0..lanes).map(count).collect();
    right.shallow_clone().copy_(&Tensor::from_slice(&all));
    Ok(())
}
