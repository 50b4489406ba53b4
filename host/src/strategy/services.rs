//! The host's services during one call of a component.

#![allow(unsafe_code)]

use std::ffi::c_void;
use std::ptr::NonNull;

use abi_stable::std_types::{RResult, RSlice, RStr, RString, RVec};
use kernels::shim;
use plugin_api::abi::wire::{CallLimits, CountsRequest, Facts, MasksRequest, SelectRequest};
use plugin_api::abi::{AbiError, AbiResult, ErrorCode, HostObject, Service, TensorBox};
use plugin_api::{GradientRequest, Phase, Point, StepNumber, UnitRule, Units};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tch::{Device, Kind, Tensor};

use super::error::ServiceError;
use super::guard::Limits;
use super::loan::Owner;
use super::tape::{Leaf, Node};
use super::tensor::{failed, lend, lend_from, message, take};
use super::{distribution, guard as watch, select, units};
use crate::memory::{shortage, text_of};
use crate::rng::Stream;
use crate::update::Given;

/// One seed at the time of a call: what the level loop knows of it. Lists hold one tensor for each
/// prunable layer, row-major, on the training device.
pub trait Scene {
    /// Where in the run this is.
    fn facts(&self) -> Facts;

    /// Device of the training.
    fn device(&self) -> Device;

    /// Current weights; nothing writes to them during the call.
    fn weights(&self) -> Vec<Tensor>;

    /// Current masks, f32.
    fn masks(&self) -> Vec<Tensor>;

    /// Weights at a stored point.
    ///
    /// # Errors
    /// If the point is not stored.
    fn point_weights(&self, point: &Point) -> Result<Vec<Tensor>, ServiceError>;

    /// Points that the strategy's components named, and init.
    fn points(&self) -> Vec<Point>;

    /// Masks with which a level was trained.
    ///
    /// # Errors
    /// If there are none, or they are for other layers.
    fn stored_masks(&self, run: Option<&str>, level: u64) -> Result<Vec<Tensor>, ServiceError>;

    /// The units that can be removed whole.
    ///
    /// # Errors
    /// What went wrong.
    fn units(&self) -> Result<&Units, ServiceError>;

    /// For each set of units how large the norms' scales of each are: `[units]`.
    ///
    /// # Errors
    /// If no norm scales the units of a set.
    fn unit_scales(&self) -> Result<Vec<Tensor>, ServiceError>;

    /// Scale and shift of every norm at a stored point.
    ///
    /// # Errors
    /// If the point is not stored.
    fn norms_at(&self, point: &Point) -> Result<Vec<Tensor>, ServiceError> {
        Err(ServiceError::Other(format!(
            "norms at the point `{point}` are for updates"
        )))
    }

    /// A state of an update as the level ended with it, by the names of update and state.
    ///
    /// # Errors
    /// If there is none.
    fn update_state(&self, component: &str, state: &str) -> Result<Vec<Tensor>, ServiceError> {
        Err(ServiceError::Missing(format!(
            "no update `{component}` left a state `{state}`"
        )))
    }

    /// Gradients with respect to every weight, at the masked network.
    ///
    /// # Errors
    /// What went wrong.
    fn gradients(
        &self,
        request: &GradientRequest,
        stream: &mut Stream,
    ) -> Result<Vec<Tensor>, ServiceError>;

    /// The Hessian times vectors.
    ///
    /// # Errors
    /// What went wrong.
    fn hessian_vector(
        &self,
        vectors: &[Tensor],
        request: &GradientRequest,
        stream: &mut Stream,
    ) -> Result<Vec<Tensor>, ServiceError>;
}

/// The services of one call.
pub struct Services<'a> {
    /// The seed at this time.
    pub scene: &'a dyn Scene,
    /// Scores of this round; none for components that see none.
    pub scores: Option<&'a [Tensor]>,
    /// What an update sees of the step; none for all other kinds.
    pub step: Option<&'a Given>,
    /// The component's random stream for this call.
    pub stream: Stream,
    /// `plugin/component`, for the log.
    pub component: &'a str,
    /// Whose handles it gives and takes.
    pub owner: &'a Owner,
}

type Answer<T> = Result<T, AbiError>;

fn refuse(error: impl std::fmt::Display) -> AbiError {
    failed(error.to_string())
}

/// An error that keeps its kind, so that who is to blame can be said when it comes back.
fn not_given(error: &ServiceError) -> AbiError {
    AbiError {
        code: match error {
            ServiceError::Missing(_) => ErrorCode::MISSING,
            _ => ErrorCode::FAILED,
        },
        message: error.to_string().into(),
    }
}

