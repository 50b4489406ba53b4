//! Strategies: score, mask, rewind, from plugins.
//!
//! A [`Strategy`] is one seed's components. It calls them with the host's services and checks
//! everything they hand back, so that the level loop can rely on it.

pub mod check;
pub mod distribution;
mod error;
mod loader;
pub mod select;
mod services;
pub mod still;
pub mod tensor;

use std::rc::Rc;

use abi_stable::sabi_types::RMut;
use abi_stable::std_types::{RSlice, RStr};
use abi_stable::type_level::downcasting::TD_Opaque;
use plugin_api::abi::wire::{Plan, PlanWeights};
use plugin_api::abi::{
    AbiError, AbiResult, ErrorCode, HostObject_TO, HostRef, MaskUpdateBox, RewindBox, ScorerBox,
};
use plugin_api::{BatchNorm, Cadence, DataOrder, OptimizerState, Phase, Point, Schedule};
use tch::Tensor;

pub use check::MaskRule;
pub use error::{LoadError, ServiceError, StrategyError, Violation};
pub use loader::{Loader, PATH_VARIABLE, Plugin, plugin_name, probe};
pub use services::{Scene, Services};

use crate::experiment::{self, Part};
use crate::rng::{Moment, Purpose, Stream};

/// A component at its place in a strategy.
struct Placed<T> {
    /// `score`, `mask`, `rewind[0]`: part of the key of its random stream.
    place: String,
    /// `plugin/component`.
    name: String,
    object: T,
}

impl<T> Placed<T> {
    fn error(&self, violation: Violation) -> StrategyError {
        let (plugin, component) = self.name.split_once('/').unwrap_or((&self.name, ""));
        StrategyError {
            part: format!("{} component `{component}`", self.place),
            plugin: plugin.to_owned(),
            violation,
        }
    }

    fn unwrap<R>(&self, result: AbiResult<R>) -> Result<R, StrategyError> {
        result
            .into_result()
            .map_err(|error| self.error(violation(error)))
    }

    /// The component's random stream for a call in this scene.
    fn stream(&self, scene: &dyn Scene) -> Stream {
        let facts = scene.facts();
        // The phase takes the key's epoch: a component is never called twice in one round of one phase.
        let epoch = match facts.phase {
            Phase::BetweenLevels => 0,
            Phase::WithinLevel => 1,
            Phase::BeforeTraining { round, .. } => 2 + round,
            _ => u64::MAX,
        };
        let key = format!("{}:{}", self.place, self.name);
        let moment = Moment {
            level: facts.level,
            epoch,
            step: facts.step,
        };
        Stream::new(facts.seed, Purpose::Strategy(&key), moment)
    }
}

fn violation(error: AbiError) -> Violation {
    let message = error.message.into_string();
    match error.code {
        ErrorCode::PANICKED => Violation::Panicked(message),
        ErrorCode::BAD_OPTIONS => Violation::BadOptions(message),
        ErrorCode::MISSING => Violation::Missing(message),
        _ => Violation::Failed(message),
    }
}

/// What a rewind policy wants reset, checked.
pub struct RewindPlan {
    /// Weights and biases.
    pub weights: PlannedWeights,
    /// Batch norm.
    pub batch_norm: BatchNorm,
    /// Optimizer state.
    pub optimizer: OptimizerState,
    /// Learning-rate schedule.
    pub schedule: Schedule,
    /// Order of the training samples.
    pub data_order: DataOrder,
    /// Points that have other weights from now on.
    pub redefine: Vec<(Point, Vec<Tensor>)>,
}

/// What becomes of weights and biases.
pub enum PlannedWeights {
    /// As they are.
    Keep,
    /// From a point.
    From(Point),
    /// Magnitudes and signs from points, or as they are.
    Mixed {
        /// Where magnitudes and biases come from.
        magnitudes: Option<Point>,
        /// Where signs come from.
        signs: Option<Point>,
    },
    /// These, one for each prunable layer.
    Tensors(Vec<Tensor>),
}

