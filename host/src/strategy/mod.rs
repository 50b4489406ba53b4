//! Strategies: score, mask, rewind, from plugins.
//!
//! A [`Strategy`] is one seed's components. It calls them with the host's services and checks
//! everything they hand back, so that the level loop can rely on it.

pub mod check;
mod component;
pub mod distribution;
mod error;
pub mod guard;
mod library;
mod loader;
mod loan;
mod script;
mod sealed;
pub mod select;
mod services;
pub mod still;
pub mod tensor;
pub mod trial;
mod trust;
pub mod units;

use std::rc::Rc;

use plugin_api::{Cadence, Experiment, Finding, Point, UnitRule};
use tch::Tensor;

pub use check::MaskRule;
pub use component::{PlacedMask, PlacedRewind, PlacedScore, PlannedWeights, RewindPlan};
pub use error::{LoadError, ServiceError, StrategyError, Violation};
pub(crate) use library::check_sections as check_library;
pub use library::{is_plugin, name_of};
pub use loader::{Loader, PATH_VARIABLE, Plugin};
pub(crate) use loan::Owner;
pub use script::runner;
pub use services::{Scene, Services};
pub use trust::{Ground, Trust};

use crate::experiment;

/// One seed's components.
pub struct Strategy {
    score: PlacedScore,
    mask: PlacedMask,
    rewind: Vec<PlacedRewind>,
    cadence: Cadence,
    unit_rule: Option<UnitRule>,
    made_of: MadeOf,
}

impl Strategy {
    /// Makes the components of an experiment's strategy; `plugin` gives the loaded plugin of a part.
    ///
    /// # Errors
    /// A plugin that cannot be loaded, or a component that does not take its options.
    pub fn new(
        config: &experiment::Strategy,
        mut plugin: impl FnMut(&experiment::Part) -> Result<Rc<Plugin>, LoadError>,
    ) -> Result<Self, MakeError> {
        let mut part = |part: &experiment::Part| Ok::<_, LoadError>((part.clone(), plugin(part)?));
        let made_of = MadeOf {
            score: part(&config.score)?,
            mask: part(&config.mask)?,
            rewind: config.rewind.iter().map(part).collect::<Result<_, _>>()?,
        };
        let (score, mut mask, rewind) = made_of.make()?;
        let cadence = mask.cadence()?;
        let unit_rule = mask.unit_rule()?;
        Ok(Self {
            score,
            mask,
            rewind,
            cadence,
            unit_rule,
            made_of,
        })
    }

    /// Makes the components anew: what they were called for so far leaves no trace in them.
    ///
    /// # Errors
    /// If one does not take its options this time.
    pub fn renew(&mut self) -> Result<(), StrategyError> {
        (self.score, self.mask, self.rewind) = self.made_of.make()?;
        Ok(())
    }

    /// When the masks change.
    pub fn cadence(&self) -> &Cadence {
        &self.cadence
    }

    /// The rule by which masks keep whole units; none if they keep single weights.
    pub fn unit_rule(&self) -> Option<&UnitRule> {
        self.unit_rule.as_ref()
    }

    /// Number of rewind policies.
    pub fn policies(&self) -> usize {
        self.rewind.len()
    }

    /// The points that the components will ask for, without repetition, init first.
    ///
    /// # Errors
    /// If a component fails.
    pub fn points(&self) -> Result<Vec<Point>, StrategyError> {
        let mut points = vec![Point::Init];
        for (_, point) in self.points_by_place()? {
            if !points.contains(&point) {
                points.push(point);
            }
        }
        Ok(points)
    }

    /// What the components have against an experiment, each finding with its component's place.
    ///
    /// # Errors
    /// If a component fails.
    pub fn review(
        &mut self,
        experiment: &Experiment,
    ) -> Result<Vec<(String, Finding)>, StrategyError> {
        let mut found = Vec::new();
        let mut add = |place: &str, findings: Vec<Finding>| {
            found.extend(findings.into_iter().map(|it| (place.to_owned(), it)));
        };
        let findings = self.score.review(experiment)?;
        add(self.score.place(), findings);
        let findings = self.mask.review(experiment)?;
        add(self.mask.place(), findings);
        for policy in &mut self.rewind {
            let findings = policy.review(experiment)?;
            add(policy.place(), findings);
        }
        Ok(found)
    }

