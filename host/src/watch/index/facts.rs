//! What the last level of a run came to.

use std::path::Path;

use serde::Serialize;

use crate::experiment::read_stored;
use crate::records::{Summary, read_summary};
use crate::store::RunDir;

/// The last level that a seed of a run finished, as means over the seeds that finished it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Facts {
    /// The level; none before one is finished.
    pub level: Option<u64>,
    /// How many seeds finished it.
    pub seeds_there: u64,
    /// Share of the prunable weights that survive.
    pub density: Option<f64>,
    /// Shares of the samples that are right.
    pub test_accuracy: Option<f64>,
    pub validation_accuracy: Option<f64>,
    pub test_loss: Option<f64>,
    /// Share of the survivors whose sign differs from init.
    pub flips_init: Option<f64>,
    /// What of its files cannot be read.
    pub trouble: Option<String>,
}

impl Facts {
    /// Those of a run of which nothing is known.
    pub const NONE: Self = Self {
        level: None,
        seeds_there: 0,
        density: None,
        test_accuracy: None,
        validation_accuracy: None,
        test_loss: None,
        flips_init: None,
        trouble: None,
    };

    /// Reads those of a run whose seeds finished so many levels.
    pub fn read(folder: &Path, seeds: &[u64], finished: &[u64], knows_levels: bool) -> Self {
        let run = RunDir::new(folder);
        let mut facts = Self::NONE;
        let file = run.file("experiment.toml");
        if !knows_levels && file.exists() {
            facts.trouble = read_stored(&file).err().map(|it| it.to_string());
        }
        let most = finished.iter().copied().max().unwrap_or(0);
        let Some(level) = most.checked_sub(1) else {
            return facts;
        };
        facts.level = Some(level);
        let mut all = Vec::new();
        for (&seed, _) in seeds.iter().zip(finished).filter(|it| *it.1 == most) {
            match read_summary(&run.seed(seed).level(level)) {
                Ok(summary) => all.push(summary),
                Err(error) => facts.trouble = Some(error.to_string()),
            }
        }
        facts.seeds_there = all.len() as u64;
        let mean = |pick: fn(&Summary) -> Option<f64>| {
            let values: Option<Vec<f64>> = all.iter().map(pick).collect();
            let values = values.filter(|it| !it.is_empty())?;
            Some(values.iter().sum::<f64>() / values.len() as f64)
        };
        facts.density = mean(|it| Some(it.density));
        facts.test_accuracy = mean(|it| Some(it.test_accuracy));
        facts.validation_accuracy = mean(|it| it.validation_accuracy);
        facts.test_loss = mean(|it| Some(it.test_loss));
        facts.flips_init = mean(|it| Some(it.flips_init));
        facts
    }
}
