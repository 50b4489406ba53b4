//! What a level starts from: init at level 0, else what score, mask and rewind make of the level before.

use std::collections::BTreeMap;

use plugin_api::{Phase, Point};
use tch::{Kind, Tensor};

use super::ends::{Files, Held};
use super::guarded::State;
use super::{Course, Seed, checkpoint};
use crate::experiment::Collapse;
use crate::levels::RunError;
use crate::levels::dense::Goal;
use crate::levels::running::{Carry, Running, ScheduleStart};
use crate::store::redefined_file;
use crate::strategy::guard::Writing;
use crate::strategy::select::survivors;
use crate::strategy::{MaskRule, Violation};
use crate::trainer::{LaneStart, OptimizerState, Snapshot};

/// What a level starts from.
pub(in crate::levels) struct Start {
    pub point: Snapshot,
    pub masks: Vec<Tensor>,
    pub optimizer: OptimizerState,
    pub schedule: ScheduleStart,
    pub order_level: u64,
    /// Steps of the level before.
    pub steps_before: u64,
    /// Points that have other weights from this level on.
    pub redefined: Vec<(Point, Vec<Tensor>)>,
}

impl Course<'_> {
    /// A seed at the start of a level, or where its checkpoint left it.
    pub(in crate::levels) fn prepare(
        &self,
        level: u64,
        index: usize,
        seed: &mut Seed,
        goal: Goal,
    ) -> Result<(Running, LaneStart), RunError> {
        let home = self.home(seed, level);
        let stored_steps = match level {
            0 => self.lacking_steps(seed)?,
            _ => Vec::new(),
        };
        let mut running = Running {
            index,
            seed: seed.seed,
            level,
            dir: home.level(level),
            home,
            survivors: 0,
            schedule: ScheduleStart::default(),
            order_level: level,
            epochs: Vec::new(),
            signs: Vec::new(),
            goal,
            stored_steps,
            files: Vec::new(),
        };
        // Right behind the level before there is no checkpoint but that one's, which goes when it is written.
        if level == 0 || !self.ends.holds(seed.seed, level - 1) {
            if level > 0 {
                self.ends.settle_in(&running.home.level(level - 1))?;
            }
            if let Some(start) = self.load_checkpoint(&mut running, seed)? {
                return Ok((running, start));
            }
            checkpoint::remove(&running.home)?;
        }
        if goal == Goal::Level {
            running.dir.clear()?;
        }
        let start = match level {
            0 => self.dense_start(seed),
            _ => self.pruned_start(level, seed)?,
        };
        let state = State {
            what: "what the level starts from",
            point: &start.point,
            // The session clears what the masks prune of it.
            optimizer: &OptimizerState::default(),
            masks: &start.masks,
        };
        let bounds = self.bounds(level, &seed.strategy);
        self.check_state((seed.seed, level), &state, bounds)?;
        self.write_start(&mut running, &start, seed)?;
        let lane = LaneStart {
            seed: seed.seed,
            order_level: start.order_level,
            point: start.point,
            mask: start.masks,
            optimizer: start.optimizer,
            schedule_start: start.schedule.step,
            hold: start.schedule.hold,
            resume: None,
        };
        Ok((running, lane))
    }

    fn dense_start(&self, seed: &Seed) -> Start {
        Start {
            point: self.trainer.initial(seed.seed),
            masks: self.trainer.dense_mask(),
            optimizer: OptimizerState::default(),
            schedule: ScheduleStart::default(),
            order_level: 0,
            steps_before: 0,
            redefined: Vec::new(),
        }
    }

    /// Score, mask, rewind.
    pub(in crate::levels) fn pruned_start(
        &self,
        level: u64,
        seed: &mut Seed,
    ) -> Result<Start, RunError> {
        let mut start = self.end_of(level - 1, seed)?;
        let failed = |seed: &Seed| {
            let number = seed.seed;
            move |source| RunError::Strategy {
                seed: number,
                level: level - 1,
                source,
            }
        };
        let points = seed.strategy.points().map_err(failed(seed))?;
        let cadence = seed.strategy.cadence().clone();
        if cadence.between_levels {
            self.prune(
                level,
                seed,
                Phase::BetweenLevels,
                self.target(level, &seed.strategy),
                &mut start,
                &points,
            )?;
        }
        for policy in 0..seed.strategy.policies() {
            let target = self.target(level, &seed.strategy);
            let scene = self.scene_between(
                seed.seed,
                level,
                Phase::BetweenLevels,
                target,
                &start,
                &points,
            );
            let plan = seed.strategy.plan(policy, &scene).map_err(failed(seed))?;
            match self.rewind(level, seed.seed, plan, &mut start) {
                Err(RunError::Missing(reason)) => {
                    let violation = Violation::Missing(reason);
                    return Err(failed(seed)(seed.strategy.blame(policy, violation)));
                }
                Err(error @ RunError::Undeclared(_)) => {
                    let violation = Violation::Failed(error.to_string());
                    return Err(failed(seed)(seed.strategy.blame(policy, violation)));
                }
                other => other?,
            }
        }
        let before = self.counted(&start.masks, &seed.strategy);
        let rounds = cadence.rounds_before_training;
        for round in 0..rounds {
            let last = self.target(level, &seed.strategy);
            let target = geometric(before, last, round + 1, rounds);
            let phase = Phase::BeforeTraining { round, rounds };
            self.prune(level, seed, phase, target, &mut start, &points)?;
        }
        Ok(start)
    }

    /// One round of score and mask.
    fn prune(
        &self,
        level: u64,
        seed: &mut Seed,
        phase: Phase,
        target: u64,
        start: &mut Start,
        points: &[Point],
    ) -> Result<(), RunError> {
        let number = seed.seed;
        let failed = move |source| RunError::Strategy {
            seed: number,
            level: level - 1,
            source,
        };
        let scene = self.scene_between(number, level, phase, target, start, points);
        let scores = seed.strategy.score(&scene).map_err(failed)?;
        let masks = seed
            .strategy
            .update(&scene, &scores, MaskRule::nested(target))
            .map_err(failed)?;
        self.check_collapse(number, level, &masks)?;
        start.masks = masks;
        self.apply_masks(start);
        Ok(())
    }

    /// Warns of layers without survivors, or fails where the experiment says so.
    pub(in crate::levels) fn check_collapse(
        &self,
        seed: u64,
        level: u64,
        masks: &[Tensor],
    ) -> Result<(), RunError> {
        for (layer, survivors) in self.trainer.layers().iter().zip(survivors(masks)) {
            if survivors > 0 {
                continue;
            }
            let layer = layer.name.clone();
            match self.experiment.prune.collapse {
                Collapse::Error => {
                    return Err(RunError::Collapse { seed, level, layer });
                }
                Collapse::Warn => {
                    log::warn!("seed {seed}, level {level}: layer `{layer}` has no survivor left");
                }
            }
        }
        Ok(())
    }

    /// Sets pruned weights to exactly +0.
    pub(in crate::levels) fn apply_masks(&self, start: &mut Start) {
        for (layer, mask) in self.trainer.layers().iter().zip(&start.masks) {
            if let Some(weights) = start.point.get(&layer.name) {
                let masked = weights.masked_fill(&mask.eq(0.0), 0.0);
                start.point.replace(&layer.name, masked);
            }
        }
    }

    /// A finished level as the next one finds it: everything kept, the schedule held at its last value.
    fn end_of(&self, level: u64, seed: &mut Seed) -> Result<Start, RunError> {
        let number = seed.seed;
        let path = self.run.seed(number).level(level).file("done.json");
        let end = match self.ends.take(number, level) {
            Some(held) => held,
            None => self.read_end(level, seed)?,
        };
        let Held {
            carry,
            point,
            optimizer,
            masks,
            ..
        } = end;
        let failed = |source| RunError::Strategy {
            seed: number,
            level,
            source,
        };
        // As in a process that starts here: what the components were called for before is forgotten.
        seed.strategy.renew().map_err(failed)?;
        // Nobody's strategy has a part in level 0. States that an earlier version left there are
        // those of whoever trained it.
        if level > 0 {
            let states = decode(&carry.states).map_err(|error| RunError::damaged(&path, &error))?;
            seed.strategy.load_state(&states).map_err(failed)?;
        }
        Ok(Start {
            point,
            masks,
            optimizer,
            schedule: self.held(carry.schedule),
            order_level: level + 1,
            steps_before: carry.schedule.steps(self.trainer),
            redefined: Vec::new(),
        })
    }

    /// What a finished level left on disk, with all that holds of it. What is in memory was checked when it ended.
    fn read_end(&self, level: u64, seed: &Seed) -> Result<Held, RunError> {
        let number = seed.seed;
        let dir = self.run.seed(number).level(level);
        self.ends.settle_in(&dir)?;
        let done = dir.check()?;
        let carry: Carry = serde_json::from_value(done.carry)
            .map_err(|error| RunError::damaged(&dir.file("done.json"), &error))?;
        let optimizer = self.read_optimizer(&dir, "optimizer.safetensors")?;
        let masks = self.read_snapshot(&dir, "mask.safetensors")?;
        let masks = super::points::prunable(&masks, self.trainer.layers())
            .map_err(|reason| RunError::damaged(&dir.file("mask.safetensors"), &reason))?;
        let masks: Vec<Tensor> = masks.iter().map(|mask| mask.to_kind(Kind::Float)).collect();
        let point = self.read_snapshot(&dir, "end.safetensors")?;
        let state = State {
            what: &dir.path().display().to_string(),
            point: &point,
            optimizer: &optimizer,
            masks: &masks,
        };
        let bounds = self.final_bounds(level, &seed.strategy);
        self.check_state((number, level), &state, bounds)?;
        self.check_place(seed, level, &masks)?;
        Ok(Held {
            seed: number,
            level,
            carry,
            point,
            optimizer,
            masks,
        })
    }

    /// Writes what the level starts from, and remembers it.
    fn write_start(
        &self,
        running: &mut Running,
        start: &Start,
        seed: &Seed,
    ) -> Result<(), RunError> {
        running.survivors = survivors(&start.masks).iter().sum();
        running.schedule = start.schedule;
        running.order_level = start.order_level;
        let mut files = Files::of(&running.dir);
        if running.goal == Goal::Level {
            files.add_tensors("start.safetensors", &start.point.tensors);
        } else {
            running.files.push("start.safetensors".to_owned());
        }
        // Level 0 is everybody's, and dense to its end.
        if running.level > 0 && seed.strategy.cadence().within_level.is_some() {
            files.add_tensors("mask-start.safetensors", &self.stored_masks(&start.masks));
        }
        for (point, weights) in &start.redefined {
            let names = self.trainer.layers().iter().map(|layer| layer.name.clone());
            let tensors: Vec<_> = names
                .zip(weights.iter().map(Tensor::shallow_clone))
                .collect();
            files.add_tensors(&redefined_file(point), &tensors);
        }
        running.files.extend(files.names());
        // Where points have other weights is asked of the disk, also while the level before is written.
        if running.level == 0 || !start.redefined.is_empty() {
            files.write()?;
        } else {
            self.ends.write(&running.dir, move || {
                let _writing = Writing::begin();
                files.write().map(|()| None)
            });
        }
        Ok(())
    }

    /// Masks as they are stored: u8 under the layers' names.
    pub(in crate::levels) fn stored_masks(&self, masks: &[Tensor]) -> Vec<(String, Tensor)> {
        let names = self.trainer.layers().iter().map(|layer| layer.name.clone());
        names
            .zip(masks.iter().map(|mask| mask.to_kind(Kind::Uint8)))
            .collect()
    }
}

