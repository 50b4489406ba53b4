//! One component: made, called with the host's services, and checked.

use std::rc::Rc;

use abi_stable::sabi_types::RMut;
use abi_stable::std_types::{RSlice, RStr};
use abi_stable::type_level::downcasting::TD_Opaque;
use plugin_api::abi::wire::{Facts, Plan, PlanWeights};
use plugin_api::abi::{
    AbiError, AbiResult, ErrorCode, HostObject_TO, HostRef, MaskUpdateBox, REVIEW, RewindBox,
    ScorerBox, TAKE_DROP_PANIC, UNIT_RULE, UpdateBox,
};
use plugin_api::{
    BatchNorm, Cadence, DataOrder, Experiment, Finding, OptimizerState, Phase, Point, Schedule,
    UnitRule,
};
use tch::Tensor;

use super::guard::{Call, Watched};
use super::loan::{Changed, Owner};
use super::{MaskRule, Plugin, Scene, Services, StrategyError, Violation, check, units};
use crate::experiment::Part;
use crate::rng::{Moment, Purpose, Stream};

/// A component at its place in a strategy.
pub struct Placed<T> {
    /// `score`, `mask`, `rewind[0]`: part of the key of its random stream.
    place: String,
    /// `plugin/component`.
    pub(super) name: String,
    /// Of the handles that it is lent.
    pub(super) owner: Owner,
    pub(super) object: T,
}

/// A score at its place.
pub type PlacedScore = Placed<Watched<ScorerBox>>;
/// A mask update at its place.
pub type PlacedMask = Placed<Watched<MaskUpdateBox>>;
/// A rewind policy at its place.
pub type PlacedRewind = Placed<Watched<RewindBox>>;
/// An update at its place.
pub type PlacedUpdate = Placed<Watched<UpdateBox>>;

impl<T> Placed<T> {
    /// Its place in the strategy.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// An error of this component.
    pub fn error(&self, violation: Violation) -> StrategyError {
        let (plugin, component) = self.name.split_once('/').unwrap_or((&self.name, ""));
        StrategyError {
            part: format!("{} component `{component}`", self.place),
            plugin: plugin.to_owned(),
            violation,
        }
    }

    /// Who this is, for people.
    fn who(&self) -> String {
        let (plugin, component) = self.name.split_once('/').unwrap_or((&self.name, ""));
        format!(
            "{} component `{component}` of plugin `{plugin}`",
            self.place
        )
    }

    /// Notes for the guard that the plugin's code runs, outside any scene.
    pub(super) fn at_work(&self) -> Call {
        Call::enter(&self.who(), "")
    }

    /// Notes for the guard that the plugin's code runs in a scene.
    pub(super) fn at_work_in(&self, scene: &dyn Scene) -> Call {
        let Facts { seed, level, .. } = scene.facts();
        Call::enter(&self.who(), &format!(" (seed {seed}, level {level})"))
    }

    /// Ends what the component was lent for a call.
    pub(super) fn settle(&self, scene: &dyn Scene) -> Result<(), StrategyError> {
        match self.owner.settle() {
            None => Ok(()),
            Some(Changed { what, place }) => {
                let layers = scene.facts().layers;
                let layer = layers
                    .get(place)
                    .map_or_else(String::new, |it| it.name.clone());
                Err(self.error(Violation::Changed { what, layer }))
            }
        }
    }

    pub(super) fn unwrap<R>(&self, result: AbiResult<R>) -> Result<R, StrategyError> {
        result
            .into_result()
            .map_err(|error| self.error(violation(error)))
    }

    pub(super) fn parse<R: serde::de::DeserializeOwned>(
        &self,
        text: &str,
    ) -> Result<R, StrategyError> {
        serde_json::from_str(text)
            .map_err(|error| self.error(Violation::Foreign(error.to_string())))
    }

