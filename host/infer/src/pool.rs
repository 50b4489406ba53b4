//! A few threads that share out parts of one piece of work.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

/// Looks at the state before a thread goes to sleep: some ten microseconds, a layer's time.
const LOOKS: usize = 5_000;

/// Parts of a work at most, and the bits in which they are counted.
const MOST_PARTS: usize = 0xffff;

/// What parts are computed by.
type Work<'a> = &'a (dyn Fn(usize) + Sync);

/// Threads that wait for work.
#[derive(Debug)]
pub struct Pool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    /// Held by whoever shares work out; others compute their own meanwhile.
    busy: Mutex<()>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Number of the work in the upper half; below it how many parts it has, and the next that nobody has taken.
    state: AtomicU64,
    /// The [`Work`], where its caller keeps it.
    work: AtomicPtr<()>,
    done: AtomicUsize,
    failed: AtomicBool,
    ends: AtomicBool,
    sleepers: AtomicUsize,
    asleep: Mutex<()>,
    wakes: Condvar,
}

impl Pool {
    /// So many threads, the caller's included.
    pub fn new(threads: usize) -> Self {
        let shared = Arc::new(Shared::default());
        let start = |at: usize| {
            let shared = shared.clone();
            let named = thread::Builder::new().name(format!("infer-{at}"));
            // Without a thread there is only less help.
            named.spawn(move || shared.help()).ok()
        };
        Self {
            threads: (1..threads).filter_map(start).collect(),
            shared,
            busy: Mutex::new(()),
        }
    }

    /// Number of threads, the caller's included.
    pub fn threads(&self) -> usize {
        self.threads.len() + 1
    }

    /// Calls `work` with every number below `parts`, each once, and returns when all calls have.
    ///
    /// # Panics
    /// If one of them does.
    pub fn share(&self, parts: usize, work: Work<'_>) {
        if parts > MOST_PARTS {
            let each = parts.div_ceil(MOST_PARTS);
            return self.share(parts.div_ceil(each), &|part| {
                (part * each..((part + 1) * each).min(parts)).for_each(work);
            });
        }
        let alone = || (0..parts).for_each(work);
        if parts < 2 || self.threads.is_empty() {
            return alone();
        }
        let Ok(_own) = self.busy.try_lock() else {
            return alone();
        };
        let shared = &*self.shared;
        shared.done.store(0, Ordering::Relaxed);
        let place: *const Work<'_> = &work;
        shared
            .work
            .store(place.cast_mut().cast(), Ordering::Relaxed);
        let number = (shared.state.load(Ordering::Relaxed) >> 32).wrapping_add(1);
        let state = number << 32 | (parts as u64) << 16;
        shared.state.store(state, Ordering::SeqCst);
        if shared.sleepers.load(Ordering::SeqCst) > 0 {
            drop(shared.asleep.lock());
            shared.wakes.notify_all();
        }
        shared.take_parts();
        let mut looks = 0;
        while shared.done.load(Ordering::Acquire) < parts {
            looks += 1;
            match looks < LOOKS {
                true => std::hint::spin_loop(),
                false => thread::yield_now(),
            }
        }
        if shared.failed.swap(false, Ordering::Relaxed) {
            panic!("a thread of the pool failed");
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::SeqCst);
        drop(self.shared.asleep.lock());
        self.shared.wakes.notify_all();
        for thread in self.threads.drain(..) {
            // What it failed with was said.
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// Computes parts until none is left.
    fn take_parts(&self) {
        loop {
            let state = self.state.load(Ordering::SeqCst);
            let [parts, part] = [state >> 16, state].map(|it| it as usize & MOST_PARTS);
            if part >= parts {
                return;
            }
            let work = self.work.load(Ordering::Relaxed);
            let taken =
                (self.state).compare_exchange(state, state + 1, Ordering::SeqCst, Ordering::SeqCst);
            if taken.is_err() {
                continue;
            }
            // SAFETY: the state was still that of a work with parts that nobody had taken, so the place is of this
            // work, and its caller waits for this part.
            let work: Work<'_> = unsafe { *work.cast_const().cast::<Work<'_>>() };
            let call = std::panic::AssertUnwindSafe(|| work(part));
            if std::panic::catch_unwind(call).is_err() {
                self.failed.store(true, Ordering::Relaxed);
            }
            self.done.fetch_add(1, Ordering::Release);
        }
    }

    /// Takes parts of every work until the pool ends.
    fn help(&self) {
        let mut seen = 0;
        let news = |seen: u64| {
            self.state.load(Ordering::SeqCst) >> 32 != seen || self.ends.load(Ordering::SeqCst)
        };
        loop {
            let mut looks = 0;
            while !news(seen) && looks < LOOKS {
                std::hint::spin_loop();
                looks += 1;
            }
            if !news(seen) {
                let mut guard = self.asleep.lock().unwrap_or_else(PoisonError::into_inner);
                self.sleepers.fetch_add(1, Ordering::SeqCst);
                while !news(seen) {
                    guard = (self.wakes.wait(guard)).unwrap_or_else(PoisonError::into_inner);
                }
                self.sleepers.fetch_sub(1, Ordering::SeqCst);
            }
            if self.ends.load(Ordering::SeqCst) {
                return;
            }
            seen = self.state.load(Ordering::SeqCst) >> 32;
            self.take_parts();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_computed_once_however_many_share_and_whoever_sleeps() {
        for threads in [1, 2, 5] {
            let pool = Pool::new(threads);
            for round in 0..300usize {
                if round % 100 == 50 {
                    // Long enough for the others to fall asleep.
                    thread::sleep(std::time::Duration::from_millis(2));
                }
                let counts: Vec<AtomicUsize> =
                    (0..round % 37).map(|_| AtomicUsize::new(0)).collect();
                pool.share(counts.len(), &|part| {
                    counts[part].fetch_add(1, Ordering::Relaxed);
                });
                assert!(counts.iter().all(|it| it.load(Ordering::Relaxed) == 1));
            }
        }
    }

    #[test]
    fn a_part_that_fails_fails_the_caller_and_leaves_the_pool_as_it_was() {
        let pool = Pool::new(2);
        let work = std::panic::AssertUnwindSafe(|| pool.share(8, &|part| assert!(part != 5)));
        assert!(std::panic::catch_unwind(work).is_err());
        let sum = AtomicUsize::new(0);
        pool.share(8, &|part| {
            sum.fetch_add(part, Ordering::Relaxed);
        });
        assert_eq!(sum.load(Ordering::Relaxed), 28);
    }
}
