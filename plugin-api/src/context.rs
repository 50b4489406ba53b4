//! The host's services, as a component sees them during a call.

use std::ffi::c_void;
use std::fmt;
use std::ops::{Deref, DerefMut};

use abi_stable::std_types::{RSlice, RVec};
use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::abi::wire::{CountsRequest, Facts, MasksRequest, SelectRequest};
use crate::abi::{HostRef, Service, TensorBox};
use crate::error::{Error, Result};
use crate::{
    Among, Counts, Distribution, GradientRequest, Layer, Phase, Point, StepNumber, Tensor,
    UnitRule, Units,
};

/// What every component can ask of the host. Every list of tensors has one for each prunable layer,
/// in the order of [`layers`](Context::layers).
pub struct Context<'a> {
    host: HostRef<'a>,
    facts: Facts,
}

impl<'a> Context<'a> {
    pub(crate) fn new(mut host: HostRef<'a>) -> Result<Self> {
        let text = host.query(Service::FACTS, "null".into()).into_result()?;
        Ok(Self {
            facts: serde_json::from_str(&text)?,
            host,
        })
    }

    /// A service's answer, by its code; request and answer are what travels as JSON.
    ///
    /// # Errors
    /// What the host says, such as that it does not know the service.
    pub fn try_query<T: DeserializeOwned>(
        &mut self,
        service: Service,
        request: &impl Serialize,
    ) -> Result<T> {
        let request = serde_json::to_string(request)?;
        let answer = self
            .host
            .query(service, request.as_str().into())
            .into_result()?;
        Ok(serde_json::from_str(&answer)?)
    }

    fn tensors(
        &mut self,
        service: Service,
        request: &impl Serialize,
        inputs: &[Tensor],
    ) -> Result<Vec<Tensor>> {
        let request = serde_json::to_string(request)?;
        let inputs: Vec<TensorBox> = inputs.iter().map(|tensor| tensor.0.clone()).collect();
        let answer = self
            .host
            .tensors(service, request.as_str().into(), inputs.as_slice().into());
        let tensors: RVec<TensorBox> = answer.into_result()?;
        Ok(tensors.into_iter().map(Tensor).collect())
    }

    /// The prunable layers.
    pub fn layers(&self) -> &[Layer] {
        &self.facts.layers
    }

    /// Seed of this repetition.
    pub fn seed(&self) -> u64 {
        self.facts.seed
    }

    /// Level that is being trained or was trained last; 0 is dense.
    pub fn level(&self) -> u64 {
        self.facts.level
    }

    /// Number of the last level.
    pub fn last_level(&self) -> u64 {
        self.facts.last_level
    }

    /// Optimizer steps trained within the level.
    pub fn step(&self) -> u64 {
        self.facts.step
    }

    /// Whole epochs trained within the level.
    pub fn epoch(&self) -> u64 {
        self.facts.step / self.facts.steps_per_epoch.max(1)
    }

    /// Optimizer steps of an epoch.
    pub fn steps_per_epoch(&self) -> u64 {
        self.facts.steps_per_epoch
    }

    /// Optimizer steps of the level, which may be fewer than those of the dense one.
    pub fn steps_per_level(&self) -> u64 {
        self.facts.steps_per_level
    }

    /// When in the run this call is.
    pub fn phase(&self) -> Phase {
        self.facts.phase
    }

    /// Number of weights to keep, in all layers together; of a strategy whose mask has a
    /// [`unit_rule`](crate::MaskUpdate::unit_rule), what it keeps at most, in the rule's measure.
    pub fn target(&self) -> u64 {
        self.facts.target
    }

    /// The experiment's density for the level that [`target`](Context::target) leads to.
    pub fn density(&self) -> f64 {
        self.facts.density
    }

    /// The current weights, with PyTorch's shapes. Pruned weights are 0.
    ///
    /// # Errors
    /// What the host says.
    pub fn weights(&mut self) -> Result<Vec<Tensor>> {
        self.tensors(Service::WEIGHTS, &(), &[])
    }

