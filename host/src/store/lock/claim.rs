//! The locks that this process has: it says that it is at work, and asks before it writes whether it still
//! has them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use super::claim_limit;
use super::generation::{self, Refused};
use super::owner::Owner;

/// So many beats are due within the time after which an owner counts as dead.
const BEATS: u32 = 12;

/// A lock that this process has, or had.
#[derive(Debug)]
pub(super) struct Claim {
    lock: PathBuf,
    /// The folder that is locked, with all that lies in it.
    folder: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    number: u64,
    /// Number of beats.
    count: u64,
    /// When the last beat began that was written, or the generation was made.
    last: Duration,
    /// Who has it now, if that is another one.
    lost_to: Option<Owner>,
    /// Whether another one may take it.
    is_lent: bool,
}

/// Why nothing may be written.
pub(in crate::store) enum Denied {
    /// Another process took the lock over.
    Lost { lock: PathBuf, by: Owner },
    /// The file system does not let this process say that it is at work.
    Refused(Refused),
}

impl Claim {
    /// A generation that this process has made, beginning at `since`; it is in order from now on.
    ///
    /// # Errors
    /// If the thread that says so cannot be started.
    pub fn keep(lock: &Path, number: u64, since: Duration) -> io::Result<Arc<Self>> {
        let claim = Arc::new(Self {
            lock: lock.to_owned(),
            folder: lock.parent().unwrap_or(lock).to_owned(),
            state: Mutex::new(State {
                number,
                count: 0,
                last: since,
                lost_to: None,
                is_lent: false,
            }),
        });
        start_beating()?;
        let mut all = claims();
        all.retain(|it| it.strong_count() > 0);
        all.push(Arc::downgrade(&claim));
        Ok(claim)
    }

    /// The lock's folder.
    pub fn lock(&self) -> &Path {
        &self.lock
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fails unless this process still has the lock.
    ///
    /// Nobody takes over the lock of a process that said within the limit that it is at work. Whoever did
    /// not for half of it - it was stopped, its machine slept, the file system did not answer - has to make
    /// the next generation first, so that the file system decides and not what this machine remembers.
    fn ask(&self) -> Result<(), Denied> {
        let mut state = self.state();
        if state.is_late() {
            self.renew(&mut state).map_err(Denied::Refused)?;
        }
        match &state.lost_to {
            None => Ok(()),
            Some(by) => Err(Denied::Lost {
                lock: self.lock.clone(),
                by: by.clone(),
            }),
        }
    }

    /// Says that this process is at work.
    fn beat(&self) {
        let (number, count) = {
            let mut state = self.state();
            if state.lost_to.is_some() {
                return;
            }
            if state.is_late() {
                return self.renew_or_tell(&mut state);
            }
            state.count += 1;
            (state.number, state.count)
        };
        // Others may see the beat as soon as its writing begins.
        let began = clock();
        let beaten = generation::beat(&self.lock, number, count);
        let mut state = self.state();
        if state.number != number {
            return;
        }
        match beaten {
            Ok(true) => state.last = began,
            Ok(false) => self.renew_or_tell(&mut state),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.renew_or_tell(&mut state);
            }
            Err(error) => log::debug!("{}: no beat: {error}", self.lock.display()),
        }
    }

    fn renew_or_tell(&self, state: &mut State) {
        if let Err(Refused { path, source, .. }) = self.renew(state) {
            log::warn!(
                "failed to write {}, which says that this process is at work: {source}",
                path.display()
            );
        }
    }

    /// Makes the next generation, or learns who did.
    fn renew(&self, state: &mut State) -> Result<(), Refused> {
        if state.lost_to.is_some() {
            return Ok(());
        }
        let began = clock();
        let next = state.number + 1;
        if generation::make(&self.lock, next, &Owner::here())? {
            log::debug!("{}: renewed as {next}", self.lock.display());
            generation::tidy(&self.lock, next);
            (state.number, state.last) = (next, began);
            return Ok(());
        }
        let last = generation::last(&self.lock).ok().flatten();
        let by = last.map_or_else(Owner::unknown, |it| it.owner);
        let told = match state.is_lent {
            true => log::Level::Trace,
            false => log::Level::Warn,
        };
        log::log!(
            told,
            "process {} on {} took {} over from this process, which stood still for {:.0} s",
            by.pid,
            by.host,
            self.folder.display(),
            began.saturating_sub(state.last).as_secs_f64()
        );
        state.lost_to = Some(by);
        Ok(())
    }

    /// Lets another process take the lock, which is then no news.
    pub fn lend(&self) {
        self.state().is_lent = true;
    }

    /// Neither beats nor releases any more.
    pub fn forget(&self) {
        self.state().lost_to = Some(Owner::here());
    }

    /// Gives the lock back.
    pub fn release(&self) {
        let state = self.state();
        if state.lost_to.is_none() {
            // Where it fails, others find that this process is gone.
            let _ = generation::release(&self.lock, state.number);
        }
    }
}

impl State {
    fn is_late(&self) -> bool {
        clock().saturating_sub(self.last) > claim_limit() / 2
    }
}

/// Fails unless this process has every lock still that it took on a folder around a path. True if it has
/// one: then others may be at work there that lost it and do not know yet.
pub(in crate::store) fn ask(path: &Path) -> Result<bool, Denied> {
    let around: Vec<Arc<Claim>> = (claims().iter())
        .filter_map(Weak::upgrade)
        .filter(|claim| path.starts_with(&claim.folder))
        .collect();
    for claim in &around {
        claim.ask()?;
    }
    Ok(!around.is_empty())
}

/// Tells this process from all others: hexadecimal letters that a file's name may have.
pub fn mark() -> &'static str {
    static MARK: OnceLock<String> = OnceLock::new();
    MARK.get_or_init(|| {
        let text = serde_json::to_vec(&Owner::this(0.0)).unwrap_or_default();
        blake3::hash(&text).to_hex()[..MARK_LETTERS].to_owned()
    })
}

/// Number of letters of a [`mark`].
pub(in crate::store) const MARK_LETTERS: usize = 8;

/// The time since the machine started, with that in which it slept: a process that wakes up has to know that it
/// did.
pub(super) fn clock() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    let uptime = fs::read_to_string("/proc/uptime").ok();
    let seconds = uptime.and_then(|text| text.split_whitespace().next()?.parse().ok());
    match seconds.map(Duration::try_from_secs_f64) {
        Some(Ok(uptime)) => uptime,
        _ => START.get_or_init(Instant::now).elapsed(),
    }
}

fn claims() -> MutexGuard<'static, Vec<Weak<Claim>>> {
    static CLAIMS: Mutex<Vec<Weak<Claim>>> = Mutex::new(Vec::new());
    CLAIMS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts the thread that beats for all claims of this process.
fn start_beating() -> io::Result<()> {
    static STARTED: Mutex<bool> = Mutex::new(false);
    let mut started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
    if !*started {
        let beats = || loop {
            thread::sleep(claim_limit() / BEATS);
            let all: Vec<Arc<Claim>> = claims().iter().filter_map(Weak::upgrade).collect();
            all.iter().for_each(|claim| claim.beat());
        };
        thread::Builder::new()
            .name("beat".to_owned())
            .spawn(beats)?;
        *started = true;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
