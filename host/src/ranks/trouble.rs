//! What became of the other ranks.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::RanksError;

/// How long to wait for the reason of a failure that libtorch reports first.
const REASON: Duration = Duration::from_secs(3);

/// What became of the other ranks: the first that is lost ends all.
#[derive(Debug, Default)]
pub struct Trouble {
    given_up: AtomicBool,
    /// Whether this process ends, so that nobody who goes is missed.
    over: AtomicBool,
    reason: Mutex<Option<String>>,
    wants_stop: AtomicBool,
}

impl Trouble {
    /// Says that a rank is lost, unless it may be.
    pub(super) fn lose(&self, reason: String) {
        if self.over.load(Ordering::Acquire) {
            return;
        }
        let mut known = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
        known.get_or_insert(reason);
        drop(known);
        self.given_up.store(true, Ordering::Release);
    }

    /// From now on nobody is missed.
    pub(super) fn end(&self) {
        self.over.store(true, Ordering::Release);
    }

    /// Whether this process ends in order.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// Why all end, if they do.
    pub fn reason(&self) -> Option<String> {
        (self.reason.lock().unwrap_or_else(PoisonError::into_inner)).clone()
    }

    /// Fails if a rank is lost.
    ///
    /// # Errors
    /// If one is.
    pub fn check(&self) -> Result<(), RanksError> {
        self.reason()
            .map_or(Ok(()), |reason| Err(RanksError::Lost(reason)))
    }

    pub(super) fn given_up(&self) -> &AtomicBool {
        &self.given_up
    }

    /// The error for one of libtorch's, which knows that a connection broke, but not why.
    pub(super) fn explain(&self, error: &dyn std::fmt::Display) -> RanksError {
        let since = Instant::now();
        while since.elapsed() < REASON {
            if let Some(reason) = self.reason() {
                return RanksError::Lost(reason);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        RanksError::Lost(format!("the ranks cannot exchange tensors: {error}"))
    }

    /// Says that a rank was asked to stop.
    pub(super) fn ask_to_stop(&self) {
        self.wants_stop.store(true, Ordering::Release);
    }

    /// Whether a rank was asked to stop.
    pub fn wants_stop(&self) -> bool {
        self.wants_stop.load(Ordering::Acquire)
    }
}
