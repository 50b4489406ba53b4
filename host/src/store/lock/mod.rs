//! One process at a time, on one machine or on many that share a folder.
//!
//! A lock is a folder of generations: who has the last one has the lock, until it is given back or its owner
//! is dead. An owner says every few seconds that it is at work. Who waits sees that change, or takes over
//! by making the next generation; and whoever was only slow asks before every write whether that happened.

mod claim;
mod generation;
mod owner;
mod watch;

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};
use std::{env, io};

use claim::Claim;
use generation::Refused;

use super::StoreError;
use crate::memory::why_unwritten;

pub use claim::mark;
pub(super) use claim::{Denied, MARK_LETTERS, ask};
pub use owner::{Owner, Presence, be_led};
pub use watch::{Standing, Watch};

/// How often somebody who waits looks whether it should stop.
const PATROL: Duration = Duration::from_millis(20);

/// A lock that stays held is looked at less and less often, down to once in this time: many may wait, and all of
/// them ask one file server.
const SELDOM: Duration = Duration::from_secs(1);

/// So often somebody may be faster, before it is the file system that is to blame.
const TRIES: usize = 1000;

/// The time without a beat after which this process counts as dead: a minute, or the seconds in `HOST_CLAIM_LIMIT`.
/// Longer than any pause that a healthy machine makes. It stands in each claim, so that who waits knows the owner's.
pub fn claim_limit() -> Duration {
    static LIMIT: OnceLock<Duration> = OnceLock::new();
    *LIMIT.get_or_init(|| {
        let seconds = env::var("HOST_CLAIM_LIMIT").ok();
        let seconds = seconds.and_then(|text| text.parse().ok());
        let limit = seconds.and_then(|it| Duration::try_from_secs_f64(it).ok());
        let limit = limit.filter(|it| *it >= Duration::from_millis(100));
        limit.unwrap_or(Duration::from_secs(60))
    })
}

/// Why a lock could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("{path} is in use by process {} on {}; wait for it or stop it, then run the same command again", .by.pid, .by.host)]
    Held {
        /// The lock.
        path: PathBuf,
        /// Who.
        by: Box<Owner>,
    },
    /// The file system.
    #[error(
        "failed to write {path} ({bytes} bytes), which says who uses the folder: {}", why_unwritten(.source)
    )]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Its length.
        bytes: usize,
        /// Why.
        source: io::Error,
    },
}

impl LockError {
    fn io(path: &Path, source: io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            bytes: 0,
            source,
        }
    }
}

impl From<Refused> for LockError {
    fn from(
        Refused {
            path,
            bytes,
            source,
        }: Refused,
    ) -> Self {
        Self::Io {
            path,
            bytes,
            source,
        }
    }
}

/// A lock on a folder, held until dropped. If the process dies, or does not say for a minute that it is at work,
/// others may take it over; from then on it writes nothing into that folder any more.
#[derive(Debug)]
pub struct Lock {
    claim: Arc<Claim>,
    /// Whether nobody had it before, but who lent it.
    is_first: bool,
}

/// Name of a lock in the folder that it is of.
pub(super) const NAME: &str = "lock";

impl Lock {
    /// Takes the lock or fails with who holds it. That is known at once if the owner is another process of
    /// this machine; one of another machine is watched until it is seen to be at work, or dead.
    ///
    /// # Errors
    /// If another process has it, or the file system refuses.
    pub fn take(path: &Path) -> Result<Self, LockError> {
        let mut watch = Watch::new(path);
        let mut told = false;
        loop {
            match Self::attempt(path, &mut watch) {
                Err(LockError::Held { by, .. })
                    if by.presence() == Presence::Unseen
                        && !watch.has_seen_work()
                        // The lock of an earlier version is the system's, which knows.
                        && !path.is_file() =>
                {
                    if !std::mem::replace(&mut told, true) {
                        log::info!(
                            "looks whether process {} on {} is still at work on {}, for {} s at most",
                            by.pid,
                            by.host,
                            folder_of(path).display(),
                            by.limit.unwrap_or_else(|| claim_limit().as_secs_f64())
                        );
                    }
                    thread::sleep(PATROL);
                }
                other => return other,
            }
        }
    }

