//! One seed as its strategy sees it.

use std::cell::RefCell;

use plugin_api::abi::wire::Facts;
use plugin_api::{Batches, GradientRequest, Layer, Phase, Point, Units};
use tch::{Device, Tensor};

use super::Course;
use super::points::prunable;
use super::start::Start;
use crate::levels::RunError;
use crate::levels::running::Running;
use crate::rng::Stream;
use crate::strategy::{Scene, ServiceError};
use crate::trainer::{self, OptimizerState, Samples, Session, Snapshot};
use crate::update::state_name;

/// One seed at the time of a call.
pub(in crate::levels) struct LevelScene<'a> {
    course: &'a Course<'a>,
    facts: Facts,
    /// The level that the call leads to, which points without a level's number are of.
    leads_to: u64,
    point: Snapshot,
    masks: Vec<Tensor>,
    points: Vec<Point>,
    /// States of updates, by the names of state and layer, as the level ended with them.
    states: Vec<(String, Tensor)>,
    /// Samples of the next step; only known within a level.
    next: Option<Vec<i64>>,
    /// Samples of the request before.
    last: RefCell<Option<Samples>>,
}

impl Course<'_> {
    /// What a component is told at this step of a level of so many.
    pub(super) fn facts(
        &self,
        (seed, level): (u64, u64),
        leads_to: u64,
        phase: Phase,
        (step, steps): (u64, u64),
        target: u64,
    ) -> Facts {
        Facts {
            layers: self.trainer.layers().to_vec(),
            seed,
            level,
            last_level: self.experiment.last_level(),
            step,
            steps_per_epoch: self.trainer.steps_per_epoch(),
            steps_per_level: steps,
            phase,
            target,
            density: self.experiment.density(leads_to),
        }
    }

    /// A seed between a level and the next, which starts from `start`.
    pub(in crate::levels) fn scene_between<'s>(
        &'s self,
        seed: u64,
        next_level: u64,
        phase: Phase,
        target: u64,
        start: &Start,
        points: &[Point],
    ) -> LevelScene<'s> {
        let level = next_level - 1;
        let steps = start.steps_before;
        let facts = self.facts((seed, level), next_level, phase, (steps, steps), target);
        LevelScene {
            course: self,
            facts,
            leads_to: next_level,
            point: share(&start.point),
            masks: start.masks.iter().map(Tensor::shallow_clone).collect(),
            points: points.to_vec(),
            states: self.states_of_updates(&start.optimizer),
            next: None,
            last: RefCell::default(),
        }
    }

    /// A seed within a level.
    pub(in crate::levels) fn scene_within_level<'s>(
        &'s self,
        running: &Running,
        session: &Session<'_>,
        lane: usize,
        masks: Vec<Tensor>,
        points: Vec<Point>,
    ) -> Result<LevelScene<'s>, RunError> {
        let time = (session.position().step, session.steps());
        let place = (running.seed, running.level);
        Ok(LevelScene {
            course: self,
            facts: self.facts(
                place,
                running.level,
                Phase::WithinLevel,
                time,
                // Whole units are not chosen within a level.
                self.keep(running.level),
            ),
            leads_to: running.level,
            point: session.snapshot(lane)?,
            masks,
            points,
            states: self.states_of_updates(&session.optimizer_state(lane)?),
            next: Some(session.next_samples(lane)?),
            last: RefCell::default(),
        })
    }
}

impl LevelScene<'_> {
    fn gradient_request(
        &self,
        request: &GradientRequest,
        stream: &mut Stream,
    ) -> Result<trainer::GradientRequest, ServiceError> {
        let refuse = |reason: &str| Err(ServiceError::Other(reason.to_owned()));
        if !(request.temperature > 0.0 && request.temperature.is_finite()) {
            return refuse(&format!(
                "the temperature is {}, expected a positive number",
                request.temperature
            ));
        }
        let samples = match (request.batches, &self.next) {
            (Batches::Random(batches), _) => self.course.trainer.random_samples(batches, stream),
            (Batches::All, _) => self.course.trainer.all_samples(),
            (Batches::Ones, _) => Samples::Ones,
            (Batches::Next, Some(next)) => Samples::Training(next.clone()),
            (Batches::Next, None) => {
                return refuse(
                    "the next batch is only known within a level; ask for random batches",
                );
            }
            (Batches::Same, _) => match self.last.take() {
                Some(samples) => samples,
                None => return refuse("the same samples as which? ask for others first"),
            },
        };
        self.last.replace(Some(samples.clone()));
        Ok(trainer::GradientRequest::of(request, samples))
    }
}

