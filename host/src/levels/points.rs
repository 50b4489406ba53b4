//! Stored points of training: where they lie on disk, and what they hold.

use plugin_api::{Layer, Point};
use tch::Tensor;

use super::error::RunError;
use super::running::Running;
use super::{Levels, Seed};
use crate::store::{LevelDir, RunDir, SeedDir, read_tensors, write_tensors};
use crate::trainer::{OptimizerState, Session, Snapshot};

/// Files of a point of level 0: the point and its optimizer state.
pub(super) fn step_files(step: u64) -> [String; 2] {
    [
        format!("step-{step:06}.safetensors"),
        format!("step-{step:06}-optimizer.safetensors"),
    ]
}

/// The step whose point a file holds, if it holds one.
pub(super) fn step_of(file: &str) -> Option<u64> {
    file.strip_prefix("step-")?
        .strip_suffix(".safetensors")?
        .parse()
        .ok()
}

/// Level and file of a run's own point, as it was when it was passed; none for another run's.
pub fn stored_at(
    point: &Point,
    steps_per_epoch: u64,
    steps_per_level: u64,
) -> Option<(u64, String)> {
    let start = || "start.safetensors".to_owned();
    let end = || "end.safetensors".to_owned();
    match point {
        Point::Init => Some((0, start())),
        Point::LevelStart(level) => Some((*level, start())),
        Point::LevelEnd(level) => Some((*level, end())),
        Point::Step(step) => Some(match step.steps(steps_per_epoch) {
            0 => (0, start()),
            steps if steps == steps_per_level => (0, end()),
            steps => (0, step_files(steps)[0].clone()),
        }),
        _ => None,
    }
}

/// File of a point's replaced weights, in the folder of the level that replaced them.
pub(super) fn redefined_file(point: &Point) -> String {
    match point {
        Point::Run { .. } => {
            // The folder's name may hold what a file's name may not.
            let digest = blake3::hash(point.to_string().as_bytes()).to_hex();
            format!("point-{}.safetensors", &digest[..16])
        }
        own => format!("point-{own}.safetensors"),
    }
}

/// Name under which the number of steps that an optimizer state has seen is stored with it.
const STEPS: &str = "steps";

/// Optimizer state as named tensors.
pub(super) fn optimizer_tensors(state: &OptimizerState) -> Vec<(String, Tensor)> {
    let mut tensors: Vec<_> = state
        .tensors
        .iter()
        .map(|(name, tensor)| (name.clone(), tensor.shallow_clone()))
        .collect();
    tensors.push((STEPS.to_owned(), Tensor::from_slice(&[state.steps as i64])));
    tensors
}

/// Optimizer state from named tensors.
pub(super) fn optimizer_state(mut tensors: Vec<(String, Tensor)>) -> OptimizerState {
    let at = tensors.iter().position(|(name, _)| name == STEPS);
    let steps = at.map_or(0, |at| tensors.remove(at).1.int64_value(&[0]) as u64);
    OptimizerState { tensors, steps }
}

/// The tensors of the prunable layers out of a point's.
pub(super) fn prunable(point: &Snapshot, layers: &[Layer]) -> Result<Vec<Tensor>, String> {
    layers
        .iter()
        .map(|layer| match point.get(&layer.name) {
            Some(tensor) if tensor.size() == layer.shape => Ok(tensor.shallow_clone()),
            Some(tensor) => Err(format!(
                "layer `{}` has shape {:?} there, expected {:?}",
                layer.name,
                tensor.size(),
                layer.shape
            )),
            None => Err(format!("layer `{}` is missing there", layer.name)),
        })
        .collect()
}