    /// Waits until the lock is free or its owner is dead; none if `stop` came true meanwhile.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn wait(path: &Path, stop: &dyn Fn() -> bool) -> Result<Option<Self>, LockError> {
        let mut watch = Watch::new(path);
        let mut told = false;
        let mut pause = PATROL;
        loop {
            match Self::attempt(path, &mut watch) {
                Err(LockError::Held { by, .. }) => {
                    if !std::mem::replace(&mut told, true) {
                        log::info!(
                            "waits for process {} on {}, which uses {}",
                            by.pid,
                            by.host,
                            folder_of(path).display()
                        );
                    }
                }
                other => return other.map(Some),
            }
            let looked = Instant::now();
            while looked.elapsed() < pause {
                if stop() {
                    return Ok(None);
                }
                thread::sleep(PATROL);
            }
            pause = (pause * 2).min(SELDOM);
        }
    }

    /// As [`take`](Self::take); but if the process that has it was led by one that is gone, and so is about to
    /// leave, waits for that so long.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    pub fn take_within(path: &Path, patience: Duration) -> Result<Self, LockError> {
        let start = Instant::now();
        loop {
            match Self::take(path) {
                Err(LockError::Held { by, .. })
                    if by.is_orphan() && start.elapsed() <= patience =>
                {
                    thread::sleep(PATROL);
                }
                other => return other,
            }
        }
    }

    /// Whether nobody had the folder before, so that this machine has seen nothing of it that is old.
    pub fn is_first(&self) -> bool {
        self.is_first
    }

    /// Lets a process that this one leads take the lock over, whenever it comes to it. Until then it is this one's,
    /// and nobody else's.
    pub fn lend(&self) {
        self.claim.lend();
    }

    /// Gives the lock back and leaves nothing of it.
    ///
    /// # Errors
    /// If the file system refuses, or another process took it over.
    pub fn remove(self) -> Result<(), StoreError> {
        let lock = self.claim.lock();
        super::ask(lock)?;
        // No beat brings it back. Whoever finds nothing there begins anew.
        self.claim.forget();
        match fs::remove_dir_all(lock) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(StoreError::Remove {
                path: lock.to_owned(),
                source,
            }),
            _ => Ok(()),
        }
    }

    /// Who holds the lock at the moment, as far as can be told without waiting: one of another machine that died
    /// without a word still does. Nothing is written.
    pub fn holder(path: &Path) -> Option<Owner> {
        match Watch::new(path).look() {
            Ok(Standing::Held(by)) => Some(by),
            _ => None,
        }
    }

    /// How long its owner had the lock when it said last that it was at work, by the clock of the file system
    /// alone; none if nobody has it or that was not said yet.
    pub fn held_for(path: &Path) -> Option<Duration> {
        generation::age(path).ok().flatten()
    }

    /// Takes the lock if it is free or its owner is dead, as far as `watch` has seen.
    ///
    /// # Errors
    /// If another process has it, or the file system refuses.
    pub fn attempt(path: &Path, watch: &mut Watch) -> Result<Self, LockError> {
        remove_file_of_earlier_version(path)?;
        for _ in 0..TRIES {
            let look = watch.look_closely();
            let (standing, number) = look.map_err(|error| LockError::io(path, error))?;
            if let Standing::Held(by) = &standing
                && !by.lends_to_this_process()
            {
                return Err(LockError::Held {
                    path: path.to_owned(),
                    by: Box::new(by.clone()),
                });
            }
            let is_lent = matches!(standing, Standing::Held(_));
            let (since, own) = (claim::clock(), Owner::here());
            if !generation::make(path, number + 1, &own)? {
                continue;
            }
            if let Standing::Dead(before) = standing {
                log::info!(
                    "took over the lock of process {} on {}, which ended without releasing it",
                    before.pid,
                    before.host
                );
            }
            generation::tidy(path, number + 1);
            let claim = Claim::keep(path, number + 1, since);
            return Ok(Self {
                claim: claim.map_err(|error| LockError::io(path, error))?,
                is_first: number == u64::from(is_lent),
            });
        }
        let reason = "the file system shows one state of it and keeps another";
        Err(LockError::io(path, io::Error::other(reason)))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.claim.release();
    }
}

/// The folder that a lock is of.
fn folder_of(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

/// Earlier versions had a file in the lock's place, with `flock` on it.
fn remove_file_of_earlier_version(path: &Path) -> Result<(), LockError> {
    if !path.is_file() {
        return Ok(());
    }
    let Ok(file) = File::open(path) else {
        return Ok(());
    };
    if let Err(TryLockError::WouldBlock) = file.try_lock() {
        let by = fs::read(path).ok();
        let by = by.and_then(|text| serde_json::from_slice(&text).ok());
        return Err(LockError::Held {
            path: path.to_owned(),
            by: Box::new(by.unwrap_or_else(Owner::unknown)),
        });
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(LockError::io(path, error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
