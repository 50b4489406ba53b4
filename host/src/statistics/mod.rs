//! What stored runs have in common: masks that overlap, networks that a line connects.

mod barrier;
mod error;
mod line;
mod masks;
mod overlap;
mod rebuild;
mod stored;

pub use barrier::{Barrier, End, barriers, recorded};
pub use error::StatisticsError;
pub use line::{BatchNorm, Settings};
pub use masks::Masks;
pub use overlap::{Overlap, OverlapRecord, between_levels, between_runs, between_seeds};
pub use rebuild::{check_comparable, trainer};
pub use stored::{Line, Stored, consecutive_levels, same_levels};

use crate::store::RunDir;

/// The seeds that finished a level in every one of these runs, ascending.
///
/// # Errors
/// If there is none: which seeds of each run did.
pub fn common_seeds(runs: &[RunDir], level: u64) -> Result<Vec<u64>, StatisticsError> {
    let all: Vec<Vec<u64>> = runs.iter().map(|run| seeds_with(run, level)).collect();
    let mut common = all.first().cloned().unwrap_or_default();
    common.retain(|seed| all.iter().all(|seeds| seeds.contains(seed)));
    if common.is_empty() {
        let known = |(run, seeds): (&RunDir, &Vec<u64>)| {
            format!("{} has it for the seeds {seeds:?}", run.path().display())
        };
        return Err(StatisticsError::NoSeed {
            what: format!("level {level} finished in every run"),
            known: (runs.iter().zip(&all).map(known))
                .collect::<Vec<_>>()
                .join(", "),
        });
    }
    Ok(common)
}

/// The seeds of a run that finished a level, ascending.
fn seeds_with(run: &RunDir, level: u64) -> Vec<u64> {
    let mut seeds = run.seeds();
    seeds.retain(|&seed| run.seed(seed).finished_levels() > level);
    seeds
}

/// The last level that some seed finished in every one of these runs.
pub fn last_common_level(runs: &[RunDir]) -> Option<u64> {
    let first = runs.first()?;
    let of_seed = |seed: u64| {
        let levels = runs.iter().map(|run| run.seed(seed).finished_levels());
        levels.min()?.checked_sub(1)
    };
    first.seeds().into_iter().filter_map(of_seed).max()
}