/// `from^(1 - t) * to^t` at t = round / rounds, rounded; exactly `to` at the last round. The same
/// factor in every round is the schedule of SynFlow (Tanaka et al. 2020, arXiv:2006.05467, algorithm 1).
fn geometric(from: u64, to: u64, round: u64, rounds: u64) -> u64 {
    if round >= rounds || to == 0 {
        return to;
    }
    let t = round as f64 / rounds as f64;
    let between = (from as f64).powf(1.0 - t) * (to as f64).powf(t);
    (between.round() as u64).clamp(to, from.max(to))
}

/// Components' states as they are stored.
pub(in crate::levels) fn encode(states: &[(String, Vec<u8>)]) -> BTreeMap<String, String> {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    states
        .iter()
        .filter(|(_, bytes)| !bytes.is_empty())
        .map(|(place, bytes)| (place.clone(), hex(bytes)))
        .collect()
}

/// Components' states from what is stored.
pub(in crate::levels) fn decode(
    states: &BTreeMap<String, String>,
) -> Result<Vec<(String, Vec<u8>)>, String> {
    let byte = |pair: &[u8]| {
        std::str::from_utf8(pair)
            .ok()
            .and_then(|pair| u8::from_str_radix(pair, 16).ok())
    };
    states
        .iter()
        .map(|(place, hex)| {
            let bytes: Option<Vec<u8>> = hex.as_bytes().chunks(2).map(byte).collect();
            let bytes =
                bytes.ok_or_else(|| format!("the state of `{place}` is not hexadecimal"))?;
            Ok((place.clone(), bytes))
        })
        .collect()
}

#[cfg(test)]
mod tests;