    /// The current masks: f32, 1 is kept.
    ///
    /// # Errors
    /// What the host says.
    pub fn masks(&mut self) -> Result<Vec<Tensor>> {
        self.tensors(Service::MASKS, &(), &[])
    }

    /// Survivors per layer of the current masks.
    ///
    /// # Errors
    /// What the host says.
    pub fn survivors(&mut self) -> Result<Vec<u64>> {
        self.try_query(Service::SURVIVORS, &())
    }

    /// The masks with which a level of this run, or of another run's same seed, was trained.
    ///
    /// # Errors
    /// If there is no such level or its layers have other shapes.
    pub fn stored_masks(&mut self, run: Option<&str>, level: u64) -> Result<Vec<Tensor>> {
        let request = MasksRequest {
            run: run.map(str::to_owned),
            level,
        };
        self.tensors(Service::STORED_MASKS, &request, &[])
    }

    /// The weights at a stored point. A [`Point::Step`] must be named by `points()`.
    ///
    /// # Errors
    /// If the point is not stored.
    pub fn weights_at(&mut self, point: &Point) -> Result<Vec<Tensor>> {
        self.tensors(Service::POINT_WEIGHTS, point, &[])
    }

    /// The stored points that the strategy's components named, and [`Point::Init`].
    ///
    /// # Errors
    /// What the host says.
    pub fn stored_points(&mut self) -> Result<Vec<Point>> {
        self.try_query(Service::POINTS, &())
    }

    /// Gradients with respect to every weight, pruned or not, at the masked network.
    ///
    /// # Errors
    /// What the host says.
    pub fn gradients(&mut self, request: &GradientRequest) -> Result<Vec<Tensor>> {
        self.tensors(Service::GRADIENTS, request, &[])
    }

    /// The Hessian of the requested function times `vectors`.
    ///
    /// # Errors
    /// If the vectors' shapes are not the layers'.
    pub fn hessian_vector(
        &mut self,
        vectors: &[Tensor],
        request: &GradientRequest,
    ) -> Result<Vec<Tensor>> {
        self.tensors(Service::HESSIAN_VECTOR, request, vectors)
    }

    /// Number of weights to keep per layer, [`target`](Context::target) in all. No layer gets more
    /// than its survivors, so that masks stay nested.
    ///
    /// # Errors
    /// If there are fewer survivors than the target.
    pub fn counts(&mut self, distribution: Distribution) -> Result<Vec<u64>> {
        self.counts_of(distribution, None, false)
    }

    /// Number of weights to keep per layer, `total` in all (or the target). With `may_grow` a layer
    /// may get more than its survivors.
    ///
    /// # Errors
    /// If there are fewer weights than asked for.
    pub fn counts_of(
        &mut self,
        distribution: Distribution,
        total: Option<u64>,
        may_grow: bool,
    ) -> Result<Vec<u64>> {
        self.try_query(
            Service::COUNTS,
            &CountsRequest {
                distribution,
                total,
                may_grow,
            },
        )
    }

    /// Masks with 1 at the weights of highest score: exactly as many as asked for, lower index
    /// first among equals. A weight's index is its place in the layers' order and, within a layer,
    /// row-major.
    ///
    /// # Errors
    /// If a score is not a number, the shapes are not the layers', or there are too few weights to choose from.
    pub fn select(
        &mut self,
        scores: &[Tensor],
        among: Among,
        counts: Counts,
    ) -> Result<Vec<Tensor>> {
        self.tensors(Service::SELECT, &SelectRequest { among, counts }, scores)
    }

    /// The units that can be removed whole.
    ///
    /// # Errors
    /// What the host says, such as that it is older than plugin-api 1.1.
    pub fn units(&mut self) -> Result<Units> {
        self.try_query(Service::UNITS, &())
    }

    /// Masks of whole units by scores of weights: those that the [`UnitRule`] says, with no more than the
    /// [`target`](Context::target).
    ///
    /// # Errors
    /// If the shapes are not the layers', the masks before are not of whole units, or no whole units come to so little: the
    /// message names the nearest two counts.
    pub fn select_units(&mut self, scores: &[Tensor], rule: &UnitRule) -> Result<Vec<Tensor>> {
        self.tensors(Service::SELECT_UNITS, rule, scores)
    }

