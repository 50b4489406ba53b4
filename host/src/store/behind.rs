//! Files that are written one after another while whoever gave them goes on.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use super::StoreError;

type Job<T> = Box<dyn FnOnce() -> Result<T, StoreError> + Send>;

/// Writes on a thread of its own, in the order in which it is given. What fails takes what was given after it along:
/// that may rely on it.
pub struct Behind<T> {
    shared: Arc<Shared<T>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    /// Folders with what is to be done in them.
    waiting: VecDeque<(PathBuf, Job<T>)>,
    /// The folder that is at work.
    writing: Option<PathBuf>,
    /// What the jobs that are done came to, and nobody asked for yet.
    done: Vec<T>,
    failure: Option<Failure>,
    is_closed: bool,
}

enum Failure {
    Error(StoreError),
    Panic(Box<dyn Any + Send>),
}

impl<T> Default for Behind<T> {
    fn default() -> Self {
        let state = State {
            waiting: VecDeque::new(),
            writing: None,
            done: Vec::new(),
            failure: None,
            is_closed: false,
        };
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                changed: Condvar::new(),
            }),
            thread: Mutex::default(),
        }
    }
}

impl<T: Send + 'static> Behind<T> {
    /// Does this in a folder after all that was given before; now, where the system gives no thread.
    pub fn give(
        &self,
        folder: &Path,
        job: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
    ) {
        let job: Job<T> = Box::new(job);
        (self.shared.state().waiting).push_back((folder.to_owned(), job));
        self.shared.changed.notify_all();
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if thread.is_none() {
            let shared = self.shared.clone();
            let started = thread::Builder::new().name("files".to_owned());
            match started.spawn(move || shared.work(true)) {
                Ok(started) => *thread = Some(started),
                Err(_) => self.shared.work(false),
            }
        }
    }

    /// What was done since this was asked last.
    ///
    /// # Errors
    /// What one failed for: nothing that was given after it is done.
    ///
    /// # Panics
    /// As it did.
    pub fn done(&self) -> Result<Vec<T>, StoreError> {
        let mut state = self.shared.state();
        state.fail()?;
        Ok(std::mem::take(&mut state.done))
    }

    /// Waits until nothing is left to do.
    ///
    /// # Errors
    /// As [`done`](Behind::done).
    ///
    /// # Panics
    /// As [`done`](Behind::done).
    pub fn settle(&self) -> Result<(), StoreError> {
        self.wait(|_| true).fail()
    }

    /// Waits until nothing is left to do in a folder: whether all was done. Of what failed [`done`](Behind::done) and
    /// [`settle`](Behind::settle) tell, so that nobody who only looks into the folder is taken for the cause.
    pub fn settle_in(&self, folder: &Path) -> bool {
        self.wait(|other| other == folder).failure.is_none()
    }

    fn wait(&self, is_meant: impl Fn(&Path) -> bool) -> MutexGuard<'_, State<T>> {
        let mut state = self.shared.state();
        loop {
            let mut under_way = state
                .writing
                .iter()
                .chain(state.waiting.iter().map(|it| &it.0));
            if !under_way.any(|folder| is_meant(folder)) {
                return state;
            }
            let woken = self.shared.changed.wait(state);
            state = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl<T> Drop for Behind<T> {
    /// Waits for what was given.
    fn drop(&mut self) {
        self.shared.state().is_closed = true;
        self.shared.changed.notify_all();
        let thread = self.thread.get_mut();
        if let Some(thread) = thread.unwrap_or_else(PoisonError::into_inner).take() {
            // It catches panics.
            let _ = thread.join();
        }
    }
}

impl<T> State<T> {
    fn fail(&mut self) -> Result<(), StoreError> {
        match self.failure.take() {
            None => Ok(()),
            Some(Failure::Error(error)) => Err(error),
            Some(Failure::Panic(panic)) => resume_unwind(panic),
        }
    }
}

impl<T> Shared<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does what is waiting; if it `stays`, until nobody will give any more.
    fn work(&self, stays: bool) {
        let mut state = self.state();
        loop {
            let Some((folder, job)) = state.waiting.pop_front() else {
                if state.is_closed || !stays {
                    return;
                }
                let woken = self.changed.wait(state);
                state = woken.unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            state.writing = Some(folder);
            drop(state);
            let result = catch_unwind(AssertUnwindSafe(job));
            state = self.state();
            state.writing = None;
            let failure = match result {
                Ok(Ok(done)) => {
                    state.done.push(done);
                    None
                }
                Ok(Err(error)) => Some(Failure::Error(error)),
                Err(panic) => Some(Failure::Panic(panic)),
            };
            if failure.is_some() {
                state.failure = failure;
                state.waiting.clear();
            }
            self.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::mpsc::channel;

    use super::*;

    fn refused() -> StoreError {
        StoreError::Damaged {
            path: PathBuf::from("mask"),
            reason: "a test".to_owned(),
        }
    }

    fn folder(name: &str) -> PathBuf {
        PathBuf::from(name)
    }

    #[test]
    fn jobs_are_done_in_order_while_the_giver_goes_on() {
        let behind = Behind::default();
        let (go, wait) = channel();
        behind.give(&folder("a"), || Ok(0));
        behind.give(&folder("b"), move || {
            wait.recv().unwrap();
            Ok(1)
        });
        for number in 2..5 {
            behind.give(&folder("c"), move || Ok(number));
        }
        // Neither waits for what is done elsewhere.
        assert!(behind.settle_in(&folder("a")) && behind.settle_in(&folder("d")));
        assert_eq!(behind.done().unwrap(), [0]);
        go.send(()).unwrap();
        behind.settle().unwrap();
        assert_eq!(behind.done().unwrap(), [1, 2, 3, 4]);
        assert!(behind.done().unwrap().is_empty());
    }

    #[test]
    fn what_follows_a_failure_is_not_done_and_what_is_given_later_is() {
        let behind = Behind::default();
        let (go, wait) = channel();
        behind.give(&folder("a"), move || {
            wait.recv().unwrap();
            Err(refused())
        });
        behind.give(&folder("b"), || Ok(1));
        go.send(()).unwrap();
        assert!(!behind.settle_in(&folder("b")));
        let error = behind.settle().unwrap_err().to_string();
        assert_eq!(error, "mask is damaged: a test");
        behind.give(&folder("a"), || Ok(2));
        behind.settle().unwrap();
        assert_eq!(behind.done().unwrap(), [2]);
    }

    #[test]
    fn a_panic_is_the_givers() {
        let behind = Behind::<()>::default();
        behind.give(&folder("a"), || panic!("no memory"));
        let said = catch_unwind(AssertUnwindSafe(|| behind.settle())).unwrap_err();
        assert_eq!(said.downcast_ref::<&str>(), Some(&"no memory"));
        behind.give(&folder("a"), || Ok(()));
        behind.settle().unwrap();
    }

    #[test]
    fn what_was_given_is_done_before_it_is_dropped() {
        let (tell, told) = channel();
        let behind = Behind::default();
        for number in 0..3 {
            let tell = tell.clone();
            behind.give(&folder("a"), move || {
                thread::sleep(std::time::Duration::from_millis(5));
                tell.send(number).unwrap();
                Ok(())
            });
        }
        drop((behind, tell));
        assert_eq!(told.iter().collect::<Vec<_>>(), [0, 1, 2]);
    }
}