    /// The component's random stream for a call in this scene.
    pub(super) fn stream(&self, scene: &dyn Scene) -> Stream {
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

/// What every kind of component has.
macro_rules! kind {
    ($object:ty, $constructor:ident) => {
        kind!(@ $object, |plugin, name, options| (plugin.module.$constructor())(name, options));

        impl Placed<Watched<$object>> {
            /// What it needs to go on after a restart.
            ///
            /// # Errors
            /// If it fails.
            pub fn save_state(&self) -> Result<Vec<u8>, StrategyError> {
                let _call = self.at_work();
                Ok(self.unwrap(self.object.save_state())?.into())
            }

            /// Goes on from what [`save_state`](Self::save_state) gave.
            ///
            /// # Errors
            /// If it does not take its state.
            pub fn load_state(&mut self, state: &[u8]) -> Result<(), StrategyError> {
                let _call = self.at_work();
                let result = self.object.load_state(RSlice::from_slice(state));
                self.unwrap(result)
            }
        }
    };
    (@ $object:ty, |$plugin:ident, $name:ident, $options:ident| $make:expr) => {
        impl Placed<Watched<$object>> {
            /// Makes the component that `part` names, at its place in a strategy.
            ///
            /// # Errors
            /// If it does not take its options.
            pub fn new(
                place: impl Into<String>,
                part: &Part,
                $plugin: &Rc<Plugin>,
            ) -> Result<Self, StrategyError> {
                let options = $plugin.wire(&part.options);
                let ($name, $options): (RStr<'_>, RStr<'_>) =
                    (part.names().1.into(), options.as_str().into());
                let placed = Placed {
                    place: place.into(),
                    name: part.component.clone(),
                    owner: Owner::default(),
                    object: (),
                };
                let made = {
                    let _call = placed.at_work();
                    $make
                };
                let object = Watched::new(placed.who(), placed.unwrap(made)?);
                let Placed {
                    place, name, owner, ..
                } = placed;
                Ok(Self {
                    place,
                    name,
                    owner,
                    object,
                })
            }

            /// The stored points that it will ask for.
            ///
            /// # Errors
            /// If it fails.
            pub fn points(&self) -> Result<Vec<Point>, StrategyError> {
                let _call = self.at_work();
                self.parse(&self.unwrap(self.object.points())?)
            }

            /// What it has against an experiment.
            ///
            /// # Errors
            /// If it fails.
            pub fn review(
                &mut self,
                experiment: &Experiment,
            ) -> Result<Vec<Finding>, StrategyError> {
                let facts = serde_json::to_vec(experiment);
                let facts = facts.map_err(|error| self.error(Violation::Failed(error.to_string())));
                let answer = {
                    let _call = self.at_work();
                    self.object.call(REVIEW, RSlice::from_slice(&facts?))
                };
                match answer.into_result() {
                    // Plugins from before 1.1 are not asked.
                    Err(error) if error.code == ErrorCode::UNSUPPORTED => Ok(Vec::new()),
                    Err(error) => Err(self.error(violation(error))),
                    Ok(text) => self.parse(&String::from_utf8_lossy(&text)),
                }
            }

            /// The panic that ended the last `Drop` of a component of this plugin, if there was one;
            /// asking takes it.
            pub fn take_drop_panic(&mut self) -> Option<String> {
                // A plugin that does not know the question has nothing to say.
                let answer = self.object.call(TAKE_DROP_PANIC, RSlice::EMPTY);
                let text = answer.into_result().ok()?;
                (!text.is_empty()).then(|| String::from_utf8_lossy(&text).into_owned())
            }
        }
    };
}

kind!(ScorerBox, scorer);
kind!(MaskUpdateBox, mask_update);
kind!(RewindBox, rewind);
kind!(@ UpdateBox, |plugin, name, options| plugin.update(name, options));

impl PlacedScore {
    /// One finite score for each weight.
    ///
    /// # Errors
    /// What the scorer did wrong.
    pub fn score(&mut self, scene: &dyn Scene) -> Result<Vec<Tensor>, StrategyError> {
        let mut services = Services {
            scene,
            scores: None,
            step: None,
            stream: self.stream(scene),
            component: &self.name,
            owner: &self.owner,
        };
        let result = {
            let _call = self.at_work_in(scene);
            self.object.score(host(&mut services))
        };
        self.settle(scene)?;
        let handles = self.unwrap(result)?;
        let layers = scene.facts().layers;
        check::receive("score", &handles, &layers, scene.device(), &self.owner)
            .and_then(|scores| check::finite("score", &scores, &layers).map(|()| scores))
            .map_err(|violation| self.error(violation))
    }
}

impl PlacedMask {
    /// When the masks change.
    ///
    /// # Errors
    /// If it fails.
    pub fn cadence(&self) -> Result<Cadence, StrategyError> {
        let _call = self.at_work();
        self.parse(&self.unwrap(self.object.cadence())?)
    }

    /// The rule by which its masks keep whole units; none if they keep single weights.
    ///
    /// # Errors
    /// If it fails, or says what no masks can keep.
    pub fn unit_rule(&mut self) -> Result<Option<UnitRule>, StrategyError> {
        let answer = {
            let _call = self.at_work();
            self.object.call(UNIT_RULE, RSlice::EMPTY)
        };
        let rule: Option<UnitRule> = match answer.into_result() {
            // Plugins from before 1.1 count weights.
            Err(error) if error.code == ErrorCode::UNSUPPORTED => return Ok(None),
            Err(error) => return Err(self.error(violation(error))),
            Ok(text) => self.parse(&String::from_utf8_lossy(&text))?,
        };
        let says = |reason: &str| Err(self.error(Violation::Failed(reason.to_owned())));
        match rule {
            Some(rule) if rule.multiple == 0 => {
                says("it keeps a multiple of 0 units, expected 1 or more")
            }
            Some(_) if self.cadence()?.within_level.is_some() => says(
                "it keeps whole units and is called within a level, expected between levels or before training",
            ),
            rule => Ok(rule),
        }
    }

    /// Masks that keep the rule; `whole` is that of whole units, whose measure the other one then counts in.
    ///
    /// # Errors
    /// What the mask update did wrong.
    pub fn update(
        &mut self,
        scene: &dyn Scene,
        scores: &[Tensor],
        rule: MaskRule,
        whole: Option<&UnitRule>,
    ) -> Result<Vec<Tensor>, StrategyError> {
        let mut services = Services {
            scene,
            scores: Some(scores),
            step: None,
            stream: self.stream(scene),
            component: &self.name,
            owner: &self.owner,
        };
        let result = {
            let _call = self.at_work_in(scene);
            self.object.update(host(&mut services))
        };
        self.settle(scene)?;
        let handles = self.unwrap(result)?;
        let layers = scene.facts().layers;
        let received = check::receive("mask", &handles, &layers, scene.device(), &self.owner);
        let checked = received.and_then(|masks| {
            let before = scene.masks();
            let Some(whole) = whole else {
                return check::masks(&masks, &before, &layers, rule).map(|()| masks);
            };
            let any = MaskRule {
                least: 0,
                most: u64::MAX,
                ..rule
            };
            check::masks(&masks, &before, &layers, any)?;
            let known = scene.units();
            let known = known.map_err(|error| Violation::Failed(error.to_string()))?;
            units::check(known, whole, &layers, (scores, &before), &masks, rule.most)
                .map(|()| masks)
                .map_err(Violation::Units)
        });
        checked.map_err(|violation| self.error(violation))
    }
}

impl PlacedRewind {
    /// What it wants reset.
    ///
    /// # Errors
    /// What the policy did wrong.
    pub fn plan(&mut self, scene: &dyn Scene) -> Result<RewindPlan, StrategyError> {
        let mut services = Services {
            scene,
            scores: None,
            step: None,
            stream: self.stream(scene),
            component: &self.name,
            owner: &self.owner,
        };
        let result = {
            let _call = self.at_work_in(scene);
            self.object.rewind(host(&mut services))
        };
        self.settle(scene)?;
        let reply = self.unwrap(result)?;
        let plan: Plan = self.parse(&reply.plan)?;
        let layers = scene.facts().layers;
        let weights_beside = usize::from(matches!(plan.weights, PlanWeights::Tensors));
        let mut lists = Vec::new();
        let expected = layers.len() * (weights_beside + plan.redefine.len());
        if reply.tensors.len() != expected {
            return Err(self.error(Violation::Count {
                what: "weight",
                got: reply.tensors.len(),
                expected,
            }));
        }
        for handles in reply.tensors.as_slice().chunks(layers.len().max(1)) {
            let tensors = check::receive("weight", handles, &layers, scene.device(), &self.owner)
                .and_then(|list| check::finite("weight", &list, &layers).map(|()| list))
                .map_err(|violation| self.error(violation))?;
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

pub(super) fn host<'a>(services: &'a mut Services<'_>) -> HostRef<'a> {
    HostObject_TO::from_ptr(RMut::new(services), TD_Opaque)
}
