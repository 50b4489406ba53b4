//! Seeds that cannot go on, while the others do; and what an end at the wrong moment left behind.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;

use super::course::checkpoint;
use super::error::RunError;
use super::{Course, Event, Observer, Seed};
use crate::memory::{shortage, text_of};
use crate::store::{StoreError, remove};

/// Does something that may run out of memory, which `tch` panics of.
pub(crate) fn caught<T>(work: impl FnOnce() -> Result<T, RunError>) -> Result<T, RunError> {
    // What a panic leaves half done is the seeds' that were trained, and these are given up.
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result,
        Err(panic) => match shortage(text_of(&*panic)) {
            Some(shortage) => Err(RunError::Memory(shortage)),
            None => resume_unwind(panic),
        },
    }
}

impl Course<'_> {
    /// Gives up the seeds of a group that ran out of memory; other errors stop the run.
    pub(super) fn go_on_without(
        &self,
        level: u64,
        seeds: &[Seed],
        group: &[usize],
        error: RunError,
        failed: &mut Vec<(u64, String)>,
        observer: &mut dyn Observer,
    ) -> Result<(), RunError> {
        // Which levels are done is read from the disk; and what was not written may be why a component failed.
        let error = caught(|| self.ends.settle()).err().unwrap_or(error);
        // The other ranks are in the middle of it.
        if self.trainer.ranks().is_some() {
            return Err(error);
        }
        let text = error.to_string();
        let (RunError::Memory(_) | RunError::Train(_) | RunError::Strategy { .. }) = &error else {
            return Err(error);
        };
        let Some(shortage) = shortage(&text) else {
            return Err(error);
        };
        let fewer = match group.len() {
            1 => "",
            _ => ", run fewer seeds at a time (--seeds)",
        };
        // A strategy that asked for more than there is is named: it may be its fault.
        let what = match &error {
            RunError::Strategy { .. } => &text,
            _ => &shortage,
        };
        let reason = format!(
            "{what}; make memory free{fewer} or raise the limit, then run the same command again: it goes \
             on from the last checkpoint"
        );
        for &index in group {
            let seed = seeds[index].seed;
            let is_done = self.run.seed(seed).level(level).file("done.json").exists();
            if !is_done && failed.iter().all(|(other, _)| *other != seed) {
                self.give_up(seed, level, reason.clone(), failed, observer)?;
            }
        }
        Ok(())
    }

    /// Says on disk and to the observer why a seed is given up.
    pub(super) fn give_up(
        &self,
        seed: u64,
        level: u64,
        reason: String,
        failed: &mut Vec<(u64, String)>,
        observer: &mut dyn Observer,
    ) -> Result<(), RunError> {
        // What ended before removes the reason of an earlier failure.
        self.ends.settle()?;
        let text = serde_json::json!({ "seed": seed, "level": level, "reason": reason });
        let path = self.run.seed(seed).failure();
        crate::store::write(&path, format!("{text:#}\n").as_bytes())?;
        observer.observe(&Event::SeedFailed {
            seed,
            level,
            reason: &reason,
        });
        failed.push((seed, reason));
        Ok(())
    }

    /// Removes what a process that was killed left of a seed whose first unfinished level is `next`: a
    /// checkpoint of a finished level, and a failure that the seed got past.
    pub(super) fn tidy(&self, seed: &Seed, next: u64) -> Result<(), RunError> {
        if next > self.experiment.last_level() {
            checkpoint::remove(&self.run.seed(seed.seed))?;
        }
        self.forget_failure(seed.seed, next)
    }

    /// Removes the reason why a seed was given up if it got past that level.
    pub(super) fn forget_failure(&self, seed: u64, next: u64) -> Result<(), RunError> {
        Ok(forget_failure(&self.run.seed(seed).failure(), next)?)
    }
}

/// Removes the file that says why a seed was given up if that was before this level.
pub(super) fn forget_failure(path: &Path, next: u64) -> Result<(), StoreError> {
    let Ok(text) = fs::read(path) else {
        return Ok(());
    };
    let known: Option<serde_json::Value> = serde_json::from_slice(&text).ok();
    let level = known.and_then(|failure| failure["level"].as_u64());
    if level.is_none_or(|level| level < next) {
        remove(path)?;
    }
    Ok(())
}
