//! Signals: stop in order, or write a checkpoint and go on.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use signal_hook::flag;

/// What the user asked for by a signal.
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    stop: Arc<AtomicBool>,
    checkpoint: Arc<AtomicBool>,
}

impl Interrupt {
    /// Listens: SIGINT and SIGTERM ask to stop, the second one leaves at once with `exit_code`;
    /// SIGUSR1 asks for a checkpoint.
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
        Ok(interrupt)
    }

    /// Asks to stop when this stream ends: whoever holds its other end stopped, in order or not.
    pub fn stop_when_closed(&self, mut stream: impl io::Read + Send + 'static) {
        let stop = self.stop.clone();
        std::thread::spawn(move || {
            // What comes before the end means nothing, and a broken stream has ended.
            let _ = io::copy(&mut stream, &mut io::sink());
            stop.store(true, Ordering::Relaxed);
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
