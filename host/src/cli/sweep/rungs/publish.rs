//! Writing down what was decided, where several processes do.

use std::path::Path;

use super::Rungs;
use super::group::Group;
use crate::records::{Rung, STOPPED_FILE, StopRecord};
use crate::store::{self, Lock, StoreError};

impl Rungs {
    /// Writes down what was decided, for all who read the sweep. Where a record is there that decides at a rung to which, as
    /// far as this process sees, a cell has yet to come, it stays.
    ///
    /// # Errors
    /// Why it cannot be written.
    pub fn publish(&mut self, is_lost: &dyn Fn(usize) -> bool) -> Result<(), String> {
        if !self.are_there() || self.known.as_ref() == Some(&self.record) {
            return Ok(());
        }
        let lock = Lock::wait(&self.sweep.join("lock"), &|| false);
        let _lock = lock.map_err(|error| error.to_string())?;
        // What is damaged is written anew.
        let there = StopRecord::read(&self.sweep).unwrap_or_default();
        if there != self.record && self.known.as_ref() != Some(&there) {
            // Another process wrote it: cells may have come to rungs that this one did not see there.
            self.look_at_all();
            self.decide(is_lost);
        }
        if there != self.record && !self.is_behind(&there) {
            let written = self.record.write(&self.sweep);
            written.map_err(|error| error.to_string())?;
        }
        self.known = Some(self.record.clone());
        Ok(())
    }

    /// Whether a record decides at a rung where this process does not yet.
    fn is_behind(&self, other: &StopRecord) -> bool {
        let is_ahead = |group: &Group| {
            let own = |rung: &&Rung| group.has_written(&rung.part, &rung.within);
            let levels = other.rungs.iter().filter(own).map(|rung| rung.level);
            levels.max() >= group.open() && group.open().is_some()
        };
        self.groups.iter().any(is_ahead)
    }
}

/// Removes what was decided of a sweep that has no rungs any more.
///
/// # Errors
/// If it cannot be removed.
pub fn forget(sweep: &Path) -> Result<(), StoreError> {
    let path = sweep.join(STOPPED_FILE);
    match path.exists() {
        true => store::remove(&path),
        false => Ok(()),
    }
}
