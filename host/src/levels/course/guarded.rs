//! The invariants of a seed, checked where the level loop takes over state: what a level before
//! left on disk, what a checkpoint holds, what a level starts from, and what it is at each epoch.

use plugin_api::{Cadence, UnitRule};
use tch::Tensor;

use super::{Course, Seed};
use crate::levels::RunError;
use crate::levels::invariants::{Broken, binary, counted, dead, finite, nested, tensors_of};
use crate::levels::running::Running;
use crate::records::{KeptUnits, read_summary};
use crate::store::LevelDir;
use crate::strategy::select::survivors;
use crate::strategy::{Strategy, units};
use crate::trainer::{OptimizerState, Session, Snapshot, TrainError};

/// What masks may keep.
#[derive(Clone, Copy, Debug)]
pub(in crate::levels) enum Bounds {
    /// From so many to so many weights.
    Weights(u64, u64),
    /// Whole units by a rule, at most so many of what it counts.
    Units(UnitRule, u64),
}

/// State of one seed with its masks.
pub(in crate::levels) struct State<'a> {
    /// Where it comes from, for messages.
    pub what: &'a str,
    pub point: &'a Snapshot,
    pub optimizer: &'a OptimizerState,
    pub masks: &'a [Tensor],
}

impl Course<'_> {
    /// What a level's masks may keep while it is trained: exactly its target, or more where masks shrink within the
    /// level.
    pub(in crate::levels) fn bounds(&self, level: u64, strategy: &Strategy) -> Bounds {
        let last = self.final_bounds(level, strategy);
        match last {
            Bounds::Weights(least, _) if is_gradual(strategy.cadence()) => {
                Bounds::Weights(least, self.keep(level.saturating_sub(1)))
            }
            bounds => bounds,
        }
    }

    /// What a level's masks keep at its end.
    pub(in crate::levels) fn final_bounds(&self, level: u64, strategy: &Strategy) -> Bounds {
        let target = self.target(level, strategy);
        match strategy.unit_rule() {
            None => Bounds::Weights(target, target),
            Some(rule) => Bounds::Units(*rule, target),
        }
    }

    /// What masks keep, in what the strategy's masks count.
    pub(in crate::levels) fn counted(&self, masks: &[Tensor], strategy: &Strategy) -> u64 {
        let trainer = self.trainer;
        let (units, layers) = (trainer.units(), trainer.layers());
        let counts = strategy
            .unit_rule()
            .map(|rule| units::counted(units, rule, layers, masks, u64::MAX));
        match counts {
            Some(Ok((_, count))) => count,
            _ => survivors(masks).iter().sum(),
        }
    }

    /// What is recorded of a level's masks, where they are of whole units.
    ///
    /// # Errors
    /// If they are not.
    pub(in crate::levels) fn kept_units(
        &self,
        what: &str,
        masks: &[Tensor],
        bounds: Bounds,
    ) -> Result<Option<KeptUnits>, Broken> {
        let Bounds::Units(rule, target) = bounds else {
            return Ok(None);
        };
        let (known, layers) = (self.trainer.units(), self.trainer.layers());
        let counted = units::counted(known, &rule, layers, masks, target);
        let (sets, kept) = counted.map_err(|fault| Broken::units(what, &fault))?;
        let total = known.total(rule.measure, layers);
        Ok(Some(KeptUnits::new(
            known,
            &rule,
            (total, target, kept),
            &sets,
        )))
    }

    /// Masks keep what they may.
    fn check_counts(&self, what: &str, masks: &[Tensor], bounds: Bounds) -> Result<(), Broken> {
        let layers = self.trainer.layers();
        match bounds {
            Bounds::Weights(least, most) => {
                let names: Vec<&str> = layers.iter().map(|layer| layer.name.as_str()).collect();
                counted(what, &names, masks, (least, most))
            }
            Bounds::Units(rule, target) => {
                units::counted(self.trainer.units(), &rule, layers, masks, target)
                    .map(|_| ())
                    .map_err(|fault| Broken::units(what, &fault))
            }
        }
    }

    /// Masks are masks with so many ones; what they prune is exactly +0, and all is finite.
    pub(in crate::levels) fn check_state(
        &self,
        (seed, level): (u64, u64),
        state: &State<'_>,
        bounds: Bounds,
    ) -> Result<(), RunError> {
        let layers = self.trainer.layers();
        let names: Vec<&str> = layers.iter().map(|layer| layer.name.as_str()).collect();
        let shapes: Vec<Vec<i64>> = layers.iter().map(|layer| layer.shape.clone()).collect();
        let State {
            what,
            point,
            optimizer,
            masks,
        } = state;
        let check = || {
            binary(what, &names, masks)?;
            self.check_counts(what, masks, bounds)?;
            finite(what, &point.tensors)?;
            let weights = tensors_of(what, &names, &shapes, "", &point.tensors)?;
            dead(what, "weight", &names, &weights, masks)?;
            if optimizer.tensors.is_empty() {
                return Ok(());
            }
            for state in self.trainer.states_of_weights() {
                let prefix = format!("{state}.");
                let own = tensors_of(what, &names, &shapes, &prefix, &optimizer.tensors)?;
                dead(what, state, &names, &own, masks)?;
            }
            Ok(())
        };
        check().map_err(|broken| RunError::broken(seed, level, broken))
    }

    /// A finished level is this seed's and this level's, and keeps nothing that the level before
    /// pruned, unless masks change within levels.
    pub(in crate::levels) fn check_place(
        &self,
        seed: &Seed,
        level: u64,
        masks: &[Tensor],
    ) -> Result<(), RunError> {
        let own = self.run.seed(seed.seed);
        let dir = own.level(level);
        let broken = |broken| RunError::broken(seed.seed, level, broken);
        let summary = read_summary(&dir)?;
        if (summary.seed, summary.level) != (seed.seed, level) {
            return Err(broken(Broken::Elsewhere {
                what: named(&dir, "summary.json"),
                got_seed: summary.seed,
                got_level: summary.level,
                seed: seed.seed,
                level,
            }));
        }
        if level == 0 || seed.strategy.cadence().within_level.is_some() {
            return Ok(());
        }
        self.check_nested(seed.seed, level, &named(&dir, "mask.safetensors"), masks)
    }

    /// Masks of a level keep nothing that the level before pruned.
    pub(in crate::levels) fn check_nested(
        &self,
        seed: u64,
        level: u64,
        what: &str,
        masks: &[Tensor],
    ) -> Result<(), RunError> {
        let before = self
            .masks_of(None, seed, level - 1)
            .map_err(RunError::Missing)?;
        let layers = self.trainer.layers();
        let names: Vec<&str> = layers.iter().map(|layer| layer.name.as_str()).collect();
        nested(what, &names, masks, &before).map_err(|broken| RunError::broken(seed, level, broken))
    }

    /// What holds of a lane between two steps. Cheap enough for every epoch: it reads masks, weights
    /// and optimizer state once.
    pub(in crate::levels) fn check_lane(
        &self,
        running: &Running,
        bounds: Bounds,
        session: &Session<'_>,
        lane: usize,
    ) -> Result<(), RunError> {
        let broken = |broken| RunError::broken(running.seed, running.level, broken);
        let what = format!("after step {}", session.position().step);
        session.check_pruned(lane).map_err(|error| match error {
            TrainError::Pruned {
                tensor,
                layer,
                index,
                value,
            } => broken(Broken::Alive {
                what: what.clone(),
                tensor,
                layer,
                index,
                value,
            }),
            other => other.into(),
        })?;
        let layers = self.trainer.layers();
        let names: Vec<&str> = layers.iter().map(|layer| layer.name.as_str()).collect();
        let masks = session.mask(lane)?;
        binary(&what, &names, &masks).map_err(broken)?;
        self.check_counts(&what, &masks, bounds).map_err(broken)
    }
}

