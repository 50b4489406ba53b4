//! `--jobs auto`: as many runs side by side as raise what they do together.
//!
//! One more a device is tried after another. What all runs do together is measured while their number stands still; if
//! one more does not raise it by a twentieth, or there is no memory for it, the number before stays. Results do not
//! depend on it: runs do not share anything that they write.

use std::time::{Duration, Instant};

/// A run takes so long to read its data and to make its first steps, in which nothing is measured.
const WARM_UP: Duration = Duration::from_secs(10);

/// So long is measured at least, and so many epochs.
const WINDOW: Duration = Duration::from_secs(20);
const EPOCHS: u64 = 12;

/// By how much one more has to raise what is done.
pub const WORTH: f64 = 1.05;

/// How many runs may go on.
pub struct Pace {
    allowed: usize,
    /// By how many that grows; none if it stays.
    step: Option<usize>,
    most: usize,
    /// When so many runs were there, with the epochs and the work until then.
    since: Option<Since>,
    /// What fewer runs did in a second.
    before: Option<f64>,
}

#[derive(Clone, Copy)]
struct Since {
    when: Instant,
    running: usize,
    counted: Counted,
}

/// What all runs have done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counted {
    /// Epochs.
    pub epochs: u64,
    /// Levels, with parts of those under way.
    pub levels: f64,
}

impl Pace {
    /// This many, always.
    pub fn fixed(number: usize) -> Self {
        Self {
            allowed: number,
            step: None,
            most: number,
            since: None,
            before: None,
        }
    }

    /// One for each of so many devices at first, and up to `most`.
    pub fn measured(devices: usize, most: usize) -> Self {
        Self {
            allowed: devices.min(most),
            step: Some(devices),
            ..Self::fixed(most)
        }
    }

    /// Whether one more than these may start.
    pub fn allows(&self, running: usize) -> bool {
        running < self.allowed
    }

    /// Looks at what was done by now; `has_room` says whether there is memory for more runs.
    pub fn look(
        &mut self,
        now: Instant,
        running: usize,
        counted: Counted,
        has_room: impl FnOnce() -> bool,
    ) {
        let Some(step) = self.step else {
            return;
        };
        if running != self.allowed {
            self.since = None;
            return;
        }
        let Some(since) = self.since.filter(|since| since.running == running) else {
            self.since = Some(Since {
                when: now + WARM_UP,
                running,
                counted,
            });
            return;
        };
        if now < since.when {
            // Nothing is measured yet.
            self.since = Some(Since { counted, ..since });
            return;
        }
        let (time, epochs) = (now - since.when, counted.epochs - since.counted.epochs);
        if time < WINDOW || epochs < EPOCHS {
            return;
        }
        let rate = (counted.levels - since.counted.levels) / time.as_secs_f64();
        self.since = None;
        if self.before.is_some_and(|before| rate < before * WORTH) {
            self.allowed -= step;
            self.step = None;
            log::info!(
                "--jobs auto: {} side by side do not do more than {}, which it is from here on",
                running,
                self.allowed
            );
        } else if running + step > self.most || !has_room() {
            self.step = None;
            log::info!("--jobs auto: {running} side by side, for want of cores or memory for more");
        } else {
            self.before = Some(rate);
            self.allowed += step;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs of which so many do `together` levels in a second; how many go on after ten minutes.
    fn settle(mut pace: Pace, together: impl Fn(usize) -> f64, room_for: usize) -> usize {
        let begun = Instant::now();
        let (mut running, mut counted) = (0, Counted::default());
        for second in 0..600 {
            let now = begun + Duration::from_secs(second);
            while pace.allows(running) {
                running += 1;
            }
            // Runs end, and others take their place.
            running = running.min(pace.allowed);
            counted.levels += together(running);
            counted.epochs += 3;
            pace.look(now, running, counted, || running < room_for);
        }
        running
    }

    #[test]
    fn as_many_go_on_as_raise_what_is_done() {
        let up_to = |most: usize| move |running: usize| running.min(most) as f64;
        assert_eq!(settle(Pace::measured(1, 16), up_to(4), 99), 4);
        assert_eq!(settle(Pace::measured(1, 16), up_to(1), 99), 1);
        assert_eq!(settle(Pace::measured(1, 16), up_to(99), 99), 16);
        assert_eq!(settle(Pace::measured(2, 16), up_to(6), 99), 6);
        // More than there are good for do less.
        let crowded = |running: usize| 4.0 - (running as f64 - 3.0).abs();
        assert_eq!(settle(Pace::measured(1, 16), crowded, 99), 3);
        assert_eq!(settle(Pace::measured(1, 16), up_to(99), 5), 5);
        assert_eq!(settle(Pace::fixed(7), up_to(1), 99), 7);
    }

    #[test]
    fn nothing_is_measured_while_a_run_starts_or_one_is_missing() {
        let mut pace = Pace::measured(1, 8);
        let begun = Instant::now();
        let at = |second| begun + Duration::from_secs(second);
        let counted = |epochs| Counted {
            epochs,
            levels: epochs as f64,
        };
        pace.look(at(0), 1, counted(0), || true);
        pace.look(at(9), 1, counted(900), || true);
        // A run ended: it is measured anew.
        pace.look(at(31), 0, counted(910), || true);
        pace.look(at(32), 1, counted(910), || true);
        pace.look(at(60), 1, counted(920), || true);
        assert_eq!(pace.allowed, 1);
        pace.look(at(70), 1, counted(940), || true);
        assert_eq!(pace.allowed, 2);
    }
}
