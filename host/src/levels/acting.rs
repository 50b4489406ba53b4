//! The updates of a session's seeds, called within its steps.

use super::course::step::{Points, StepScene};
use super::error::RunError;
use super::running::Running;
use super::{Course, Seed};
use crate::strategy::{PlacedUpdate, StrategyError, Violation};
use crate::update::{Failed, Given, Known, Made, Replaced, Updates};

/// What an update that says that it is pure did.
const DIFFERS: &str = "does other operations at one step than at another";

/// The updates of the seeds of a session.
pub(super) struct Acting<'a> {
    pub course: &'a Course<'a>,
    pub seeds: &'a mut [Seed],
    /// By the numbers of the session's lanes.
    pub running: &'a [Running],
    /// Points that they asked for before.
    pub points: &'a Points,
    /// Why one failed.
    pub failure: Option<RunError>,
}

impl Acting<'_> {
    fn call<T>(
        &mut self,
        lane: usize,
        update: usize,
        given: &Given,
        hook: impl Fn(&mut PlacedUpdate, &Known, &StepScene<'_>) -> Result<T, StrategyError>,
    ) -> Result<T, Failed> {
        let running = &self.running[lane];
        let scene = self.course.scene_of_step(running, given, self.points);
        let (placed, known) = self.seeds[running.index].strategy.update_at(update);
        hook(placed, known, &scene).map_err(|error| {
            self.failure = Some(running.error(error));
            Failed
        })
    }
}

impl Updates for Acting<'_> {
    fn act(&mut self, lane: usize, update: usize, given: Given) -> Result<Made, Failed> {
        self.call(lane, update, &given, |placed, known, scene| {
            placed.act(scene, &known.form, &given)
        })
    }

    fn replace(&mut self, lane: usize, update: usize, given: Given) -> Result<Replaced, Failed> {
        self.call(lane, update, &given, |placed, known, scene| {
            placed.replace(scene, &known.form, &given)
        })
    }

    fn give_back(&mut self, lane: usize, update: usize, given: Given) -> Result<Replaced, Failed> {
        self.call(lane, update, &given, |placed, known, scene| {
            placed.give_back(scene, &known.form, &given)
        })
    }

    fn differs(&mut self, lane: usize, update: usize) -> Failed {
        let running = &self.running[lane];
        let strategy = &self.seeds[running.index].strategy;
        let error = strategy.blame_update(update, Violation::Impure(DIFFERS));
        self.failure = Some(running.error(error));
        Failed
    }
}