    /// For each set of [`units`](Context::units) one tensor `[units]`: the mean magnitude of the norms' scales of each
    /// unit.
    ///
    /// # Errors
    /// If no norm scales the units of a set.
    pub fn unit_scales(&mut self) -> Result<Vec<Tensor>> {
        self.tensors(Service::UNIT_SCALES, &(), &[])
    }

    /// Uniform numbers on [0, 1), one tensor for each layer, from the component's own random stream.
    ///
    /// # Errors
    /// What the host says.
    pub fn uniform(&mut self) -> Result<Vec<Tensor>> {
        let shapes: Vec<Vec<i64>> = self
            .layers()
            .iter()
            .map(|layer| layer.shape.clone())
            .collect();
        self.tensors(Service::UNIFORM, &shapes, &[])
    }

    /// Standard normal numbers, one tensor for each layer, from the component's own random stream.
    ///
    /// # Errors
    /// What the host says.
    pub fn normal(&mut self) -> Result<Vec<Tensor>> {
        let shapes: Vec<Vec<i64>> = self
            .layers()
            .iter()
            .map(|layer| layer.shape.clone())
            .collect();
        self.tensors(Service::NORMAL, &shapes, &[])
    }

    /// A random permutation of 0..n (i64), from the component's own random stream.
    ///
    /// # Errors
    /// What the host says.
    pub fn permutation(&mut self, n: u64) -> Result<Tensor> {
        self.tensors(Service::PERMUTATION, &n, &[])?
            .pop()
            .ok_or_else(|| Error::new("the host gave no permutation"))
    }

    /// A state of the strategy's [`Update`](crate::Update) of this name (`plugin/component`) as the level ended with
    /// it, one tensor for each prunable layer.
    ///
    /// # Errors
    /// If the strategy has no such update, or it has no such state, or the optimizer's state was cleared.
    pub fn update_state(&mut self, component: &str, state: &str) -> Result<Vec<Tensor>> {
        self.tensors(Service::UPDATE_STATE, &(component, state), &[])
    }

    /// A generator of the component's own, to be used with [`rand_core`](crate::rand_core). It depends on seed, component, level and step alone (and
    /// on how many streams this call took before), so that a resumed run draws the same numbers.
    ///
    /// # Errors
    /// What the host says.
    pub fn random(&mut self) -> Result<ChaCha8Rng> {
        let key: [u8; 32] = self.try_query(Service::RANDOM_KEY, &())?;
        Ok(ChaCha8Rng::from_seed(key))
    }

    /// A tensor on the host's device with these elements, row-major.
    ///
    /// # Errors
    /// If the shape does not hold that many elements.
    pub fn tensor(&mut self, elements: &[f32], shape: &[i64]) -> Result<Tensor> {
        let created = self
            .host
            .create(RSlice::from_slice(elements), RSlice::from_slice(shape));
        Ok(Tensor(created.into_result()?))
    }

    /// Takes over a DLPack `DLManagedTensor`.
    ///
    /// # Errors
    /// If the host cannot use it.
    ///
    /// # Safety
    /// `tensor` must point to a valid `DLManagedTensor` that nobody else takes over.
    #[allow(unsafe_code)]
    pub unsafe fn from_dlpack(&mut self, tensor: *mut c_void) -> Result<Tensor> {
        Ok(Tensor(self.host.adopt_dlpack(tensor).into_result()?))
    }

    /// Writes a line to the host's log at level info.
    pub fn info(&mut self, message: impl fmt::Display) {
        self.host.log(3, message.to_string().as_str().into());
    }

    /// Writes a line to the host's log at level warn.
    pub fn warn(&mut self, message: impl fmt::Display) {
        self.host.log(2, message.to_string().as_str().into());
    }

    /// Writes a line to the host's log at level debug.
    pub fn debug(&mut self, message: impl fmt::Display) {
        self.host.log(4, message.to_string().as_str().into());
    }
}

