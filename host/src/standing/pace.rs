//! How long levels take.

use std::fs;
use std::time::SystemTime;

use crate::store::{LevelDir, RunDir};

/// Seconds that a level takes for all seeds of a run: the median of the finished ones. Times of files are compared
/// with each other alone.
pub fn of(run: &RunDir, seeds: &[u64], done: &[u64]) -> Option<f64> {
    let times = |(&seed, &levels): (&u64, &u64)| {
        let level = |level| times_of(&run.seed(seed).level(level));
        let pruned: Vec<_> = (1..levels).filter_map(level).collect();
        // Level 0 may have been trained elsewhere, and be a copy.
        match pruned.is_empty() && levels > 0 {
            true => level(0).into_iter().collect(),
            false => pruned,
        }
    };
    let times: Vec<Vec<(SystemTime, SystemTime)>> = seeds.iter().zip(done).map(times).collect();
    let all = times.iter().flatten();
    let seconds =
        all.filter_map(|(start, end)| Some(end.duration_since(*start).ok()?.as_secs_f64()));
    let mut seconds: Vec<f64> = seconds.collect();
    seconds.sort_by(f64::total_cmp);
    let median = seconds.get(seconds.len() / 2)?;
    // Seeds that train side by side share the time.
    let first: Vec<_> = times.iter().filter_map(|seed| seed.first()).collect();
    let overlap = first
        .windows(2)
        .any(|it| it[0].0 < it[1].1 && it[1].0 < it[0].1);
    let rounds = if overlap { 1 } else { seeds.len() };
    Some(median * rounds as f64)
}

/// When a finished level was begun and when it was finished.
fn times_of(level: &LevelDir) -> Option<(SystemTime, SystemTime)> {
    let time = |file| fs::metadata(level.file(file)).ok()?.modified().ok();
    Some((time("start.safetensors")?, time("done.json")?))
}
