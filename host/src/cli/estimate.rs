//! How long a run will take, from a few steps of it.

use std::time::Instant;

use serde::Serialize;
use tch::{Cuda, Device};

use crate::levels::Course;
use crate::trainer::{LaneStart, OptimizerState, TrainError, Trainer};

/// Steps that are not timed: the first ones set things up.
const WARM_UP: u64 = 2;
/// Steps that are timed, if there is time for them.
const TIMED: usize = 5;
/// Fast steps are timed for this long, in seconds.
const AT_LEAST: f64 = 0.2;
/// Slow steps are timed for this long at most, in seconds.
const AT_MOST: f64 = 3.0;

/// How long training will take.
#[derive(Clone, Debug, Serialize)]
pub struct Estimate {
    /// Steps that were timed.
    pub steps_timed: usize,
    /// Seconds of a step, of all seeds that train side by side.
    pub seconds_per_step: f64,
    /// Seconds of all steps that are not done yet.
    pub seconds: f64,
}

impl Estimate {
    /// Times a few steps of the first level; `left` is the number of steps to do. None if an epoch
    /// is too short to time one.
    ///
    /// # Errors
    /// If a step fails.
    pub fn new(course: &Course<'_>, threads: usize, left: u64) -> Result<Option<Self>, TrainError> {
        let trainer = course.trainer;
        let seeds = &course.experiment.seeds;
        let lanes = if trainer.lanes() { seeds.len() } else { 1 };
        tch::set_num_threads(threads as i32);
        let starts = seeds[..lanes].iter().map(|&seed| start(trainer, seed));
        let mut session = trainer.session(starts.collect())?;
        let (mut times, mut seconds) = (Vec::new(), 0.0);
        for step in 0.. {
            let enough = times.len() >= TIMED && seconds >= AT_LEAST || seconds >= AT_MOST;
            if enough || session.is_epoch_complete() {
                break;
            }
            let before = Instant::now();
            session.step()?;
            wait_for(trainer.device());
            if step >= WARM_UP {
                let time = before.elapsed().as_secs_f64();
                times.push(time);
                seconds += time;
            }
        }
        // The median: another process may have held up a step or two.
        times.sort_by(f64::total_cmp);
        let median = times.get(times.len() / 2);
        Ok(median.map(|&seconds_per_step| Self {
            steps_timed: times.len(),
            seconds_per_step,
            seconds: seconds_per_step * left as f64,
        }))
    }
}

/// A device works on while the host prepares the next step.
fn wait_for(device: Device) {
    if let Device::Cuda(number) = device {
        Cuda::synchronize(number as i64);
    }
}

fn start(trainer: &Trainer, seed: u64) -> LaneStart {
    LaneStart {
        seed,
        order_level: 0,
        point: trainer.initial(seed),
        mask: trainer.dense_mask(),
        optimizer: OptimizerState::default(),
        schedule_start: 0,
        hold: None,
        resume: None,
    }
}
