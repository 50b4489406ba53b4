//! Where the points of this run and of others lie, and reading them.

use plugin_api::Point;

use super::Course;
use super::points::fitting;
use super::source::finished_level;
use crate::levels::RunError;
use crate::store::{LevelDir, redefined_file, step_files, step_of, stored_at};
use crate::trainer::{OptimizerState, Snapshot};

/// What a point consists of.
enum Place {
    /// A draw of the initial values: nothing is stored.
    Drawn(u64),
    /// Files of a level.
    Stored {
        /// The level's folder.
        dir: LevelDir,
        /// File of weights and batch norm.
        point: String,
        /// The optimizer's state.
        optimizer: Optimizer,
    },
}

/// The optimizer's state at a point.
enum Optimizer {
    /// As before the first step.
    Cleared,
    /// In this file.
    Stored(String),
    /// Nowhere.
    Unknown,
}

impl Course<'_> {
    /// Where a point of this seed lies; the level's folder is checked to be there.
    fn locate(&self, seed: u64, point: &Point) -> Result<Place, RunError> {
        let (run, inner) = match point {
            Point::Run { run, point } => (Some(run.as_str()), &**point),
            own => (None, own),
        };
        let missing =
            |what: &str| RunError::Missing(format!("the point `{point}` is not stored: {what}"));
        if let (Point::InitDraw(number), None) = (inner, run) {
            return Ok(Place::Drawn(*number));
        }
        let per_epoch = self.trainer.steps_per_epoch();
        let Some((level, file)) = stored_at(inner, per_epoch, self.trainer.steps_per_level())
        else {
            return Err(missing("it has no meaning here"));
        };
        let optimizer = match (file.as_str(), step_of(&file)) {
            (_, Some(step)) => {
                let [_, state] = step_files(step);
                Optimizer::Stored(state)
            }
            ("end.safetensors", _) => Optimizer::Stored("optimizer.safetensors".to_owned()),
            _ if level == 0 => Optimizer::Cleared,
            _ => Optimizer::Unknown,
        };
        let dir = match run {
            Some(run) => finished_level(run, seed, level).map_err(|reason| missing(&reason))?,
            None => {
                let dir = self.run.seed(seed).level(level);
                self.ends.settle_in(&dir)?;
                dir
            }
        };
        if !dir.file(&file).exists() {
            let what = match (inner, run) {
                (Point::Step(_), None) => return Err(RunError::Undeclared(point.clone())),
                (Point::Step(_), Some(run)) => format!(
                    "level 0 of `{run}` holds no {file}; it stores the points that its own strategy rewinds to"
                ),
                _ => format!("level {level} of this run is yet to be trained"),
            };
            return Err(missing(&what));
        }
        if run.is_some() {
            dir.check_file(&file)?;
        }
        Ok(Place::Stored {
            dir,
            point: file,
            optimizer,
        })
    }

    /// A point as it is now: with the weights that a strategy gave it at `level` or before.
    pub(in crate::levels) fn point(
        &self,
        seed: u64,
        level: u64,
        point: &Point,
    ) -> Result<Snapshot, RunError> {
        let mut snapshot = match self.locate(seed, point)? {
            Place::Drawn(number) => self.trainer.initial_draw(seed, number),
            Place::Stored {
                dir, point: file, ..
            } => self.read_snapshot(&dir, &file)?,
        };
        let file = redefined_file(point);
        let own = self.run.seed(seed);
        let newest = (1..=level)
            .rev()
            .map(|l| own.level(l))
            .find(|dir| dir.file(&file).exists());
        if let Some(dir) = newest {
            for (name, tensor) in self.read_snapshot(&dir, &file)?.tensors {
                snapshot.replace(&name, tensor);
            }
        }
        Ok(snapshot)
    }

    /// The optimizer state at a point.
    pub(in crate::levels) fn point_optimizer(
        &self,
        seed: u64,
        point: &Point,
    ) -> Result<OptimizerState, RunError> {
        let (dir, file) = match self.locate(seed, point)? {
            Place::Drawn(_)
            | Place::Stored {
                optimizer: Optimizer::Cleared,
                ..
            } => return Ok(OptimizerState::default()),
            Place::Stored {
                dir,
                optimizer: Optimizer::Stored(file),
                ..
            } => (dir, file),
            Place::Stored { .. } => {
                return Err(RunError::Missing(format!(
                    "the optimizer's state is not stored for the point `{point}`; it is for initial \
                     values, times of level 0 and level ends"
                )));
            }
        };
        let state = self.read_optimizer(&dir, &file)?;
        for name in self.trainer.states_of_weights() {
            for parameter in self.trainer.layout().parameters() {
                let own = format!("{name}.{}", parameter.name);
                fitting(state.get(&own), &own, &parameter.shape).map_err(|reason| {
                    RunError::Missing(format!(
                        "the optimizer's state at `{point}` does not fit: {reason}"
                    ))
                })?;
            }
        }
        Ok(state)
    }
}
