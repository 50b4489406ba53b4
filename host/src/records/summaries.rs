//! The summaries of a run's finished levels, as they lie in its folder.

use super::Summary;
use crate::store::{LevelDir, RunDir, StoreError, read};

/// The summary of a finished level.
///
/// # Errors
/// If it cannot be read.
pub fn read_summary(level: &LevelDir) -> Result<Summary, StoreError> {
    let path = level.file("summary.json");
    serde_json::from_slice(&read(&path)?).map_err(|error| StoreError::Damaged {
        path,
        reason: error.to_string(),
    })
}

/// The summaries of all finished levels of a run, by seed and level.
///
/// # Errors
/// If a summary cannot be read.
pub fn summaries(run: &RunDir, seeds: &[u64]) -> Result<Vec<Summary>, StoreError> {
    let mut summaries = Vec::new();
    for &seed in seeds {
        let seed = run.seed(seed);
        for level in 0..seed.finished_levels() {
            summaries.push(read_summary(&seed.level(level))?);
        }
    }
    Ok(summaries)
}

/// All summaries as CSV, one line a level of a seed: `summary.csv`.
///
/// # Errors
/// If they cannot be written.
pub fn summary_csv(summaries: &[Summary]) -> Result<Vec<u8>, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for summary in summaries {
        writer.serialize(summary)?;
    }
    writer
        .into_inner()
        .map_err(|error| error.into_error().into())
}
