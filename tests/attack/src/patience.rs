//! Waiting for what a process does, however long a busy machine takes for it.

use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

/// After this time it is certain that something does not come: no test needs a tenth of it on one busy core.
pub const PATIENCE: Duration = Duration::from_secs(600);

/// Waits until something is so; ends the child and panics if that never comes.
///
/// # Panics
/// If it does not come, or the child ends without it.
#[track_caller]
pub fn wait_until(child: &mut Child, what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    loop {
        // Asked first: what a child did last is seen after its end, too.
        let ended = child.try_wait().expect("the child can be asked");
        if is_so() {
            return;
        }
        assert!(
            ended.is_none(),
            "the program ended ({ended:?}) before {what}"
        );
        if start.elapsed() > PATIENCE {
            let _ = child.kill();
            panic!("not within {PATIENCE:?}: {what}");
        }
        thread::sleep(Duration::from_millis(1));
    }
}