fn read<T: DeserializeOwned>(request: RStr<'_>) -> Answer<T> {
    serde_json::from_str(request.as_str()).map_err(|error| AbiError {
        code: ErrorCode::UNSUPPORTED,
        message: format!("this host does not understand the request {request}: {error}").into(),
    })
}

fn write(answer: &impl Serialize) -> Answer<RString> {
    serde_json::to_string(answer)
        .map(RString::from)
        .map_err(refuse)
}

fn unknown(service: Service) -> AbiError {
    AbiError {
        code: ErrorCode::UNSUPPORTED,
        message: format!(
            "this host (plugin-api {}.{}) does not know service {}",
            plugin_api::abi::API_MAJOR,
            plugin_api::abi::API_MINOR,
            service.0
        )
        .into(),
    }
}

impl Services<'_> {
    fn answer(&mut self, service: Service, request: RStr<'_>) -> Answer<RString> {
        match service {
            Service::FACTS => write(&self.scene.facts()),
            Service::POINTS => write(&self.scene.points()),
            Service::RANDOM_KEY => write(&self.stream.next_key()),
            Service::SURVIVORS => write(&select::survivors(&self.scene.masks())),
            Service::LIMITS => {
                let Limits { time, memory } = watch::limits();
                let time = time.map(|time| time.as_secs_f64());
                write(&CallLimits { time, memory })
            }
            Service::UNITS => write(self.scene.units().map_err(refuse)?),
            Service::COUNTS => {
                let CountsRequest {
                    distribution,
                    total,
                    may_grow,
                } = read(request)?;
                let facts = self.scene.facts();
                let capacities = match may_grow {
                    true => facts.layers.iter().map(plugin_api::Layer::len).collect(),
                    false => select::survivors(&self.scene.masks()),
                };
                let total = total.unwrap_or(facts.target);
                write(
                    &distribution::spread(distribution, &facts.layers, &capacities, total)
                        .map_err(refuse)?,
                )
            }
            other => Err(unknown(other)),
        }
    }

    fn give(
        &mut self,
        service: Service,
        request: RStr<'_>,
        inputs: &[TensorBox],
    ) -> Answer<Vec<Tensor>> {
        let scene = self.scene;
        match service {
            Service::WEIGHTS => Ok(match self.step {
                Some(given) => copies(&given.weights),
                None => scene.weights(),
            }),
            Service::MASKS => Ok(match self.step {
                Some(given) => copies(&given.masks),
                None => scene.masks(),
            }),
            Service::SCORES => match self.scores {
                Some(scores) => Ok(copies(scores)),
                None => Err(failed("only mask updates have scores")),
            },
            Service::POINT_WEIGHTS => scene
                .point_weights(&read(request)?)
                .map_err(|error| not_given(&error)),
            Service::STORED_MASKS => {
                let MasksRequest { run, level } = read(request)?;
                scene
                    .stored_masks(run.as_deref(), level)
                    .map_err(|error| not_given(&error))
            }
            Service::GRADIENTS => {
                let request: GradientRequest = read(request)?;
                scene.gradients(&request, &mut self.stream).map_err(refuse)
            }
            Service::HESSIAN_VECTOR => {
                let request: GradientRequest = read(request)?;
                scene
                    .hessian_vector(&own(inputs, self.owner)?, &request, &mut self.stream)
                    .map_err(refuse)
            }
            Service::SELECT => {
                let SelectRequest { among, counts } = read(request)?;
                select::select(
                    &scene.facts().layers,
                    &own(inputs, self.owner)?,
                    &scene.masks(),
                    among,
                    &counts,
                )
                .map_err(refuse)
            }
            Service::SELECT_UNITS => {
                let (rule, facts): (UnitRule, Facts) = (read(request)?, scene.facts());
                if facts.phase == Phase::WithinLevel {
                    return Err(failed(
                        "whole units are chosen between levels and before training, not within a level",
                    ));
                }
                let (layers, scores) = (&facts.layers, own(inputs, self.owner)?);
                let known = scene.units().map_err(refuse)?;
                units::select(known, &rule, layers, &scores, &scene.masks(), facts.target)
                    .map_err(refuse)
            }
            Service::UNIT_SCALES => scene.unit_scales().map_err(refuse),
            Service::UPDATE_STATE => {
                let (component, state): (String, String) = read(request)?;
                scene
                    .update_state(&component, &state)
                    .map_err(|error| not_given(&error))
            }
            Service::STEP_GRADIENTS => Ok(copies(&self.given()?.gradients)),
            Service::STEP_STATE => {
                let name: String = read(request)?;
                let states = &self.given()?.states;
                let found = states.iter().find(|(own, _)| *own == name);
                let found = found.map(|(_, tensors)| copies(tensors));
                found.ok_or_else(|| failed(format!("it names no state `{name}`")))
            }
            Service::STEP_NUMBER => {
                let number: StepNumber = read(request)?;
                let value = self.given()?.numbers.get(number);
                let value = value.ok_or_else(|| failed("this host does not know that number"))?;
                Ok(vec![Tensor::from(value).to_device(scene.device())])
            }
            Service::NORMS => match read::<Option<Point>>(request)? {
                Some(point) => scene.norms_at(&point).map_err(|error| not_given(&error)),
                None => Ok((self.given()?.norms.iter())
                    .map(|(_, tensor)| tensor.shallow_clone())
                    .collect()),
            },
            Service::NORM_GRADIENTS => Ok(copies(&self.given()?.norm_gradients)),
            Service::UNIFORM => self.draw(read(request)?, Stream::uniform),
            Service::NORMAL => self.draw(read(request)?, Stream::normal),
            Service::PERMUTATION => {
                let n: usize = read(request)?;
                room_for::<i64>(n)?;
                Ok(vec![
                    Tensor::from_slice(&self.stream.permutation(n)).to_device(scene.device()),
                ])
            }
            other => Err(unknown(other)),
        }
    }

    fn given(&self) -> Answer<&Given> {
        self.step
            .ok_or_else(|| failed("only updates see what a step is made of"))
    }

    /// Lends what a service gave, and writes down what of a step it is.
    fn lend_all(&self, service: Service, request: &str, tensors: &[Tensor]) -> RVec<TensorBox> {
        let leaf = |place: usize| match service {
            Service::WEIGHTS => Some(Leaf::Weights(place)),
            Service::MASKS => Some(Leaf::Mask(place)),
            Service::STEP_GRADIENTS => Some(Leaf::Gradients(place)),
            Service::STEP_STATE => {
                let name: String = serde_json::from_str(request).ok()?;
                let states = &self.step?.states;
                let state = states.iter().position(|(own, _)| *own == name)?;
                Some(Leaf::State(state, place))
            }
            Service::STEP_NUMBER => Some(Leaf::Number(serde_json::from_str(request).ok()?)),
            _ => None,
        };
        let lend = |(place, tensor): (usize, &Tensor)| match leaf(place) {
            Some(leaf) if self.step.is_some() => lend_from(tensor, self.owner, Node::Leaf(leaf)),
            _ => lend(tensor, self.owner),
        };
        tensors.iter().enumerate().map(lend).collect()
    }

    /// Numbers are drawn on the CPU, so that they are the same on every device.
    fn draw(
        &mut self,
        shapes: Vec<Vec<i64>>,
        number: fn(&mut Stream) -> f32,
    ) -> Answer<Vec<Tensor>> {
        shapes
            .iter()
            .map(|shape| {
                let mut sizes = shape.iter().map(|&size| usize::try_from(size).ok());
                let count = sizes.try_fold(1usize, |all, size| all.checked_mul(size?));
                let count = count.ok_or_else(|| failed(format!("{shape:?} is no shape")))?;
                let mut numbers = room_for(count)?;
                numbers.extend((0..count).map(|_| number(&mut self.stream)));
                self.place(&numbers, shape)
            })
            .collect()
    }

    fn place(&self, elements: &[f32], shape: &[i64]) -> Answer<Tensor> {
        Tensor::from_slice(elements)
            .f_view(shape)
            .map(|tensor| tensor.to_device(self.scene.device()))
            .map_err(|error| failed(message(&error)))
    }
}

