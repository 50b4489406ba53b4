//! Another run as a source of points and masks: what of it is there, and what makes the rest.

use std::path::Path;

use tch::{Kind, Tensor};

use super::Course;
use super::points::prunable;
use crate::experiment::read_stored;
use crate::program;
use crate::store::{LevelDir, RunDir, read_tensors};
use crate::trainer::Snapshot;

/// A finished level of another run's seed.
///
/// # Errors
/// What of the run is missing, and the command that makes it.
pub(in crate::levels) fn finished_level(
    run: &str,
    seed: u64,
    level: u64,
) -> Result<LevelDir, String> {
    let dir = RunDir::new(run);
    let dir = dir.seed(seed).level(level);
    if dir.file("done.json").exists() {
        return Ok(dir);
    }
    Err(why_missing(run, seed, level))
}

fn why_missing(name: &str, seed: u64, level: u64) -> String {
    let run = RunDir::new(name);
    if !run.path().is_dir() {
        return format!(
            "there is no run `{name}`; name a run's folder, or make it with `{} run` on its experiment file",
            program::name()
        );
    }
    let file = run.file("experiment.toml");
    let last = match read_stored(&file) {
        Ok(experiment) => experiment.last_level(),
        Err(error) => return format!("`{name}` is no run's folder: {error}"),
    };
    if level > last {
        return format!(
            "run `{name}` ends at level {last}, but level {level} is asked for; end this run at level \
                 {last} too, or name a run with more levels"
        );
    }
    let folder = command_folder(&run);
    let command = format!(
        "`{} run {} --seeds {seed}{folder}`",
        program::name(),
        file.display()
    );
    let own = run.seed(seed);
    if !own.path().is_dir() {
        let seeds: Vec<String> = run.seeds().iter().map(u64::to_string).collect();
        let seeds = match seeds.is_empty() {
            true => "none yet".to_owned(),
            false => seeds.join(", "),
        };
        return format!("run `{name}` has no seed {seed} (it has {seeds}); {command} makes it");
    }
    if own.failure().exists() {
        return format!(
            "seed {seed} of run `{name}` was given up before the end of level {level}: {}",
            own.failure().display()
        );
    }
    let stands = match own.finished_levels() {
        0 => "no level".to_owned(),
        count => format!("levels 0 to {}", count - 1),
    };
    format!(
        "run `{name}` has not finished level {level} of seed {seed} (it has {stands}); {command} goes on with it"
    )
}

/// What a command needs beside the file to find the run's folder again.
fn command_folder(run: &RunDir) -> String {
    let parent = run.path().parent().unwrap_or(Path::new(""));
    match parent == Path::new("runs") {
        true => String::new(),
        false if parent == Path::new("") => " --runs .".to_owned(),
        false => format!(" --runs {}", parent.display()),
    }
}

impl Course<'_> {
    /// The masks with which a level of this run, or of another one, was trained.
    ///
    /// # Errors
    /// What is missing or does not fit, with the run, the layer, what was got and what was expected.
    pub(in crate::levels) fn masks_of(
        &self,
        run: Option<&str>,
        seed: u64,
        level: u64,
    ) -> Result<Vec<Tensor>, String> {
        let (dir, who) = match run {
            Some(run) => (finished_level(run, seed, level)?, format!("run `{run}`")),
            None => {
                let dir = self.run.seed(seed).level(level);
                let settled = self.ends.settle_in(&dir);
                settled.map_err(|error| error.to_string())?;
                (dir, "this run".to_owned())
            }
        };
        let fail = |reason: String| {
            format!(
                "the masks of level {level} of {who} do not fit: {reason}; expected a run of the same model and prune.exclude"
            )
        };
        let path = dir.file("mask.safetensors");
        if !path.exists() {
            return Err(format!("level {level} of {who} is yet to be trained"));
        }
        dir.check_file("mask.safetensors")
            .map_err(|error| error.to_string())?;
        let tensors = read_tensors(&path).map_err(|error| error.to_string())?;
        let layers = self.trainer.layers();
        let foreign = |(name, _): &&(String, Tensor)| !layers.iter().any(|own| own.name == *name);
        if let Some((name, tensor)) = tensors.iter().find(foreign) {
            return Err(fail(format!(
                "layer `{name}` with shape {:?} there is no prunable layer here",
                tensor.size()
            )));
        }
        let masks = prunable(&Snapshot { tensors }, layers)
            .map_err(|reason| fail(format!("layer {reason}")))?;
        let device = self.trainer.device();
        Ok(masks
            .iter()
            .map(|mask| mask.to_device(device).to_kind(Kind::Float))
            .collect())
    }
}
