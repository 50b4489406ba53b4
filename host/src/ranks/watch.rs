//! Looks after the other ranks.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::links::Links;
use crate::interrupt::Interrupt;

/// What ends a process that does not end by itself when a rank is lost, with the reason.
pub type LastResort = Box<dyn Fn(&str) + Send>;

/// How often signs of life are given, at most.
const BEAT: Duration = Duration::from_millis(500);
/// How long a process that another rank's loss ends may take until its last resort.
const GRACE: Duration = Duration::from_secs(5);
/// How often to look whether it has ended.
const PATROL: Duration = Duration::from_millis(20);

/// Gives signs of life and looks for those of the others, in the background, until the process ends in order.
pub(super) fn watch(
    (links, interrupt): (Arc<Links>, Interrupt),
    limit: Duration,
    last_resort: LastResort,
) -> io::Result<()> {
    let beat = BEAT.min(limit / 10);
    let look = move || {
        let trouble = links.trouble().clone();
        let mut has_asked = false;
        while !trouble.is_over() {
            for link in links.all() {
                link.beat();
                link.check(limit);
            }
            match links.rank() {
                0 if trouble.wants_stop() => interrupt.stop(),
                0 => {}
                _ if interrupt.wants_stop() && !has_asked => {
                    has_asked = true;
                    links.all().iter().for_each(|link| link.ask_to_stop());
                }
                _ => {}
            }
            if let Some(reason) = trouble.reason() {
                if links.rank() == 0 {
                    links.all().iter().for_each(|link| link.pass_on(&reason));
                }
                let since = Instant::now();
                while since.elapsed() < GRACE {
                    if trouble.is_over() {
                        return;
                    }
                    thread::sleep(PATROL);
                }
                return last_resort(&reason);
            }
            thread::sleep(beat);
        }
    };
    let builder = thread::Builder::new().name("ranks-watch".to_owned());
    builder.spawn(look).map(|_| ())
}
