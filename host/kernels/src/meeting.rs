//! Where the shards of a batch meet in their batch norms.

use std::cell::Cell;
use std::ffi::c_void;
use std::ptr::{null, null_mut};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use tch::Tensor;
use torch_sys::C_tensor;

use crate::norm::BatchNorm;
use crate::shim::{ShimError, Text, check};

/// Gives the numbers of all processes, in their order, for those of this one.
pub type Across = Box<dyn Fn(&[f64]) -> Result<Vec<f64>, String> + Send + Sync>;

/// Where the shards of a batch meet: whatever each says there, all hear, in the order of the shards.
///
/// Each shard has a thread. No more of them work at once than were asked for; who waits for the others lets
/// one of them work. What is heard does not depend on it.
pub struct Meeting {
    /// Shards here.
    places: usize,
    /// Shards of the batch, here and elsewhere.
    shards: usize,
    across: Option<Across>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// How many more shards may work now.
    free: usize,
    said: Vec<Vec<f64>>,
    arrived: usize,
    /// Meetings that were held.
    held: u64,
    heard: Vec<f64>,
    /// Why there are no more.
    failed: Option<String>,
}

/// A shard's place in a meeting, which batch norms of its thread find.
struct Place<'a> {
    meeting: &'a Meeting,
    number: usize,
}

thread_local! {
    static PLACE: Cell<*const c_void> = const { Cell::new(null()) };
}

type Exchange = unsafe extern "C" fn(*const c_void, *const f64, i64, *mut f64) -> bool;

unsafe extern "C" {
    fn rewind_shared_norm(
        input: *const C_tensor,
        dimension: i64,
        scale: *const C_tensor,
        shift: *const C_tensor,
        running_mean: *const C_tensor,
        running_variance: *const C_tensor,
        epsilon: f64,
        momentum: f64,
        shards: i64,
        exchange: Exchange,
        place: *const c_void,
        out: *mut *mut C_tensor,
    ) -> Text;
}

impl Meeting {
    /// Of so many shards here, of a batch of so many, of which no more than `abreast` work at once.
    pub fn new(places: usize, shards: usize, abreast: usize, across: Option<Across>) -> Self {
        Self {
            places,
            shards,
            across,
            state: Mutex::new(State {
                free: abreast,
                said: vec![Vec::new(); places],
                ..State::default()
            }),
            changed: Condvar::new(),
        }
    }

    /// Does the work of a shard on this thread, whose batch norms meet those of the other shards.
    pub fn attend<T, E>(&self, number: usize, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        struct Leave<'a>(&'a Meeting, bool);
        impl Drop for Leave<'_> {
            fn drop(&mut self) {
                PLACE.set(null());
                if !self.1 {
                    self.0.fail("another shard of the batch failed");
                }
                self.0.lock().free += 1;
                self.0.changed.notify_all();
            }
        }
        drop(self.take_turn(self.lock()));
        let mut leave = Leave(self, false);
        let place = Place {
            meeting: self,
            number,
        };
        PLACE.set((&raw const place).cast());
        let done = work();
        // Also after a panic nobody waits for this shard.
        leave.1 = done.is_ok();
        done
    }

    /// Ends the meetings of all shards.
    pub fn fail(&self, reason: &str) {
        let mut state = self.lock();
        state.failed.get_or_insert_with(|| reason.to_owned());
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        (self.changed.wait(state)).unwrap_or_else(PoisonError::into_inner)
    }

    fn take_turn<'a>(&self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        while state.free == 0 {
            state = self.wait(state);
        }
        state.free -= 1;
        state
    }

    /// What all shards say, one after the other; false if one failed.
    fn meet(&self, number: usize, own: &[f64], all: &mut [f64]) -> bool {
        let mut state = self.lock();
        state.said[number] = own.to_vec();
        state.arrived += 1;
        if state.arrived == self.places && state.failed.is_none() {
            let here = state.said.concat();
            // All others wait for it.
            match self
                .across
                .as_ref()
                .map_or(Ok(here.clone()), |across| across(&here))
            {
                Ok(heard) if heard.len() == all.len() => state.heard = heard,
                Ok(heard) => {
                    let (got, expected) = (heard.len(), all.len());
                    state.failed = Some(format!("{got} numbers were heard, expected {expected}"));
                }
                Err(error) => state.failed = Some(error),
            }
            state.arrived = 0;
            state.held += 1;
            self.changed.notify_all();
        } else {
            let held = state.held;
            state.free += 1;
            self.changed.notify_all();
            while state.held == held && state.failed.is_none() {
                state = self.wait(state);
            }
            state = self.take_turn(state);
        }
        if state.failed.is_some() || state.heard.len() != all.len() {
            return false;
        }
        all.copy_from_slice(&state.heard);
        true
    }

    /// Why it ended early, if it did.
    pub fn failure(&self) -> Option<String> {
        self.lock().failed.clone()
    }
}

/// Called by a batch norm with the place that it was given.
unsafe extern "C" fn exchange(
    place: *const c_void,
    values: *const f64,
    count: i64,
    all: *mut f64,
) -> bool {
    // SAFETY: the place lives until its shard's work is done, and with it its passes; it holds nothing that
    // belongs to a thread.
    let place = unsafe { &*place.cast::<Place<'_>>() };
    let count = count as usize;
    // SAFETY: the batch norm has `count` numbers, and room for those of all shards.
    let (own, all) = unsafe {
        (
            std::slice::from_raw_parts(values, count),
            std::slice::from_raw_parts_mut(all, count * place.meeting.shards),
        )
    };
    place.meeting.meet(place.number, own, all)
}

/// Whether batch norms of this thread see all shards of a batch.
pub fn sees_all_shards() -> bool {
    !PLACE.get().is_null()
}

impl BatchNorm<'_> {
    /// The normalised input, in training, by the statistics of all shards of the batch: see [`sees_all_shards`].
    /// It can be differentiated once.
    ///
    /// # Shapes
    /// `input`: channels along `dimension`; the result: the same.
    ///
    /// # Errors
    /// If a shape is another, or another shard failed.
    pub fn of_all_shards(&self, input: &Tensor, dimension: i64) -> Result<Tensor, ShimError> {
        let place = PLACE.get();
        if place.is_null() {
            return Err(ShimError::new("the batch has no shards".to_owned()));
        }
        // SAFETY: see `exchange`.
        let meeting = unsafe { (*place.cast::<Place<'_>>()).meeting };
        let [mean, variance] = self.running;
        let mut out = null_mut();
        // SAFETY: all outlive the call, and the place all passes; on success `out` is a tensor that is ours.
        check(unsafe {
            rewind_shared_norm(
                input.as_ptr(),
                dimension,
                self.scale.as_ptr(),
                self.shift.as_ptr(),
                mean.as_ptr(),
                variance.as_ptr(),
                self.epsilon,
                self.momentum,
                meeting.shards as i64,
                exchange,
                place,
                &mut out,
            )
        })?;
        // SAFETY: see above.
        Ok(unsafe { Tensor::from_ptr(out) })
    }
}