/// Whether masks reach their target only within the level.
pub(crate) fn is_gradual(cadence: &Cadence) -> bool {
    !cadence.between_levels && cadence.rounds_before_training == 0
}

/// A level's file, as messages call it.
pub(in crate::levels) fn named(dir: &LevelDir, file: &str) -> String {
    dir.file(file).display().to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::experiment::Experiment;
    use crate::levels::Ends;
    use crate::levels::dense::Goal;
    use crate::levels::running::ScheduleStart;
    use crate::store::RunDir;
    use crate::strategy::select::survivors;
    use crate::trainer::Trainer;
    use crate::trainer::testing::{mlp_trainer, random_mask, revive, start};

    /// An experiment whose level 1 keeps what the masks of seed 1 do.
    fn experiment(trainer: &Trainer) -> Experiment {
        let ones: u64 = survivors(&random_mask(trainer, 1)).iter().sum();
        let all: u64 = trainer.layers().iter().map(plugin_api::Layer::len).sum();
        let text = format!(
            r#"
            name = "guarded"
            seeds = [1]
            data = {{ name = "mnist1d" }}
            model = {{ name = "mlp" }}
            train = {{ epochs = 2, batch_size = 25, optimizer = {{ name = "sgd", lr = 0.1 }} }}
            prune = {{ densities = [{}] }}
            strategy = {{ score = {{ use = "imp/magnitude" }}, mask = {{ use = "imp/global" }} }}
            "#,
            ones as f64 / all as f64
        );
        toml::from_str(&text).unwrap()
    }

    fn course<'a>(experiment: &'a Experiment, trainer: &'a Trainer) -> Course<'a> {
        Course {
            experiment,
            trainer,
            run: RunDir::new("run"),
            dense: RunDir::new("dense"),
            store_points: Vec::new(),
            ends: Ends::default(),
        }
    }

    fn running(course: &Course<'_>) -> Running {
        let home = course.run.seed(1);
        Running {
            index: 0,
            seed: 1,
            level: 1,
            dir: home.level(1),
            home,
            survivors: 0,
            schedule: ScheduleStart::default(),
            order_level: 1,
            epochs: Vec::new(),
            signs: Vec::new(),
            goal: Goal::Level,
            stored_steps: Vec::new(),
            files: Vec::new(),
        }
    }

    #[test]
    fn a_lane_that_breaks_an_invariant_stops_with_seed_level_and_step() {
        let trainer = mlp_trainer(json!({}));
        let experiment = experiment(&trainer);
        let course = course(&experiment, &trainer);
        let running = running(&course);
        let target = course.keep(1);
        let exact = Bounds::Weights(target, target);
        let mut session = trainer.session(vec![start(&trainer, 1)]).unwrap();
        session.step().unwrap();
        let check = |session: &Session<'_>| course.check_lane(&running, exact, session, 0);
        check(&session).unwrap();
        session.set_mask(0, &random_mask(&trainer, 2)).unwrap();
        let error = check(&session).unwrap_err().to_string();
        assert!(
            error.starts_with("seed 1, level 1: after step 1: the masks keep ")
                && error.contains(&format!("expected exactly {target}")),
            "{error}"
        );
        session.set_mask(0, &random_mask(&trainer, 1)).unwrap();
        check(&session).unwrap();
        revive(&session, 0);
        let error = check(&session).unwrap_err().to_string();
        assert!(
            error.starts_with(
                "seed 1, level 1: after step 1: weight of `fc0.weight` is 1e0 at index "
            ),
            "{error}"
        );
    }

    #[test]
    fn state_from_disk_that_breaks_an_invariant_is_refused_by_name() {
        let trainer = mlp_trainer(json!({}));
        let experiment = experiment(&trainer);
        let course = course(&experiment, &trainer);
        let target = course.keep(1);
        let exact = Bounds::Weights(target, target);
        let mut session = trainer.session(vec![start(&trainer, 1)]).unwrap();
        session.step().unwrap();
        let masks = session.mask(0).unwrap();
        let check = |point: &Snapshot, optimizer: &OptimizerState, masks: &[Tensor]| {
            let state = State {
                what: "level-01",
                point,
                optimizer,
                masks,
            };
            let checked = course.check_state((1, 1), &state, exact);
            checked.map_err(|error| error.to_string())
        };
        let (point, optimizer) = (
            session.snapshot(0).unwrap(),
            session.optimizer_state(0).unwrap(),
        );
        check(&point, &optimizer, &masks).unwrap();
        let other = random_mask(&trainer, 2);
        let error = check(&point, &optimizer, &other).unwrap_err();
        assert!(error.contains("level-01: the masks keep"), "{error}");
        let halves: Vec<Tensor> = masks.iter().map(|mask| mask * 0.5).collect();
        let error = check(&point, &optimizer, &halves).unwrap_err();
        assert!(error.contains("expected 0 or 1"), "{error}");
        let error = check(&trainer.initial(1), &optimizer, &masks).unwrap_err();
        assert!(
            error.contains("level-01: weight of `fc0.weight` is"),
            "{error}"
        );
        let mut wild = point.clone();
        let infinite = wild.get("fc0.bias").unwrap() + f64::INFINITY;
        wild.replace("fc0.bias", infinite);
        let error = check(&wild, &optimizer, &masks).unwrap_err();
        assert!(error.contains("`fc0.bias` is inf"), "{error}");
        let mut kept = optimizer.clone();
        for (_, tensor) in &mut kept.tensors {
            *tensor = tensor.ones_like();
        }
        let error = check(&point, &kept, &masks).unwrap_err();
        assert!(error.contains("momentum of `fc0.weight` is 1e0"), "{error}");
    }
}