/// One seed's components.
pub struct Strategy {
    score: Placed<ScorerBox>,
    mask: Placed<MaskUpdateBox>,
    rewind: Vec<Placed<RewindBox>>,
    cadence: Cadence,
}

impl Strategy {
    /// Makes the components of an experiment's strategy; `plugin` gives a loaded plugin by its name.
    ///
    /// # Errors
    /// A plugin that cannot be loaded, or a component that does not take its options.
    pub fn new(
        config: &experiment::Strategy,
        mut plugin: impl FnMut(&str) -> Result<Rc<Plugin>, LoadError>,
    ) -> Result<Self, MakeError> {
        let (score, mask) = (&config.score, &config.mask);
        let score = make(
            "score".to_owned(),
            score,
            plugin(score.names().0)?,
            |plugin, name, options| (plugin.module.scorer())(name, options),
        )?;
        let mask = make(
            "mask".to_owned(),
            mask,
            plugin(mask.names().0)?,
            |plugin, name, options| (plugin.module.mask_update())(name, options),
        )?;
        let mut rewind = Vec::new();
        for (index, part) in config.rewind.iter().enumerate() {
            let place = format!("rewind[{index}]");
            rewind.push(make(
                place,
                part,
                plugin(part.names().0)?,
                |plugin, name, options| (plugin.module.rewind())(name, options),
            )?);
        }
        let cadence = mask.unwrap(mask.object.cadence())?;
        let cadence = parse(&mask, &cadence)?;
        Ok(Self {
            score,
            mask,
            rewind,
            cadence,
        })
    }

    /// When the masks change.
    pub fn cadence(&self) -> &Cadence {
        &self.cadence
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
        let mut add = |more: Vec<Point>| {
            for point in more {
                if !points.contains(&point) {
                    points.push(point);
                }
            }
        };
        add(parse(
            &self.score,
            &self.score.unwrap(self.score.object.points())?,
        )?);
        add(parse(
            &self.mask,
            &self.mask.unwrap(self.mask.object.points())?,
        )?);
        for policy in &self.rewind {
            add(parse(policy, &policy.unwrap(policy.object.points())?)?);
        }
        Ok(points)
    }

    /// One finite score for each weight.
    ///
    /// # Errors
    /// What the scorer did wrong.
    pub fn score(&mut self, scene: &dyn Scene) -> Result<Vec<Tensor>, StrategyError> {
        let part = &mut self.score;
        let mut services = Services {
            scene,
            scores: None,
            stream: part.stream(scene),
            component: &part.name,
        };
        let result = part.object.score(host(&mut services));
        let handles = part.unwrap(result)?;
        let layers = scene.facts().layers;
        check::receive("score", &handles, &layers, scene.device())
            .and_then(|scores| check::finite("score", &scores, &layers).map(|()| scores))
            .map_err(|violation| part.error(violation))
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
        let part = &mut self.mask;
        let mut services = Services {
            scene,
            scores: Some(scores),
            stream: part.stream(scene),
            component: &part.name,
        };
        let result = part.object.update(host(&mut services));
        let handles = part.unwrap(result)?;
        let layers = scene.facts().layers;
        check::receive("mask", &handles, &layers, scene.device())
            .and_then(|masks| check::masks(&masks, &scene.masks(), &layers, rule).map(|()| masks))
            .map_err(|violation| part.error(violation))
    }