impl Course<'_> {
    /// What updates keep, of all that is kept beside the weights.
    fn states_of_updates(&self, kept: &OptimizerState) -> Vec<(String, Tensor)> {
        let known = self.trainer.updates();
        let is_own = |name: &str| known.iter().any(|it| name.starts_with(&it.state_name("")));
        let own = kept.tensors.iter().filter(|(name, _)| is_own(name));
        own.map(|(name, tensor)| (name.clone(), tensor.shallow_clone()))
            .collect()
    }
}

fn other(error: impl std::fmt::Display) -> ServiceError {
    ServiceError::Other(error.to_string())
}

/// The same tensors under handles of their own.
fn share(point: &Snapshot) -> Snapshot {
    let share = |(name, tensor): &(String, Tensor)| (name.clone(), tensor.shallow_clone());
    Snapshot {
        tensors: point.tensors.iter().map(share).collect(),
    }
}

impl Scene for LevelScene<'_> {
    fn facts(&self) -> Facts {
        self.facts.clone()
    }

    fn device(&self) -> Device {
        self.course.trainer.device()
    }

    fn weights(&self) -> Vec<Tensor> {
        // A point of this network has every prunable layer.
        prunable(&self.point, &self.facts.layers).unwrap_or_default()
    }

    fn masks(&self) -> Vec<Tensor> {
        self.masks.iter().map(Tensor::shallow_clone).collect()
    }

    fn point_weights(&self, point: &Point) -> Result<Vec<Tensor>, ServiceError> {
        let point = point.at_level(self.leads_to);
        let stored = self
            .course
            .point(self.facts.seed, self.facts.level, &point)
            .map_err(|error| match error {
                RunError::Missing(reason) => ServiceError::Missing(reason),
                error => other(error),
            })?;
        prunable(&stored, &self.facts.layers).map_err(|reason| {
            ServiceError::Missing(format!("the point `{point}` does not fit: {reason}"))
        })
    }

    fn points(&self) -> Vec<Point> {
        self.points.clone()
    }

    fn stored_masks(&self, run: Option<&str>, level: u64) -> Result<Vec<Tensor>, ServiceError> {
        self.course
            .masks_of(run, self.facts.seed, level)
            .map_err(ServiceError::Missing)
    }

    fn units(&self) -> Result<&Units, ServiceError> {
        Ok(self.course.trainer.units())
    }

    fn unit_scales(&self) -> Result<Vec<Tensor>, ServiceError> {
        self.course.trainer.unit_scales(&self.point).map_err(other)
    }

    fn update_state(&self, component: &str, state: &str) -> Result<Vec<Tensor>, ServiceError> {
        let name = state_name(component, state);
        let of = |layer: &Layer| {
            let name = format!("{name}.{}", layer.name);
            let found = self.states.iter().find(|(own, _)| *own == name);
            found.map(|(_, tensor)| tensor.shallow_clone())
        };
        let found: Option<Vec<Tensor>> = self.facts.layers.iter().map(of).collect();
        found.ok_or_else(|| {
            ServiceError::Missing(format!(
                "the state `{state}` of the update `{component}`: expected an update of that name in `strategy.update` \
                 that has it, and a level that was trained with it"
            ))
        })
    }

    fn gradients(
        &self,
        request: &GradientRequest,
        stream: &mut Stream,
    ) -> Result<Vec<Tensor>, ServiceError> {
        let request = self.gradient_request(request, stream)?;
        self.course
            .trainer
            .gradients(&self.point, &self.masks, &request)
            .map_err(other)
    }

    fn hessian_vector(
        &self,
        vectors: &[Tensor],
        request: &GradientRequest,
        stream: &mut Stream,
    ) -> Result<Vec<Tensor>, ServiceError> {
        let request = self.gradient_request(request, stream)?;
        self.course
            .trainer
            .hessian_vector(&self.point, &self.masks, vectors, &request)
            .map_err(other)
    }
}
