//! Stored points of runs, and the lines between them.

use std::path::PathBuf;

use plugin_api::Point;

use super::{End, StatisticsError, seeds_with};
use crate::program;
use crate::store::{RunDir, digest, read_tensors, stored_at};
use crate::trainer::{Snapshot, Trainer};

/// A stored point of a run, of whichever seed.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The run.
    pub run: RunDir,
    /// Its point; not another run's.
    pub point: Point,
}

/// Two stored points, and the seeds for which the line between them is evaluated.
#[derive(Clone, Debug)]
pub struct Line {
    /// Where it starts. The record of the line is kept in this run's folder.
    pub a: Stored,
    /// Where it ends.
    pub b: Stored,
    /// Seeds.
    pub seeds: Vec<u64>,
}

/// The lines between the ends of consecutive levels of a run, for each seed as far as it is finished.
pub fn consecutive_levels(run: &RunDir) -> Vec<Line> {
    let end = |level| Stored {
        run: run.clone(),
        point: Point::LevelEnd(level),
    };
    let line = |level| Line {
        a: end(level),
        b: end(level + 1),
        seeds: seeds_with(run, level + 1),
    };
    lines(line)
}

/// The lines between two runs' ends of each level, for each seed as far as both are finished.
pub fn same_levels(a: &RunDir, b: &RunDir) -> Vec<Line> {
    let end = |run: &RunDir, level| Stored {
        run: run.clone(),
        point: Point::LevelEnd(level),
    };
    let line = |level| {
        let other = seeds_with(b, level);
        let mut seeds = seeds_with(a, level);
        seeds.retain(|seed| other.contains(seed));
        Line {
            a: end(a, level),
            b: end(b, level),
            seeds,
        }
    };
    lines(line)
}

fn lines(line: impl Fn(u64) -> Line) -> Vec<Line> {
    let lines = (0..).map(line);
    lines.take_while(|line| !line.seeds.is_empty()).collect()
}

impl Line {
    /// The line between two points, for the seeds that have both.
    ///
    /// # Errors
    /// If no seed has.
    pub fn between(a: Stored, b: Stored, trainer: &Trainer) -> Result<Self, StatisticsError> {
        let of = |end: &Stored| {
            let mut seeds = end.run.seeds();
            seeds.retain(|&seed| end.file(seed, trainer).is_ok());
            seeds
        };
        let [own, other] = [of(&a), of(&b)];
        let mut seeds = own.clone();
        seeds.retain(|seed| other.contains(seed));
        if seeds.is_empty() {
            let known = |end: &Stored, seeds: &[u64]| {
                let run = end.run.path().display();
                format!("{run} has `{}` for the seeds {seeds:?}", end.point)
            };
            return Err(StatisticsError::NoSeed {
                what: "both points stored".to_owned(),
                known: format!("{}, {}", known(&a, &own), known(&b, &other)),
            });
        }
        Ok(Self { a, b, seeds })
    }
}

impl Stored {
    /// The file of a seed's point.
    fn file(&self, seed: u64, trainer: &Trainer) -> Result<PathBuf, StatisticsError> {
        let missing = |reason: String| StatisticsError::Point {
            point: self.point.to_string(),
            run: self.run.path().to_owned(),
            seed,
            reason,
        };
        let (per_epoch, per_level) = (trainer.steps_per_epoch(), trainer.steps_per_level());
        let (level, file) = stored_at(&self.point, per_epoch, per_level)
            .ok_or_else(|| missing("it is another run's: name that run instead".to_owned()))?;
        let dir = self.run.seed(seed).level(level);
        let path = dir.file(&file);
        if !path.exists() || !dir.file("done.json").exists() {
            let what = match self.point {
                Point::Step(_) => "level 0 keeps the times that the run's strategy rewinds to",
                _ => "that level is not finished",
            };
            let experiment = self.run.file("experiment.toml");
            return Err(missing(format!(
                "there is no {}; {what}; `{} run {}` goes on with the run",
                path.display(),
                program::name(),
                experiment.display()
            )));
        }
        Ok(path)
    }

    /// The parameters and running statistics of a seed's point, on the trainer's device.
    pub(super) fn read(&self, seed: u64, trainer: &Trainer) -> Result<Snapshot, StatisticsError> {
        let device = trainer.device();
        let tensors = read_tensors(&self.file(seed, trainer)?)?;
        let moved = |(name, tensor): (String, tch::Tensor)| (name, tensor.to_device(device));
        Ok(Snapshot {
            tensors: tensors.into_iter().map(moved).collect(),
        })
    }

    /// What the record says of a seed's point.
    pub(super) fn end(&self, seed: u64, trainer: &Trainer) -> Result<End, StatisticsError> {
        Ok(End {
            run: self.run.name(),
            point: self.point.to_string(),
            digest: digest(&self.file(seed, trainer)?)?,
        })
    }
}
