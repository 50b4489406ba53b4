//! Strategies: score, mask, rewind, update, from plugins.
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
mod tape;
pub mod tensor;
pub mod trial;
mod trust;
pub mod units;
mod updating;

use std::rc::Rc;

use plugin_api::{Acts, Cadence, Experiment, Finding, Point, UnitRule};
use tch::Tensor;

pub use check::MaskRule;
pub use component::{
    PlacedMask, PlacedRewind, PlacedScore, PlacedUpdate, PlannedWeights, RewindPlan,
};
pub use error::{LoadError, ServiceError, StrategyError, Violation};
pub(crate) use library::check_sections as check_library;
pub use library::{is_plugin, name_of};
pub use loader::{Loader, PATH_VARIABLE, Plugin};
pub(crate) use loan::Owner;
pub use script::runner;
pub use services::{Scene, Services};
pub use trust::{Ground, Trust};

use crate::experiment;
use crate::update::Known;

/// One seed's components.
pub struct Strategy {
    score: PlacedScore,
    mask: PlacedMask,
    rewind: Vec<PlacedRewind>,
    updates: Vec<PlacedUpdate>,
    /// What the updates say of themselves.
    known: Vec<Known>,
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
            rewind: config
                .rewind
                .iter()
                .map(&mut part)
                .collect::<Result<_, _>>()?,
            updates: config.update.iter().map(part).collect::<Result<_, _>>()?,
        };
        let Made {
            score,
            mut mask,
            rewind,
            updates,
        } = made_of.make()?;
        let known = known(&updates)?;
        let cadence = mask.cadence()?;
        let unit_rule = mask.unit_rule()?;
        Ok(Self {
            score,
            mask,
            rewind,
            updates,
            known,
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
        let made = self.made_of.make()?;
        (self.score, self.mask) = (made.score, made.mask);
        (self.rewind, self.updates) = (made.rewind, made.updates);
        Ok(())
    }

    /// The updates, as a trainer knows them.
    pub fn updates(&self) -> &[Known] {
        &self.known
    }

    /// The update at this place, with what it says of itself.
    pub fn update_at(&mut self, place: usize) -> (&mut PlacedUpdate, &Known) {
        (&mut self.updates[place], &self.known[place])
    }

    /// An error of the update at this place.
    pub fn blame_update(&self, place: usize, violation: Violation) -> StrategyError {
        self.updates[place].error(violation)
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
        for update in &mut self.updates {
            let findings = update.review(experiment)?;
            add(update.place(), findings);
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
        for update in &self.updates {
            add(update.place(), update.points()?);
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

/// What the updates of a strategy say of themselves.
fn known(updates: &[PlacedUpdate]) -> Result<Vec<Known>, StrategyError> {
    let mut known: Vec<Known> = Vec::new();
    for update in updates {
        let own = Known {
            component: update.component().to_owned(),
            form: update.form()?,
        };
        let is_instead = |it: &Known| it.form.acts == Acts::Instead;
        let refuse = |reason: String| Err(update.error(Violation::Failed(reason)));
        if let Some(other) = known.iter().find(|it| is_instead(it) && is_instead(&own)) {
            return refuse(format!(
                "it takes the optimizer's place, as `{}` does: only one update can",
                other.component
            ));
        }
        let is_same = |it: &&Known| it.component == own.component && !it.form.states.is_empty();
        if known.iter().any(|it| is_same(&it)) {
            return refuse("it has states and stands there twice".to_owned());
        }
        known.push(own);
    }
    Ok(known)
}

/// What a strategy's components are made of.
struct MadeOf {
    score: (experiment::Part, Rc<Plugin>),
    mask: (experiment::Part, Rc<Plugin>),
    rewind: Vec<(experiment::Part, Rc<Plugin>)>,
    updates: Vec<(experiment::Part, Rc<Plugin>)>,
}

/// A strategy's components.
struct Made {
    score: PlacedScore,
    mask: PlacedMask,
    rewind: Vec<PlacedRewind>,
    updates: Vec<PlacedUpdate>,
}

impl MadeOf {
    fn make(&self) -> Result<Made, StrategyError> {
        let mut made = Made {
            score: PlacedScore::new("score", &self.score.0, &self.score.1)?,
            mask: PlacedMask::new("mask", &self.mask.0, &self.mask.1)?,
            rewind: Vec::new(),
            updates: Vec::new(),
        };
        for (index, (part, plugin)) in self.rewind.iter().enumerate() {
            let policy = PlacedRewind::new(format!("rewind[{index}]"), part, plugin)?;
            made.rewind.push(policy);
        }
        for (index, (part, plugin)) in self.updates.iter().enumerate() {
            let update = PlacedUpdate::new(format!("update[{index}]"), part, plugin)?;
            made.updates.push(update);
        }
        Ok(made)
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
