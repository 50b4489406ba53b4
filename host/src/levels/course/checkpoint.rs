//! The rolling checkpoint within a level: one file, whole or absent.

use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::guarded::State;
use super::points::{optimizer_state, optimizer_tensors, prunable};
use super::start::{decode, encode};
use super::{Course, Seed};
use crate::levels::RunError;
use crate::levels::dense::Goal;
use crate::levels::running::{Carry, Running};
use crate::records::{Epoch, SignRecord};
use crate::store::{
    self, SeedDir, StoreError, digest, expect_digest, read_sealed, read_tensors, write_sealed,
    write_tensors,
};
use crate::strategy::select::survivors;
use crate::trainer::{LaneStart, Position, Progress, Session, Snapshot};

/// What the checkpoint's tensors do not say.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Checkpoint {
    level: u64,
    position: Position,
    carry: Carry,
    epochs: Vec<Epoch>,
    /// What crossed zero in each of them; none in checkpoints of earlier versions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    signs: Vec<SignRecord>,
    /// Files of the level that were written before, with their BLAKE3 digests.
    files: Vec<(String, String)>,
    /// File beside this one that holds the tensors, with its BLAKE3 digest.
    tensors: (String, String),
}

/// The small file that says what a seed's checkpoint is.
pub fn path(home: &SeedDir) -> PathBuf {
    home.progress().join("checkpoint.json")
}

/// The step of a level at which a seed's checkpoint stands; 0 without one.
pub(in crate::levels) fn step(home: &SeedDir, level: u64) -> u64 {
    place(home)
        .filter(|it| it.0 == level)
        .map_or(0, |(_, step)| step)
}

/// The level and the step of it at which a seed's checkpoint stands; none if it has no checkpoint, or one that is damaged.
pub fn place(home: &SeedDir) -> Option<(u64, u64)> {
    let checkpoint = read_sealed::<Checkpoint>(&path(home)).ok()?.value;
    Some((checkpoint.level, checkpoint.position.step))
}

/// The level that a seed's checkpoint stands in, with the epochs of it that were done by then and what crossed zero in
/// them; none if it has no checkpoint, or one that is damaged.
pub fn epochs_so_far(home: &SeedDir) -> Option<(u64, Vec<Epoch>, Vec<SignRecord>)> {
    let checkpoint = read_sealed::<Checkpoint>(&path(home)).ok()?.value;
    Some((checkpoint.level, checkpoint.epochs, checkpoint.signs))
}

/// Reads a checkpoint's text, and the components' states in it, for [`crate::fuzzing`].
pub(crate) fn read_text(bytes: &[u8]) -> Result<(), String> {
    let checkpoint: Checkpoint =
        serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    decode(&checkpoint.carry.states).map(|_| ())
}

/// Checks the files of a seed's checkpoint against their digests: the level and the step at which it
/// stands; none if there is no checkpoint.
///
/// # Errors
/// Names the file that is missing or damaged.
pub fn check_checkpoint(home: &SeedDir) -> Result<Option<(u64, u64)>, StoreError> {
    let path = path(home);
    if !path.exists() {
        return Ok(None);
    }
    let checkpoint = read_sealed::<Checkpoint>(&path)?.value;
    checkpoint.check_files(home)?;
    Ok(Some((checkpoint.level, checkpoint.position.step)))
}

impl Checkpoint {
    fn check_files(&self, home: &SeedDir) -> Result<(), StoreError> {
        let dir = home.level(self.level);
        let level_files = self.files.iter().map(|(name, it)| (dir.file(name), it));
        let (file, digest) = &self.tensors;
        let own = (home.progress().join(file), digest);
        for (path, expected) in level_files.chain([own]) {
            expect_digest(&path, expected)?;
        }
        Ok(())
    }
}

/// Removes a seed's checkpoint.
///
/// # Errors
/// If the folder cannot be removed.
pub(in crate::levels) fn remove(home: &SeedDir) -> Result<(), RunError> {
    Ok(store::remove(&home.progress())?)
}

