//! Points of training: which are stored, in which files, and what these hold.

use plugin_api::{Cadence, Layer, Point, Step};
use tch::Tensor;

use super::{Course, Seed};
use crate::levels::RunError;
use crate::levels::running::Running;
use crate::store::{LevelDir, read_tensors, step_files, write_tensors};
use crate::trainer::{OptimizerState, Session, Snapshot};

/// Name under which the number of steps that an optimizer state has seen is stored with it.
const STEPS: &str = "steps";

/// Optimizer state as named tensors.
pub(in crate::levels) fn optimizer_tensors(state: &OptimizerState) -> Vec<(String, Tensor)> {
    let mut tensors: Vec<_> = state
        .tensors
        .iter()
        .map(|(name, tensor)| (name.clone(), tensor.shallow_clone()))
        .collect();
    tensors.push((STEPS.to_owned(), Tensor::from_slice(&[state.steps as i64])));
    tensors
}

/// Optimizer state from named tensors.
pub(in crate::levels) fn optimizer_state(mut tensors: Vec<(String, Tensor)>) -> OptimizerState {
    let at = tensors.iter().position(|(name, _)| name == STEPS);
    let steps = at.map_or(0, |at| tensors.remove(at).1.int64_value(&[0]) as u64);
    OptimizerState { tensors, steps }
}

/// The tensors of the prunable layers out of a point's.
pub(in crate::levels) fn prunable(
    point: &Snapshot,
    layers: &[Layer],
) -> Result<Vec<Tensor>, String> {
    layers
        .iter()
        .map(|layer| {
            let tensor = fitting(point.get(&layer.name), &layer.name, &layer.shape)?;
            Ok(tensor.shallow_clone())
        })
        .collect()
}

/// A stored tensor, if it is there and of this network's shape.
pub(in crate::levels) fn fitting<'t>(
    stored: Option<&'t Tensor>,
    name: &str,
    shape: &[i64],
) -> Result<&'t Tensor, String> {
    match stored {
        Some(tensor) if tensor.size() == shape => Ok(tensor),
        Some(tensor) => Err(format!(
            "`{name}` has shape {:?} there, expected {shape:?} as in this network",
            tensor.size()
        )),
        None => Err(format!("`{name}` of this network is missing there")),
    }
}

impl Course<'_> {
    /// Steps of level 0 whose points the strategy's components will ask for.
    ///
    /// # Errors
    /// If a component fails, or asks for a step that level 0 does not have.
    pub fn stored_steps(&self, seed: &Seed) -> Result<Vec<u64>, RunError> {
        let points = seed
            .strategy
            .points()
            .map_err(|source| RunError::Strategy {
                seed: seed.seed,
                level: 0,
                source,
            })?;
        for point in &points {
            self.check_point(seed.strategy.cadence(), point)
                .map_err(|(reason, advice)| RunError::Missing(format!("{reason}; {advice}")))?;
        }
        let times = points.iter().filter_map(|point| match point {
            Point::Step(step) => Some(*step),
            _ => None,
        });
        Ok(self.steps_of(times))
    }

    /// As [`stored_steps`](Self::stored_steps), with those that other experiments will ask for. Of
    /// these, the ones that level 0 does not reach are left out.
    pub(in crate::levels) fn wanted_steps(&self, seed: &Seed) -> Result<Vec<u64>, RunError> {
        let mut steps = self.stored_steps(seed)?;
        steps.extend(self.steps_of(self.store_points.iter().copied()));
        steps.sort_unstable();
        steps.dedup();
        Ok(steps)
    }

    /// The steps within level 0 at these times, ascending, without those that it does not reach.
    fn steps_of(&self, times: impl IntoIterator<Item = Step>) -> Vec<u64> {
        let total = self.trainer.steps_per_level();
        let mut steps = Vec::new();
        for time in times {
            let at = time.steps(self.trainer.steps_per_epoch());
            if (1..total).contains(&at) && !steps.contains(&at) {
                steps.push(at);
            }
        }
        steps.sort_unstable();
        steps
    }

    /// Refuses points of this run that no level will ever have.
    ///
    /// # Errors
    /// Why there will be none, and what to name instead.
    pub fn check_point(&self, cadence: &Cadence, point: &Point) -> Result<(), (String, String)> {
        let last = self.experiment.last_level();
        let why = match point {
            Point::Step(step) => {
                let at = step.steps(self.trainer.steps_per_epoch());
                let total = self.trainer.steps_per_level();
                if at <= total {
                    return Ok(());
                }
                let (epochs, steps) = (self.trainer.epochs(), self.trainer.steps_per_epoch());
                return Err((
                    format!(
                        "the strategy rewinds to `{step}`, which is step {at}, but level 0 has {total} \
                         steps ({epochs} epochs of {steps})"
                    ),
                    "name an earlier time, or train longer".to_owned(),
                ));
            }
            Point::LevelStart(level) | Point::LevelEnd(level) if *level > last => {
                format!("the last level is {last}")
            }
            Point::SameLevelEnd => "a level starts before its own end".to_owned(),
            Point::SameLevelStart if cadence.within_level.is_none() => {
                "the start of the level is what is being made".to_owned()
            }
            _ => return Ok(()),
        };
        Err((
            format!("the strategy asks for the point `{point}` of its own run, but {why}"),
            format!(
                "name another run's, such as \"runs/lrr-301ce8ac#{point}\", or \"previous-level-end\""
            ),
        ))
    }

    /// Stores the session's state of a lane where a point of level 0 is asked for and not there.
    pub(in crate::levels) fn store_points(
        &self,
        running: &Running,
        session: &Session<'_>,
        lane: usize,
    ) -> Result<(), RunError> {
        let step = session.position().step;
        if running.level > 0 || !running.stored_steps.contains(&step) {
            return Ok(());
        }
        let dir = running.home.point(step);
        dir.clear()?;
        let files = step_files(step);
        let [point, optimizer] = &files;
        write_tensors(&dir.file(point), &session.snapshot(lane)?.tensors)?;
        let state = session.optimizer_state(lane)?;
        write_tensors(&dir.file(optimizer), &optimizer_tensors(&state))?;
        Ok(dir.finish(&files)?)
    }

    /// Reads a point's tensors from a file onto the training device.
    pub(in crate::levels) fn read_snapshot(
        &self,
        dir: &LevelDir,
        file: &str,
    ) -> Result<Snapshot, RunError> {
        let device = self.trainer.device();
        let tensors = read_tensors(&dir.file(file))?;
        Ok(Snapshot {
            tensors: tensors
                .into_iter()
                .map(|(name, t)| (name, t.to_device(device)))
                .collect(),
        })
    }

    /// Reads an optimizer state from a file onto the training device.
    pub(in crate::levels) fn read_optimizer(
        &self,
        dir: &LevelDir,
        file: &str,
    ) -> Result<OptimizerState, RunError> {
        Ok(optimizer_state(self.read_snapshot(dir, file)?.tensors))
    }
}
