//! What stored runs have in common: masks that overlap, networks that a line connects.

mod error;
mod masks;
mod overlap;

pub use error::StatisticsError;
pub use masks::Masks;
pub use overlap::{Overlap, OverlapRecord, between_levels, between_runs, between_seeds};

use crate::store::{RunDir, SeedDir};

/// Number of levels of a seed that are finished, counted from level 0.
pub fn finished_levels(seed: &SeedDir) -> u64 {
    let is_done = |level: &u64| seed.level(*level).file("done.json").exists();
    (0..).take_while(is_done).count() as u64
}

/// The seeds that finished a level in every one of these runs, ascending.
///
/// # Errors
/// If there is none: which seeds of each run did.
pub fn common_seeds(runs: &[RunDir], level: u64) -> Result<Vec<u64>, StatisticsError> {
    let having = |run: &RunDir| {
        let mut seeds = run.seeds();
        seeds.retain(|&seed| finished_levels(&run.seed(seed)) > level);
        seeds
    };
    let all: Vec<Vec<u64>> = runs.iter().map(having).collect();
    let mut common = all.first().cloned().unwrap_or_default();
    common.retain(|seed| all.iter().all(|seeds| seeds.contains(seed)));
    if common.is_empty() {
        let known = |(run, seeds): (&RunDir, &Vec<u64>)| {
            format!("{} has it for the seeds {seeds:?}", run.path().display())
        };
        return Err(StatisticsError::NoSeed {
            what: format!("level {level} finished"),
            known: (runs.iter().zip(&all).map(known))
                .collect::<Vec<_>>()
                .join(", "),
        });
    }
    Ok(common)
}

/// The last level that some seed finished in every one of these runs.
pub fn last_common_level(runs: &[RunDir]) -> Option<u64> {
    let first = runs.first()?;
    let of_seed = |seed: u64| {
        let levels = runs.iter().map(|run| finished_levels(&run.seed(seed)));
        levels.min()?.checked_sub(1)
    };
    first.seeds().into_iter().filter_map(of_seed).max()
}