/// What a [`Scorer`](crate::Scorer) sees.
pub struct ScoreContext<'a>(Context<'a>);

/// What a [`MaskUpdate`](crate::MaskUpdate) sees.
pub struct MaskContext<'a>(Context<'a>);

/// What a [`Rewind`](crate::Rewind) sees: weights and masks are those after pruning.
pub struct RewindContext<'a>(Context<'a>);

impl MaskContext<'_> {
    /// The scores of this round, one tensor for each layer; higher is kept.
    ///
    /// # Errors
    /// What the host says.
    pub fn scores(&mut self) -> Result<Vec<Tensor>> {
        self.tensors(Service::SCORES, &(), &[])
    }
}

/// What an [`Update`](crate::Update) sees: [`step`](Context::step) counts the steps that were done before this one.
pub struct UpdateContext<'a>(Context<'a>);

impl UpdateContext<'_> {
    /// The gradients of this step, one for each prunable layer; those of pruned weights may be anything.
    ///
    /// # Errors
    /// What the host says.
    pub fn gradients(&mut self) -> Result<Vec<Tensor>> {
        self.tensors(Service::STEP_GRADIENTS, &(), &[])
    }

    /// A state by its name.
    ///
    /// # Errors
    /// If it is none of the component's [`states`](crate::Update::states).
    pub fn state(&mut self, name: &str) -> Result<Vec<Tensor>> {
        self.tensors(Service::STEP_STATE, &name, &[])
    }

    /// A number of this step, as a tensor without dimensions.
    ///
    /// # Errors
    /// What the host says.
    pub fn number(&mut self, number: StepNumber) -> Result<Tensor> {
        self.tensors(Service::STEP_NUMBER, &number, &[])?
            .pop()
            .ok_or_else(|| Error::new("the host gave no number"))
    }

    /// The learning rate of this step, as a tensor without dimensions.
    ///
    /// # Errors
    /// What the host says.
    pub fn lr(&mut self) -> Result<Tensor> {
        self.number(StepNumber::Lr)
    }

    /// Scale and shift of every norm, in the network's order.
    ///
    /// # Errors
    /// What the host says.
    pub fn norms(&mut self) -> Result<Vec<Tensor>> {
        self.tensors(Service::NORMS, &None::<Point>, &[])
    }

    /// Scale and shift of every norm at a stored point.
    ///
    /// # Errors
    /// If the point is not stored.
    pub fn norms_at(&mut self, point: &Point) -> Result<Vec<Tensor>> {
        self.tensors(Service::NORMS, &Some(point), &[])
    }

    /// The gradients of [`norms`](Self::norms); only where the update replaced them.
    ///
    /// # Errors
    /// What the host says.
    pub(crate) fn norm_gradients(&mut self) -> Result<Vec<Tensor>> {
        self.tensors(Service::NORM_GRADIENTS, &(), &[])
    }

    /// Uniform numbers on [0, 1), tensors of the shapes of these, from the component's own random stream.
    ///
    /// # Errors
    /// What the host says.
    pub fn uniform_like(&mut self, tensors: &[Tensor]) -> Result<Vec<Tensor>> {
        let shapes: Vec<Vec<i64>> = tensors.iter().map(Tensor::shape).collect();
        self.tensors(Service::UNIFORM, &shapes, &[])
    }
}

impl RewindContext<'_> {
    /// The level whose training comes next.
    pub fn next_level(&self) -> u64 {
        self.level() + 1
    }
}

macro_rules! contexts {
    ($($name:ident),*) => { $(
        impl<'a> $name<'a> {
            pub(crate) fn new(host: HostRef<'a>) -> Result<Self> {
                Context::new(host).map(Self)
            }
        }

        impl<'a> Deref for $name<'a> {
            type Target = Context<'a>;
            fn deref(&self) -> &Context<'a> {
                &self.0
            }
        }

        impl<'a> DerefMut for $name<'a> {
            fn deref_mut(&mut self) -> &mut Context<'a> {
                &mut self.0
            }
        }
    )* };
}

contexts!(ScoreContext, MaskContext, RewindContext, UpdateContext);