impl Levels<'_> {
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
        let (per_epoch, total) = (
            self.trainer.steps_per_epoch(),
            self.trainer.steps_per_level(),
        );
        let mut steps = Vec::new();
        for point in points {
            let Point::Step(step) = &point else { continue };
            let at = step.steps(per_epoch);
            if at > total {
                return Err(RunError::Point(format!(
                    "the strategy rewinds to `{point}`, which is step {at}, but level 0 has {total} steps \
                     ({} epochs of {per_epoch})",
                    self.trainer.epochs()
                )));
            }
            if (1..total).contains(&at) && !steps.contains(&at) {
                steps.push(at);
            }
        }
        steps.sort_unstable();
        Ok(steps)
    }

    /// Writes the session's state of a lane as a point and its optimizer state.
    pub(super) fn write_point(
        &self,
        running: &mut Running,
        [point, optimizer]: &[String; 2],
        session: &Session<'_>,
        lane: usize,
    ) -> Result<(), RunError> {
        write_tensors(&running.dir.file(point), &session.snapshot(lane)?.tensors)?;
        let state = session.optimizer_state(lane)?;
        write_tensors(&running.dir.file(optimizer), &optimizer_tensors(&state))?;
        running.files.extend([point.clone(), optimizer.clone()]);
        Ok(())
    }

    /// Reads a point's tensors from a file onto the training device.
    pub(super) fn read_snapshot(&self, dir: &LevelDir, file: &str) -> Result<Snapshot, RunError> {
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
    pub(super) fn read_optimizer(
        &self,
        dir: &LevelDir,
        file: &str,
    ) -> Result<OptimizerState, RunError> {
        Ok(optimizer_state(self.read_snapshot(dir, file)?.tensors))
    }

    /// A stored point as it is now: with the weights that a strategy gave it at `level` or before.
    pub(super) fn point(&self, seed: u64, level: u64, point: &Point) -> Result<Snapshot, RunError> {
        let mut snapshot = self.original_point(&self.run.seed(seed), seed, point)?;
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

    fn original_point(
        &self,
        own: &SeedDir,
        seed: u64,
        point: &Point,
    ) -> Result<Snapshot, RunError> {
        let total = self.trainer.steps_per_level();
        let missing =
            |what: &str| RunError::Point(format!("the point `{point}` is not stored: {what}"));
        if let Point::Run { run, point } = point {
            let other = RunDir::new(run).seed(seed);
            if !other.path().is_dir() {
                return Err(missing(&format!("there is no {}", other.path().display())));
            }
            return self.original_point(&other, seed, point);
        }
        let per_epoch = self.trainer.steps_per_epoch();
        let Some((level, file)) = stored_at(point, per_epoch, total) else {
            return Err(missing("this host does not know this kind of point"));
        };
        let dir = own.level(level);
        if !dir.file(&file).exists() {
            let what = match point {
                Point::Step(_) => {
                    "a component must name it in points(), so that level 0 stores it".to_owned()
                }
                _ => format!("there is no {}", dir.file(&file).display()),
            };
            return Err(missing(&what));
        }
        self.read_snapshot(&dir, &file)
    }

    /// The optimizer state at a stored point.
    pub(super) fn point_optimizer(
        &self,
        seed: u64,
        point: &Point,
    ) -> Result<OptimizerState, RunError> {
        let own = match point {
            Point::Run { run, .. } => RunDir::new(run).seed(seed),
            _ => self.run.seed(seed),
        };
        let inner = match point {
            Point::Run { point, .. } => point,
            point => point,
        };
        let total = self.trainer.steps_per_level();
        let (level, file) = match inner {
            Point::Init => return Ok(OptimizerState::default()),
            Point::LevelEnd(level) => (*level, "optimizer.safetensors".to_owned()),
            Point::Step(step) => match step.steps(self.trainer.steps_per_epoch()) {
                0 => return Ok(OptimizerState::default()),
                steps if steps == total => (0, "optimizer.safetensors".to_owned()),
                steps => (0, step_files(steps)[1].clone()),
            },
            _ => {
                return Err(RunError::Point(format!(
                    "the optimizer's state is not stored for the point `{point}`; it is for init, times of \
                     level 0 and level ends"
                )));
            }
        };
        self.read_optimizer(&own.level(level), &file)
    }
}