/// Room for so many numbers: an absurd count is refused, where allocating it would end the process.
fn room_for<T>(count: usize) -> Answer<Vec<T>> {
    let mut numbers = Vec::new();
    match numbers.try_reserve_exact(count) {
        Ok(()) => Ok(numbers),
        Err(_) => Err(failed(format!("there is no room for {count} numbers"))),
    }
}

fn own(inputs: &[TensorBox], owner: &Owner) -> Answer<Vec<Tensor>> {
    let one =
        |handle| take(handle, owner).map_err(|refused| failed(format!("an input is {refused}")));
    inputs.iter().map(one).collect()
}

fn copies(tensors: &[Tensor]) -> Vec<Tensor> {
    tensors.iter().map(Tensor::shallow_clone).collect()
}

/// What a component does that asks for random numbers.
const DRAWS: &str = "draws random numbers";

fn is_random(service: Service) -> bool {
    matches!(
        service,
        Service::UNIFORM | Service::NORMAL | Service::PERMUTATION | Service::RANDOM_KEY
    )
}

/// The name of what a service lends that is the host's own; everything else is made for the call.
fn lasting(service: Service) -> Option<&'static str> {
    match service {
        Service::WEIGHTS => Some("weights"),
        Service::MASKS => Some("masks"),
        Service::SCORES => Some("scores"),
        Service::POINT_WEIGHTS => Some("stored weights"),
        Service::STORED_MASKS => Some("stored masks"),
        Service::STEP_GRADIENTS => Some("gradients"),
        Service::STEP_STATE => Some("state"),
        Service::NORMS => Some("norms"),
        _ => None,
    }
}