    /// The points that the components will ask for, each with its component's place.
    ///
    /// # Errors
    /// If a component fails.
    pub fn points_by_place(&self) -> Result<Vec<(String, Point)>, StrategyError> {
        let mut points = Vec::new();
        let mut add = |place: &str, more: Vec<Point>| {
            points.extend(more.into_iter().map(|it| (place.to_owned(), it)));
        };
        add(self.score.place(), self.score.points()?);
        add(self.mask.place(), self.mask.points()?);
        for policy in &self.rewind {
            add(policy.place(), policy.points()?);
        }
        Ok(points)
    }

    /// One finite score for each weight.
    ///
    /// # Errors
    /// What the scorer did wrong.
    pub fn score(&mut self, scene: &dyn Scene) -> Result<Vec<Tensor>, StrategyError> {
        self.score.score(scene)
    }

    /// Masks that keep the rule.
    ///
    /// # Errors
    /// What the mask update did wrong.
    pub fn update(
        &mut self,
        scene: &dyn Scene,
        scores: &[Tensor],
        rule: MaskRule,
    ) -> Result<Vec<Tensor>, StrategyError> {
        (self.mask).update(scene, scores, rule, self.unit_rule.as_ref())
    }

    /// What the policy at this place wants reset.
    ///
    /// # Errors
    /// What the policy did wrong.
    pub fn plan(&mut self, policy: usize, scene: &dyn Scene) -> Result<RewindPlan, StrategyError> {
        self.rewind[policy].plan(scene)
    }

    /// An error of the policy at this place, found while its plan was carried out.
    pub fn blame(&self, policy: usize, violation: Violation) -> StrategyError {
        self.rewind[policy].error(violation)
    }

    /// The components' states, by their places.
    ///
    /// # Errors
    /// If a component fails.
    pub fn save_state(&self) -> Result<Vec<(String, Vec<u8>)>, StrategyError> {
        let place = |place: &str| place.to_owned();
        let mut states = vec![
            (place(self.score.place()), self.score.save_state()?),
            (place(self.mask.place()), self.mask.save_state()?),
        ];
        for policy in &self.rewind {
            states.push((place(policy.place()), policy.save_state()?));
        }
        Ok(states)
    }

    /// Goes on from what [`save_state`](Self::save_state) gave.
    ///
    /// # Errors
    /// If a component does not take its state.
    pub fn load_state(&mut self, states: &[(String, Vec<u8>)]) -> Result<(), StrategyError> {
        let state = |place: &str| states.iter().find(|(own, _)| own == place);
        if let Some((_, bytes)) = state(self.score.place()) {
            self.score.load_state(bytes)?;
        }
        if let Some((_, bytes)) = state(self.mask.place()) {
            self.mask.load_state(bytes)?;
        }
        for policy in &mut self.rewind {
            if let Some((_, bytes)) = state(policy.place()) {
                policy.load_state(bytes)?;
            }
        }
        Ok(())
    }
}

/// What a strategy's components are made of.
struct MadeOf {
    score: (experiment::Part, Rc<Plugin>),
    mask: (experiment::Part, Rc<Plugin>),
    rewind: Vec<(experiment::Part, Rc<Plugin>)>,
}

impl MadeOf {
    fn make(&self) -> Result<(PlacedScore, PlacedMask, Vec<PlacedRewind>), StrategyError> {
        let score = PlacedScore::new("score", &self.score.0, &self.score.1)?;
        let mask = PlacedMask::new("mask", &self.mask.0, &self.mask.1)?;
        let mut rewind = Vec::new();
        for (index, (part, plugin)) in self.rewind.iter().enumerate() {
            rewind.push(PlacedRewind::new(format!("rewind[{index}]"), part, plugin)?);
        }
        Ok((score, mask, rewind))
    }
}

/// A strategy that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// A plugin that cannot be used.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A component that cannot be made.
    #[error(transparent)]
    Component(#[from] StrategyError),
}
