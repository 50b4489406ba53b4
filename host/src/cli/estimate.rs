//! How long a run will take, from a few steps of it.

use std::time::{Duration, Instant};

use serde::Serialize;
use tch::{Cuda, Device};

use crate::trainer::{LaneStart, OptimizerState, Snapshot, TrainError, Trainer};

/// Steps that are not timed: the first ones set things up.
pub(super) const WARM_UP: usize = 2;
/// Steps that are timed, if there is time for them.
pub(super) const TIMED: usize = 5;
/// Fast steps are timed for this long.
const AT_LEAST: Duration = Duration::from_millis(200);
/// Time that an estimate may take, without reading the data and drawing the initial weights.
pub const AT_MOST: Duration = Duration::from_millis(2500);
/// Samples of a batch that any machine trains on in a moment: the first guess is made with them.
const FEW: u64 = 2;
/// Each look is at so many times the samples of the one before.
const GROWTH: u64 = 4;
/// Seeds that are timed side by side at most; the time of more grows with their number.
const MOST_LANES: usize = 16;

/// How long training will take.
#[derive(Clone, Debug, Serialize)]
pub struct Estimate {
    /// Steps that were timed.
    pub steps_timed: usize,
    /// Samples of each: those of the experiment's, or as many as there was time for.
    pub samples_timed: u64,
    /// Samples of the experiment's steps: a batch, or several where gradients are accumulated.
    pub batch_size: u64,
    /// Seeds that were timed side by side.
    pub seeds_timed: usize,
    /// Seeds that train side by side.
    pub seeds: usize,
    /// Seconds of a step, of all seeds that train side by side.
    pub seconds_per_step: f64,
    /// Seconds of all steps that are not done yet.
    pub seconds: f64,
}

impl Estimate {
    /// Times a few steps of the first level within `most`; `left` is the number of steps to do. Where
    /// whole batches would take too long, it is parts of them.
    ///
    /// # Errors
    /// If a step fails.
    pub fn new(
        trainer: Trainer,
        seeds: &[u64],
        left: u64,
        most: Duration,
    ) -> Result<Self, TrainError> {
        let begun = Instant::now();
        let batch_size = trainer.samples_of_a_step();
        let trainer = trainer.for_timing();
        let most_samples = trainer.samples_of_a_step();
        let seeds = if trainer.lanes() { seeds } else { &seeds[..1] };
        let timed = &seeds[..seeds.len().min(MOST_LANES)];
        let points: Vec<Snapshot> = timed.iter().map(|&seed| trainer.initial(seed)).collect();
        let starts = |trainer: &Trainer| {
            let start = |(&seed, point)| start(trainer, seed, point);
            timed.iter().zip(&points).map(start).collect()
        };
        let (mut trainer, mut samples) = trainer.in_parts_of(FEW);
        // Of what few samples take, most may be what any step takes: so more and more are looked at, as many as
        // there is surely time for.
        let (wanted, left_over) = loop {
            let looked = time(&trainer, starts(&trainer), 1, Duration::ZERO)?;
            let each = looked.seconds / samples as f64;
            let left_over = most.saturating_sub(begun.elapsed());
            let affordable = left_over.as_secs_f64() / (each * (WARM_UP + 2) as f64);
            let affordable = (affordable as u64).min(most_samples);
            let next = (samples * GROWTH).min(most_samples);
            if affordable <= next {
                break (affordable.max(samples), left_over);
            }
            (trainer, samples) = trainer.with_batches_of(most_samples).in_parts_of(next);
        };
        let (trainer, samples) = trainer.with_batches_of(most_samples).in_parts_of(wanted);
        let measured = time(&trainer, starts(&trainer), TIMED, left_over)?;
        let scale = batch_size as f64 / samples as f64 * seeds.len() as f64 / timed.len() as f64;
        let seconds_per_step = measured.seconds * scale;
        Ok(Self {
            steps_timed: measured.steps,
            samples_timed: samples,
            batch_size,
            seeds_timed: timed.len(),
            seeds: seeds.len(),
            seconds_per_step,
            seconds: seconds_per_step * left as f64,
        })
    }

    /// Whether whole batches of all seeds were timed.
    pub fn is_whole(&self) -> bool {
        self.samples_timed == self.batch_size && self.seeds_timed == self.seeds
    }

    /// What was timed, for people.
    pub fn source(&self) -> String {
        let mut text = format!("{} steps", self.steps_timed);
        if self.samples_timed < self.batch_size {
            text += &format!(
                " with {} of a batch's {} samples, scaled,",
                self.samples_timed, self.batch_size
            );
        }
        if self.seeds_timed < self.seeds {
            text += &format!(" of {} of {} seeds, scaled,", self.seeds_timed, self.seeds);
        }
        text.trim_end_matches(',').to_owned()
    }
}

/// What was measured.
pub(super) struct Measured {
    steps: usize,
    /// Of a step: the median, as another process may have held up one or two.
    pub seconds: f64,
}

/// Times `steps` steps and more if they are fast, or as many as fit into `most` or the level, at least one.
pub(super) fn time(
    trainer: &Trainer,
    starts: Vec<LaneStart>,
    steps: usize,
    most: Duration,
) -> Result<Measured, TrainError> {
    let begun = Instant::now();
    let mut session = trainer.session(starts)?;
    let (mut made, mut times, mut spent) = (0, Vec::new(), Duration::ZERO);
    loop {
        let late = begun.elapsed() >= most;
        let enough = times.len() >= steps && (spent >= AT_LEAST || late);
        if enough || (late && !times.is_empty()) {
            break;
        }
        if session.is_epoch_complete() {
            session.finish_epoch()?;
        }
        if session.is_complete() {
            break;
        }
        let before = Instant::now();
        session.step()?;
        wait_for(trainer.device());
        made += 1;
        if made > WARM_UP || (late && made > 1) {
            times.push(before.elapsed());
            spent += before.elapsed();
        }
    }
    times.sort();
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    Ok(Measured {
        steps: times.len(),
        seconds: median.as_secs_f64(),
    })
}

/// A device works on while the host prepares the next step.
fn wait_for(device: Device) {
    if let Device::Cuda(number) = device {
        Cuda::synchronize(number as i64);
    }
}

pub(super) fn start(trainer: &Trainer, seed: u64, point: &Snapshot) -> LaneStart {
    LaneStart {
        seed,
        order_level: 0,
        point: point.clone(),
        mask: trainer.dense_mask(),
        optimizer: OptimizerState::default(),
        schedule_start: 0,
        hold: None,
        resume: None,
    }
}
