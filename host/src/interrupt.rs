//! Signals: stop in order, or write a checkpoint and go on.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use signal_hook::{flag, low_level};

/// How long whoever was asked to stop may take where no work would be lost: some things, such as
/// reading data or a plugin's call, cannot be stopped in order.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often that is looked at.
const PATROL: Duration = Duration::from_millis(20);

/// What the user asked for by a signal.
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    stop: Arc<AtomicBool>,
    checkpoint: Arc<AtomicBool>,
    /// Number of holders whose work would be lost.
    unsaved: Arc<AtomicUsize>,
}

impl Interrupt {
    /// Listens: SIGINT and SIGTERM ask to stop, the second one leaves at once with `exit_code`;
    /// SIGUSR1 asks for a checkpoint. Whoever does not stop within a second, and has nothing to
    /// [`save`](Self::save), is ended with `exit_code`: what is stored is whole at any moment.
    ///
    /// # Errors
    /// If a handler cannot be installed.
    pub fn listen(exit_code: i32) -> io::Result<Self> {
        let interrupt = Self::default();
        for signal in [SIGINT, SIGTERM] {
            // The order matters: the first signal finds the flag unset, the second one set.
            flag::register_conditional_shutdown(signal, exit_code, interrupt.stop.clone())?;
            flag::register(signal, interrupt.stop.clone())?;
        }
        flag::register(SIGUSR1, interrupt.checkpoint.clone())?;
        let watched = interrupt.clone();
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || watched.leave_late(exit_code))?;
        Ok(interrupt)
    }

    /// Ends the process when it was asked to stop, does not, and has nothing to save.
    fn leave_late(&self, exit_code: i32) {
        let mut idle: Option<Instant> = None;
        loop {
            thread::sleep(PATROL);
            idle = match self.wants_stop() && self.unsaved.load(Ordering::Acquire) == 0 {
                true => idle.or_else(|| Some(Instant::now())),
                false => None,
            };
            if idle.is_some_and(|since| since.elapsed() > PATIENCE) {
                log::info!("stopped; the same command goes on from what is stored");
                low_level::exit(exit_code);
            }
        }
    }

    /// Says that work would be lost if the process ended, until what is returned is dropped. It has to
    /// look at [`wants_stop`](Self::wants_stop) often.
    pub fn save(&self) -> Saving {
        Saving::new(&self.unsaved)
    }

    /// Heeds the stream by which another process leads this one: a byte asks for a checkpoint, its end
    /// to stop, since whoever holds its other end stopped, in order or not.
    pub fn follow(&self, mut stream: impl Read + Send + 'static) {
        let interrupt = self.clone();
        thread::spawn(move || {
            let mut bytes = [0; 16];
            loop {
                match stream.read(&mut bytes) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    // A broken stream has ended.
                    Ok(0) | Err(_) => break,
                    Ok(_) => interrupt.checkpoint.store(true, Ordering::Relaxed),
                }
            }
            interrupt.stop();
        });
    }

    /// Asks to stop, as a signal does.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Asks to stop once this time is over, if there is one.
    pub fn stop_after(&self, time: Option<Duration>) {
        let Some(time) = time else { return };
        let interrupt = self.clone();
        thread::spawn(move || {
            thread::sleep(time);
            log::info!("the time limit is reached");
            interrupt.stop();
        });
    }

    /// Whether the user asked to stop.
    pub fn wants_stop(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Whether the user asked for a checkpoint since the last call.
    pub fn takes_checkpoint(&self) -> bool {
        self.checkpoint.swap(false, Ordering::Relaxed)
    }
}

/// Work that would be lost.
#[derive(Debug)]
pub struct Saving {
    unsaved: Arc<AtomicUsize>,
}

impl Saving {
    fn new(unsaved: &Arc<AtomicUsize>) -> Self {
        unsaved.fetch_add(1, Ordering::AcqRel);
        Self {
            unsaved: unsaved.clone(),
        }
    }

    /// Does something that cannot be stopped and may take long: the work since the last checkpoint is
    /// then lost rather than waited for.
    pub fn apart_from<T>(&self, work: impl FnOnce() -> T) -> T {
        self.unsaved.fetch_sub(1, Ordering::AcqRel);
        // Counted again however the work ends: this is dropped after a panic, too.
        let _again = Again(&self.unsaved);
        work()
    }
}

impl Drop for Saving {
    fn drop(&mut self) {
        self.unsaved.fetch_sub(1, Ordering::AcqRel);
    }
}

struct Again<'a>(&'a AtomicUsize);

impl Drop for Again<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn eventually(what: impl Fn() -> bool) -> bool {
        (0..60_000).any(|_| {
            thread::sleep(Duration::from_millis(10));
            what()
        })
    }

    #[test]
    fn a_byte_asks_for_a_checkpoint_and_the_end_to_stop() {
        let interrupt = Interrupt::default();
        let (reader, mut writer) = io::pipe().unwrap();
        interrupt.follow(reader);
        io::Write::write_all(&mut writer, b"c").unwrap();
        assert!(eventually(|| interrupt.takes_checkpoint()));
        assert!(!interrupt.takes_checkpoint() && !interrupt.wants_stop());
        drop(writer);
        assert!(eventually(|| interrupt.wants_stop()));
    }

    #[test]
    fn a_time_limit_asks_to_stop_once_it_is_over() {
        let interrupt = Interrupt::default();
        interrupt.stop_after(None);
        let start = Instant::now();
        interrupt.stop_after(Some(Duration::from_millis(50)));
        assert!(eventually(|| interrupt.wants_stop()));
        assert!(start.elapsed() >= Duration::from_millis(50));
    }

    #[test]
    fn work_is_unsaved_until_its_holder_is_gone_but_for_what_is_kept_apart() {
        let interrupt = Interrupt::default();
        let unsaved = || interrupt.unsaved.load(Ordering::Acquire);
        let saving = interrupt.save();
        assert_eq!(
            (unsaved(), saving.apart_from(unsaved), unsaved()),
            (1, 0, 1)
        );
        let panics = || saving.apart_from(|| -> () { panic!("a call that fails") });
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(panics)).is_err());
        assert_eq!(unsaved(), 1);
        drop(saving);
        assert_eq!(unsaved(), 0);
    }
}