impl Course<'_> {
    /// Writes where a lane is. The file of tensors goes first, under a name of its own; the small
    /// file that names it follows, so that one or the other checkpoint is always whole.
    pub(in crate::levels) fn save_checkpoint(
        &self,
        running: &Running,
        seed: &Seed,
        session: &Session<'_>,
        lane: usize,
    ) -> Result<(), RunError> {
        let bounds = self.bounds(running.level, &seed.strategy);
        self.check_lane(running, bounds, session, lane)?;
        let progress = session.progress(lane)?;
        let mut tensors = Vec::new();
        let mut add = |group: &str, list: Vec<(String, Tensor)>| {
            tensors.extend(
                list.into_iter()
                    .map(|(name, tensor)| (format!("{group}/{name}"), tensor)),
            );
        };
        add("point", session.snapshot(lane)?.tensors);
        add(
            "optimizer",
            optimizer_tensors(&session.optimizer_state(lane)?),
        );
        add("epoch", progress.tensors);
        let names = self.trainer.layers().iter().map(|layer| layer.name.clone());
        let masks = session.mask(lane)?;
        add(
            "mask",
            names
                .zip(masks.iter().map(|mask| mask.to_kind(Kind::Uint8)))
                .collect(),
        );
        let file = format!("step-{:08}.safetensors", progress.position.step);
        // The end of the level before takes that one's checkpoint along.
        self.ends.settle()?;
        let target = running.home.progress().join(&file);
        write_tensors(&target, &tensors)?;
        let files: Result<Vec<_>, RunError> = running
            .files
            .iter()
            .map(|name| Ok((name.clone(), digest(&running.dir.file(name))?)))
            .collect();
        let checkpoint = Checkpoint {
            level: running.level,
            position: progress.position,
            carry: self.carry(running, seed)?,
            epochs: running.epochs.clone(),
            signs: running.signs.clone(),
            files: files?,
            tensors: (file.clone(), digest(&target)?),
        };
        write_sealed(&path(&running.home), &checkpoint)?;
        for entry in fs::read_dir(running.home.progress())
            .into_iter()
            .flatten()
            .flatten()
        {
            let name = entry.file_name();
            if name != *file && name != "checkpoint.json" {
                // A file left over costs room only, and the next checkpoint tries again.
                let _ = store::remove(&entry.path());
            }
        }
        Ok(())
    }

    /// What a level's files do not say and is needed to go on.
    pub(in crate::levels) fn carry(
        &self,
        running: &Running,
        seed: &Seed,
    ) -> Result<Carry, RunError> {
        let states = match running.level {
            0 => Vec::new(),
            _ => (seed.strategy.save_state()).map_err(|error| running.error(error))?,
        };
        Ok(Carry {
            schedule: running.schedule,
            order_level: running.order_level,
            states: encode(&states),
        })
    }

    /// Goes on from a seed's checkpoint, if it has one for this level and nothing of it is damaged.
    pub(in crate::levels) fn load_checkpoint(
        &self,
        running: &mut Running,
        seed: &mut Seed,
    ) -> Result<Option<LaneStart>, RunError> {
        if !path(&running.home).exists() {
            return Ok(None);
        }
        match self.read_checkpoint(running) {
            Ok(Some((checkpoint, start))) => {
                self.check_start(running, seed, &start)?;
                // One of level 0 may have been written for another experiment.
                if running.level > 0 {
                    let states = decode(&checkpoint.carry.states)
                        .map_err(|error| RunError::damaged(&path(&running.home), &error))?;
                    seed.strategy
                        .load_state(&states)
                        .map_err(|error| running.error(error))?;
                }
                running.schedule = checkpoint.carry.schedule;
                running.order_level = checkpoint.carry.order_level;
                running.epochs = checkpoint.epochs;
                running.signs = checkpoint.signs;
                running.files = checkpoint.files.into_iter().map(|(name, _)| name).collect();
                if running.level == 0 {
                    // Earlier versions kept a strategy's files among them.
                    running
                        .files
                        .retain(|file| crate::levels::DENSE_FILES.contains(&file.as_str()));
                }
                if running.goal == Goal::Level {
                    running.dir.keep_only(&running.files)?;
                }
                running.survivors = survivors(&start.mask).iter().sum();
                log::info!(
                    "seed {}: goes on from step {} of level {}",
                    running.seed,
                    checkpoint.position.step,
                    running.level
                );
                Ok(Some(start))
            }
            Ok(None) => Ok(None),
            Err(error) if !error.is_damage() => Err(error),
            Err(error) => {
                log::warn!(
                    "{error}; level {} of seed {} starts anew",
                    running.level,
                    running.seed
                );
                Ok(None)
            }
        }
    }

    /// What a checkpoint holds keeps the invariants of its level.
    fn check_start(
        &self,
        running: &Running,
        seed: &Seed,
        start: &LaneStart,
    ) -> Result<(), RunError> {
        let what = path(&running.home).display().to_string();
        let state = State {
            what: &what,
            point: &start.point,
            optimizer: &start.optimizer,
            masks: &start.mask,
        };
        let cadence = seed.strategy.cadence();
        let place = (running.seed, running.level);
        self.check_state(place, &state, self.bounds(running.level, &seed.strategy))?;
        if running.level == 0 || cadence.within_level.is_some() {
            return Ok(());
        }
        self.check_nested(running.seed, running.level, &what, &start.mask)
    }

    fn read_checkpoint(
        &self,
        running: &Running,
    ) -> Result<Option<(Checkpoint, LaneStart)>, RunError> {
        let path = path(&running.home);
        let checkpoint = read_sealed::<Checkpoint>(&path)?.value;
        if checkpoint.level != running.level {
            return Ok(None);
        }
        let at = checkpoint.position.step;
        if let Some(step) = running.stored_steps.iter().find(|&&step| step <= at) {
            log::info!(
                "seed {}: the checkpoint of level 0 is of step {at}, and this experiment needs the \
                 point at step {step}; level 0 starts anew",
                running.seed
            );
            return Ok(None);
        }
        checkpoint.check_files(&running.home)?;
        let tensors_path = running.home.progress().join(&checkpoint.tensors.0);
        let device = self.trainer.device();
        let mut tensors = read_tensors(&tensors_path)?;
        let mut group = |prefix: &str| -> Vec<(String, Tensor)> {
            let (own, rest) = std::mem::take(&mut tensors)
                .into_iter()
                .partition(|(name, _)| name.starts_with(prefix));
            tensors = rest;
            let own: Vec<(String, Tensor)> = own;
            own.into_iter()
                .map(|(name, tensor)| (name[prefix.len()..].to_owned(), tensor.to_device(device)))
                .collect()
        };
        let masks = Snapshot {
            tensors: group("mask/"),
        };
        let masks = prunable(&masks, self.trainer.layers())
            .map_err(|reason| RunError::damaged(&tensors_path, &reason))?;
        let start = LaneStart {
            seed: running.seed,
            order_level: checkpoint.carry.order_level,
            point: Snapshot {
                tensors: group("point/"),
            },
            mask: masks.iter().map(|mask| mask.to_kind(Kind::Float)).collect(),
            optimizer: optimizer_state(group("optimizer/")),
            schedule_start: checkpoint.carry.schedule.step,
            hold: checkpoint.carry.schedule.hold,
            resume: Some(Progress {
                position: checkpoint.position,
                tensors: group("epoch/"),
            }),
        };
        Ok(Some((checkpoint, start)))
    }
}
