//! Looking at a lock from outside, again and again: its owner is at work, or dead.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::generation::{self, Generation};
use super::owner::{Owner, Presence};

/// How a lock stands.
#[derive(Clone, Debug, PartialEq)]
pub enum Standing {
    /// Nobody has it.
    Free,
    /// A process has it.
    Held(Owner),
    /// A process had it that is dead.
    Dead(Owner),
}

/// What was seen of a lock so far. An owner whose beat does not change for so long as it said itself
/// counts as dead. The time is this process's own: clocks of two machines are never compared.
#[derive(Debug)]
pub struct Watch {
    lock: PathBuf,
    seen: Option<Seen>,
}

#[derive(Debug)]
struct Seen {
    number: u64,
    beat: Option<Vec<u8>>,
    since: Instant,
    /// Time without a change after which its owner counts as dead, as that one said.
    limit: Duration,
    /// Whether it changed since it was first looked at.
    has_changed: bool,
}

impl Watch {
    /// Nothing is known of this lock yet.
    pub fn new(lock: &Path) -> Self {
        Self {
            lock: lock.to_owned(),
            seen: None,
        }
    }

    /// How the lock stands now. Nothing is written.
    ///
    /// # Errors
    /// If its folder cannot be read.
    pub fn look(&mut self) -> io::Result<Standing> {
        Ok(self.look_closely()?.0)
    }

    /// Whether the owner was seen to be at work since it was first looked at.
    pub fn has_seen_work(&self) -> bool {
        self.seen.as_ref().is_some_and(|seen| seen.has_changed)
    }

    /// How long ago its owner's beat was seen to change; none if it was not.
    pub fn since(&self) -> Option<Duration> {
        let seen = self.seen.as_ref().filter(|seen| seen.has_changed)?;
        Some(seen.since.elapsed())
    }

    /// Whether its owner's beat was seen to change a moment ago: it beats three times within that, or who looks once
    /// a second looks five times.
    pub fn is_at_work(&self) -> bool {
        let Some(seen) = &self.seen else { return false };
        let recent = (seen.limit / 4).max(Duration::from_secs(5));
        self.since().is_some_and(|since| since < recent)
    }

    /// How the lock stands, and the number of its last generation, 0 if there is none.
    pub(super) fn look_closely(&mut self) -> io::Result<(Standing, u64)> {
        let Some(last) = generation::last(&self.lock)? else {
            return Ok((Standing::Free, 0));
        };
        let number = last.number;
        let standing = if last.is_released {
            Standing::Free
        } else if last.owner.presence() == Presence::Gone || self.is_silent(&last) {
            Standing::Dead(last.owner)
        } else {
            Standing::Held(last.owner)
        };
        Ok((standing, number))
    }

    /// Whether the beat has not changed for too long.
    fn is_silent(&mut self, last: &Generation) -> bool {
        match &mut self.seen {
            Some(seen) if seen.number == last.number && seen.beat == last.beat => {
                return seen.since.elapsed() > seen.limit;
            }
            seen => {
                *seen = Some(Seen {
                    number: last.number,
                    beat: last.beat.clone(),
                    since: Instant::now(),
                    limit: last.owner.limit(),
                    // A lock that changed hands is at work, too.
                    has_changed: seen.is_some(),
                });
            }
        }
        false
    }
}
