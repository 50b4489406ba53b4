//! The teacher of a run whose loss is distillation: another run's network at a level's end.

use std::path::Path;

use super::course::source::finished_level;
use crate::experiment::{Experiment, read_stored};
use crate::store::{RunDir, read_tensors};
use crate::trainer::{Snapshot, Teacher, Trainer};

/// Why there is no teacher.
#[derive(Debug, thiserror::Error)]
pub enum Untaught {
    /// The run, or a seed's level of it, is not there, or damaged.
    #[error("{0}")]
    Missing(String),
    /// Its network is for other data.
    #[error(
        "the network of run `{run}` cannot teach this one: {reason}; expected a run on data of the same inputs and classes"
    )]
    Misfit {
        /// The run.
        run: String,
        /// What does not fit.
        reason: String,
    },
}

/// The teacher of the experiment's network, with what each of these seeds is taught by; none where the loss has none.
///
/// # Errors
/// What of the teacher's run is missing, and what makes it; or what does not fit.
pub fn teacher(
    experiment: &Experiment,
    trainer: &Trainer,
    seeds: &[u64],
) -> Result<Option<Teacher>, Untaught> {
    let Some(distillation) = experiment.train.loss.distillation() else {
        return Ok(None);
    };
    let run = &distillation.run.0;
    let missing = |reason: &dyn std::fmt::Display| Untaught::Missing(reason.to_string());
    let misfit = |error: &dyn std::fmt::Display| Untaught::Misfit {
        run: run.clone(),
        reason: error.to_string(),
    };
    let file = RunDir::new(Path::new(run)).file("experiment.toml");
    let theirs = read_stored(&file);
    let last = (theirs.as_ref()).map_or(u64::MAX, Experiment::last_level);
    if distillation.level > last {
        let reason = format!(
            "run `{run}` ends at level {last}, but train.loss.level is {}: expected at most {last}",
            distillation.level
        );
        return Err(Untaught::Missing(reason));
    }
    let mut levels = Vec::new();
    for &seed in seeds {
        let dir = finished_level(run, seed, distillation.level);
        levels.push((seed, dir.map_err(|reason| missing(&reason))?));
    }
    let theirs = theirs.map_err(|error| missing(&error))?;
    let device = trainer.device();
    let teacher = Teacher::of(&theirs, trainer.data(), device);
    let mut teacher = teacher.map_err(|error| misfit(&error))?;
    for (seed, dir) in levels {
        const FILE: &str = "end.safetensors";
        dir.check_file(FILE).map_err(|error| missing(&error))?;
        let tensors = read_tensors(&dir.file(FILE)).map_err(|error| missing(&error))?;
        let on_device = |(name, tensor): (String, tch::Tensor)| (name, tensor.to_device(device));
        let tensors = tensors.into_iter().map(on_device).collect();
        (teacher.take(seed, &Snapshot { tensors })).map_err(|error| misfit(&error))?;
    }
    Ok(Some(teacher))
}
