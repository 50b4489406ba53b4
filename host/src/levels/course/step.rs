//! One seed as its updates see it.

use std::cell::RefCell;

use plugin_api::abi::wire::Facts;
use plugin_api::{GradientRequest, Phase, Point, Units};
use tch::{Device, Tensor};

use super::Course;
use super::points::prunable;
use crate::levels::RunError;
use crate::levels::running::Running;
use crate::rng::Stream;
use crate::strategy::{Scene, ServiceError};
use crate::trainer::Snapshot;
use crate::update::Given;

/// Points that were read, which are asked for at each step again: by seed.
pub(in crate::levels) type Points = RefCell<Vec<(u64, Point, Snapshot)>>;

/// One seed at a step.
pub(in crate::levels) struct StepScene<'a> {
    course: &'a Course<'a>,
    facts: Facts,
    given: &'a Given,
    points: &'a Points,
}

impl Course<'_> {
    /// A seed at the step that is made of `given`.
    pub(in crate::levels) fn scene_of_step<'s>(
        &'s self,
        running: &Running,
        given: &'s Given,
        points: &'s Points,
    ) -> StepScene<'s> {
        let time = (given.numbers.step - 1, given.numbers.steps);
        let level = running.level;
        let facts = self.facts(
            (running.seed, level),
            level,
            Phase::WithinLevel,
            time,
            self.keep(level),
        );
        StepScene {
            course: self,
            facts,
            given,
            points,
        }
    }
}

impl StepScene<'_> {
    /// What is made of a stored point.
    fn at<T>(
        &self,
        point: &Point,
        made: impl Fn(&Snapshot) -> Result<T, String>,
    ) -> Result<T, ServiceError> {
        let point = point.at_level(self.facts.level);
        let seed = self.facts.seed;
        let mut known = self.points.borrow_mut();
        let place = known
            .iter()
            .position(|(own, at, _)| *own == seed && *at == point);
        let place = match place {
            Some(place) => place,
            None => {
                // Of level 0 nothing is finished while it is trained.
                let stored = match point {
                    Point::Init => self.course.trainer.initial(seed),
                    _ => (self.course)
                        .point(seed, self.facts.level.saturating_sub(1), &point)
                        .map_err(|error| match error {
                            RunError::Missing(reason) => ServiceError::Missing(reason),
                            error => ServiceError::Other(error.to_string()),
                        })?,
                };
                known.push((seed, point.clone(), stored));
                known.len() - 1
            }
        };
        made(&known[place].2).map_err(|reason| {
            ServiceError::Missing(format!("the point `{point}` does not fit: {reason}"))
        })
    }
}

fn refused(what: &str) -> ServiceError {
    ServiceError::Other(format!("{what} cannot be asked for within a step"))
}

impl Scene for StepScene<'_> {
    fn facts(&self) -> Facts {
        self.facts.clone()
    }

    fn device(&self) -> Device {
        self.course.trainer.device()
    }

    fn weights(&self) -> Vec<Tensor> {
        self.given
            .weights
            .iter()
            .map(Tensor::shallow_clone)
            .collect()
    }

    fn masks(&self) -> Vec<Tensor> {
        self.given.masks.iter().map(Tensor::shallow_clone).collect()
    }

    fn point_weights(&self, point: &Point) -> Result<Vec<Tensor>, ServiceError> {
        self.at(point, |stored| prunable(stored, &self.facts.layers))
    }

    fn norms_at(&self, point: &Point) -> Result<Vec<Tensor>, ServiceError> {
        self.at(point, |stored| {
            let of = |(name, _): &(String, Tensor)| {
                let found = stored.get(name).map(Tensor::shallow_clone);
                found.ok_or_else(|| format!("`{name}` is missing"))
            };
            self.given.norms.iter().map(of).collect()
        })
    }

    fn points(&self) -> Vec<Point> {
        let known = self.points.borrow();
        known.iter().map(|(_, point, _)| point.clone()).collect()
    }

    fn stored_masks(&self, _run: Option<&str>, _level: u64) -> Result<Vec<Tensor>, ServiceError> {
        Err(refused("stored masks"))
    }

    fn units(&self) -> Result<&Units, ServiceError> {
        Ok(self.course.trainer.units())
    }

    fn unit_scales(&self) -> Result<Vec<Tensor>, ServiceError> {
        Err(refused("the scales of units"))
    }

    fn gradients(
        &self,
        _request: &GradientRequest,
        _stream: &mut Stream,
    ) -> Result<Vec<Tensor>, ServiceError> {
        Err(refused("gradients of other samples"))
    }

    fn hessian_vector(
        &self,
        _vectors: &[Tensor],
        _request: &GradientRequest,
        _stream: &mut Stream,
    ) -> Result<Vec<Tensor>, ServiceError> {
        Err(refused("a Hessian"))
    }
}
