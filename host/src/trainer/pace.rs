//! How fast image files are read, and what steps wait for them.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What was read by a thread in the background.
#[derive(Debug, Default)]
pub(super) struct Pace {
    images: AtomicU64,
    nanoseconds: AtomicU64,
}

impl Pace {
    /// So many images took so long.
    pub fn add_read(&self, images: usize, took: Duration) {
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.images.fetch_add(images as u64, Ordering::Relaxed);
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }
}

/// The steps that took what was read. A step lasts from where it asks for its images to where the next one of its epoch
/// does, so that evaluations and checkpoints between epochs do not count.
#[derive(Debug, Default)]
pub(super) struct Steps {
    images: u64,
    took: Duration,
    waited: Duration,
    /// The step under way: when it asked, its images, and how long it waited for them.
    under_way: Option<(Instant, u64, Duration)>,
}

impl Steps {
    /// The step under way is no longer: what comes next is no step of its epoch.
    pub fn leave(&mut self) {
        self.under_way = None;
    }

    /// A step asked at `asked` for so many images, and got them at `got`.
    pub fn add(&mut self, asked: Instant, got: Instant, images: u64) {
        let waited = got.duration_since(asked);
        if let Some((began, images, waited)) = self.under_way.replace((asked, images, waited)) {
            self.images += images;
            self.took += asked.duration_since(began);
            self.waited += waited;
        }
    }

    /// What it all comes to; nothing before the second step of an epoch.
    pub fn speeds(&self, pace: &Pace) -> Option<Speeds> {
        let read = Duration::from_nanos(pace.nanoseconds.load(Ordering::Relaxed));
        if self.took.is_zero() || read.is_zero() {
            return None;
        }
        Some(Speeds {
            decoded: pace.images.load(Ordering::Relaxed) as f64 / read.as_secs_f64(),
            trained: self.images as f64 / self.took.as_secs_f64(),
            waited: self.waited.as_secs_f64() / self.took.as_secs_f64(),
        })
    }
}

/// How fast the images of a level were decoded and trained on. It is for people: nothing that is recorded knows of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Speeds {
    /// Images a second that were read, decoded and cut, while that was done.
    pub decoded: f64,
    /// Images a second that steps took.
    pub trained: f64,
    /// Share of the steps' time in which they waited for images.
    pub waited: f64,
}

impl fmt::Display for Speeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.0} images a second were decoded and {:.0} trained on; steps waited for them {:.0} % of their time",
            self.decoded,
            self.trained,
            100.0 * self.waited
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_count_from_where_they_ask_to_where_the_next_of_the_epoch_asks() {
        let (pace, mut steps) = (Pace::default(), Steps::default());
        pace.add_read(60, Duration::from_millis(100));
        pace.add_read(20, Duration::from_millis(100));
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        steps.add(at(0), at(30), 20);
        assert_eq!(steps.speeds(&pace), None);
        steps.add(at(100), at(110), 20);
        steps.add(at(200), at(300), 10);
        // An evaluation, then another epoch.
        steps.leave();
        steps.add(at(9000), at(9000), 20);
        steps.add(at(9200), at(9250), 20);
        let speeds = steps.speeds(&pace).unwrap();
        assert_eq!((speeds.decoded, speeds.trained), (400.0, 150.0));
        assert!((speeds.waited - 0.1).abs() < 1e-9, "{speeds:?}");
        assert_eq!(
            speeds.to_string(),
            "400 images a second were decoded and 150 trained on; steps waited for them 10 % of their time"
        );
    }
}