/// A failure of libtorch in a service panics inside `tch`; it must not unwind into the plugin.
fn guard<T>(work: impl FnOnce() -> Answer<T>) -> AbiResult<T> {
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| tch::no_grad(work))) {
        Ok(Ok(value)) => RResult::ROk(value),
        Ok(Err(error)) => RResult::RErr(error),
        Err(panic) => match shortage(text_of(&*panic)) {
            Some(shortage) => RResult::RErr(failed(format!("the host is {shortage}"))),
            None => RResult::RErr(failed(format!(
                "the host failed inside this service: {}",
                text_of(&*panic)
            ))),
        },
    }
}

impl HostObject for Services<'_> {
    fn query(&mut self, service: Service, request: RStr<'_>) -> AbiResult<RString> {
        if is_random(service) {
            self.owner.note_impure(DRAWS);
        }
        guard(|| self.answer(service, request))
    }

    fn tensors(
        &mut self,
        service: Service,
        request: RStr<'_>,
        inputs: RSlice<'_, TensorBox>,
    ) -> AbiResult<RVec<TensorBox>> {
        guard(|| {
            let tensors = self.give(service, request, inputs.as_slice())?;
            if let Some(name) = lasting(service) {
                self.owner.note(name, &tensors);
            }
            if is_random(service) {
                self.owner.note_impure(DRAWS);
            }
            Ok(self.lend_all(service, &request, &tensors))
        })
    }

    fn create(
        &mut self,
        elements: RSlice<'_, f32>,
        shape: RSlice<'_, i64>,
    ) -> AbiResult<TensorBox> {
        guard(|| {
            let tensor = self.place(elements.as_slice(), shape.as_slice())?;
            Ok(lend(&tensor, self.owner))
        })
    }

    fn adopt_dlpack(&mut self, tensor: *mut c_void) -> AbiResult<TensorBox> {
        guard(|| {
            let managed = NonNull::new(tensor).ok_or_else(|| failed("a null DLManagedTensor"))?;
            // SAFETY: the plugin's author promised so by calling the unsafe `from_dlpack`.
            let adopted = unsafe { shim::from_dlpack(managed) }.map_err(refuse)?;
            let tensor = adopted.to_device(self.scene.device()).to_kind(Kind::Float);
            Ok(lend(&tensor, self.owner))
        })
    }

    fn log(&mut self, level: u32, message: RStr<'_>) {
        let level = match level {
            1 => log::Level::Error,
            2 => log::Level::Warn,
            3 => log::Level::Info,
            4 => log::Level::Debug,
            _ => log::Level::Trace,
        };
        log::log!(target: "plugin", level, "{}: {message}", self.component);
    }

    fn call(&mut self, code: u32, _payload: RSlice<'_, u8>) -> AbiResult<RVec<u8>> {
        RResult::RErr(AbiError {
            code: ErrorCode::UNSUPPORTED,
            message: format!("this host does not know call {code}").into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Moment, Purpose};
    use crate::strategy::still::Still;

    fn refusal(service: Service, request: &str) -> String {
        let scene = Still::new(&[&[2, 3]], 0);
        let mut services = Services {
            scene: &scene,
            scores: None,
            step: None,
            stream: Stream::new(0, Purpose::Strategy("test"), Moment::default()),
            component: "test/test",
            owner: &Owner::default(),
        };
        let answer = services.tensors(service, request.into(), RSlice::from_slice(&[]));
        let refused = answer.into_result().err().unwrap();
        refused.message.into_string()
    }

    #[test]
    fn more_numbers_than_there_is_room_for_are_refused_and_do_not_end_the_process() {
        for (shapes, expected) in [
            (
                "[[1152921504606846976]]",
                "no room for 1152921504606846976 numbers",
            ),
            (
                "[[4294967296, 4294967296]]",
                "[4294967296, 4294967296] is no shape",
            ),
            ("[[3, -1]]", "[3, -1] is no shape"),
        ] {
            let said = refusal(Service::UNIFORM, shapes);
            assert!(said.contains(expected), "{said}");
            assert_eq!(refusal(Service::NORMAL, shapes), said);
        }
        let said = refusal(Service::PERMUTATION, "1152921504606846976");
        assert!(
            said.contains("no room for 1152921504606846976 numbers"),
            "{said}"
        );
    }
}
