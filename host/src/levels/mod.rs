//! The level loop: train, record, score, mask, rewind.
//!
//! Seeds that stand at the same place train side by side as lanes of one session. A level starts
//! from what the level before left on disk, whether that was written a moment or a month ago: going
//! on after an interruption is the ordinary path. What is still being written it gets from memory.

mod acting;
mod course;
mod dense;
mod epoch;
mod error;
mod event;
mod finish;
mod give_up;
pub mod invariants;
mod level;
mod queue;
mod running;
mod shared;
mod taught;
mod tested;
mod update;

use std::time::Duration;

pub(crate) use course::checkpoint::read_text as read_checkpoint_text;
pub use course::checkpoint::{
    check_checkpoint, epochs_so_far, path as checkpoint_of, place as place_of,
};
pub(crate) use course::guarded::is_gradual;
pub use course::{Course, Ends, Length, Replayed, Seed};
pub use error::RunError;
pub use event::{Event, Observer};
pub(crate) use give_up::caught;
pub(crate) use running::{Carry, ScheduleStart};
pub use shared::{FILES as DENSE_FILES, states as carried_states};
pub use taught::{Untaught, teacher};
pub(crate) use tested::{classes_of, summary_of};

use crate::interrupt::Interrupt;
use dense::{Goal, Part};
use level::Pause;
use queue::Queue;

/// How a run came to its end.
#[derive(Debug)]
pub enum Outcome {
    /// Every seed is at its last level, or was given up.
    Finished {
        /// Seeds that were given up, with the reason.
        failed: Vec<(u64, String)>,
    },
    /// The user stopped it; the same command goes on from here.
    Interrupted,
}

/// A run of an experiment.
pub struct Levels<'a> {
    /// What is run, from where to where.
    pub course: Course<'a>,
    /// Threads to compute with.
    pub threads: usize,
    /// Time between two checkpoints within a level.
    pub checkpoint_every: Duration,
    /// What the user asks for by signals.
    pub interrupt: Interrupt,
    /// The last level to train; the experiment's last if not given.
    pub to_level: Option<u64>,
}

impl Levels<'_> {
    /// Runs what is not done yet.
    ///
    /// # Errors
    /// What stopped the whole run; what was finished stays.
    pub fn run(
        &self,
        seeds: &mut [Seed],
        observer: &mut dyn Observer,
    ) -> Result<Outcome, RunError> {
        let Some(mut queue) = Queue::new(self, seeds, observer)? else {
            return Ok(Outcome::Interrupted);
        };
        let pause = self.levels(seeds, &mut queue, observer);
        // Whatever came of the run, what its levels ended with is written.
        let settled = self.course.ends.settle();
        let told = queue.tell_written(&self.course, seeds, observer);
        match pause? {
            Pause::Interrupted => settled.and(told).map(|()| Outcome::Interrupted),
            Pause::Done => settled.and(told).map(|()| Outcome::Finished {
                failed: queue.failed,
            }),
        }
    }

    fn levels(
        &self,
        seeds: &mut [Seed],
        queue: &mut Queue,
        observer: &mut dyn Observer,
    ) -> Result<Pause, RunError> {
        while let Some((level, group)) = queue.next(&self.course, seeds, self.last_level()) {
            match self.level(level, seeds, &group, queue, observer)? {
                Pause::Done => queue.pass(&self.course, level, seeds, &group)?,
                Pause::Interrupted => return Ok(Pause::Interrupted),
            }
        }
        Ok(Pause::Done)
    }

    fn last_level(&self) -> u64 {
        let last = self.course.experiment.last_level();
        self.to_level.map_or(last, |it| it.min(last))
    }

    /// One level of the seeds that stand at the same place. What it starts from is made of the level
    /// before it: scores, a mask of them, and what the mask leaves is rewound.
    fn level(
        &self,
        level: u64,
        seeds: &mut [Seed],
        group: &[usize],
        queue: &mut Queue,
        observer: &mut dyn Observer,
    ) -> Result<Pause, RunError> {
        // Another experiment may train the same dense level, or have trained it meanwhile.
        let Some(_locks) = self.wait_for_dense(level, seeds, group)? else {
            return Ok(Pause::Interrupted);
        };
        for part in self.course.adopt_dense(level, seeds, group)? {
            if let Pause::Interrupted = self.part(level, seeds, &part, queue, observer)? {
                return Ok(Pause::Interrupted);
            }
        }
        Ok(Pause::Done)
    }

    /// What of a level is to be trained, of the seeds of which the same is.
    fn part(
        &self,
        level: u64,
        seeds: &mut [Seed],
        part: &Part,
        queue: &mut Queue,
        observer: &mut dyn Observer,
    ) -> Result<Pause, RunError> {
        let mut train_and_record = || {
            // Score, mask, rewind.
            let Some(sessions) = self.start(level, seeds, part, observer)? else {
                return Ok(Pause::Interrupted);
            };
            tch::set_num_threads(self.threads as i32);
            for (mut running, starts) in sessions {
                let mut session = self.course.trainer.session(starts)?;
                let Some(tests) = self.train(&mut session, &mut running, seeds, queue, observer)?
                else {
                    return Ok(Pause::Interrupted);
                };
                match part.goal {
                    Goal::Level => {
                        self.record(level, &session, &running, seeds, &tests)?;
                        queue.tell_written(&self.course, seeds, observer)?;
                    }
                    Goal::Points => self.course.take_points(seeds, part)?,
                }
            }
            Ok(Pause::Done)
        };
        match give_up::caught(&mut train_and_record) {
            Err(error) => {
                let failed = &mut queue.failed;
                self.course
                    .go_on_without(level, seeds, &part.seeds, error, failed, observer)?;
                Ok(Pause::Done)
            }
            pause => pause,
        }
    }
}