    /// What the policy at this place wants reset.
    ///
    /// # Errors
    /// What the policy did wrong.
    pub fn plan(&mut self, policy: usize, scene: &dyn Scene) -> Result<RewindPlan, StrategyError> {
        let part = &mut self.rewind[policy];
        let mut services = Services {
            scene,
            scores: None,
            stream: part.stream(scene),
            component: &part.name,
        };
        let result = part.object.rewind(host(&mut services));
        let reply = part.unwrap(result)?;
        let plan: Plan = parse(part, &reply.plan)?;
        let layers = scene.facts().layers;
        let weights_beside = usize::from(matches!(plan.weights, PlanWeights::Tensors));
        let mut lists = Vec::new();
        let expected = layers.len() * (weights_beside + plan.redefine.len());
        if reply.tensors.len() != expected {
            return Err(part.error(Violation::Count {
                what: "weight",
                got: reply.tensors.len(),
                expected,
            }));
        }
        for handles in reply.tensors.as_slice().chunks(layers.len().max(1)) {
            let tensors = check::receive("weight", handles, &layers, scene.device())
                .and_then(|list| check::finite("weight", &list, &layers).map(|()| list))
                .map_err(|violation| part.error(violation))?;
            lists.push(tensors);
        }
        let mut lists = lists.into_iter();
        let weights = match plan.weights {
            PlanWeights::Keep => PlannedWeights::Keep,
            PlanWeights::From(point) => PlannedWeights::From(point),
            PlanWeights::Mixed { magnitudes, signs } => PlannedWeights::Mixed { magnitudes, signs },
            PlanWeights::Tensors => PlannedWeights::Tensors(lists.next().unwrap_or_default()),
        };
        Ok(RewindPlan {
            weights,
            batch_norm: plan.batch_norm,
            optimizer: plan.optimizer,
            schedule: plan.schedule,
            data_order: plan.data_order,
            redefine: plan.redefine.into_iter().zip(lists).collect(),
        })
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
        let mut states = vec![
            (
                self.score.place.clone(),
                self.score.unwrap(self.score.object.save_state())?.into(),
            ),
            (
                self.mask.place.clone(),
                self.mask.unwrap(self.mask.object.save_state())?.into(),
            ),
        ];
        for policy in &self.rewind {
            states.push((
                policy.place.clone(),
                policy.unwrap(policy.object.save_state())?.into(),
            ));
        }
        Ok(states)
    }

    /// Goes on from what [`save_state`](Self::save_state) gave.
    ///
    /// # Errors
    /// If a component does not take its state.
    pub fn load_state(&mut self, states: &[(String, Vec<u8>)]) -> Result<(), StrategyError> {
        let state = |place: &str| -> Option<RSlice<'_, u8>> {
            let (_, bytes) = states.iter().find(|(own, _)| own == place)?;
            Some(RSlice::from_slice(bytes))
        };
        if let Some(bytes) = state(&self.score.place) {
            let result = self.score.object.load_state(bytes);
            self.score.unwrap(result)?;
        }
        if let Some(bytes) = state(&self.mask.place) {
            let result = self.mask.object.load_state(bytes);
            self.mask.unwrap(result)?;
        }
        for policy in &mut self.rewind {
            if let Some(bytes) = state(&policy.place) {
                let result = policy.object.load_state(bytes);
                policy.unwrap(result)?;
            }
        }
        Ok(())
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

fn make<T>(
    place: String,
    part: &Part,
    plugin: Rc<Plugin>,
    construct: impl FnOnce(&Plugin, RStr<'_>, RStr<'_>) -> AbiResult<T>,
) -> Result<Placed<T>, StrategyError> {
    let name = part.component.clone();
    let options = serde_json::Value::Object(part.options.clone()).to_string();
    let result = construct(&plugin, part.names().1.into(), options.as_str().into());
    let placed = Placed {
        place,
        name,
        object: (),
    };
    let object = placed.unwrap(result)?;
    Ok(Placed {
        place: placed.place,
        name: placed.name,
        object,
    })
}

fn parse<T: serde::de::DeserializeOwned, C>(
    part: &Placed<C>,
    text: &str,
) -> Result<T, StrategyError> {
    serde_json::from_str(text).map_err(|error| part.error(Violation::Foreign(error.to_string())))
}

fn host<'a>(services: &'a mut Services<'_>) -> HostRef<'a> {
    HostObject_TO::from_ptr(RMut::new(services), TD_Opaque)
}
